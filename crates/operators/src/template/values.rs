//! Between JSON, template values and the text that Python would print for them.

use std::fmt;

use minijinja::Value;
use minijinja::value::{Object, ValueKind};
use serde_json::{Map, Number};

use super::dates::{Day, Moment};
use super::delta::Delta;

/// JSON as a template value; mappings keep their order.
pub(super) fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(flag) => Value::from(*flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::from(integer),
            (None, Some(integer)) => Value::from(integer),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text),
        serde_json::Value::Array(items) => items.iter().map(from_json).collect(),
        serde_json::Value::Object(map) => from_map(map),
    }
}

/// A JSON object as a template value.
pub(super) fn from_map(map: &Map<String, serde_json::Value>) -> Value {
    Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), from_json(value))))
}

/// A template value as JSON: what has no counterpart there becomes the text that it prints as.
pub(super) fn to_json(value: &Value) -> Result<serde_json::Value, minijinja::Error> {
    Ok(match value.kind() {
        ValueKind::Undefined | ValueKind::None => serde_json::Value::Null,
        ValueKind::Bool => value.is_true().into(),
        ValueKind::Number => match i64::try_from(value.clone()) {
            Ok(integer) if value.is_integer() => integer.into(),
            _ => match u64::try_from(value.clone()) {
                Ok(integer) if value.is_integer() => integer.into(),
                _ => Number::from_f64(f64::try_from(value.clone())?).map_or(serde_json::Value::Null, Into::into),
            },
        },
        ValueKind::Seq | ValueKind::Iterable => value
            .try_iter()?
            .checked()
            .map(|item| to_json(&item?))
            .collect::<Result<Vec<_>, minijinja::Error>>()?
            .into(),
        ValueKind::Map => {
            let mut map = Map::new();
            for key in value.try_iter()?.checked() {
                let key = key?;
                map.insert(python_str(&key), to_json(&value.get_item(&key)?)?);
            }
            map.into()
        }
        ValueKind::String | ValueKind::Bytes | ValueKind::Plain | ValueKind::Invalid | _ => python_str(value).into(),
    })
}

/// `value` as Python's `str` prints it: Airflow's users rely on `True`, `None` and `['a']`.
pub(super) fn python_str(value: &Value) -> String {
    let mut text = String::new();
    write_str(&mut text, value).expect("writing to a string cannot fail");
    text
}

/// Writes `value` as Python's `str` prints it.
pub(super) fn write_str(out: &mut dyn fmt::Write, value: &Value) -> fmt::Result {
    match value.as_str() {
        Some(text) => out.write_str(text),
        None => write_repr(out, value),
    }
}

fn write_repr(out: &mut dyn fmt::Write, value: &Value) -> fmt::Result {
    match value.kind() {
        ValueKind::None => out.write_str("None"),
        ValueKind::Bool => out.write_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::String => write_quoted(out, value.as_str().unwrap_or_default()),
        ValueKind::Seq => {
            let (open, close) = if value.is_tuple() { ('(', ")") } else { ('[', "]") };
            out.write_char(open)?;
            for (index, item) in value.try_iter().into_iter().flatten().enumerate() {
                out.write_str(if index == 0 { "" } else { ", " })?;
                write_repr(out, &item)?;
            }
            out.write_str(if value.is_tuple() && value.len() == Some(1) { ",)" } else { close })
        }
        ValueKind::Map => {
            out.write_char('{')?;
            for (index, key) in value.try_iter().into_iter().flatten().enumerate() {
                out.write_str(if index == 0 { "" } else { ", " })?;
                write_repr(out, &key)?;
                out.write_str(": ")?;
                write_repr(out, &value.get_item(&key).unwrap_or_default())?;
            }
            out.write_char('}')
        }
        _ => write!(out, "{value}"),
    }
}

/// Python's `repr` of text: single quotes unless that would need an escape that double quotes spare.
fn write_quoted(out: &mut dyn fmt::Write, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.write_char(quote)?;
    for character in text.chars() {
        match character {
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c == quote => write!(out, "\\{c}")?,
            c if c.is_control() && u32::from(c) < 256 => write!(out, "\\x{:02x}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    out.write_char(quote)
}

/// The object of type `T` behind a value.
pub(super) fn object<T: Object + 'static>(value: &Value) -> Option<&T> {
    value.downcast_object_ref::<T>()
}

/// `left + right` or, with `minus`, `left - right`, where a date or a time span takes part.
pub(super) fn date_arithmetic(left: &Value, right: &Value, minus: bool) -> Option<Result<Value, minijinja::Error>> {
    let signed = |delta: &Delta| if minus { delta.negated() } else { *delta };
    if let Some(delta) = object::<Delta>(right) {
        if let Some(moment) = object::<Moment>(left) {
            return Some(moment.plus(signed(delta)).map(Value::from_object));
        }
        if let Some(day) = object::<Day>(left) {
            return Some(day.plus(signed(delta)).map(Value::from_object));
        }
        if let Some(first) = object::<Delta>(left) {
            return Some(first.plus(signed(delta)).map(Value::from_object));
        }
    }
    if minus {
        if let (Some(left), Some(right)) = (object::<Moment>(left), object::<Moment>(right)) {
            return Some(Ok(Value::from_object(left.since(right))));
        }
        if let (Some(left), Some(right)) = (object::<Day>(left), object::<Day>(right)) {
            return Some(Ok(Value::from_object(left.since(right))));
        }
    } else if object::<Delta>(left).is_some() && object::<Delta>(right).is_none() {
        return date_arithmetic(right, left, false);
    }
    None
}
