//! Injection as a whole: goldens of typical pods, and pods that nobody should write.

mod around;
mod explain;
mod goldens;
mod robustness;

mod templates;

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{annotations, policy::Reason, surroundings::Surroundings, values::Values, *};
use crate::api::mesh::MeshConfig;

static NOTHING_AROUND: LazyLock<Surroundings<'static>> = LazyLock::new(Surroundings::default);

fn config_of(values: Value, mesh: Value, native: bool) -> Config {
    let values = Values::over_defaults(&values).unwrap();
    let mesh = MeshConfig::from_fields(mesh.as_object().cloned().unwrap_or_default()).unwrap();
    let (config, problems) = Config::new(values, mesh, native);
    assert!(problems.is_empty(), "{problems:?}");
    config
}

fn config() -> Config {
    // A tag of its own, so that the goldens do not change with the version.
    let values = json!({ "global": { "hub": "registry.test/mesh", "tag": "1" } });
    config_of(values, Value::Null, true)
}

fn request(pod: &Value) -> Request<'_> {
    Request {
        pod,
        namespace: "default",
        workload: None,
        env: &[],
        surroundings: &NOTHING_AROUND,
    }
}

/// Injects a pod that must be injected; injecting the result again must change nothing.
fn injected(config: &Config, pod: &Value) -> Value {
    let once = match inject(config, request(pod)).unwrap() {
        Outcome::Injected { pod, .. } => pod,
        Outcome::Skipped { reason, .. } => panic!("skipped: {reason}"),
    };
    match inject(config, request(&once)).unwrap() {
        Outcome::Injected { pod: twice, .. } => assert_eq!(twice, once, "injected twice"),
        Outcome::Skipped { reason, .. } => panic!("skipped the second time: {reason}"),
    }
    once
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    let items = pod["spec"][list].as_array();
    items
        .into_iter()
        .flatten()
        .map(|item| pod::name_of(item).to_owned())
        .collect()
}

fn texts(surprises: &[Surprise]) -> Vec<String> {
    surprises
        .iter()
        .map(|surprise| surprise.text.clone())
        .collect()
}
