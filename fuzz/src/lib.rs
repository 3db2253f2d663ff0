//! What each fuzz target does with its input, and what must hold whatever the input is.
//!
//! The targets in `fuzz_targets/` hand libFuzzer's inputs over; `tests/fuzz.rs` of the project compiles this file too and
//! hands over the seeds, so that a change of the library can't leave the targets behind.

mod analysis;
mod capture;
mod pods;
mod reviews;
mod settings;

use std::sync::LazyLock;

use json_patch::Patch;
use outrigger::{
    api::mesh::MeshConfig,
    inject::{self, Config, Outcome, Request, patch, surroundings::Surroundings, values::Values},
};
use serde_json::{Value, json};

pub use self::{
    analysis::{analyze, manifests, yaml},
    capture::capture_flags,
    pods::{annotations, probes, proxy_config},
    reviews::admission_review,
    settings::{mesh_config, values},
};

/// A target's body.
pub type Target = fn(&[u8]);

/// Every target by its name; its seeds are in `seeds/` under the same name.
pub const TARGETS: [(&str, Target); 10] = [
    ("admission_review", admission_review),
    ("analyze", analyze),
    ("annotations", annotations),
    ("capture_flags", capture_flags),
    ("manifests", manifests),
    ("mesh_config", mesh_config),
    ("probes", probes),
    ("proxy_config", proxy_config),
    ("values", values),
    ("yaml", yaml),
];

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let values = Values::over_defaults(&Value::Null).expect("the defaults are values");
    Config::new(values, MeshConfig::default(), true).0
});

static NOTHING_AROUND: LazyLock<Surroundings<'static>> = LazyLock::new(Surroundings::default);

/// The pod with its proxy; `None` where it is refused or left alone. What came out must be reached by the patch.
fn injected(config: &Config, pod: &Value) -> Option<Value> {
    let request = Request {
        pod,
        namespace: "default",
        workload: None,
        env: &[],
        surroundings: &NOTHING_AROUND,
    };
    let Ok(Outcome::Injected { pod: injected, .. }) = inject::inject(config, request) else {
        return None;
    };
    let patch = serde_json::to_value(patch::diff(pod, &injected)).expect("a patch is JSON");
    let patch: Patch = serde_json::from_value(patch).expect("it is a JSON patch");
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &patch).expect("the patch applies");
    assert!(patched == injected, "the patch makes another pod");
    Some(injected)
}

/// The same, where injecting the result again must change nothing.
fn injected_for_good(config: &Config, pod: &Value) -> Option<Value> {
    let once = injected(config, pod)?;
    let twice = injected(config, &once);
    assert!(
        twice.as_ref() == Some(&once),
        "injected twice, it is another pod"
    );
    Some(once)
}

/// A pod that asks for nothing special.
fn plain_pod() -> Value {
    json!({
        "metadata": { "name": "p", "labels": { "app": "p" } },
        "spec": { "containers": [{ "name": "app", "image": "x" }] },
    })
}

/// The containers of a pod, init containers first.
fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let list = |name| pod["spec"][name].as_array().into_iter().flatten();
    list("initContainers").chain(list("containers"))
}

fn container<'p>(pod: &'p Value, name: &str) -> Option<&'p Value> {
    containers(pod).find(|container| container["name"] == name)
}

/// The environment of a container whose values stand in the pod: name and value.
fn environment(container: &Value) -> impl Iterator<Item = (&str, &str)> {
    let entries = container["env"].as_array().into_iter().flatten();
    entries.filter_map(|entry| Some((entry["name"].as_str()?, entry["value"].as_str()?)))
}
