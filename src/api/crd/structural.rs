//! Rewriting of derived JSON schemas into the structural form that the API server asks for.

use serde_json::{Map, Value, json};

/// Members that mean nothing to the API server, or that it refuses.
const DROPPED: [&str; 4] = ["$schema", "title", "default", "definitions"];

/// Rewrites a schema and all schemas within:
/// - `null` is no type of its own (an absent member is not sent; `nullable` says where `null` is welcome);
/// - enumerations are `enum`, the meaning of their values goes into the description;
/// - `x-one-of` (groups of members, at most one of each group is set) becomes `oneOf`;
/// - the integer formats of Rust, which the API server does not know, become bounds.
pub(super) fn rewrite(schema: Value) -> Value {
    let Value::Object(mut schema) = schema else {
        return schema;
    };
    for name in DROPPED {
        schema.remove(name);
    }
    drop_null(&mut schema);
    enumerate(&mut schema);
    expand_one_of(&mut schema);
    bound_integers(&mut schema);
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = unwrap_lines(description);
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for member in properties.values_mut() {
            *member = rewrite(member.take());
        }
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(name) {
            *inner = rewrite(inner.take());
        }
    }
    Value::Object(schema)
}

/// `Option<T>` is derived as `[T, null]`; what remains is T with the member's own description.
fn drop_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    let is_null = |alternative: &Value| alternative["type"] == "null";
    let Some(Value::Array(alternatives)) = schema.get_mut("anyOf") else {
        return;
    };
    if !alternatives.iter().any(is_null) {
        return;
    }
    alternatives.retain(|alternative| !is_null(alternative));
    if let [Value::Object(only)] = alternatives.as_mut_slice() {
        let only = std::mem::take(only);
        schema.remove("anyOf");
        for (name, value) in only {
            schema.entry(name).or_insert(value);
        }
    }
}

/// Documented variants are derived as `oneOf` constants.
fn enumerate(schema: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = schema.get("oneOf") else {
        return;
    };
    let constants: Option<Vec<&Value>> = variants
        .iter()
        .map(|variant| variant.get("const"))
        .collect();
    let Some(constants) = constants else { return };
    let meanings: Vec<String> = variants
        .iter()
        .filter_map(|variant| {
            Some(format!(
                "{}: {}",
                variant["const"].as_str()?,
                unwrap_lines(variant["description"].as_str()?)
            ))
        })
        .collect();
    let values = json!(constants);
    let description = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let description = format!("{}\n\n{}", unwrap_lines(description), meanings.join("\n\n"));
    schema.remove("oneOf");
    schema.insert("type".to_owned(), json!("string"));
    schema.insert("enum".to_owned(), values);
    schema.insert("description".to_owned(), json!(description));
}

fn expand_one_of(schema: &mut Map<String, Value>) {
    let Some(Value::Array(groups)) = schema.remove("x-one-of") else {
        return;
    };
    let one_of = |group: &Value| {
        let each: Vec<Value> = group
            .as_array()
            .into_iter()
            .flatten()
            .map(|name| json!({"required": [name]}))
            .collect();
        let mut alternatives = vec![json!({"not": {"anyOf": each}})];
        alternatives.extend(each);
        json!(alternatives)
    };
    if let [group] = groups.as_slice() {
        schema.insert("oneOf".to_owned(), one_of(group));
    } else {
        let all: Vec<Value> = groups
            .iter()
            .map(|group| json!({"oneOf": one_of(group)}))
            .collect();
        schema.insert("allOf".to_owned(), json!(all));
    }
}

fn bound_integers(schema: &mut Map<String, Value>) {
    let maximum = match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => Some(u32::MAX),
        Some("uint64") => None,
        _ => return,
    };
    schema.remove("format");
    schema.entry("minimum").or_insert(json!(0));
    if let Some(maximum) = maximum {
        schema.entry("maximum").or_insert(json!(maximum));
    }
}

/// Joins the lines of each paragraph; paragraphs stay apart.
fn unwrap_lines(text: &str) -> String {
    let paragraphs = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_message_becomes_the_message_with_the_members_description() {
        let derived = json!({"description": "own", "anyOf": [{"type": "object", "description": "type's", "properties": {}}, {"type": "null"}]});
        assert_eq!(
            rewrite(derived),
            json!({"description": "own", "type": "object", "properties": {}})
        );
        assert_eq!(
            rewrite(json!({"type": ["string", "null"], "default": null})),
            json!({"type": "string"})
        );
    }

    #[test]
    fn documented_variants_become_an_enum() {
        let derived = json!({"description": "Mode.", "oneOf": [
            {"type": "string", "const": "A", "description": "first\none"}, {"type": "string", "const": "B", "description": "second"},
        ]});
        let expected = json!({"description": "Mode.\n\nA: first one\n\nB: second", "type": "string", "enum": ["A", "B"]});
        assert_eq!(rewrite(derived), expected);
    }

    #[test]
    fn groups_of_which_one_member_is_set_become_one_of() {
        let none_of = |names: [&str; 2]| json!({"not": {"anyOf": [{"required": [names[0]]}, {"required": [names[1]]}]}});
        let one = rewrite(json!({"type": "object", "x-one-of": [["a", "b"]]}));
        assert_eq!(
            one["oneOf"],
            json!([none_of(["a", "b"]), {"required": ["a"]}, {"required": ["b"]}])
        );
        let two = rewrite(json!({"type": "object", "x-one-of": [["a", "b"], ["c", "d"]]}));
        assert_eq!(two["allOf"][1]["oneOf"][0], none_of(["c", "d"]));
        assert_eq!(two.get("x-one-of"), None);
    }

    #[test]
    fn integer_formats_become_bounds() {
        let small = json!({"type": "integer", "minimum": 1, "maximum": 4_294_967_295_u32});
        assert_eq!(
            rewrite(json!({"type": "integer", "format": "uint32", "minimum": 1})),
            small
        );
        assert_eq!(
            rewrite(json!({"type": "integer", "format": "uint64"})),
            json!({"type": "integer", "minimum": 0})
        );
        assert_eq!(
            rewrite(json!({"type": "integer", "format": "int32"})),
            json!({"type": "integer", "format": "int32"})
        );
    }
}
