//! What is kept of an object's `status`.

use serde_json::Value;

use super::conditions::{NegativeCondition, negative};
use crate::api::kind::Kind;

/// `status` as it is stored: as text, which takes a fraction of the memory that a tree of it would, and beside it what
/// verdicts may depend on. Large clusters have a status on every object, and it is looked at only to compare it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredStatus {
    text: Box<str>,
    negative: Box<[NegativeCondition]>,
    addresses: Option<Box<Value>>,
}

impl StoredStatus {
    /// The status of an object of this kind, if it has one.
    pub(super) fn of(kind: Kind, object: &Value) -> Option<StoredStatus> {
        let status = object.get("status").filter(|status| !status.is_null())?;
        Some(StoredStatus {
            text: status.to_string().into(),
            negative: negative(kind, Some(status)).into(),
            addresses: status.get("addresses").cloned().map(Box::new),
        })
    }

    /// All of it.
    pub fn read(&self) -> Value {
        // It was written from a value.
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The conditions of others that say that something is wrong; see [`NegativeCondition`].
    pub fn negative(&self) -> &[NegativeCondition] {
        &self.negative
    }

    /// Whether addresses were allocated to the object.
    pub fn has_addresses(&self) -> bool {
        let list = self.addresses.as_ref().and_then(|list| list.as_array());
        list.is_some_and(|list| !list.is_empty())
    }

    /// Whether everything that a verdict may depend on is the same.
    pub(super) fn says_the_same(one: Option<&Self>, other: Option<&Self>) -> bool {
        fn part(status: Option<&StoredStatus>) -> (&[NegativeCondition], Option<&Value>) {
            match status {
                Some(status) => (&status.negative, status.addresses.as_deref()),
                None => (&[], None),
            }
        }
        part(one) == part(other)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(status: &Value) -> Option<StoredStatus> {
        StoredStatus::of(Kind::ServiceEntry, &json!({ "status": status }))
    }

    #[test]
    fn a_status_is_read_as_it_was_stored() {
        let value = json!({"observedGeneration": 3, "conditions": [{"type": "Ready", "message": "\"ü\""}], "n": 1.5});
        assert_eq!(status(&value).unwrap().read(), value);
        assert_eq!(status(&Value::Null), None);
    }

    #[test]
    fn only_addresses_and_what_others_complain_of_matter_to_verdicts() {
        let plain = status(&json!({"conditions": [{"type": "Ready", "status": "True"}]}));
        let complaint = status(&json!({"conditions": [{"type": "Healthy", "status": "False"}]}));
        let addresses = status(&json!({"addresses": [{"value": "240.240.0.1"}]}));
        assert!(StoredStatus::says_the_same(plain.as_ref(), None));
        assert!(!StoredStatus::says_the_same(
            plain.as_ref(),
            complaint.as_ref()
        ));
        assert!(!StoredStatus::says_the_same(
            plain.as_ref(),
            addresses.as_ref()
        ));
        assert!(addresses.unwrap().has_addresses());
        assert_eq!(complaint.unwrap().negative().len(), 1);
    }
}
