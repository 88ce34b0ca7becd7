//! One text and one hash for each meaning.

use serde::Serialize;
use serde_json::Value;

/// The JSON of `value` with the keys of objects sorted and no white space. Those in the arguments of data tasks stay as they are:
/// the columns that a step makes come in this order, and may be made of each other.
///
/// # Panics
/// When `value` cannot be JSON (a map with keys that are not text); the types of this crate can.
#[must_use]
pub fn json(value: &impl Serialize) -> String {
    let mut tree = serde_json::to_value(value).expect("types of the model serialize to JSON");
    sort(&mut tree);
    tree.to_string()
}

fn sort(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(sort),
        Value::Object(object) => {
            let operator = object.get("operator").and_then(Value::as_str);
            let is_data_task = operator.is_some_and(|name| matches!(name, "extract" | "transform" | "load"));
            object.sort_keys();
            object.iter_mut().filter(|(key, _)| !(is_data_task && *key == "args")).for_each(|(_, value)| sort(value));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The first 128 bits of BLAKE3 over [`json`], in hexadecimal.
#[must_use]
pub fn hash(value: &impl Serialize) -> String {
    blake3::hash(json(value).as_bytes()).to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn keys_of_data_tasks_keep_their_order() {
        for (value, expected) in [
            (json!({"b": [{"z": 1, "a": 2}], "a": 1}), r#"{"a":1,"b":[{"a":2,"z":1}]}"#),
            (json!({"operator": "bash", "args": {"z": 1, "a": 2}}), r#"{"args":{"a":2,"z":1},"operator":"bash"}"#),
            (
                json!({"operator": "load", "args": {"z": {"y": 1, "x": 2}, "a": 2}}),
                r#"{"args":{"z":{"y":1,"x":2},"a":2},"operator":"load"}"#,
            ),
        ] {
            assert_eq!(super::json(&value), expected);
        }
    }
}
