//! Istio's policies.

use serde_json::{Value, json};

use super::{each_says_one_thing, object, said};
use crate::analysis::validation::validate;

const GATEWAY: &str = "gateway.networking.k8s.io";

#[test]
fn policies_are_for_labels_or_for_objects() {
    let gateway = json!({"group": GATEWAY, "kind": "Gateway", "name": "edge"});
    let selector = json!({"matchLabels": {"app": "shop"}});
    for kind in ["AuthorizationPolicy", "RequestAuthentication", "Telemetry"] {
        each_says_one_thing(
            kind,
            [
                (json!({"selector": selector}), ""),
                (json!({"targetRefs": [gateway]}), ""),
                (
                    json!({"targetRefs": [{"group": "core", "kind": "Service", "name": "a"}]}),
                    "",
                ),
                (
                    json!({"targetRef": {"group": "networking.istio.io", "kind": "ServiceEntry", "name": "a"}}),
                    "",
                ),
                (
                    json!({"selector": selector, "targetRefs": [gateway]}),
                    "spec: only one of selector, targetRefs",
                ),
                (
                    json!({"targetRef": gateway, "targetRefs": [gateway]}),
                    "spec: only one of targetRef, targetRefs",
                ),
                (
                    json!({"targetRefs": [gateway, {"group": GATEWAY, "kind": "Gateway", "name": ""}]}),
                    "spec.targetRefs[1].name: is needed",
                ),
                (
                    json!({"targetRef": {"kind": "Service", "name": "a", "namespace": "b"}}),
                    "spec.targetRef.namespace: references to other namespaces",
                ),
                (
                    json!({"targetRef": {"group": "apps", "kind": "Deployment", "name": "a"}}),
                    "spec.targetRef.kind: a policy cannot be attached to Deployment",
                ),
                (
                    json!({"selector": {}}),
                    "IST0133 spec.selector.matchLabels: selects every workload",
                ),
                (
                    json!({"selector": {"matchLabels": {"app": "shop-*"}}}),
                    "spec.selector.matchLabels[app]: wildcards",
                ),
            ],
        );
    }
}

#[test]
fn sources_of_authorization_policies_are_checked() {
    let from = |source: Value| json!({"rules": [{"from": [{"source": source}]}]});
    each_says_one_thing(
        "AuthorizationPolicy",
        [
            (from(json!({"serviceAccounts": ["a", "b/c"]})), ""),
            (from(json!({"ipBlocks": ["10.0.0.0/8", "::1"]})), ""),
            (
                from(json!({})),
                "spec.rules[0].from[0].source: says nothing",
            ),
            (
                json!({"rules": [{"from": [{}]}]}),
                "spec.rules[0].from[0].source: is needed",
            ),
            (
                from(json!({"principals": ["a", ""]})),
                "spec.rules[0].from[0].source.principals[1]: must not be empty",
            ),
            (
                from(json!({"notRemoteIpBlocks": ["10.0.0.0/33"]})),
                "spec.rules[0].from[0].source.notRemoteIpBlocks[0]: ",
            ),
            (
                from(json!({"serviceAccounts": ["a/b/c"]})),
                "spec.rules[0].from[0].source.serviceAccounts[0]: \"a/b/c\" is not a service account",
            ),
            (
                from(json!({"serviceAccounts": vec!["a"; 17]})),
                "spec.rules[0].from[0].source.serviceAccounts: has more than 16",
            ),
            (
                from(json!({"serviceAccounts": ["a"], "notPrincipals": ["b"]})),
                "spec.rules[0].from[0].source.serviceAccounts: cannot stand beside notPrincipals",
            ),
        ],
    );
}

#[test]
fn operations_and_conditions_of_authorization_policies_are_checked() {
    let to = |operation: Value| json!({"rules": [{"to": [{"operation": operation}]}]});
    let when = |condition: Value| json!({"rules": [{"when": [condition]}]});
    each_says_one_thing(
        "AuthorizationPolicy",
        [
            (
                to(json!({"paths": ["/a/{*}/b/{**}", "/c/*", "*/d"], "ports": ["0", "65535"]})),
                "",
            ),
            (to(json!({})), "spec.rules[0].to[0].operation: says nothing"),
            (
                to(json!({"ports": ["http"]})),
                "spec.rules[0].to[0].operation.ports[0]: \"http\" is not a port number",
            ),
            (
                to(json!({"notPorts": ["65536"]})),
                "spec.rules[0].to[0].operation.notPorts[0]: \"65536\"",
            ),
            (
                to(json!({"paths": ["/{*}/{name}"]})),
                "spec.rules[0].to[0].operation.paths[0]: \"/{*}/{name}\" is not a template",
            ),
            (
                to(json!({"notPaths": ["/{**}/a/*"]})),
                "spec.rules[0].to[0].operation.notPaths[0]: ",
            ),
            (
                when(json!({"key": "request.headers[x-user]", "values": ["a"]})),
                "",
            ),
            (
                when(json!({"key": "source.serviceAccount", "notValues": ["a/b"]})),
                "",
            ),
            (
                when(json!({"values": ["a"]})),
                "spec.rules[0].when[0].key: ",
            ),
            (
                when(json!({"key": "source.principal"})),
                "spec.rules[0].when[0]: one of values and notValues",
            ),
            (
                when(json!({"key": "destination.port", "values": ["80", "x"]})),
                "spec.rules[0].when[0].values[1]: \"x\" is not a port number",
            ),
            (
                when(json!({"key": "request.auth.claims", "values": ["a"]})),
                "spec.rules[0].when[0].key: \"request.auth.claims\" needs a name in brackets",
            ),
            (
                when(json!({"key": "source.labels[a]", "values": ["a"]})),
                "spec.rules[0].when[0].key: \"source.labels[a]\" is not known; known are",
            ),
        ],
    );
}

#[test]
fn actions_of_authorization_policies_need_what_they_act_on() {
    let deny = |rule: Value| json!({"action": "DENY", "rules": [rule]});
    each_says_one_thing(
        "AuthorizationPolicy",
        [
            (json!({}), ""),
            (
                json!({"action": "CUSTOM", "provider": {"name": "a"}, "rules": [{}]}),
                "",
            ),
            (
                json!({"action": "CUSTOM", "rules": [{}]}),
                "spec.provider.name: says who is asked",
            ),
            (
                json!({"action": "ALLOW", "provider": {"name": "a"}}),
                "spec.provider: is asked with the action CUSTOM only",
            ),
            (
                json!({"action": "DENY"}),
                "spec.rules: without a rule the policy never applies",
            ),
            (
                json!({"action": "CUSTOM", "provider": {"name": "a"}, "rules": [{"from": [{"source": {"namespaces": ["a"]}}]}]}),
                "spec.rules[0].from[0].source.namespaces: is not supported with the action CUSTOM",
            ),
            (
                json!({"action": "CUSTOM", "provider": {"name": "a"}, "rules": [{"when": [{"key": "request.auth.principal", "values": ["a"]}]}]}),
                "spec.rules[0].when[0].key: request.auth.principal is not supported",
            ),
            (deny(json!({})), ""),
            (
                deny(json!({"to": [{"operation": {"methods": ["GET"], "ports": ["80"]}}]})),
                "",
            ),
            (
                deny(json!({"from": [{"source": {"namespaces": ["a"]}}]})),
                "",
            ),
            (
                deny(json!({"to": [{"operation": {"methods": ["GET"]}}]})),
                "IST0133 spec.rules[0]: looks at HTTP alone",
            ),
            (
                deny(json!({"from": [{"source": {"requestPrincipals": ["a"]}}]})),
                "IST0133 spec.rules[0]: looks at HTTP alone",
            ),
        ],
    );
}

#[test]
fn only_authorization_policies_are_tried_without_effect() {
    let with = |kind: &str, value: &str, spec: Value| {
        let mut object = object(kind, spec);
        object["metadata"]["annotations"] = json!({"istio.io/dry-run": value});
        validate(&object)
            .iter()
            .map(|message| message.line())
            .collect::<Vec<_>>()
    };
    let path = "metadata.annotations[istio.io/dry-run]";
    assert!(with("AuthorizationPolicy", "true", json!({})).is_empty());
    assert_eq!(
        with("AuthorizationPolicy", "perhaps", json!({})),
        [format!("{path}: \"perhaps\" is neither true nor false")]
    );
    let audit = json!({"action": "AUDIT", "rules": [{}]});
    for (kind, spec) in [
        ("AuthorizationPolicy", audit),
        ("RequestAuthentication", json!({})),
    ] {
        let said = with(kind, "true", spec);
        assert!(
            said[0].starts_with(&format!("{path}: has an effect on")),
            "{said:?}"
        );
    }
}

#[test]
fn peer_authentications_have_ports_for_selected_workloads() {
    let ports = |port: &str| json!({"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {port: {"mode": "STRICT"}}});
    each_says_one_thing(
        "PeerAuthentication",
        [
            (json!({"mtls": {"mode": "STRICT"}}), ""),
            (ports("8080"), ""),
            (ports("0"), "spec.portLevelMtls[0]: 0 is not a port"),
            (
                ports("http"),
                "spec.portLevelMtls[http]: http is not a port",
            ),
            (
                json!({"portLevelMtls": {"80": {}}}),
                "spec.portLevelMtls: is for selected workloads",
            ),
            (
                json!({"mtls": {"mode": "STRONG"}}),
                "spec.mtls.mode: unknown variant `STRONG`",
            ),
        ],
    );
}

#[test]
fn tokens_of_request_authentications_are_checked() {
    let rule = |rule: Value| {
        let mut whole = json!({"issuer": "a"});
        for (key, value) in rule.as_object().unwrap() {
            whole[key] = value.clone();
        }
        json!({"jwtRules": [whole]})
    };
    let key = r#"{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}"#;
    let private = r#"{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB"}]}"#;
    each_says_one_thing(
        "RequestAuthentication",
        [
            (
                rule(json!({"jwksUri": "https://a.example/keys", "timeout": "5s"})),
                "",
            ),
            (
                rule(json!({"issuer": "", "jwks_uri": "https://a.example/keys"})),
                "",
            ),
            (rule(json!({"jwks": key, "presence": "REQUIRED"})), ""),
            (
                rule(json!({"jwks": private})),
                "IST0133 spec.jwtRules[0].jwks: key 0 (RSA) is a secret",
            ),
            (
                rule(json!({"jwks": "foo"})),
                "spec.jwtRules[0].jwks: is not JSON",
            ),
            (
                rule(json!({"jwks": key, "jwksUri": "http://a"})),
                "spec.jwtRules[0].jwks: cannot stand beside jwksUri",
            ),
            (
                rule(json!({"issuer": ""})),
                "spec.jwtRules[0].issuer: is needed",
            ),
            (
                rule(json!({"jwksUri": "file:///keys"})),
                "spec.jwtRules[0].jwksUri: \"file:///keys\" is neither",
            ),
            (
                rule(json!({"audiences": [""]})),
                "spec.jwtRules[0].audiences[0]: must not be empty",
            ),
            (
                rule(json!({"fromCookies": [""]})),
                "spec.jwtRules[0].fromCookies[0]: must not",
            ),
            (
                rule(json!({"fromHeaders": [{}]})),
                "spec.jwtRules[0].fromHeaders[0].name: is needed",
            ),
            (
                rule(json!({"outputClaimToHeaders": [{"header": "a:b", "claim": "c"}]})),
                "spec.jwtRules[0].outputClaimToHeaders[0].header: \"a:b\" is not a name",
            ),
            (
                rule(json!({"outputClaimToHeaders": [{"header": "a"}]})),
                "spec.jwtRules[0].outputClaimToHeaders[0].claim: is needed",
            ),
            (
                rule(json!({"timeout": "0s"})),
                "spec.jwtRules[0].timeout: 0s is too short",
            ),
        ],
    );
}

#[test]
fn telemetries_are_checked() {
    each_says_one_thing(
        "Telemetry",
        [
            (
                json!({"accessLogging": [{"filter": {"expression": "response.code >= 400"}}]}),
                "",
            ),
            (
                json!({"accessLogging": [{"filter": {"expression": "response.code >="}}]}),
                "spec.accessLogging[0].filter.expression: \"response.code >=\" is not a CEL expression: a value is expected at column 17",
            ),
            (
                json!({"metrics": [{"providers": [{}]}]}),
                "spec.metrics[0].providers[0].name: is needed",
            ),
            (
                json!({"tracing": [{}, {}]}),
                "IST0133 spec.tracing: only the first entry",
            ),
            (
                json!({"tracing": [{"providers": [{"name": "a"}, {"name": "b"}]}]}),
                "IST0133 spec.tracing[0].providers: only the first",
            ),
            (
                json!({"tracing": [{"randomSamplingPercentage": 100.1}]}),
                "spec.tracing[0].randomSamplingPercentage: 100.1 is not",
            ),
            (
                json!({"tracing": [{"customTags": {"a": {"header": {}}}}]}),
                "spec.tracing[0].customTags[a].header.name: is needed",
            ),
            (
                json!({"tracing": [{"customTags": {"a": {"literal": {"value": "b"}, "header": {"name": "c"}}}}]}),
                "spec.tracing[0].customTags[a]: only one of literal, header",
            ),
            (
                json!({"metrics": [{"overrides": [{"tagOverrides": {"a": {"operation": "UPSERT"}}}]}]}),
                "spec.metrics[0].overrides[0].tagOverrides[a].value: is needed",
            ),
            (
                json!({"metrics": [{"overrides": [{"tagOverrides": {"a": {"operation": "REMOVE", "value": "b"}}}]}]}),
                "spec.metrics[0].overrides[0].tagOverrides[a].value: cannot be set",
            ),
            (
                json!({"metrics": [{"overrides": [{"match": {"customMetric": ""}}]}]}),
                "spec.metrics[0].overrides[0].match.customMetric: must not be empty",
            ),
        ],
    );
}

#[test]
fn modules_are_checked_wherever_they_stand() {
    let sum = "01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b";
    let rows = [
        (json!({"url": "oci://a.example/b:1", "sha256": sum}), ""),
        (json!({"url": "a.example/b"}), ""),
        (json!({}), "url: says where the module is"),
        (
            json!({"url": "ftp://a.example/b"}),
            "url: \"ftp://a.example/b\" is none of",
        ),
        (
            json!({"url": "a", "sha256": "01BA"}),
            "sha256: \"01BA\" is not 64",
        ),
        (
            json!({"url": "a", "pluginName": "a".repeat(257)}),
            "pluginName: 257 characters",
        ),
        (
            json!({"url": "a", "vmConfig": {"env": [{"name": "a"}, {"name": "a"}]}}),
            "vmConfig.env[1].name: \"a\" is there twice",
        ),
        (
            json!({"url": "a", "vmConfig": {"env": [{"name": "a", "valueFrom": "HOST", "value": "b"}]}}),
            "vmConfig.env[0].value: can be set with valueFrom INLINE only",
        ),
    ];
    for (module, expected) in rows {
        let at = |prefix: &str| match expected {
            "" => String::new(),
            expected => format!("{prefix}.{expected}"),
        };
        for (kind, spec, expected) in [
            ("WasmPlugin", module.clone(), at("spec")),
            ("TrafficExtension", json!({"wasm": module}), at("spec.wasm")),
        ] {
            let said = said(kind, spec);
            assert_eq!(said.len(), usize::from(!expected.is_empty()), "{said:?}");
            assert!(
                said.iter().all(|line| line.starts_with(&expected)),
                "{said:?}"
            );
        }
    }
}

#[test]
fn traffic_extensions_are_of_one_sort() {
    let lua = json!({"inlineCode": "function envoy_on_request() end"});
    each_says_one_thing(
        "TrafficExtension",
        [
            (
                json!({"lua": lua, "match": [{"ports": [{"number": 80}]}]}),
                "",
            ),
            (json!({}), "spec: one of wasm and lua is needed"),
            (json!({"lua": {}}), "spec.lua.inlineCode: is needed"),
            (
                json!({"lua": lua, "wasm": {"url": "a"}}),
                "spec: only one of wasm, lua",
            ),
            (
                json!({"lua": lua, "match": [{"ports": [{}]}]}),
                "spec.match[0].ports[0].number: 0 is not a port",
            ),
        ],
    );
}
