//! What the rules for DestinationRules say.

use serde_json::{Value, json};

use super::each_says_one_thing;

fn policy(members: Value) -> Value {
    json!({"host": "reviews", "trafficPolicy": members})
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
