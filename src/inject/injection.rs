//! The steps of one injection, after all decisions.

use serde_json::{Map, Value, json};

use super::{
    Error, annotations,
    context::{Context, PROXY},
    merge, order,
    overrides::{self, Overrides},
    pod::{self, Pod},
    policy::Reason,
    probes, prometheus,
    status::Status,
    surprises::{self, Surprise},
};

/// One injection, after all decisions.
pub(super) struct Injection<'a> {
    pub context: &'a Context<'a>,
    /// The pod as its author wrote it, which templates see.
    pub authored: &'a Value,
    /// What an earlier injection of ours did to this pod.
    pub before: Option<Status>,
    /// The author's containers that an earlier injection saved.
    pub saved: Overrides,
    /// Why it is injected.
    pub reason: Reason,
}

/// What the templates made.
struct Merged {
    /// The pod with them.
    pod: Map<String, Value>,
    /// The names of what they alone contain: see [`outline`].
    template: Map<String, Value>,
}

impl Injection<'_> {
    /// The injected pod; what surprises on the way goes to `surprises`.
    ///
    /// # Errors
    /// A template or an annotation cannot be used.
    pub fn run(&self, original: &Value, surprises: &mut Vec<Surprise>) -> Result<Value, Error> {
        let Merged { mut pod, template } = self.merge_templates(original)?;
        let mut found = Overrides::of(original, &template, self.before.as_ref());
        found.extend(&self.saved, &template);
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
        surprises.extend(surprises::of_containers(
            self.context,
            injected_containers(&template, &spec),
        ));
        self.span_containers(&mut notes, &mut spec, surprises)?;
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

    /// Runs the templates that the pod asks for, each from the pod as its author wrote it, and merges them one after the
    /// other into the pod, and into nothing.
    fn merge_templates(&self, original: &Value) -> Result<Merged, Error> {
        let context = self.context;
        let templates = &context.config.templates;
        let chosen = templates.chosen(context.pod.annotation(annotations::TEMPLATES))?;
        let rendered: Vec<Map<String, Value>> = chosen
            .iter()
            .map(|name| templates.render(name, self.authored, context))
            .collect::<Result<_, _>>()?;
        let mut pod = original.as_object().cloned().unwrap_or_default();
        if rendered.iter().any(template_puts_proxy_in_init)
            && let Some(Value::Object(spec)) = pod.get_mut("spec")
        {
            overrides::move_proxy_to_init(spec);
        }
        let mut alone = Map::new();
        for partial in rendered {
            merge::strategic_merge(&mut alone, outline(&partial));
            merge::strategic_merge(&mut pod, partial);
        }
        if chosen.iter().any(|name| templates.is_custom(name)) {
            check_shape(&pod, &chosen)?;
        }
        if chosen.len() > 1 {
            check_names(&alone, &chosen)?;
        }
        Ok(Merged {
            pod,
            template: alone,
        })
    }

    /// What concerns several containers: metrics and probes.
    fn span_containers(
        &self,
        notes: &mut Map<String, Value>,
        spec: &mut Map<String, Value>,
        surprises: &mut Vec<Surprise>,
    ) -> Result<(), Error> {
        let context = self.context;
        let agent_port = context.agent_port();
        let mesh = context.config.mesh.enable_prometheus_merge.unwrap_or(true);
        let merge_metrics = context
            .pod
            .annotation(annotations::MERGE_METRICS)
            .and_then(crate::api::parse::go_bool)
            .unwrap_or(mesh);
        if merge_metrics {
            prometheus::merge(context, agent_port, notes, spec)
                .map_err(|problem| Error::Annotations(vec![problem]))?;
        }
        let webhook = &context.config.values.sidecar_injector_webhook;
        let rewrite = context
            .pod
            .annotation(annotations::REWRITE_PROBES)
            .and_then(crate::api::parse::go_bool)
            .unwrap_or(webhook.rewrite_app_http_probe);
        // Port 0 is the author's way to say that the agent's port shall not be used.
        let wanted = rewrite && context.pod.annotation(annotations::STATUS_PORT) != Some("0");
        if wanted && probes::proxy_env(spec).is_some() {
            let rewritten = probes::rewrite(spec, agent_port);
            probes::set_probers(spec, rewritten.probers);
            surprises.extend(rewritten.surprises);
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

/// A partial pod with nothing but the names in its lists, and the instructions for merging them: enough to tell what
/// several templates together put into a pod, at a fraction of the cost of merging them whole a second time.
fn outline(partial: &Map<String, Value>) -> Map<String, Value> {
    let of_item = |item: &Value| match item {
        Value::Object(fields) => {
            let mut item = merge::directives(fields);
            if let Some(name) = fields.get("name") {
                item.insert("name".to_owned(), name.clone());
            }
            Value::Object(item)
        }
        other => other.clone(),
    };
    let mut outline = merge::directives(partial);
    let spec = match partial.get("spec") {
        Some(Value::Object(spec)) => {
            let mut names = merge::directives(spec);
            for list in pod::NAMED_LISTS {
                let outlined = match spec.get(list) {
                    Some(Value::Array(items)) => items.iter().map(of_item).collect(),
                    Some(other) => other.clone(),
                    None => continue,
                };
                names.insert(list.to_owned(), outlined);
            }
            Value::Object(names)
        }
        Some(other) => other.clone(),
        None => return outline,
    };
    outline.insert("spec".to_owned(), spec);
    outline
}

fn template_puts_proxy_in_init(template: &Map<String, Value>) -> bool {
    template
        .get("spec")
        .and_then(|spec| spec.get("initContainers")?.as_array())
        .is_some_and(|items| pod::find(items, PROXY).is_some())
}

/// Templates of the installation's own may make anything of a pod.
fn check_shape(pod: &Map<String, Value>, templates: &[&str]) -> Result<(), Error> {
    let pod = Value::Object(pod.clone());
    match Pod::new(&pod, "") {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Templated {
            templates: templates.join(", "),
            error,
        }),
    }
}

/// A template for the native layout and one without it put the same container into different lists, which together are
/// no pod.
fn check_names(alone: &Map<String, Value>, templates: &[&str]) -> Result<(), Error> {
    let [init, containers] = overrides::LISTS.map(|list| {
        let items = alone.get("spec").and_then(|spec| spec.get(list));
        items
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
    });
    let mut names = containers.iter().map(pod::name_of);
    match names.find(|name| pod::find(init, name).is_some()) {
        None => Ok(()),
        Some(name) => Err(Error::InBothLists {
            templates: templates.join(", "),
            container: name.to_owned(),
        }),
    }
}

/// The containers that the templates name, as they became.
fn injected_containers<'v>(
    template: &'v Map<String, Value>,
    spec: &'v Map<String, Value>,
) -> impl Iterator<Item = &'v Value> {
    let items = |spec: Option<&'v Value>| spec.and_then(Value::as_array).into_iter().flatten();
    overrides::LISTS.into_iter().flat_map(move |list| {
        let injected = template.get("spec").and_then(|spec| spec.get(list));
        items(injected).filter_map(move |item| {
            items(spec.get(list)).find(|container| pod::name_of(container) == pod::name_of(item))
        })
    })
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
