//! What the rules for WorkloadEntries, WorkloadGroups, ProxyConfigs, EnvoyFilters say.

use serde_json::json;

use super::each_says_one_thing;

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
