//! JSON, however deep it is nested.
//!
//! The parser ends at 128 levels, with an error for everything around: one object of a lax schema would hide all others of
//! its list.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// How many levels of an object are read.
pub const LEVELS: usize = 100;

/// What stands for what is nested deeper.
const TOO_DEEP: &str = "nested too deeply to be read";

/// A value of which so many levels are read; a text stands for what is nested deeper.
pub struct Bounded(pub usize);

impl<'de> DeserializeSeed<'de> for Bounded {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.0 == 0 {
            // Skipped without recursion.
            IgnoredAny::deserialize(deserializer)?;
            return Ok(TOO_DEEP.into());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Bounded(self.0 - 1))? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            map.insert(name, members.next_value_seed(Bounded(self.0 - 1))?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str, levels: usize) -> serde_json::Result<Value> {
        let mut parser = serde_json::Deserializer::from_str(text);
        let value = Bounded(levels).deserialize(&mut parser)?;
        parser.end()?;
        Ok(value)
    }

    #[test]
    fn a_text_stands_for_what_is_nested_too_deeply_and_the_rest_is_read() {
        let text = r#"{"a": [[1], 2], "b": {"c": {"d": 3}}, "e": 4}"#;
        let cut = serde_json::json!({"a": [TOO_DEEP, TOO_DEEP], "b": {"c": TOO_DEEP}, "e": 4});
        assert_eq!(read(text, 2).unwrap(), cut);
        for (open, close) in [(r#"{"a":"#, "}"), ("[", "]")] {
            let deep = format!("{}1{}", open.repeat(5000), close.repeat(5000));
            let read = read(&format!(r#"{{"deep": {deep}, "flat": 1}}"#), LEVELS).unwrap();
            assert_eq!(read["flat"], 1);
            assert!(read["deep"].to_string().contains(TOO_DEEP));
        }
    }

    proptest! {
        #[test]
        fn what_is_not_deep_is_read_as_it_is(text in "[\\[\\]{}\",:0-9.eaE -]{0,40}") {
            let whole = serde_json::from_str::<Value>(&text).ok();
            prop_assert_eq!(read(&text, LEVELS).ok(), whole);
        }
    }
}
