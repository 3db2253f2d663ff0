//! What the rules for ServiceEntries say.

use serde_json::{Value, json};

use super::each_says_one_thing;

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
