//! `status` of Istio's objects.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::message::{enums, messages};

messages! {
    /// Status of an object: what the control plane found, for people and for tools to read.
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub struct IstioStatus {
        /// Conditions by type; `Ready` sums up the others.
        #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
        pub conditions: Vec<IstioCondition>,
        /// Messages of the analysis.
        pub validation_messages: Vec<AnalysisMessageBase>,
        /// Generation of the object that the status is about.
        pub observed_generation: Option<Generation>,
    }

    /// One condition.
    #[schemars(extend("required" = ["type"]))]
    pub struct IstioCondition {
        /// What the condition is about.
        pub r#type: String,
        /// `True`, `False` or `Unknown`.
        pub status: String,
        /// When it was last probed; not used.
        #[schemars(extend("format" = "date-time"))]
        pub last_probe_time: Option<String>,
        /// When `status` last changed.
        #[schemars(extend("format" = "date-time"))]
        pub last_transition_time: Option<String>,
        /// One CamelCase word for programs.
        pub reason: String,
        /// Text for people.
        pub message: String,
        /// Generation of the object that the condition is about.
        pub observed_generation: Option<Generation>,
    }

    /// One message of the analysis.
    pub struct AnalysisMessageBase {
        /// What it is about.
        pub r#type: Option<AnalysisMessageType>,
        /// How grave it is.
        pub level: AnalysisMessageLevel,
        /// Where it is explained.
        pub documentation_url: String,
    }

    /// What a message is about.
    pub struct AnalysisMessageType {
        /// CamelCase name.
        pub name: String,
        /// Code, such as `IST0101`.
        pub code: String,
    }
}

enums! {
    /// How grave a message is.
    pub enum AnalysisMessageLevel {
        /// Not given.
        #[default]
        Unknown,
        /// The object does not do what it says.
        Error,
        /// It may not do what was meant.
        Warning,
        /// Worth knowing.
        Info,
    }
}

/// A generation as it stands in a status: a number, or (protobuf's JSON for 64 bits) a string of digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Generation(pub i64);

impl<'de> Deserialize<'de> for Generation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let number = match &value {
            Value::String(text) => text.parse().ok(),
            other => other.as_i64(),
        };
        number.map(Generation).ok_or_else(|| {
            serde::de::Error::custom(format!("a generation is a whole number, not {value}"))
        })
    }
}
