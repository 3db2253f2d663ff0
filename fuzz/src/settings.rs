//! Settings of the mesh: whatever they are, they are refused with a reason or a pod can be injected with them.

use std::str;

use outrigger::{
    api::{mesh::MeshConfig, yaml},
    inject::{Config, values::Values},
    world::Settings,
};
use serde_json::Value;

use super::{injected, plain_pod};

/// The input is the YAML of a MeshConfig.
pub fn mesh_config(input: &[u8]) {
    let Some(fields) = map(input) else { return };
    let _ = Settings::of_mesh_config(&Value::Object(fields.clone()));
    let values = Values::over_defaults(&Value::Null).expect("the defaults are values");
    if let Ok(mesh) = MeshConfig::from_fields(fields) {
        try_out(values, mesh);
    }
}

/// The input is the YAML of the chart's values.
pub fn values(input: &[u8]) {
    let Some(fields) = map(input) else { return };
    let written = Value::Object(fields);
    for values in [Values::over_defaults(&written), Values::rendered(&written)] {
        match values {
            Ok(values) => try_out(values, MeshConfig::default()),
            Err(error) => assert!(!error.problem.is_empty()),
        }
    }
}

fn map(input: &[u8]) -> Option<serde_json::Map<String, Value>> {
    yaml::parse_map(str::from_utf8(input).ok()?).ok()
}

fn try_out(values: Values, mesh: MeshConfig) {
    let (mut config, _) = Config::new(values, mesh, true);
    injected(&config, &plain_pod());
    config.native_sidecars = false;
    injected(&config, &plain_pod());
}
