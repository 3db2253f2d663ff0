//! Injection of the sidecar: a pod as JSON goes in, the pod with its proxy comes out.
//!
//! Everything works on the JSON itself and never on a typed copy, so fields of a newer Kubernetes survive. The steps
//! and their order are Istio's: decide ([`policy`]), check the pod's annotations, render the templates from the pod
//! as its author wrote it, merge them in, lay the author's own containers on top, then what spans containers
//! (metrics, probes, order) and a note of what was done. Injecting twice changes nothing.

pub mod annotations;
mod cni;
mod context;
pub mod documents;
mod merge;
pub mod namespace;
mod order;
mod overrides;
pub mod patch;
pub mod pod;
pub mod policy;
mod probes;
mod prometheus;
mod status;
mod surprises;
mod template;
pub mod values;
pub mod workload;

use serde_json::{Map, Value, json};

use crate::api::{
    mesh::{MeshConfig, ProxyConfig},
    yaml,
};

pub use self::probes::AgentAnswers;
use self::{
    annotations::InvalidAnnotation,
    context::{Context, PROXY},
    overrides::Overrides,
    pod::{Pod, ShapeError},
    policy::{Decision, Policy, Reason},
    status::Status,
    values::Values,
    workload::Workload,
};

/// Settings of the whole mesh, read once.
#[derive(Debug, Clone)]
pub struct Config {
    /// Values under Istio's Helm keys.
    pub values: Values,
    /// Istio's MeshConfig.
    pub mesh: MeshConfig,
    /// Every kubelet runs native sidecars (Kubernetes 1.33 or newer); a pod's annotation can say otherwise.
    pub native_sidecars: bool,
    /// What the injected agent does for the application.
    pub agent: AgentAnswers,
    policy: Policy,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// In the values.
    #[error("values: {0}")]
    Values(#[from] values::ValuesError),
    /// In the MeshConfig.
    #[error("mesh configuration: {0}")]
    Mesh(String),
}

impl Config {
    /// Reads the settings as the chart wrote them into the configuration of the control plane. Beside them: what was
    /// not understood and has no effect.
    ///
    /// # Errors
    /// A setting has the wrong type.
    pub fn from_json(
        values: &Value,
        mesh: &Value,
        native_sidecars: bool,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        let values = Values::rendered(values)?;
        let mesh = match mesh {
            Value::Object(fields) => MeshConfig::from_fields(fields.clone())
                .map_err(|error| ConfigError::Mesh(error.to_string()))?,
            Value::Null => MeshConfig::default(),
            _ => return Err(ConfigError::Mesh("must be a map".to_owned())),
        };
        Ok(Self::new(values, mesh, native_sidecars))
    }

    /// Puts the settings together. Beside them: what in the settings was not understood and has no effect.
    pub fn new(values: Values, mesh: MeshConfig, native_sidecars: bool) -> (Self, Vec<String>) {
        let webhook = &values.sidecar_injector_webhook;
        let key = |name: &str| format!("sidecarInjectorWebhook.{name}");
        let (never, mut problems) = policy::selectors(
            &key("neverInjectSelector"),
            webhook.never_inject_selector.clone(),
        );
        let (always, more) = policy::selectors(
            &key("alwaysInjectSelector"),
            webhook.always_inject_selector.clone(),
        );
        problems.extend(more);
        let default = match values.global.proxy.auto_inject.as_str() {
            "enabled" => Some(policy::Fallback::Enabled),
            "disabled" => Some(policy::Fallback::Disabled),
            other => {
                problems.push(format!(
                    "global.proxy.autoInject: {other:?} is neither \"enabled\" nor \"disabled\": no pod is injected"
                ));
                None
            }
        };
        let policy = Policy {
            default,
            never,
            always,
        };
        let config = Self {
            values,
            mesh,
            native_sidecars,
            agent: AgentAnswers::BUILT,
            policy,
        };
        (config, problems)
    }

    /// The revision's name as it is shown: `default` for the one without a name.
    pub fn revision(&self) -> &str {
        match self.values.revision.as_str() {
            "" => "default",
            revision => revision,
        }
    }
}

/// A pod to be injected.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The pod, or a pod template.
    pub pod: &'a Value,
    /// Its namespace, where the pod itself does not say.
    pub namespace: &'a str,
    /// The workload it belongs to; `None`: found from the pod's owner.
    pub workload: Option<&'a Workload>,
    /// More environment for the proxy (Istio's path parameters: cluster, network).
    pub env: &'a [(String, String)],
}

/// What became of a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is left alone.
    Skipped {
        /// Why.
        reason: Reason,
        /// For the person whose pod it is.
        warnings: Vec<String>,
    },
    /// It has a proxy.
    Injected {
        /// The whole pod.
        pod: Value,
        /// Why it was injected.
        reason: Reason,
        /// For the person whose pod it is.
        warnings: Vec<String>,
    },
}

/// Why a pod that should be injected cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The pod is no pod.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// Annotations with values that cannot be used; all of them.
    #[error("{}", list(.0))]
    Annotations(Vec<InvalidAnnotation>),
    /// The annotation, or the mesh's setting, names a template that does not exist.
    #[error("{}: {}", annotations::TEMPLATES, .0)]
    Template(#[from] template::UnknownTemplate),
    /// The saved overrides cannot be read.
    #[error("{}", .0)]
    Overrides(String),
    /// The mesh's `defaultConfig` has a field of the wrong type.
    #[error("meshConfig.defaultConfig.{}", .0)]
    MeshConfig(String),
}

impl Error {
    /// A stable word for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Shape(_) => "malformed-pod",
            Self::Annotations(_) => "invalid-annotation",
            Self::Template(_) => "unknown-template",
            Self::Overrides(_) => "invalid-overrides",
            Self::MeshConfig(_) => "invalid-mesh-config",
        }
    }
}

fn list(problems: &[InvalidAnnotation]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

/// Injects the sidecar into a pod, or says why not.
///
/// # Errors
/// The pod should be injected and cannot be: the text is for its author.
pub fn inject(config: &Config, request: Request<'_>) -> Result<Outcome, Error> {
    let pod = Pod::new(request.pod, request.namespace)?;
    let mut warnings = unclear_wish(&pod);
    let Decision { inject, reason } = config.policy.decide(&pod);
    if !inject {
        return Ok(Outcome::Skipped { reason, warnings });
    }
    let before = pod.annotation(annotations::STATUS).map(Status::parse);
    if before.is_some() && pod.annotation(annotations::INJECTED_BY).is_none() {
        warnings.push(format!(
            "left alone: the annotation {} was written by another mesh; remove it, and what it lists, to have \
             the pod injected by Outrigger",
            annotations::STATUS
        ));
        let reason = Reason::ForeignStatus;
        return Ok(Outcome::Skipped { reason, warnings });
    }
    let proxy = check(config, &pod)?;
    let saved =
        overrides::saved(pod.annotation(annotations::OVERRIDES)).map_err(Error::Overrides)?;

    let injected_before = before.clone().unwrap_or_default();
    let authored = overrides::without_injected(request.pod, &injected_before, &saved);
    let authored_view = Pod::new(&authored, request.namespace)?;
    let own_workload;
    let workload = match request.workload {
        Some(workload) => workload,
        None => {
            own_workload = Workload::of(&authored, &authored_view);
            &own_workload
        }
    };
    let context = Context {
        config,
        pod: &authored_view,
        workload,
        proxy: &proxy,
        native: wants_native(config, &pod),
        env: request.env,
    };
    warnings.extend(unusable_user_volumes(&pod));
    warnings.extend(surprises::of(&context));
    let injection = Injection {
        context: &context,
        before,
        saved,
        reason,
    };
    let injected = injection.run(request.pod, &mut warnings)?;
    Ok(Outcome::Injected {
        pod: injected,
        reason,
        warnings,
    })
}

/// The layout: the pod's own wish, which any text but "false" affirms, else what the kubelets can do.
fn wants_native(config: &Config, pod: &Pod<'_>) -> bool {
    pod.annotation(annotations::NATIVE_SIDECAR)
        .map_or(config.native_sidecars, |wish| wish != "false")
}

/// Checks the annotations and reads the proxy's configuration, with all problems in one error.
fn check(config: &Config, pod: &Pod<'_>) -> Result<ProxyConfig, Error> {
    let mut problems = annotations::check(pod);
    let mesh_only = config.mesh.proxy_config(None);
    let mesh_only = mesh_only.map_err(|error| Error::MeshConfig(error.to_string()))?;
    let proxy = match pod.annotation(annotations::PROXY_CONFIG) {
        None => mesh_only,
        Some(text) => yaml::parse_map(text)
            .and_then(|overlay| {
                let proxy = config.mesh.proxy_config(Some(&overlay));
                proxy.map_err(|error| error.to_string())
            })
            .unwrap_or_else(|why| {
                problems.push(InvalidAnnotation {
                    name: annotations::PROXY_CONFIG.to_owned(),
                    value: text.to_owned(),
                    why,
                });
                mesh_only
            }),
    };
    if problems.is_empty() {
        Ok(proxy)
    } else {
        Err(Error::Annotations(problems))
    }
}

fn unclear_wish(pod: &Pod<'_>) -> Vec<String> {
    let wish = pod
        .label(policy::INJECT)
        .or_else(|| pod.annotation(policy::INJECT));
    match wish {
        None | Some("true" | "false" | "") => Vec::new(),
        Some(other) => vec![format!(
            "{}: {other:?} is neither \"true\" nor \"false\" and has no effect",
            policy::INJECT
        )],
    }
}

fn unusable_user_volumes(pod: &Pod<'_>) -> Vec<String> {
    [annotations::USER_VOLUME, annotations::USER_VOLUME_MOUNT]
        .into_iter()
        .filter(|name| {
            pod.annotation(name)
                .is_some_and(|text| template::user_entries(text).is_none())
        })
        .map(|name| {
            format!(
                "{name}: must be a JSON object of objects, by the volume's name; it has no effect"
            )
        })
        .collect()
}

/// One injection, after all decisions.
struct Injection<'a> {
    context: &'a Context<'a>,
    /// What an earlier injection of ours did to this pod.
    before: Option<Status>,
    /// The author's containers that an earlier injection saved.
    saved: Overrides,
    reason: Reason,
}

impl Injection<'_> {
    fn run(&self, original: &Value, warnings: &mut Vec<String>) -> Result<Value, Error> {
        let template = self.render()?;
        let mut pod = original.as_object().cloned().unwrap_or_default();
        if template_puts_proxy_in_init(&template)
            && let Some(Value::Object(spec)) = pod.get_mut("spec")
        {
            overrides::move_proxy_to_init(spec);
        }
        merge::strategic_merge(&mut pod, &template);
        let mut found = Overrides::of(original, &template, self.before.as_ref());
        found.extend(&self.saved);
        let mut metadata = take_object(&mut pod, "metadata");
        let mut notes = take_object(&mut metadata, "annotations");
        let mut spec = take_object(&mut pod, "spec");
        found.apply(&mut spec);
        if !found.is_empty() {
            notes.insert(annotations::OVERRIDES.to_owned(), json!(found.to_json()));
        }
        if self.context.transparent() {
            run_proxy_as_root(&mut spec);
        }
        self.span_containers(&mut notes, &mut spec, warnings)?;
        self.note(&template, &mut notes);
        order::order(
            &mut spec,
            self.context.native,
            self.context.holds_application(),
        );
        metadata.insert("annotations".to_owned(), Value::Object(notes));
        pod.insert("metadata".to_owned(), Value::Object(metadata));
        pod.insert("spec".to_owned(), Value::Object(spec));
        Ok(keep_key_order(original, pod))
    }

    /// Renders the templates that the pod asks for, each from the pod as its author wrote it, into one partial pod.
    fn render(&self) -> Result<Map<String, Value>, Error> {
        let context = self.context;
        let defaults = &context
            .config
            .values
            .sidecar_injector_webhook
            .default_templates;
        let wanted: Vec<&str> = match context.pod.annotation(annotations::TEMPLATES) {
            Some(names) => names.split(',').map(str::trim).collect(),
            None if defaults.is_empty() => vec!["sidecar"],
            None => defaults.iter().map(String::as_str).collect(),
        };
        let mut merged = Map::new();
        for render in template::find(wanted.into_iter())? {
            merge::strategic_merge(&mut merged, &render(context));
        }
        Ok(merged)
    }

    /// What concerns several containers: metrics and probes.
    fn span_containers(
        &self,
        notes: &mut Map<String, Value>,
        spec: &mut Map<String, Value>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Error> {
        let context = self.context;
        let agent_port = context.agent_port();
        let mesh = context.config.mesh.enable_prometheus_merge.unwrap_or(true);
        let merge_metrics = context
            .pod
            .annotation(annotations::MERGE_METRICS)
            .and_then(annotations::go_bool)
            .unwrap_or(mesh);
        if merge_metrics {
            prometheus::merge(context, agent_port, notes, spec)
                .map_err(|problem| Error::Annotations(vec![problem]))?;
        }
        let webhook = &context.config.values.sidecar_injector_webhook;
        let rewrite = context
            .pod
            .annotation(annotations::REWRITE_PROBES)
            .and_then(annotations::go_bool)
            .unwrap_or(webhook.rewrite_app_http_probe);
        // Port 0 is the author's way to say that the agent's port shall not be used.
        let wanted = rewrite && context.pod.annotation(annotations::STATUS_PORT) != Some("0");
        if wanted && probes::proxy_env(spec).is_some() {
            let rewritten = probes::rewrite(spec, agent_port, context.config.agent);
            probes::set_probers(spec, rewritten.probers);
            warnings.extend(rewritten.warnings);
        }
        Ok(())
    }

    /// Writes down what was done.
    fn note(&self, template: &Map<String, Value>, notes: &mut Map<String, Value>) {
        let context = self.context;
        let status = Status::of(template, context.revision());
        notes.insert(annotations::STATUS.to_owned(), json!(status.to_json()));
        let by = json!({
            "rule": self.reason.as_str(),
            "revision": context.revision(),
            "layout": if context.native { "native" } else { "classic" },
        });
        notes.insert(annotations::INJECTED_BY.to_owned(), json!(by.to_string()));
        let webhook = &context.config.values.sidecar_injector_webhook;
        for (name, value) in &webhook.injected_annotations {
            notes.insert(name.clone(), json!(value));
        }
    }
}

fn template_puts_proxy_in_init(template: &Map<String, Value>) -> bool {
    template
        .get("spec")
        .and_then(|spec| spec.get("initContainers")?.as_array())
        .is_some_and(|items| pod::find(items, PROXY).is_some())
}

fn take_object(parent: &mut Map<String, Value>, field: &str) -> Map<String, Value> {
    match parent.get_mut(field).map(Value::take) {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

/// Transparent proxying needs capabilities that only root gets, whatever the pod's author wrote.
fn run_proxy_as_root(spec: &mut Map<String, Value>) {
    for list in overrides::LISTS {
        let Some(Value::Array(items)) = spec.get_mut(list) else {
            continue;
        };
        for item in items.iter_mut().filter(|item| pod::name_of(item) == PROXY) {
            if let Some(security) = item.get_mut("securityContext").filter(|s| s.is_object()) {
                security["runAsUser"] = json!(0);
            }
        }
    }
}

/// The pod's fields in the order in which its author had them; new ones at the end.
fn keep_key_order(original: &Value, mut pod: Map<String, Value>) -> Value {
    let mut ordered = Map::new();
    for key in original.as_object().into_iter().flat_map(Map::keys) {
        if let Some(value) = pod.shift_remove(key) {
            ordered.insert(key.clone(), value);
        }
    }
    ordered.extend(pod);
    Value::Object(ordered)
}

#[cfg(test)]
mod tests;
