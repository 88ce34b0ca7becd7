//! JSON values.

use serde_json::Value;

use super::text::{cut, shown, size};

/// Most of a value that is shown.
const MOST_BYTES: usize = 16 * 1024;

/// A value, indented, cut where it is too long.
pub(crate) fn pretty(value: &Value) -> String {
    let text = match value {
        Value::String(text) if text.contains('\n') => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    let part = cut(&text, MOST_BYTES);
    if part.len() == text.len() { shown(part) } else { format!("{}\n… {} in all", shown(part), size(text.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values() {
        assert_eq!(pretty(&json!({"a": [1]})), "{\n  \"a\": [\n    1\n  ]\n}");
        assert_eq!(pretty(&json!("one\ntwo")), "one\ntwo");
        assert_eq!(pretty(&json!("\u{202e}x")), "\"⟨U+202E⟩x\"");
        assert!(pretty(&json!("x".repeat(20_000))).ends_with("\n… 20.0 kB in all"));
    }
}
