//! SQL made of what steps hold.

use datafusion::arrow::datatypes::Schema;

/// A name as SQL takes it, whatever is in it.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// An expression; the bare name of a column means that column also where it is no SQL name.
pub(crate) fn text(expr: &str, schema: &Schema) -> String {
    let trimmed = expr.trim();
    if schema.fields().iter().any(|field| field.name() == trimmed) { quote(trimmed) } else { trimmed.to_owned() }
}

/// `expression asc nulls first` with its expression quoted as needed.
pub(crate) fn sort_key(key: &str, schema: &Schema) -> String {
    let lower = key.trim().to_ascii_lowercase();
    let mut end = lower.len();
    for suffix in [" nulls first", " nulls last"] {
        end = end.min(lower.strip_suffix(suffix).map_or(end, |rest| rest.trim_end().len()));
    }
    for suffix in [" asc", " desc"] {
        end = lower[..end].strip_suffix(suffix).map_or(end, |rest| rest.trim_end().len());
    }
    let key = key.trim();
    if schema.fields().iter().any(|field| field.name() == key) {
        return quote(key);
    }
    format!("{}{}", text(&key[..end], schema), &key[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::{DataType, Field};

    #[test]
    fn columns_are_quoted_and_expressions_are_not() {
        let schema =
            Schema::new(["a", "Größe in m", "x desc"].map(|name| Field::new(name, DataType::Int64, true)).to_vec());
        for (key, expected) in [
            ("a", "\"a\""),
            ("a DESC", "\"a\" DESC"),
            ("a asc nulls first", "\"a\" asc nulls first"),
            ("Größe in m desc", "\"Größe in m\" desc"),
            ("a + 1 desc", "a + 1 desc"),
            ("x desc", "\"x desc\""),
        ] {
            assert_eq!(sort_key(key, &schema), expected, "{key}");
        }
    }
}
