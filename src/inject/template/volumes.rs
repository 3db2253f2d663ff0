//! Volumes of the proxy and where they are mounted.

use serde_json::{Map, Value, json};

use crate::inject::{annotations as names, context::Context};

/// A volume, and its mounts in the proxy.
struct Volume {
    name: String,
    /// What the pod's `volumes` gets: everything but the name.
    source: Value,
    /// What the proxy's `volumeMounts` gets: everything but the name; several volumes have none or one.
    mount: Option<Value>,
}

impl Volume {
    fn new(name: &str, source: Value, path: &str) -> Self {
        Self {
            name: name.to_owned(),
            source,
            mount: Some(json!({ "mountPath": path })),
        }
    }
}

/// `volumes` of the pod and `volumeMounts` of the proxy.
pub(super) fn volumes_and_mounts(context: &Context<'_>) -> (Vec<Value>, Vec<Value>) {
    let mut all = common(context);
    all.extend(optional(context));
    all.extend(written_by_user(context));
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    for volume in all {
        if let Some(mount) = volume.mount {
            mounts.push(named(volume.name.clone(), mount));
        }
        if !volume.source.is_null() {
            volumes.push(named(volume.name, volume.source));
        }
    }
    (volumes, mounts)
}

fn named(name: String, rest: Value) -> Value {
    let mut entry = Map::new();
    entry.insert("name".to_owned(), Value::String(name));
    if let Value::Object(rest) = rest {
        entry.extend(rest);
    }
    Value::Object(entry)
}

fn common(context: &Context<'_>) -> Vec<Volume> {
    let audience = &context.config.values.global.sds.token.aud;
    vec![
        // No source: the API server makes an emptyDir of it, and a pod that brings a volume of this name (SPIRE's
        // CSI driver, say) keeps its own.
        Volume::new(
            "workload-socket",
            json!({}),
            "/var/run/secrets/workload-spiffe-uds",
        ),
        Volume::new(
            "credential-socket",
            json!({}),
            "/var/run/secrets/credential-uds",
        ),
        Volume::new(
            "workload-certs",
            json!({}),
            "/var/run/secrets/workload-spiffe-credentials",
        ),
        Volume::new(
            "istio-envoy",
            json!({ "emptyDir": { "medium": "Memory" } }),
            "/etc/istio/proxy",
        ),
        Volume::new(
            "istio-data",
            json!({ "emptyDir": {} }),
            "/var/lib/istio/data",
        ),
        Volume::new(
            "istio-podinfo",
            json!({ "downwardAPI": { "items": [
                { "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } },
                { "path": "annotations", "fieldRef": { "fieldPath": "metadata.annotations" } },
            ]}}),
            "/etc/istio/pod",
        ),
        Volume::new(
            "istio-token",
            json!({ "projected": { "sources": [{ "serviceAccountToken": {
                "audience": audience, "expirationSeconds": 43200, "path": "istio-token",
            }}]}}),
            "/var/run/secrets/tokens",
        ),
        // Optional: there is no certificate authority for workloads yet, and pods must start without it.
        Volume::new(
            "istiod-ca-cert",
            json!({ "configMap": { "name": "istio-ca-root-cert", "optional": true } }),
            "/var/run/secrets/istio",
        ),
    ]
}

fn optional(context: &Context<'_>) -> Vec<Volume> {
    let mut volumes = Vec::new();
    if context.config.values.global.mount_mtls_certs {
        let account = match context.pod.spec_text("serviceAccountName") {
            "" => "default",
            account => account,
        };
        volumes.push(Volume {
            name: "istio-certs".to_owned(),
            source: json!({ "secret": { "optional": true, "secretName": format!("istio.{account}") } }),
            mount: Some(json!({ "mountPath": "/etc/certs/", "readOnly": true })),
        });
    }
    if let Some(name) = context.pod.annotation(names::BOOTSTRAP_OVERRIDE) {
        volumes.push(Volume::new(
            "custom-bootstrap-volume",
            json!({ "configMap": { "name": name } }),
            "/etc/istio/custom-bootstrap",
        ));
    }
    volumes
}

/// Volumes and mounts of the pod's annotations; what is no JSON object was warned about and counts as none.
fn written_by_user(context: &Context<'_>) -> Vec<Volume> {
    let entries = |annotation| user_entries(context.pod.annotation(annotation)?);
    let volumes = entries(names::USER_VOLUME).unwrap_or_default();
    let mounts = entries(names::USER_VOLUME_MOUNT).unwrap_or_default();
    let sources = volumes.into_iter().map(|(name, source)| Volume {
        name,
        source,
        mount: None,
    });
    let mounts = mounts.into_iter().map(|(name, mount)| Volume {
        name,
        source: Value::Null,
        mount: Some(mount),
    });
    sources.chain(mounts).collect()
}

/// A JSON object of objects.
pub(in crate::inject) fn user_entries(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(entries)) if entries.values().all(Value::is_object) => Some(entries),
        _ => None,
    }
}
