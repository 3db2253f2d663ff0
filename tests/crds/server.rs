//! Our definitions on a real API server.

use outrigger::analysis::{conditions, diagnoses};
use outrigger::api::kind::Kind;
use outrigger::world::ObjectKey;
use outrigger_e2e::cluster::{Cluster, ControlPlane};
use outrigger_e2e::progress::Lines;
use serde_json::{Value, json};

const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");

/// Manifests as people have them, in the versions that Istio's releases brought.
const MANIFESTS: &str = "
apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata: {name: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: ['shop.example.com', 'shop/*']
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: ['*']
    tls: {mode: SIMPLE, credentialName: shop-certificate}
---
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: ['*']
  gateways: [shop]
  http:
  - match: [{uri: {exact: /cart}, headers: {x-user: {regex: '.+'}}}, {uri: {prefix: /static}}]
    route: [{destination: {host: cart, port: {number: 9080}}, weight: 90}, {destination: {host: cart, subset: next}, weight: 10}]
    timeout: 1m30s
    retries: {attempts: 3, perTryTimeout: 2s, retryOn: '5xx,reset', retryRemoteLocalities: null}
    fault: {abort: {httpStatus: 503, percentage: {value: 0.1}}, delay: {fixedDelay: 7s, percentage: {value: 100}}}
    mirrorPercentage: {value: 12.5}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart}
spec:
  host: cart
  trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}, connectionPool: {tcp: {idleTimeout: 0s}}, tls: {mode: ISTIO_MUTUAL}}
  subsets:
  - {name: next, labels: {version: next}, trafficPolicy: {outlierDetection: {consecutive5xxErrors: 7, interval: 5m}}}
---
apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata: {name: api}
spec: {hosts: [api.example.com], ports: [{number: 443, name: https, protocol: HTTPS}], location: MESH_EXTERNAL, resolution: DNS}
---
apiVersion: networking.istio.io/v1beta1
kind: Sidecar
metadata: {name: default}
spec: {egress: [{hosts: ['./*', 'istio-system/*']}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
---
apiVersion: networking.istio.io/v1beta1
kind: WorkloadEntry
metadata: {name: vm}
spec: {address: 10.0.0.7, labels: {app: vm}, ports: {http: 8080}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: vms}
spec: {template: {serviceAccount: vm}, probe: {httpGet: {path: /, port: 8080}, periodSeconds: 5}}
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: threads}
spec: {concurrency: 0, environmentVariables: {A: b}}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: lua}
spec:
  workloadSelector: {labels: {app: cart}}
  configPatches:
  - applyTo: HTTP_FILTER
    match: {context: SIDECAR_INBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}
    patch: {operation: INSERT_BEFORE, value: {name: lua, typed_config: {'@type': 'type.googleapis.com/x', nested: [1, {a: null}]}}}
";

/// What the definitions themselves refuse, and with which words.
const REFUSED: [(&str, &str, &str); 14] = [
    (
        "VirtualService",
        "{hosts: [a, '*.*']}",
        "'*.*' is not a host",
    ),
    (
        "VirtualService",
        "{hosts: [a], http: [{route: [{destination: {host: a}, weight: -1}]}]}",
        "weight must not be negative",
    ),
    (
        "VirtualService",
        "{hosts: [a], http: [{timeout: soon}]}",
        "must be a duration of at least 1ms",
    ),
    (
        "VirtualService",
        "{hosts: [a], http: [{match: [{uri: {exact: /, prefix: /}}]}]}",
        "must validate one and only one schema (oneOf)",
    ),
    (
        "VirtualService",
        "{hosts: [a], http: [{corsPolicy: {unmatchedPreflights: MAYBE}}]}",
        "Unsupported value: \"MAYBE\"",
    ),
    ("DestinationRule", "{host: ''}", "host must not be empty"),
    (
        "DestinationRule",
        "{subsets: []}",
        "spec.host: Required value",
    ),
    (
        "DestinationRule",
        "{host: a, workloadSelector: {matchLabels: {a: 'b*'}}}",
        "wildcards are not supported",
    ),
    (
        "Gateway",
        "{servers: [{port: {number: 1, name: a, protocol: TLS}, hosts: [a.b], tls: {credentialName: a, credentialNames: [b]}}]}",
        "only one of credentialName, credentialNames can be set",
    ),
    (
        "ServiceEntry",
        "{hosts: ['*']}",
        "a host of '*' would take all traffic",
    ),
    (
        "ServiceEntry",
        "{hosts: [a], ports: [{number: 70000, name: a}]}",
        "a port is a number from 1 to 65535",
    ),
    (
        "WorkloadEntry",
        "{ports: {http: 80}}",
        "address is required, unless network is set",
    ),
    (
        "ProxyConfig",
        "{concurrency: -1}",
        "should be greater than or equal to 0",
    ),
    (
        "EnvoyFilter",
        "{workloadSelector: {}, targetRefs: [{kind: a, name: b}]}",
        "only one of workloadSelector, targetRefs",
    ),
];

/// A control plane with our definitions.
fn started() -> ControlPlane {
    let cluster = ControlPlane::start(&Lines).unwrap();
    cluster.kubectl(&["apply", "-f", CRDS]).unwrap();
    cluster.wait_for_definitions().unwrap();
    cluster
}

fn get(cluster: &ControlPlane, object: &str) -> Value {
    serde_json::from_str(&cluster.kubectl(&["get", object, "-o", "json"]).unwrap()).unwrap()
}

fn patch_status(cluster: &ControlPlane, object: &str, patch: &Value) {
    let patch = patch.to_string();
    cluster
        .kubectl(&[
            "patch",
            object,
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ])
        .unwrap();
}

#[test]
fn definitions_take_what_people_have_and_refuse_what_is_plainly_wrong() {
    let cluster = started();
    structural(&cluster);
    manifests_apply_unchanged(&cluster);
    plain_errors_are_refused(&cluster);
    columns_tell_whether_and_why(&cluster);
    status_patch_keeps_what_is_not_ours(&cluster);
}

/// The API server has no complaint about any definition.
fn structural(cluster: &ControlPlane) {
    for kind in Kind::ISTIO {
        let definition = get(
            cluster,
            &format!("crd/{}.networking.istio.io", kind.plural()),
        );
        for condition in definition["status"]["conditions"].as_array().unwrap() {
            let fine = matches!(
                condition["type"].as_str(),
                Some("Established" | "NamesAccepted")
            );
            assert!(fine && condition["status"] == "True", "{kind}: {condition}");
        }
    }
}

fn manifests_apply_unchanged(cluster: &ControlPlane) {
    cluster.apply(MANIFESTS).unwrap();
    for manifest in serde_saphyr::from_multiple::<Value>(MANIFESTS).unwrap() {
        let (kind, name) = (
            manifest["kind"].as_str().unwrap(),
            manifest["metadata"]["name"].as_str().unwrap(),
        );
        let kind = Kind::of(manifest["apiVersion"].as_str().unwrap(), kind).unwrap();
        let stored = get(
            cluster,
            &format!("{}.networking.istio.io/{name}", kind.plural()),
        );
        assert_eq!(stored["spec"], manifest["spec"], "{kind}");
    }
    // By short name and by category as well.
    let listed = cluster
        .kubectl(&["get", "vs,dr,gw,se,we,wg", "-o", "name"])
        .unwrap();
    assert_eq!(listed.lines().count(), 6, "{listed}");
    let listed = cluster.kubectl(&["get", "istio-io", "-o", "name"]).unwrap();
    assert_eq!(listed.lines().count(), 9, "{listed}");
}

fn plain_errors_are_refused(cluster: &ControlPlane) {
    for (kind, spec, expected) in REFUSED {
        let version = if kind == "EnvoyFilter" {
            "v1alpha3"
        } else {
            "v1beta1"
        };
        let manifest = format!(
            "apiVersion: networking.istio.io/{version}\nkind: {kind}\nmetadata: {{name: refused}}\nspec: {spec}\n"
        );
        let error = match cluster.apply(&manifest) {
            Ok(said) => panic!("{kind} {spec} was not refused: {said}"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(expected), "{kind} {spec}: {error}");
    }
}

/// What `kubectl get` prints, with columns apart.
fn table(cluster: &ControlPlane, resource: &str) -> Vec<Vec<String>> {
    let text = cluster.kubectl(&["get", resource]).unwrap();
    text.lines()
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

fn columns_tell_whether_and_why(cluster: &ControlPlane) {
    let key = ObjectKey::new(Kind::VirtualService, "default", "shop");
    let message = diagnoses::SUBSET_NOT_FOUND.message(&key, "spec.http[0]", "no such subset");
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    patch_status(
        cluster,
        "virtualservice/shop",
        &conditions::status_patch(None, 1, &[message], &[], now).unwrap(),
    );
    let [header, row] = table(cluster, "virtualservices").try_into().unwrap();
    assert_eq!(
        header,
        ["NAME", "GATEWAYS", "HOSTS", "READY", "REASON", "AGE"]
    );
    assert_eq!(
        row[..5],
        ["shop", r#"["shop"]"#, r#"["*"]"#, "False", "SubsetNotFound"]
    );
    patch_status(
        cluster,
        "destinationrule/cart",
        &conditions::status_patch(None, 1, &[], &[], now).unwrap(),
    );
    let [header, row] = table(cluster, "destinationrules").try_into().unwrap();
    assert_eq!(header, ["NAME", "HOST", "READY", "REASON", "AGE"]);
    assert_eq!(row[..3], ["cart", "cart", "True"]);
    let [header, row] = table(cluster, "gateways.networking.istio.io")
        .try_into()
        .unwrap();
    assert_eq!(header, ["NAME", "SELECTOR", "READY", "REASON", "AGE"]);
    assert_eq!(row[..2], ["shop", r#"{"istio":"ingressgateway"}"#]);
    cluster
        .kubectl(&[
            "wait",
            "--for=condition=Ready",
            "--timeout=5s",
            "destinationrule/cart",
        ])
        .unwrap();
}

fn status_patch_keeps_what_is_not_ours(cluster: &ControlPlane) {
    let theirs = json!({"status": {"custom": {"a": 1}, "conditions": [
        {"type": "Theirs", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]}});
    patch_status(cluster, "virtualservice/shop", &theirs);
    let before = get(cluster, "virtualservice/shop");
    let now = "2026-01-01T00:00:01Z".parse().unwrap();
    let patch = conditions::status_patch(Some(&before["status"]), 1, &[], &[], now).unwrap();
    patch_status(cluster, "virtualservice/shop", &patch);
    let after = get(cluster, "virtualservice/shop");
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(after["status"]["custom"], json!({"a": 1}));
    let types: Vec<&str> = after["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["type"].as_str())
        .collect();
    assert!(
        types.contains(&"Theirs") && types.contains(&"Ready"),
        "{types:?}"
    );
    assert_eq!(
        conditions::status_patch(Some(&after["status"]), 1, &[], &[], now),
        None
    );
}
