//! What each kind's rules say, by path and text. One faulty object a row.

use serde_json::{Value, json};

use super::validate;
use crate::analysis::Level;

fn object(kind: &str, spec: Value) -> Value {
    let version = if kind == "EnvoyFilter" {
        "v1alpha3"
    } else {
        "v1beta1"
    };
    json!({"apiVersion": format!("networking.istio.io/{version}"), "kind": kind, "metadata": {"name": "a", "namespace": "shop"}, "spec": spec})
}

/// `path: text` of everything that is said, with the code where it is not IST0106.
fn said(kind: &str, spec: Value) -> Vec<String> {
    let messages = validate(&object(kind, spec));
    let line = |message: &crate::analysis::Message| match message.level {
        Level::Error => message.line(),
        _ => format!("{} {}", message.code, message.line()),
    };
    messages.iter().map(line).collect()
}

/// Each row: a spec, and the beginning of the one thing that is said about it.
fn each_says_one_thing(kind: &str, rows: impl IntoIterator<Item = (Value, &'static str)>) {
    for (spec, expected) in rows {
        let said = said(kind, spec.clone());
        let fits = match said.as_slice() {
            [] => expected.is_empty(),
            [only] => !expected.is_empty() && only.starts_with(expected),
            _ => false,
        };
        assert!(fits, "{spec}\nexpected: {expected}\nsaid: {said:#?}");
    }
}

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

fn policy(members: Value) -> Value {
    json!({"host": "reviews", "trafficPolicy": members})
}

#[test]
fn all_problems_of_an_object_are_said_at_once() {
    let spec = json!({"hosts": ["a b"], "gateways": ["/x"], "http": [{"timeout": "1us", "retries": {"attempts": -1}}]});
    let said = said("VirtualService", spec);
    let paths: Vec<&str> = said
        .iter()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            "spec.hosts[0]",
            "spec.gateways[0]",
            "spec.http[0]",
            "spec.http[0].retries.attempts",
            "spec.http[0].timeout"
        ]
    );
}

#[test]
fn object_that_does_not_decode_is_invalid_at_the_field() {
    let said = said("VirtualService", json!({"http": [{"timeout": "soon"}]}));
    assert_eq!(
        said,
        [
            "spec.http[0].timeout: \"soon\" is not a duration; it needs numbers with units, such as \"1.5s\", \"100ms\" or \"1m30s\""
        ]
    );
}

#[test]
fn kinds_of_others_are_not_validated() {
    assert!(validate(&json!({"apiVersion": "v1", "kind": "Service", "spec": 7})).is_empty());
    assert!(validate(&json!(null)).is_empty());
    assert!(validate(&json!([1])).is_empty());
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
                two(product.clone(), json!([{"uri": {"prefix": "/products"}}])),
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

#[test]
fn export_to_names_namespaces_once() {
    let exported = |list: Value| json!({"host": "reviews", "exportTo": list});
    each_says_one_thing(
        "DestinationRule",
        [
            (exported(json!([".", "other"])), ""),
            (exported(json!(["*"])), ""),
            (
                exported(json!([".", "shop"])),
                "spec.exportTo[1]: \"shop\" is there twice",
            ),
            (
                exported(json!(["*", "other"])),
                "spec.exportTo: \"*\" cannot stand beside",
            ),
            (
                exported(json!(["~"])),
                "spec.exportTo[0]: only a ServiceEntry",
            ),
            (
                exported(json!(["a_b"])),
                "spec.exportTo[0]: \"a_b\" is not a DNS name",
            ),
            (
                json!({"host": "a", "workloadSelector": {"matchLabels": {"a": "b"}}, "exportTo": ["other"]}),
                "spec.exportTo: a DestinationRule with a workloadSelector",
            ),
        ],
    );
}

#[test]
fn destination_rule_subsets_and_policies() {
    each_says_one_thing(
        "DestinationRule",
        [
            (
                json!({"host": "reviews", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}),
                "",
            ),
            (json!({}), "spec.host: a DestinationRule needs a host"),
            (
                json!({"host": "a", "subsets": [{"name": "v1"}, {"name": "v1"}]}),
                "IST0133 spec.subsets[1].name: \"v1\" is the name",
            ),
            (
                json!({"host": "a", "subsets": [{}]}),
                "spec.subsets[0].name: a subset needs a name",
            ),
            (
                json!({"host": "a", "subsets": [{"name": "v1", "labels": {"a b": "c"}}]}),
                "spec.subsets[0].labels[a b]: \"a b\" is not",
            ),
            (
                policy(json!({})),
                "spec.trafficPolicy: an empty traffic policy",
            ),
            (
                policy(json!({"connectionPool": {}})),
                "spec.trafficPolicy.connectionPool: one of tcp, http",
            ),
            (
                policy(json!({"connectionPool": {"http": {"maxRetries": -1}}})),
                "spec.trafficPolicy.connectionPool.http.maxRetries: -1 is",
            ),
            (
                policy(json!({"connectionPool": {"tcp": {"idleTimeout": "0s"}}})),
                "",
            ),
            (
                policy(json!({"outlierDetection": {"maxEjectionPercent": 101}})),
                "spec.trafficPolicy.outlierDetection.maxEjectionPercent",
            ),
            (
                policy(json!({"outlierDetection": {"consecutiveErrors": 5}})),
                "IST0133 spec.trafficPolicy.outlierDetection.consecutiveErrors",
            ),
            (
                policy(json!({"tls": {"mode": "MUTUAL", "privateKey": "k"}})),
                "spec.trafficPolicy.tls.clientCertificate: is needed",
            ),
            (
                policy(
                    json!({"tls": {"mode": "SIMPLE", "credentialName": "s", "caCertificates": "c"}}),
                ),
                "spec.trafficPolicy.tls.caCertificates",
            ),
            (
                policy(json!({"tunnel": {"targetHost": "a", "targetPort": 0}})),
                "spec.trafficPolicy.tunnel.targetPort: 0 is not a port",
            ),
            (
                policy(json!({"portLevelSettings": [{"tls": {}}]})),
                "spec.trafficPolicy.portLevelSettings[0].port: settings of a port need",
            ),
        ],
    );
}

#[test]
fn destination_rule_load_balancers() {
    let balanced = |settings: Value| {
        policy(json!({"loadBalancer": settings, "outlierDetection": {"interval": "1s"}}))
    };
    let local = |setting: Value| balanced(json!({"localityLbSetting": setting}));
    each_says_one_thing(
        "DestinationRule",
        [
            (
                balanced(json!({"simple": "RANDOM", "consistentHash": {}})),
                "spec.trafficPolicy.loadBalancer: only one of simple, consistentHash",
            ),
            (
                balanced(json!({"consistentHash": {"maglev": {"tableSize": 10}}})),
                "spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize",
            ),
            (
                balanced(json!({"consistentHash": {"httpCookie": {"ttl": "0s"}}})),
                "spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.name",
            ),
            (
                balanced(json!({"warmup": {}})),
                "spec.trafficPolicy.loadBalancer.warmup.duration: a warmup needs",
            ),
            (
                local(json!({"distribute": [{"from": "a/*", "to": {"a/b": 60, "c": 40}}]})),
                "",
            ),
            (
                local(json!({"distribute": [{"from": "a", "to": {"b": 60}}]})),
                "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to",
            ),
            (
                local(json!({"failover": [{"from": "a", "to": "a"}]})),
                "spec.trafficPolicy.loadBalancer.localityLbSetting.failover[0]: from and to",
            ),
            (
                policy(
                    json!({"loadBalancer": {"localityLbSetting": {"failover": [{"from": "a", "to": "b"}]}}}),
                ),
                "IST0133 spec.trafficPolicy.loadBalancer.localityLbSetting: failover happens only with outlierDetection",
            ),
        ],
    );
}

#[test]
fn gateway_servers() {
    let server = |members: Value| {
        let mut server =
            json!({"hosts": ["a.com"], "port": {"number": 80, "name": "http", "protocol": "HTTP"}});
        for (name, value) in members.as_object().unwrap() {
            server[name] = value.clone();
        }
        json!({"selector": {"istio": "ingressgateway"}, "servers": [server]})
    };
    let https = |tls: Value| {
        server(json!({"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "tls": tls}))
    };
    each_says_one_thing(
        "Gateway",
        [
            (
                server(json!({"hosts": ["*", "./a.com", "*/b.com", "ns/*.c.com"]})),
                "",
            ),
            (json!({}), "spec.servers: a gateway needs a server"),
            (
                server(json!({"hosts": []})),
                "spec.servers[0].hosts: a server needs a host",
            ),
            (
                server(json!({"hosts": ["reviews"]})),
                "spec.servers[0].hosts[0]: \"reviews\" is a short name",
            ),
            (
                server(json!({"hosts": ["~/a.com"]})),
                "spec.servers[0].hosts[0]: not a namespace",
            ),
            (
                server(json!({"port": null})),
                "spec.servers[0].port: a server needs a port",
            ),
            (
                server(json!({"bind": "here"})),
                "spec.servers[0].bind: \"here\" is neither",
            ),
            (
                server(json!({"bind": "unix:///run/x"})),
                "spec.servers[0].port.number: a Unix domain socket has no port",
            ),
            (
                server(json!({"tls": {"mode": "SIMPLE"}})),
                "spec.servers[0].tls: a server of plain HTTP",
            ),
            (server(json!({"tls": {"httpsRedirect": true}})), ""),
            (
                https(json!(null)),
                "spec.servers[0].tls: a server of protocol HTTPS or TLS must have",
            ),
            (https(json!({"mode": "SIMPLE", "credentialName": "s"})), ""),
            (
                https(json!({"mode": "SIMPLE", "privateKey": "k"})),
                "spec.servers[0].tls.serverCertificate: is needed",
            ),
            (
                https(json!({"mode": "ISTIO_MUTUAL", "credentialName": "s"})),
                "spec.servers[0].tls.credentialName: cannot stand",
            ),
            (
                https(json!({"credentialName": "s"})),
                "IST0133 spec.servers[0].tls.credentialName: has no use",
            ),
            (
                https(json!({"mode": "SIMPLE", "credentialName": "s", "cipherSuites": ["x"]})),
                "IST0133 spec.servers[0].tls.cipherSuites[0]",
            ),
        ],
    );
}

#[test]
fn service_entries_by_resolution() {
    let entry = |members: Value| {
        let mut entry = json!({"hosts": ["a.com"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]});
        for (name, value) in members.as_object().unwrap() {
            entry[name] = value.clone();
        }
        entry
    };
    let endpoint = |address: &str| json!([{"address": address}]);
    each_says_one_thing(
        "ServiceEntry",
        [
            (entry(json!({"resolution": "DNS"})), ""),
            (
                entry(json!({"hosts": []})),
                "spec.hosts: a ServiceEntry needs a host",
            ),
            (
                entry(json!({"hosts": ["*"]})),
                "spec.hosts[0]: '*' would take all traffic",
            ),
            (
                entry(json!({"addresses": ["10.0.0.0/8"], "resolution": "DNS"})),
                "spec.addresses[0]: a block of addresses",
            ),
            (
                entry(json!({"endpoints": endpoint("1.2.3.4")})),
                "spec.endpoints: resolution NONE uses no endpoints",
            ),
            (
                entry(json!({"endpoints": endpoint("a.b"), "resolution": "STATIC"})),
                "spec.endpoints[0].address: \"a.b\" is not an IP",
            ),
            (
                entry(json!({"endpoints": endpoint("unix://x/y"), "resolution": "STATIC"})),
                "spec.endpoints[0].address: \"x/y\" is neither",
            ),
            (
                entry(json!({"hosts": ["*.a.com"], "resolution": "DNS"})),
                "spec.hosts[0]: a wildcard cannot be looked up",
            ),
            (
                entry(json!({"resolution": "DYNAMIC_DNS"})),
                "spec.hosts[0]: resolution DYNAMIC_DNS is for wildcards",
            ),
            (
                entry(
                    json!({"resolution": "STATIC", "endpoints": [{"address": "1.2.3.4", "ports": {"tcp": 1}}]}),
                ),
                "spec.endpoints[0].ports[tcp]: the ServiceEntry has no port of this name, but http",
            ),
            (
                entry(json!({"exportTo": ["~", "a"]})),
                "spec.exportTo: \"~\" cannot stand",
            ),
        ],
    );
}

#[test]
fn sidecar_listeners() {
    let egress = |hosts: Value| json!({"egress": [{"hosts": hosts}]});
    let ingress = |members: Value| {
        let mut listener = json!({"port": {"number": 90, "protocol": "HTTP", "name": "x"}, "defaultEndpoint": "127.0.0.1:80"});
        for (name, value) in members.as_object().unwrap() {
            listener[name] = value.clone();
        }
        json!({"ingress": [listener]})
    };
    each_says_one_thing(
        "Sidecar",
        [
            (
                egress(json!(["./*", "istio-system/*", "~/*", "~other/*"])),
                "",
            ),
            (json!({}), "spec: says nothing"),
            (
                egress(json!([])),
                "spec.egress[0].hosts: a listener needs a host",
            ),
            (
                egress(json!(["*"])),
                "spec.egress[0].hosts[0]: \"*\" lacks the namespace",
            ),
            (
                egress(json!(["a/*b.com"])),
                "spec.egress[0].hosts[0]: \"*b.com\" has a wildcard for a part",
            ),
            (
                egress(json!(["./*", "shop/a.com"])),
                "IST0133 spec.egress[0].hosts[1]: adds nothing: \"./*\" includes it",
            ),
            (ingress(json!({})), ""),
            (
                ingress(json!({"defaultEndpoint": "10.0.0.1:80"})),
                "spec.ingress[0].defaultEndpoint: \"10.0.0.1:80\" is not one of",
            ),
            (
                ingress(json!({"bind": "unix:///x"})),
                "spec.ingress[0].bind: \"unix:///x\" is not an IP",
            ),
            (
                ingress(json!({"port": null})),
                "spec.ingress[0].port: an ingress listener needs",
            ),
            (
                json!({"egress": [{"hosts": ["*/*"]}, {"port": {"number": 1, "protocol": "TCP"}, "hosts": ["*/*"]}]}),
                "spec.egress[0]: a listener without a port takes",
            ),
        ],
    );
}

#[test]
fn workloads_and_proxies() {
    each_says_one_thing(
        "WorkloadEntry",
        [
            (json!({"address": "10.0.0.1", "ports": {"http": 80}}), ""),
            (json!({}), "spec.address: an address is needed"),
            (json!({"network": "n"}), "IST0133 spec.address: is empty"),
            (
                json!({"address": "a.b:80"}),
                "spec.address: \"a.b:80\" is not a DNS name",
            ),
            (
                json!({"address": "unix:///x", "ports": {"http": 80}}),
                "spec.ports: a Unix domain socket has no ports",
            ),
        ],
    );
    each_says_one_thing(
        "WorkloadGroup",
        [
            (
                json!({"template": {}, "probe": {"exec": {"command": ["true"]}}}),
                "",
            ),
            (json!({}), "spec.template: a WorkloadGroup needs a template"),
            (
                json!({"template": {}, "probe": {}}),
                "spec.probe: one of httpGet",
            ),
            (
                json!({"template": {}, "probe": {"tcpSocket": {}}}),
                "spec.probe.tcpSocket.port: 0 is not a port",
            ),
        ],
    );
    each_says_one_thing(
        "ProxyConfig",
        [
            (json!({}), ""),
            (
                json!({"concurrency": -1}),
                "spec.concurrency: -1 is negative",
            ),
        ],
    );
    each_says_one_thing(
        "EnvoyFilter",
        [
            (
                json!({"configPatches": [{"applyTo": "CLUSTER", "patch": {"operation": "REMOVE"}}]}),
                "",
            ),
            (
                json!({"configPatches": [{"applyTo": "CLUSTER"}]}),
                "spec.configPatches[0].patch: is needed",
            ),
            (
                json!({"configPatches": [{"applyTo": "CLUSTER", "match": {"listener": {}}, "patch": {"operation": "REMOVE"}}]}),
                "spec.configPatches[0].match.listener: cannot match what applyTo names; cluster can",
            ),
        ],
    );
}
