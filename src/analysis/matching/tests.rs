//! What is said to be covered is: compared with a matcher that runs conditions on requests.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use serde_json::{Value, json};

use super::{Condition, Earlier, is_catch_all, may_be_catch_all};
use crate::analysis::{Message, Snapshot, diagnoses, validation};
use crate::api::kind::Kind;
use crate::api::networking::{HTTPMatchRequest, StringMatch};
use crate::model::gateway_key;
use crate::world::{ObjectKey, World};

const NAMESPACE: &str = "shop";

/// A request, and the proxy that sends it.
#[derive(Debug, Clone)]
struct Request {
    path: &'static str,
    method: &'static str,
    headers: BTreeMap<&'static str, &'static str>,
    params: BTreeMap<&'static str, &'static str>,
    port: u32,
    labels: BTreeMap<&'static str, &'static str>,
    namespace: &'static str,
    gateway: &'static str,
}

/// The expressions of the tests, run by hand.
fn regex(pattern: &str, text: &str) -> bool {
    match pattern {
        ".*" | "*" => true,
        ".+" => !text.is_empty(),
        "/a" => text == "/a",
        "/a.*" => text.starts_with("/a"),
        "/ab?" => text == "/a" || text == "/ab",
        "/a|/b" => text == "/a" || text == "/b",
        "a.*" => text.starts_with('a'),
        "a?" => text.is_empty() || text == "a",
        other => panic!("{other}"),
    }
}

fn takes(matcher: &StringMatch, text: &str, ignore_case: bool) -> bool {
    let fold = |text: &str| match ignore_case {
        true => text.to_ascii_lowercase(),
        false => text.to_owned(),
    };
    match (&matcher.exact, &matcher.prefix, &matcher.regex) {
        (Some(exact), _, _) => fold(text) == fold(exact),
        (_, Some(prefix), _) => fold(text).starts_with(&fold(prefix)),
        (_, _, Some(pattern)) => regex(pattern, text),
        _ => true,
    }
}

fn matches(condition: &HTTPMatchRequest, request: &Request) -> bool {
    let header = |name: &str| {
        let mut all = request.headers.iter();
        all.find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    };
    let is_sent = if condition.gateways.is_empty() {
        let has = |(key, value): (&String, &String)| {
            request.labels.get(key.as_str()) == Some(&value.as_str())
        };
        condition.source_labels.iter().all(has)
            && ["", request.namespace].contains(&condition.source_namespace.as_str())
    } else {
        let own = gateway_key(request.gateway, NAMESPACE);
        let mut names = condition.gateways.iter();
        names.any(|name| gateway_key(name, NAMESPACE) == own)
    };
    is_sent
        && (condition.port == 0 || condition.port == request.port)
        && condition
            .uri
            .as_ref()
            .is_none_or(|uri| takes(uri, request.path, condition.ignore_uri_case))
        && condition
            .method
            .as_ref()
            .is_none_or(|method| takes(method, request.method, false))
        && condition
            .headers
            .iter()
            .all(|(name, matcher)| header(name).is_some_and(|value| takes(matcher, value, false)))
        && condition.query_params.iter().all(|(name, matcher)| {
            request
                .params
                .get(name.as_str())
                .is_some_and(|value| takes(matcher, value, false))
        })
        && condition.without_headers.iter().all(|(name, matcher)| {
            if *matcher == StringMatch::default() {
                header(name).is_none()
            } else {
                !takes(matcher, header(name).unwrap_or_default(), false)
            }
        })
}

fn matcher(
    texts: &'static [&'static str],
    patterns: &'static [&'static str],
) -> impl Strategy<Value = StringMatch> {
    let exact = |text: &str| StringMatch {
        exact: Some(text.to_owned()),
        ..StringMatch::default()
    };
    let prefix = |text: &str| StringMatch {
        prefix: Some(text.to_owned()),
        ..StringMatch::default()
    };
    let regex = |text: &str| StringMatch {
        regex: Some(text.to_owned()),
        ..StringMatch::default()
    };
    prop_oneof![
        3 => select(texts).prop_map(exact),
        3 => select(texts).prop_map(prefix),
        2 => select(patterns).prop_map(regex),
        1 => Just(StringMatch::default()),
    ]
}

fn values() -> impl Strategy<Value = StringMatch> {
    matcher(&["", "a", "ab", "b"], &[".*", "a.*", "a?", ".+"])
}

fn map<V: std::fmt::Debug>(
    names: &'static [&'static str],
    value: impl Strategy<Value = V>,
) -> impl Strategy<Value = BTreeMap<String, V>> {
    btree_map(select(names).prop_map(str::to_owned), value, 0..2)
}

fn condition() -> impl Strategy<Value = HTTPMatchRequest> {
    let uri = matcher(
        &["/", "/a", "/A", "/ab", "/b", "/1", ""],
        &[".*", "/a", "/a.*", "/ab?", "/a|/b"],
    );
    let method = matcher(&["GET", "G", "PUT"], &[".*"]);
    let labels = map(&["app"], select(vec!["x".to_owned(), "y".to_owned()]));
    let gateways = subsequence(vec!["mesh", "edge", "shop/edge", "other/edge"], 0..3);
    let clients = (labels, select(vec!["", "shop", "other"]), gateways);
    (
        option::weighted(0.8, uri),
        any::<bool>(),
        option::weighted(0.2, method),
        map(&["x", "X", "y"], values()),
        map(&["x", "y"], values()),
        map(&["q"], values()),
        select(vec![0, 0, 80, 81]),
        option::weighted(0.3, clients),
    )
        .prop_map(
            |(uri, ignore, method, headers, without, params, port, clients)| {
                let (labels, namespace, gateways) = clients.unwrap_or_default();
                HTTPMatchRequest {
                    uri,
                    ignore_uri_case: ignore,
                    method,
                    headers,
                    without_headers: without,
                    query_params: params,
                    port,
                    source_labels: labels,
                    source_namespace: namespace.to_owned(),
                    gateways: gateways.into_iter().map(str::to_owned).collect(),
                    ..HTTPMatchRequest::default()
                }
            },
        )
}

fn request() -> impl Strategy<Value = Request> {
    let some = |names: &'static [&'static str], values: Vec<&'static str>| {
        btree_map(select(names), select(values), 0..3)
    };
    (
        select(vec![
            "/", "/a", "/A", "/ab", "/aB", "/abc", "/b", "/1", "/1a",
        ]),
        select(vec!["GET", "PUT"]),
        some(&["x", "y"], vec!["", "a", "ab", "b"]),
        some(&["q"], vec!["", "a", "ab", "b"]),
        select(vec![80, 81]),
        some(&["app"], vec!["x", "y"]),
        select(vec!["shop", "other"]),
        select(vec!["mesh", "edge", "other/edge"]),
    )
        .prop_map(
            |(path, method, headers, params, port, labels, namespace, gateway)| Request {
                path,
                method,
                headers,
                params,
                port,
                labels,
                namespace,
                gateway,
            },
        )
}

fn at(request: &HTTPMatchRequest) -> Condition<'_> {
    Condition {
        request,
        namespace: NAMESPACE,
    }
}

/// A condition that asks for more than another, so that coverage is not a rare accident.
fn pair() -> impl Strategy<Value = (HTTPMatchRequest, HTTPMatchRequest)> {
    (condition(), condition(), any::<u8>()).prop_map(|(wide, mut narrow, keep)| {
        let kept = |bit: u8| keep & (1 << bit) != 0;
        if kept(0) {
            narrow.uri = wide.uri.clone();
        }
        if kept(1) {
            narrow.headers.extend(wide.headers.clone());
        }
        if kept(2) {
            narrow.without_headers.extend(wide.without_headers.clone());
        }
        if kept(3) {
            narrow.query_params.extend(wide.query_params.clone());
        }
        if kept(4) {
            narrow.gateways = wide.gateways.clone();
            narrow.source_labels = wide.source_labels.clone();
            narrow.source_namespace = wide.source_namespace.clone();
        }
        if kept(5) {
            narrow.port = wide.port;
            narrow.method = wide.method.clone();
        }
        (wide, narrow)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn what_is_covered_takes_no_request_of_its_own((wide, narrow) in pair(), requests in vec(request(), 64)) {
        if at(&wide).covers(&at(&narrow)) {
            for request in requests {
                prop_assert!(!matches(&narrow, &request) || matches(&wide, &request), "{:?}", request);
            }
        }
    }

    #[test]
    fn at_a_gateway_as_well((wide, narrow) in pair(), requests in vec(request(), 64)) {
        let gateway = gateway_key("edge", NAMESPACE).unwrap();
        let (wide, narrow) = (at(&wide), at(&narrow));
        if wide.is_for(&gateway) && narrow.is_for(&gateway) && wide.covers_at_gateway(&narrow) {
            for mut request in requests {
                request.gateway = "edge";
                prop_assert!(!matches(narrow.request, &request) || matches(wide.request, &request), "{:?}", request);
            }
        }
    }

    #[test]
    fn what_takes_everything_takes_every_request(condition in condition(), requests in vec(request(), 16)) {
        if is_catch_all(&condition) && condition.gateways.is_empty() && condition.source_labels.is_empty()
            && condition.source_namespace.is_empty() && condition.port == 0
        {
            for request in requests {
                prop_assert!(matches(&condition, &request));
            }
        }
    }

    #[test]
    fn conditions_are_found_as_if_each_was_looked_at(pairs in vec(pair(), 1..6)) {
        let list: Vec<HTTPMatchRequest> = pairs.into_iter().flat_map(|(wide, narrow)| [wide, narrow]).collect();
        let mut earlier = Earlier::default();
        for (place, condition) in list.iter().enumerate() {
            let expected = list[..place].iter().position(|other| at(other).covers(&at(condition)));
            prop_assert_eq!(earlier.first_covering(&at(condition), |_, _| true), expected, "{:#?}", condition);
            earlier.push(place, at(condition));
        }
    }
}

#[test]
fn narrower_conditions_are_covered() {
    let parsed = |text: &str| -> HTTPMatchRequest { serde_json::from_str(text).unwrap() };
    for (wide, narrow, expected) in [
        (r#"{}"#, r#"{"uri": {"exact": "/a"}}"#, true),
        (
            r#"{"uri": {"prefix": "/"}}"#,
            r#"{"uri": {"regex": "/a/[0-9]+"}}"#,
            true,
        ),
        (
            r#"{"uri": {"prefix": "/a"}}"#,
            r#"{"uri": {"exact": "/ab"}, "port": 80}"#,
            true,
        ),
        (
            r#"{"uri": {"prefix": "/a"}}"#,
            r#"{"uri": {"prefix": "/"}}"#,
            false,
        ),
        (
            r#"{"uri": {"regex": ".*"}}"#,
            r#"{"uri": {"prefix": "/a"}}"#,
            true,
        ),
        (
            r#"{"uri": {"prefix": "/a"}}"#,
            r#"{"uri": {"prefix": "/Ab"}, "ignoreUriCase": true}"#,
            false,
        ),
        (
            r#"{"uri": {"prefix": "/A"}, "ignoreUriCase": true}"#,
            r#"{"uri": {"exact": "/ab"}}"#,
            true,
        ),
        (
            r#"{"uri": {"regex": "/a"}, "ignoreUriCase": true}"#,
            r#"{"uri": {"exact": "/a"}, "ignoreUriCase": true}"#,
            false,
        ),
        (
            r#"{"headers": {"x": {}}}"#,
            r#"{"headers": {"x": {"exact": "a"}, "y": {}}}"#,
            true,
        ),
        (
            r#"{"headers": {"X": {"prefix": "a"}}}"#,
            r#"{"headers": {"x": {"regex": "ab.*"}}}"#,
            true,
        ),
        (r#"{"headers": {"x": {"exact": "a"}}}"#, r#"{}"#, false),
        (
            r#"{"withoutHeaders": {"x": {"exact": "a"}}}"#,
            r#"{"headers": {"x": {"exact": "b"}}}"#,
            true,
        ),
        (
            r#"{"withoutHeaders": {"x": {"exact": "a"}}}"#,
            r#"{"withoutHeaders": {"x": {}}}"#,
            true,
        ),
        (
            r#"{"withoutHeaders": {"x": {"exact": "ab"}}}"#,
            r#"{"withoutHeaders": {"x": {"prefix": "a"}}}"#,
            true,
        ),
        (
            r#"{"withoutHeaders": {"x": {}}}"#,
            r#"{"withoutHeaders": {"x": {"exact": "a"}}}"#,
            false,
        ),
        (
            r#"{"method": {"exact": "GET"}}"#,
            r#"{"method": {"regex": "GET"}}"#,
            true,
        ),
        (
            r#"{"queryParams": {"q": {"exact": "1"}}}"#,
            r#"{"queryParams": {"Q": {"exact": "1"}}}"#,
            false,
        ),
        (
            r#"{"sourceLabels": {"a": "b"}}"#,
            r#"{"sourceLabels": {"a": "b", "c": "d"}}"#,
            true,
        ),
        (
            r#"{"sourceLabels": {"a": "b"}}"#,
            r#"{"sourceLabels": {"a": "b"}, "gateways": ["edge"]}"#,
            false,
        ),
        (
            r#"{"gateways": ["shop/edge", "mesh"]}"#,
            r#"{"gateways": ["edge"]}"#,
            true,
        ),
        (r#"{"gateways": ["edge"]}"#, r#"{}"#, false),
    ] {
        let (wide, narrow) = (parsed(wide), parsed(narrow));
        assert_eq!(
            at(&wide).covers(&at(&narrow)),
            expected,
            "{wide:?} {narrow:?}"
        );
    }
}

/// A VirtualService with these routes, each of which has these conditions.
fn virtual_service(name: &str, gateways: &[&str], routes: &[Vec<HTTPMatchRequest>]) -> Value {
    let destination = json!([{"destination": {"host": "reviews"}}]);
    let route = |matches| json!({"match": matches, "route": destination});
    let http: Vec<Value> = routes.iter().map(route).collect();
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"hosts": ["shop.example.com"], "gateways": gateways, "http": http},
    })
}

/// The routes of which is said that they are never used; `None` stands for all of the object's.
fn unused(messages: &[Message]) -> BTreeSet<Option<usize>> {
    let never = [
        &diagnoses::ROUTE_SHADOWED,
        &diagnoses::UNREACHABLE_ROUTE,
        &diagnoses::ROUTES_SHADOWED,
    ];
    let never = never.map(|diagnosis| diagnosis.reason);
    let index = |message: &Message| {
        let (_, rest) = message.path.split_once("spec.http[")?;
        rest.trim_end_matches(']').parse().ok()
    };
    let messages = messages.iter();
    messages
        .filter(|message| never.contains(&message.reason))
        .map(index)
        .collect()
}

fn any_matches(matches: &[HTTPMatchRequest], request: &Request) -> bool {
    matches.is_empty()
        || matches
            .iter()
            .any(|condition| self::matches(condition, request))
}

fn routes() -> impl Strategy<Value = Vec<Vec<HTTPMatchRequest>>> {
    let of_pairs = vec(pair(), 1..5).prop_map(|pairs| {
        let (wide, narrow): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let mut routes: Vec<Vec<HTTPMatchRequest>> = wide.into_iter().map(|it| vec![it]).collect();
        routes.extend(narrow.chunks(2).map(<[HTTPMatchRequest]>::to_vec));
        routes
    });
    (
        of_pairs,
        option::weighted(0.2, any::<prop::sample::Index>()),
    )
        .prop_map(|(mut routes, bare)| {
            if let Some(bare) = bare {
                let index = bare.index(routes.len());
                routes[index].clear();
            }
            routes
        })
}

/// What a gateway tries, in order: the routes of each object up to the first that takes everything, of which those come
/// behind all others.
fn tried(
    objects: &[Vec<Vec<HTTPMatchRequest>>],
    takes_everything: impl Fn(&HTTPMatchRequest) -> bool,
) -> Vec<(usize, usize, HTTPMatchRequest)> {
    let gateway = gateway_key("edge", NAMESPACE).unwrap();
    let mut all = Vec::new();
    for (object, routes) in objects.iter().enumerate() {
        let conditions = routes.iter().enumerate().flat_map(|(route, matches)| {
            let bare = matches.is_empty().then(HTTPMatchRequest::default);
            let matches = matches.iter().cloned().chain(bare);
            matches.map(move |condition| (object, route, condition))
        });
        let of_gateway = conditions.filter(|(_, _, condition)| at(condition).is_for(&gateway));
        for (object, route, condition) in of_gateway {
            let is_last = takes_everything(&condition);
            all.push((object, route, condition));
            if is_last {
                break;
            }
        }
    }
    let (last, mut tried): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|(_, _, condition)| takes_everything(condition));
    tried.extend(last);
    tried
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_request_takes_a_route_that_is_said_to_be_unused(routes in routes(), requests in vec(request(), 64)) {
        let said = unused(&validation::validate(&virtual_service("a", &["mesh", "edge"], &routes)));
        for request in requests {
            let taken = routes.iter().position(|matches| any_matches(matches, &request));
            prop_assert!(taken.is_none() || !said.contains(&taken), "{:?} takes {:?}", request, taken);
        }
    }

    #[test]
    fn nor_one_that_others_come_before_at_a_gateway(
        objects in vec(routes(), 2..4),
        requests in vec(request(), 64),
    ) {
        let names = ["a", "b", "c"];
        let mut world = World::default();
        for (name, routes) in names.iter().zip(&objects) {
            world.apply(&virtual_service(name, &["edge"], routes)).unwrap();
        }
        let snapshot = Snapshot::new(world);
        let said: Vec<BTreeSet<Option<usize>>> = names
            .iter()
            .map(|name| unused(snapshot.messages(&ObjectKey::new(Kind::VirtualService, NAMESPACE, *name))))
            .collect();
        for order in [tried(&objects, is_catch_all), tried(&objects, may_be_catch_all)] {
            for mut request in requests.clone() {
                request.gateway = "edge";
                let mut all = order.iter();
                if let Some((object, route, _)) = all.find(|(_, _, condition)| matches(condition, &request)) {
                    let said = &said[*object];
                    prop_assert!(!said.contains(&None) && !said.contains(&Some(*route)), "{:?}: {} {}", request, object, route);
                }
            }
        }
    }
}
