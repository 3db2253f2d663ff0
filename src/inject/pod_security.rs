//! Whether a namespace's Pod Security level refuses the injected containers.
//!
//! The API server's Pod Security admission looks at the pod after injection and refuses it as a whole. Its answer
//! reaches the controller that made the pod, so the author of a Deployment sees nothing but missing pods.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    annotations::INTERCEPTION_MODE,
    pod::name_of,
    surprises::{Concern, Surprise},
};

/// The label by which a namespace enforces a level.
pub const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

/// Capabilities that `baseline` lets a container add.
const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Baseline,
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// What the level that a namespace enforces forbids in the injected containers, which stand in a pod with this
/// `spec.securityContext`; `None`: nothing.
pub(super) fn refusal<'v>(
    enforced: &str,
    pod: Option<&Value>,
    injected: impl Iterator<Item = &'v Value>,
) -> Option<Surprise> {
    let level = Level::parse(enforced)?;
    let mut forbidden = String::new();
    for container in injected {
        let reasons = reasons(level, pod, container);
        if !reasons.is_empty() {
            let separator = if forbidden.is_empty() { "" } else { "; " };
            let _ = write!(
                forbidden,
                "{separator}{}: {}",
                name_of(container),
                reasons.join(", ")
            );
        }
    }
    (!forbidden.is_empty()).then(|| {
        let text = format!(
            "no pod will be created: the namespace enforces Pod Security level {:?}, which forbids what is injected \
             ({forbidden}); label the namespace {ENFORCE}=privileged, or let this workload do without capture \
             (annotation {INTERCEPTION_MODE}: NONE) or without sidecar (label sidecar.istio.io/inject: \"false\")",
            level.as_str()
        );
        Surprise::new(Concern::PodSecurity, text)
    })
}

fn reasons(level: Level, pod: Option<&Value>, container: &Value) -> Vec<String> {
    let own = container.get("securityContext");
    let of_container = |field: &str| own?.get(field);
    // A container without a setting of its own has the pod's.
    let effective = |field: &str| of_container(field).or_else(|| pod?.get(field));
    let capabilities = |what: &str| -> Vec<&str> {
        let list = of_container("capabilities").and_then(|lists| lists.get(what)?.as_array());
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    };
    let mut reasons = Vec::new();
    let allowed: &[&str] = match level {
        Level::Baseline => &BASELINE_CAPABILITIES,
        Level::Restricted => &["NET_BIND_SERVICE"],
    };
    let added: Vec<&str> = capabilities("add")
        .into_iter()
        .filter(|capability| !allowed.contains(capability))
        .collect();
    if !added.is_empty() {
        reasons.push(format!("capability {}", added.join(" and ")));
    }
    let is = |field: &str, wanted: bool| of_container(field) == Some(&Value::Bool(wanted));
    if is("privileged", true) {
        reasons.push("privileged".to_owned());
    }
    if level == Level::Baseline {
        return reasons;
    }
    if !is("allowPrivilegeEscalation", false) {
        reasons.push("may escalate privileges".to_owned());
    }
    if !capabilities("drop").contains(&"ALL") {
        reasons.push("keeps capabilities".to_owned());
    }
    let user = effective("runAsUser").and_then(Value::as_u64);
    if user == Some(0) || effective("runAsNonRoot") != Some(&Value::Bool(true)) {
        reasons.push("runs as root".to_owned());
    }
    let profile = effective("seccompProfile").and_then(|profile| profile.get("type")?.as_str());
    if !matches!(profile, Some("RuntimeDefault" | "Localhost")) {
        reasons.push("no seccomp profile (value global.proxy.seccompProfile)".to_owned());
    }
    reasons
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(level: &str, pod: Value, container: Value) -> Option<String> {
        refusal(level, Some(&pod), [container].iter()).map(|surprise| surprise.text)
    }

    #[test]
    fn a_container_without_special_rights_passes_both_levels() {
        let container = json!({ "name": "istio-proxy", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] },
            "runAsNonRoot": true, "runAsUser": 1337,
        }});
        let pod = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
        assert_eq!(text("baseline", json!({}), container.clone()), None);
        assert_eq!(text("restricted", pod, container.clone()), None);
        let without = text("restricted", json!({}), container).unwrap();
        assert!(without.contains("no seccomp profile"), "{without}");
    }

    #[test]
    fn what_capture_needs_is_named_with_the_container() {
        let init = json!({ "name": "istio-init", "securityContext": {
            "capabilities": { "add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"] }, "runAsUser": 0,
        }});
        let baseline = text("baseline", json!({}), init.clone()).unwrap();
        assert!(
            baseline.contains("istio-init: capability NET_ADMIN and NET_RAW)"),
            "{baseline}"
        );
        let restricted = text("restricted", json!({}), init.clone()).unwrap();
        assert!(restricted.contains("runs as root"), "{restricted}");
        assert_eq!(text("privileged", json!({}), init.clone()), None);
        assert_eq!(text("", json!({}), init), None);
    }
}
