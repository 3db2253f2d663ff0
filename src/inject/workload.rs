//! What a pod belongs to: the workload whose name people know, found from the pod alone.

use serde_json::Value;

use super::pod::Pod;

/// The workload of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// `apiVersion` of the workload.
    pub api_version: String,
    /// `kind` of the workload.
    pub kind: String,
    /// Its name; empty where the pod has neither a name nor an owner.
    pub name: String,
}

impl Workload {
    /// The workload of a pod as the webhook sees it. Looks through the owners that controllers put between
    /// (ReplicaSet, ReplicationController, Job), which their naming gives away, as Istio does; no call is made.
    pub fn of(pod: &Value, view: &Pod<'_>) -> Self {
        Self::owner(pod, view).unwrap_or_else(|| Self {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: pod_name(pod, view),
        })
    }

    fn owner(pod: &Value, view: &Pod<'_>) -> Option<Self> {
        let generated = text(pod, "/metadata/generateName");
        if generated.is_empty() {
            return None;
        }
        let owner = controller(pod)?;
        let (name, kind) = (text(owner, "/name"), text(owner, "/kind"));
        let behind = match kind {
            "ReplicaSet" => replica_set_owner(name, view),
            "ReplicationController" => view
                .label("deploymentconfig")
                .map(|name| ("apps.openshift.io/v1", "DeploymentConfig", name)),
            "Job" => cron_job_name(name).map(|name| ("batch/v1", "CronJob", name)),
            _ => None,
        };
        let (api_version, kind, name) = behind.unwrap_or((text(owner, "/apiVersion"), kind, name));
        Some(Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// The owner reference of the pod's controller.
pub fn controller(pod: &Value) -> Option<&Value> {
    pod.pointer("/metadata/ownerReferences")?
        .as_array()?
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool) == Some(true))
}

fn pod_name(pod: &Value, view: &Pod<'_>) -> String {
    if view.name().is_empty() {
        text(pod, "/metadata/generateName")
            .trim_end_matches('-')
            .to_owned()
    } else {
        view.name().to_owned()
    }
}

/// The name of a ReplicaSet ends in the hash that its pods carry as a label.
fn replica_set_owner<'n>(
    name: &'n str,
    view: &Pod<'_>,
) -> Option<(&'static str, &'static str, &'n str)> {
    let without = |label: &str| {
        let hash = view.label(label).filter(|hash| !hash.is_empty())?;
        name.strip_suffix(hash)?.strip_suffix('-')
    };
    without("pod-template-hash")
        .map(|name| ("apps/v1", "Deployment", name))
        .or_else(|| {
            without("rollouts-pod-template-hash")
                .map(|name| ("argoproj.io/v1alpha1", "Rollout", name))
        })
}

/// A Job of a CronJob is named after it and the minute: `name-` and 8 to 10 digits.
fn cron_job_name(job: &str) -> Option<&str> {
    let (name, minute) = job.rsplit_once('-')?;
    let is_minute =
        (8..=10).contains(&minute.len()) && minute.bytes().all(|byte| byte.is_ascii_digit());
    (is_minute && !name.is_empty()).then_some(name)
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(generate_name: &str, labels: Value, owner: Value) -> String {
        let pod = json!({
            "metadata": { "generateName": generate_name, "labels": labels, "ownerReferences": [owner] },
            "spec": {},
        });
        let workload = Workload::of(&pod, &Pod::new(&pod, "").unwrap());
        format!(
            "{} {} {}",
            workload.api_version, workload.kind, workload.name
        )
    }

    #[test]
    fn owners_in_between_are_looked_through() {
        let owner = |kind: &str, name: &str| json!({ "controller": true, "apiVersion": "x/v1", "kind": kind, "name": name });
        let hash = json!({ "pod-template-hash": "5f6d" });
        assert_eq!(
            of("web-5f6d-", hash, owner("ReplicaSet", "web-5f6d")),
            "apps/v1 Deployment web"
        );
        assert_eq!(
            of("web-", json!({}), owner("ReplicaSet", "web")),
            "x/v1 ReplicaSet web"
        );
        assert_eq!(
            of("tick-", json!({}), owner("Job", "tick-28912345")),
            "batch/v1 CronJob tick"
        );
        assert_eq!(
            of("tick-", json!({}), owner("Job", "tick-2")),
            "x/v1 Job tick-2"
        );
        assert_eq!(
            of("db-", json!({}), owner("StatefulSet", "db")),
            "x/v1 StatefulSet db"
        );
    }
}
