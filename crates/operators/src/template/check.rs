//! Arguments after rendering: a template gives text, and the argument may want something else.

use serde_json::{Map, Value};
use towpath_model::duration;
use towpath_model::operator::{ArgKind, OperatorSpec};

use super::Error;

/// Checks what could not be checked when the DAG file was read, and reads numbers, truth values, lists and mappings that
/// templates have written as text.
///
/// # Errors
/// [`Error::Kind`], for the first argument that is not what its operator takes.
pub fn check_rendered(spec: &OperatorSpec, args: &mut Map<String, Value>) -> Result<(), Error> {
    for arg in spec.args.iter().filter(|arg| arg.templated) {
        if let Some(value) = args.get_mut(arg.name).filter(|value| !value.is_null()) {
            convert(arg.kind, arg.name, value)?;
        }
    }
    Ok(())
}

fn convert(kind: ArgKind, place: &str, value: &mut Value) -> Result<(), Error> {
    let expected = match kind {
        ArgKind::Any => return Ok(()),
        ArgKind::Text | ArgKind::Path => "text",
        ArgKind::Bool => "true or false",
        ArgKind::Integer => "a whole number",
        ArgKind::Bytes => "a number of bytes",
        ArgKind::Number => "a number",
        ArgKind::Duration => "a duration such as `30s`",
        ArgKind::TextMap => "a mapping of texts",
        ArgKind::Map => "a mapping",
        ArgKind::TextList => "a list of texts",
        ArgKind::IntegerList => "a list of whole numbers",
        ArgKind::List => "a list",
        ArgKind::Choice(choices) => {
            let known =
                value.as_str().is_some_and(|text| choices.iter().any(|choice| choice.eq_ignore_ascii_case(text)));
            return if known { Ok(()) } else { Err(error(place, &format!("one of {}", choices.join(", ")), value)) };
        }
    };
    if let Some(text) = value.as_str()
        && let Some(read) = read_text(kind, text)
    {
        *value = read;
    }
    let fits = match kind {
        // Native templates give numbers and the like where text is wanted.
        ArgKind::Text | ArgKind::Path => {
            if matches!(value, Value::Number(_) | Value::Bool(_)) {
                *value = Value::String(value.to_string());
            }
            value.is_string()
        }
        ArgKind::Bool => value.is_boolean(),
        ArgKind::Integer => value.is_i64() || value.is_u64(),
        ArgKind::Bytes => value.is_u64(),
        ArgKind::Number | ArgKind::Duration => value.is_number(),
        ArgKind::TextMap => match value {
            Value::Object(map) => {
                for (key, item) in map.iter_mut() {
                    convert(ArgKind::Text, &format!("{place}.{key}"), item)?;
                }
                true
            }
            _ => false,
        },
        ArgKind::Map => value.is_object(),
        ArgKind::TextList | ArgKind::IntegerList => match value {
            Value::Array(items) => {
                let kind = if kind == ArgKind::TextList { ArgKind::Text } else { ArgKind::Integer };
                for (index, item) in items.iter_mut().enumerate() {
                    convert(kind, &format!("{place}[{index}]"), item)?;
                }
                true
            }
            _ => false,
        },
        ArgKind::List => value.is_array(),
        ArgKind::Any | ArgKind::Choice(_) => true,
    };
    if fits { Ok(()) } else { Err(error(place, expected, value)) }
}

/// Text that says a value of `kind`; `None` where it does not, or where text is what is wanted.
fn read_text(kind: ArgKind, text: &str) -> Option<Value> {
    let text = text.trim();
    match kind {
        ArgKind::Bool => match text {
            "true" | "True" => Some(Value::Bool(true)),
            "false" | "False" => Some(Value::Bool(false)),
            _ => None,
        },
        ArgKind::Integer => text.parse::<i64>().ok().map(Value::from),
        ArgKind::Bytes => text.parse::<u64>().ok().map(Value::from),
        ArgKind::Number => text.parse::<f64>().ok().map(Value::from),
        ArgKind::Duration => duration::parse(text).ok().map(|duration| duration.as_secs_f64().into()),
        ArgKind::TextMap | ArgKind::Map | ArgKind::TextList | ArgKind::IntegerList | ArgKind::List => {
            serde_json::from_str(text).ok().filter(|value: &Value| value.is_array() || value.is_object())
        }
        ArgKind::Text | ArgKind::Path | ArgKind::Any | ArgKind::Choice(_) => None,
    }
}

fn error(place: &str, expected: &str, value: &Value) -> Error {
    let found = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => format!("the text `{}`", super::shorten(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    };
    Error::Kind { place: place.to_owned(), expected: expected.to_owned(), found }
}
