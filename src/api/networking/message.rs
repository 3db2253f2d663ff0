//! What the messages of an API have in common: how they are declared, decoded and described in a schema.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::api::kind::Kind;
use crate::api::strict::Strict;

/// Declares messages with protobuf's JSON mapping: members in camelCase; absent, `null` and default are one; defaults
/// are left out when written.
macro_rules! messages {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident: $type:ty, )*
        }
    )*) => {$(
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase", default)]
        $(#[$meta])*
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(
                    deserialize_with = "crate::api::networking::message::null_is_default",
                    skip_serializing_if = "crate::api::networking::message::is_default"
                )]
                pub $field: $type,
            )*
        }
    )*};
}
pub(crate) use messages;

/// Declares enumerations by their protobuf value names (`DoNotUpgrade` is `DO_NOT_UPGRADE`).
macro_rules! enums {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $(#[$value_meta:meta])* $value:ident, )*
        }
    )*) => {$(
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
        $(#[$meta])*
        pub enum $name {
            $( $(#[$value_meta])* $value, )*
        }
    )*};
}
pub(crate) use enums;

/// The spec of one kind of object.
pub trait Spec:
    Serialize + DeserializeOwned + JsonSchema + Clone + Default + Send + Sync + 'static
{
    /// The kind it belongs to.
    const KIND: Kind;
}

/// Why a spec could not be read at all: a wrong type, an unknown enum value, a malformed duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {text}")]
pub struct DecodeError {
    /// The field, from the object's root: `spec.http[0].timeout`.
    pub path: String,
    /// What is wrong and what would be right.
    pub text: String,
}

/// Reads `spec` of an object; an absent one reads as empty.
pub fn decode<S: Spec>(object: &Value) -> Result<S, DecodeError> {
    decode_spec(object)
}

/// As [`decode`], for kinds that are not Istio's too.
pub(crate) fn decode_spec<S: DeserializeOwned + Default>(object: &Value) -> Result<S, DecodeError> {
    decode_at(object, "spec")
}

/// As [`decode_spec`], for kinds that say what they say in another member than `spec`.
pub(crate) fn decode_at<S: DeserializeOwned + Default>(
    object: &Value,
    member: &str,
) -> Result<S, DecodeError> {
    let value = match object.get(member) {
        None | Some(Value::Null) => return Ok(S::default()),
        Some(value) => value,
    };
    serde_path_to_error::deserialize(Strict(value)).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "." => member.to_owned(),
            inner if inner.starts_with('[') => format!("{member}{inner}"),
            inner => format!("{member}.{inner}"),
        };
        DecodeError {
            path,
            text: error.into_inner().to_string(),
        }
    })
}

/// Reads a field that the API server may write as `null`.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::networking::{
        ClientTLSmode, DestinationRuleSpec, SimpleLB, VirtualServiceSpec,
    };

    #[test]
    fn absent_null_and_default_members_are_one() {
        let written = json!({"spec": {"hosts": ["a"], "http": [{"match": null, "timeout": null, "retries": {"attempts": 0}}], "tls": []}});
        let bare = json!({"spec": {"hosts": ["a"], "http": [{"retries": {}}]}});
        let spec = decode::<VirtualServiceSpec>(&written).unwrap();
        assert_eq!(spec, decode(&bare).unwrap());
        assert_eq!(serde_json::to_value(spec).unwrap(), bare["spec"]);
        assert_eq!(
            decode::<VirtualServiceSpec>(&json!({"spec": null})),
            Ok(VirtualServiceSpec::default())
        );
        assert_eq!(
            decode::<VirtualServiceSpec>(&json!({})),
            Ok(VirtualServiceSpec::default())
        );
    }

    #[test]
    fn unknown_members_are_passed_over() {
        assert!(
            decode::<VirtualServiceSpec>(&json!({"spec": {"hosts": ["a"], "fancy": {"new": 1}}}))
                .is_ok()
        );
    }

    #[test]
    fn enums_take_protobuf_names() {
        let spec: DestinationRuleSpec = decode(&json!({"spec": {"host": "a", "trafficPolicy": {
            "tls": {"mode": "ISTIO_MUTUAL"}, "loadBalancer": {"simple": "LEAST_REQUEST"}, "outlierDetection": {"consecutive5xxErrors": 7},
        }}}))
        .unwrap();
        let policy = spec.traffic_policy.unwrap();
        assert_eq!(policy.tls.unwrap().mode, ClientTLSmode::IstioMutual);
        assert_eq!(
            policy.load_balancer.unwrap().simple,
            Some(SimpleLB::LeastRequest)
        );
        assert_eq!(
            policy.outlier_detection.unwrap().consecutive_5xx_errors,
            Some(7)
        );
    }

    #[test]
    fn what_cannot_be_decoded_is_named_by_its_path() {
        for (spec, path, text) in [
            (
                json!({"http": [{"timeout": "5"}]}),
                "spec.http[0].timeout",
                "\"5\" is not a duration",
            ),
            (
                json!({"http": [{"match": [{"uri": "/a"}]}]}),
                "spec.http[0].match[0].uri",
                "invalid type: string",
            ),
            (json!({"hosts": "a"}), "spec.hosts", "invalid type: string"),
            (
                json!({"http": [{"route": [{"destination": ["reviews"]}]}]}),
                "spec.http[0].route[0].destination",
                "invalid type: sequence",
            ),
            (json!(["reviews"]), "spec", "invalid type: sequence"),
            (
                json!({"http": [{"redirect": {"derivePort": "X"}}]}),
                "spec.http[0].redirect.derivePort",
                "unknown variant `X`, expected",
            ),
        ] {
            let error = decode::<VirtualServiceSpec>(&json!({"spec": spec})).unwrap_err();
            assert_eq!(error.path, path, "{error}");
            assert!(error.text.contains(text), "{error}");
        }
    }
}
