//! What the rules for Sidecars say.

use serde_json::{Value, json};

use super::each_says_one_thing;

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
            (
                egress(json!(["./a.com", "*/*.com"])),
                "IST0133 spec.egress[0].hosts[0]: adds nothing: \"*/*.com\" includes it",
            ),
            (
                egress(json!(["./*.b.com", "other/a.b.com", "~/*", "./b.com"])),
                "",
            ),
            (
                egress(json!(["./a.com", "shop/A.com"])),
                "IST0133 spec.egress[0].hosts[1]: adds nothing: \"./a.com\" includes it",
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
