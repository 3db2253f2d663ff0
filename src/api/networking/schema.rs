//! JSON schemas that cannot be derived from a field's type, and the rules of Istio's CRDs that they carry.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::status::Generation;
use crate::api::parse::Duration;

/// The shortest duration that Istio accepts where zero has no meaning.
const AT_LEAST_A_MILLISECOND: &str = "duration(self) >= duration('1ms')";

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "x-kubernetes-validations": [
            {"rule": AT_LEAST_A_MILLISECOND, "message": "must be a duration of at least 1ms, such as 1.5s or 1m30s"}
        ]})
    }
}

/// A duration that may be zero.
pub(crate) fn any_duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string"})
}

impl JsonSchema for Generation {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Generation".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true})
    }
}

/// A port number, 1 to 65535, in a member that may be absent.
pub(crate) fn port_number(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 0, "maximum": u32::MAX, "x-kubernetes-validations": [
        {"rule": "0 < self && self <= 65535", "message": "a port is a number from 1 to 65535"}
    ]})
}

/// Port numbers by name.
pub(crate) fn endpoint_ports(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 128, "additionalProperties": port_number(generator), "x-kubernetes-validations": [{
        "rule": "self.all(name, size(name) < 63 && name.matches('^[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?$'))",
        "message": "a port's name has at most 62 letters, digits and '-'"
    }]})
}

/// Hosts of a ServiceEntry.
pub(crate) fn service_entry_hosts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "minItems": 1, "maxItems": 256, "items": {"type": "string", "x-kubernetes-validations": [
        {"rule": "self != '*'", "message": "a host of '*' would take all traffic"}
    ]}})
}

/// Labels of a selector in the form of [`super::WorkloadSelector`].
pub(crate) fn selector_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 256, "additionalProperties": selector_value()})
}

/// Labels of a selector in the form of [`super::LabelWorkloadSelector`].
pub(crate) fn match_labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 4096,
        "additionalProperties": selector_value(),
        "x-kubernetes-validations": [
            {"rule": "self.all(key, size(key) > 0)", "message": "a label's key must not be empty"},
            {"rule": "self.all(key, !key.contains('*'))", "message": "wildcards are not supported in a label's key"}
        ]
    })
}

fn selector_value() -> Schema {
    json_schema!({"type": "string", "maxLength": 63, "x-kubernetes-validations": [
        {"rule": "!self.contains('*')", "message": "wildcards are not supported in a label's value"}
    ]})
}

/// Environment variables of a proxy.
pub(crate) fn environment(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "additionalProperties": {"type": "string", "maxLength": 2048}})
}

/// Any JSON object.
pub(crate) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
