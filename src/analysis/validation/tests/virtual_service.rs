//! What the rules for VirtualServices say.

use serde_json::{Value, json};

use super::{each_says_one_thing, said};

fn route(members: Value) -> Value {
    let mut route = json!({"route": [{"destination": {"host": "reviews"}}]});
    for (name, value) in members.as_object().unwrap() {
        route[name] = value.clone();
    }
    json!({"hosts": ["reviews"], "http": [route]})
}

fn action(name: &str, value: Value) -> Value {
    json!({"hosts": ["reviews"], "http": [{name: value}]})
}

#[test]
fn virtual_service_hosts_and_gateways() {
    let http = json!([{"route": [{"destination": {"host": "reviews"}}]}]);
    let with =
        |hosts: Value, gateways: Value| json!({"hosts": hosts, "gateways": gateways, "http": http});
    each_says_one_thing(
        "VirtualService",
        [
            (with(json!(["reviews"]), json!([])), ""),
            (with(json!(["*"]), json!(["shop/edge"])), ""),
            (with(json!(["10.0.0.1", "*.example.com"]), json!([])), ""),
            (with(json!([]), json!([])), ""),
            (
                with(json!(["*"]), json!([])),
                "spec.hosts[0]: '*' is not allowed for the mesh",
            ),
            (
                with(json!(["a.*.com"]), json!([])),
                "spec.hosts[0]: \"a.*.com\" has a '*' in another place",
            ),
            (
                with(json!(["a.b", "a.b"]), json!([])),
                "spec.hosts[1]: \"a.b\" is a duplicate",
            ),
            (
                with(json!(["a.b", "*.b"]), json!([])),
                "spec.hosts[0]: \"a.b\" is a duplicate: \"*.b\"",
            ),
            (
                with(json!([]), json!(["shop/edge"])),
                "spec.gateways: a VirtualService without hosts",
            ),
            (
                with(json!(["a"]), json!(["b@d"])),
                "spec.gateways[0]: \"b@d\" is not a DNS name",
            ),
            (
                with(json!(["a"]), json!(["edge.shop.svc"])),
                "IST0133 spec.gateways[0]: gateways are written namespace/name: shop/edge",
            ),
            (json!({"hosts": ["a"]}), "spec: routes nothing"),
        ],
    );
}

#[test]
fn virtual_service_http_routes() {
    each_says_one_thing(
        "VirtualService",
        [
            (
                action("name", json!("x")),
                "spec.http[0]: one of route, redirect, directResponse, delegate is needed",
            ),
            (
                route(json!({"redirect": {"uri": "/"}})),
                "spec.http[0].route: cannot stand beside redirect",
            ),
            (
                route(json!({"delegate": {"name": "x"}})),
                "spec.http[0].route: cannot stand beside delegate",
            ),
            (
                route(json!({"timeout": "0s"})),
                "spec.http[0].timeout: 0s is too short",
            ),
            (
                route(json!({"timeout": "1.0005s"})),
                "spec.http[0].timeout: 1.0005s is not in whole milliseconds",
            ),
            (
                route(json!({"mirrorPercentage": {"value": 101}})),
                "spec.http[0].mirrorPercentage.value: 101 is not a percentage",
            ),
            (
                route(json!({"mirrorPercent": 5})),
                "IST0133 spec.http[0].mirrorPercent: is deprecated",
            ),
            (
                route(
                    json!({"mirror": {"host": "a"}, "mirrors": [{"destination": {"host": "b"}}]}),
                ),
                "spec.http[0].mirrors: cannot stand",
            ),
            (
                route(json!({"fault": {}})),
                "spec.http[0].fault: one of delay, abort",
            ),
            (
                route(json!({"fault": {"abort": {"httpStatus": 99}}})),
                "spec.http[0].fault.abort.httpStatus: 99 is not",
            ),
            (
                route(json!({"fault": {"abort": {"grpcStatus": "NO"}}})),
                "spec.http[0].fault.abort.grpcStatus: \"NO\" is not",
            ),
            (
                route(json!({"fault": {"delay": {"exponentialDelay": "1s"}}})),
                "spec.http[0].fault.delay.exponentialDelay: is not supported",
            ),
            (
                route(json!({"retries": {"attempts": 2, "retryOn": "5xx, 503,sometimes"}})),
                "spec.http[0].retries.retryOn: \"sometimes\" is",
            ),
            (
                route(json!({"retries": {"retryOn": "5xx"}})),
                "spec.http[0].retries.attempts: 0 attempts turn retries off",
            ),
            (
                route(json!({"rewrite": {}})),
                "spec.http[0].rewrite: a rewrite must change something",
            ),
            (
                route(json!({"rewrite": {"uriRegexRewrite": {"match": "(", "rewrite": "x"}}})),
                "spec.http[0].rewrite.uriRegexRewrite.match: \"(\"",
            ),
            (
                route(json!({"corsPolicy": {"maxAge": "1.5s"}})),
                "spec.http[0].corsPolicy.maxAge: browsers count whole seconds",
            ),
            (
                route(json!({"corsPolicy": {"allowMethods": ["FETCH"]}})),
                "spec.http[0].corsPolicy.allowMethods[0]: \"FETCH\" is not",
            ),
            (
                route(json!({"headers": {"request": {"set": {":path": "x"}}}})),
                "spec.http[0].headers.request.set[:path]: \":path\" is a pseudo",
            ),
            (
                route(json!({"headers": {"response": {"add": {"a": "50%"}}}})),
                "spec.http[0].headers.response.add[a]: \"50%\" has a '%'",
            ),
            (
                action("redirect", json!({})),
                "spec.http[0].redirect: a redirect must change something",
            ),
            (
                action("redirect", json!({"uri": "/", "redirectCode": 200})),
                "spec.http[0].redirect.redirectCode: 200 is not",
            ),
            (
                action("directResponse", json!({"status": 42})),
                "spec.http[0].directResponse.status: 42 is not",
            ),
        ],
    );
}

#[test]
fn virtual_service_matches_and_destinations() {
    let matching = |condition: Value| route(json!({"match": [condition]}));
    let to = |destination: Value| json!({"hosts": ["a"], "http": [{"route": [{"destination": destination}]}]});
    each_says_one_thing(
        "VirtualService",
        [
            (
                matching(json!({"uri": {"prefix": "/"}, "headers": {"a": {"regex": "*"}}})),
                "",
            ),
            (
                matching(json!({"uri": {"exact": "/", "prefix": "/"}})),
                "spec.http[0].match[0].uri: only one of exact, prefix can be set",
            ),
            (
                matching(json!({"method": {"regex": ""}})),
                "spec.http[0].match[0].method.regex: an empty regular expression",
            ),
            (
                matching(json!({"headers": {"x-a": {"prefix": ""}}})),
                "spec.http[0].match[0].headers[x-a].prefix: an empty prefix",
            ),
            (
                matching(json!({"headers": {"@request.auth.claims.a": {"exact": "b"}}})),
                "spec.http[0].match[0].headers[@request.auth.claims.a]",
            ),
            (
                matching(json!({"port": 70000})),
                "spec.http[0].match[0].port: 70000 is not a port",
            ),
            (
                matching(json!({"sourceNamespace": "a.b"})),
                "spec.http[0].match[0].sourceNamespace",
            ),
            (
                to(json!({})),
                "spec.http[0].route[0].destination.host: a destination needs a host",
            ),
            (
                to(json!({"host": "*"})),
                "spec.http[0].route[0].destination.host: '*' is not",
            ),
            (
                to(json!({"host": "a", "port": {}})),
                "spec.http[0].route[0].destination.port.number: 0 is not a port",
            ),
            (
                to(json!({"host": "a", "subset": "v 1"})),
                "spec.http[0].route[0].destination.subset: \"v 1\" is not a name",
            ),
            (
                json!({"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}}, {"destination": {"host": "b"}}]}]}),
                "spec.http[0].route: several destinations share by weight",
            ),
            (
                json!({"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}, "weight": -1}]}]}),
                "spec.http[0].route[0].weight: -1 is negative",
            ),
        ],
    );
}

#[test]
fn virtual_service_tls_and_tcp_routes() {
    let tls = |condition: Value| json!({"hosts": ["*.a.com"], "tls": [{"match": [condition], "route": [{"destination": {"host": "a"}}]}]});
    each_says_one_thing(
        "VirtualService",
        [
            (
                tls(json!({"sniHosts": ["x.a.com"], "destinationSubnets": ["10.0.0.0/8"]})),
                "",
            ),
            (
                tls(json!({})),
                "spec.tls[0].match[0].sniHosts: a match of a TLS route needs sniHosts",
            ),
            (
                tls(json!({"sniHosts": ["x.b.com"]})),
                "spec.tls[0].match[0].sniHosts[0]: \"x.b.com\" is not among the hosts",
            ),
            (
                tls(json!({"sniHosts": ["1.2.3.4"]})),
                "IST0133 spec.tls[0].match[0].sniHosts[0]: 1.2.3.4 is an address",
            ),
            (
                tls(json!({"sniHosts": ["x.a.com"], "destinationSubnets": ["10.0.0"]})),
                "spec.tls[0].match[0].destinationSubnets[0]",
            ),
            (
                json!({"hosts": ["a"], "tcp": [{"match": [{"port": 1}]}]}),
                "spec.tcp[0].route: a TCP route needs a destination",
            ),
        ],
    );
}

#[test]
fn routes_that_nothing_reaches_are_named() {
    let two = |first: Value, second: Value| {
        let to = json!([{"destination": {"host": "a"}}]);
        json!({"hosts": ["a"], "http": [{"match": first, "route": to}, {"match": second, "route": to}]})
    };
    let product = json!([{"uri": {"prefix": "/product"}, "name": "first"}]);
    assert_eq!(
        said("VirtualService", two(json!([]), product.clone())),
        [
            "IST0130 spec.http[1]: never applies: the route before it at index 0 has no match and takes everything"
        ]
    );
    let repeated = said(
        "VirtualService",
        two(product.clone(), json!([{"uri": {"prefix": "/product"}}])),
    );
    assert_eq!(repeated.len(), 2, "{repeated:?}");
    assert!(
        repeated[0].starts_with("IST0131 spec.http[1].match[0]: adds nothing"),
        "{repeated:?}"
    );
    assert!(
        repeated[1].starts_with("IST0130 spec.http[1]: never applies"),
        "{repeated:?}"
    );
    each_says_one_thing(
        "VirtualService",
        [
            (
                two(
                    product.clone(),
                    json!([{"uri": {"prefix": "/products"}}, {"uri": {"exact": "/"}}]),
                ),
                "IST0131 spec.http[1].match[0]: adds nothing",
            ),
            (
                two(product.clone(), json!([{"uri": {"prefix": "/prod"}}])),
                "",
            ),
            (
                two(
                    json!([{"uri": {"prefix": "/"}, "port": 80}]),
                    json!([{"uri": {"prefix": "/a"}}]),
                ),
                "",
            ),
        ],
    );
}
