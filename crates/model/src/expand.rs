//! Dynamic mapping: one task, as many instances as a list has elements.
//!
//! Airflow's `expand`, `expand_kwargs` and `zip`. What a task expands over is known when its
//! upstream has ended; each instance then gets its own arguments, so that nobody reads the whole
//! list again to find one element.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::operator::{ArgKind, OperatorSpec};

/// Most instances of one mapped task. Airflow's default (`max_map_length`) is 1,024; here an
/// instance is a row, and as many as a DAG may have tasks are no burden.
pub const MAX_MAP_LENGTH: usize = 100_000;

/// What a task is expanded over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expand {
    /// Every combination of the values; the last argument varies fastest.
    Product(IndexMap<String, Source>),
    /// The first values together, then the second ones, as many as the shortest list has.
    Zip(IndexMap<String, Source>),
    /// A list of mappings, each the arguments of an instance.
    Kwargs(Source),
}

/// Where the values come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// They stand in the DAG file.
    Values(Value),
    /// An XCom: of a mapped task, the list of what its instances have returned.
    Output {
        task_id: String,
        /// [`None`]: the returned value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
}

/// Why a task cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    #[error("`{task_id}` has left no XCom `{key}` to expand over")]
    Missing { task_id: String, key: String },
    #[error("cannot expand over {what}, which is {kind}; it has to be a list or a mapping")]
    NotAList { what: String, kind: &'static str },
    #[error("element {index} of {what} is {kind}; `expand_kwargs` takes a list of mappings")]
    NotAMapping { what: String, index: usize, kind: &'static str },
    #[error("it would have {count} instances; at most {MAX_MAP_LENGTH} are allowed")]
    TooMany { count: usize },
}

impl Expand {
    /// All sources, in order.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        let (map, single) = match self {
            Self::Product(map) | Self::Zip(map) => (Some(map), None),
            Self::Kwargs(source) => (None, Some(source)),
        };
        map.into_iter().flat_map(IndexMap::values).chain(single)
    }

    /// The names of the expanded arguments; unknown before the run for [`Expand::Kwargs`].
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let map = match self {
            Self::Product(map) | Self::Zip(map) => Some(map),
            Self::Kwargs(_) => None,
        };
        map.into_iter().flat_map(IndexMap::keys).map(String::as_str)
    }

    /// The arguments of each instance, in the order of map indices. `read` gives the XCom of a task
    /// and a key.
    ///
    /// # Errors
    /// [`ExpandError`].
    pub fn elements(&self, read: impl Fn(&str, &str) -> Option<Value>) -> Result<Vec<Map<String, Value>>, ExpandError> {
        match self {
            Self::Kwargs(source) => {
                let (values, what) = values(source, &read)?;
                limit(values.len())?;
                let mapping = |(index, value): (usize, Value)| match value {
                    Value::Object(map) => Ok(map),
                    other => Err(ExpandError::NotAMapping { what: what.clone(), index, kind: kind(&other) }),
                };
                values.into_iter().enumerate().map(mapping).collect()
            }
            Self::Zip(sources) => {
                let lists = lists(sources, &read)?;
                let count = lists.iter().map(|(_, list)| list.len()).min().unwrap_or(0);
                limit(count)?;
                Ok((0..count)
                    .map(|i| lists.iter().map(|(name, list)| ((*name).clone(), list[i].clone())).collect())
                    .collect())
            }
            Self::Product(sources) => {
                let lists = lists(sources, &read)?;
                let count = lists.iter().map(|(_, list)| list.len()).fold(1_usize, usize::saturating_mul);
                let count = if lists.is_empty() { 0 } else { count };
                limit(count)?;
                Ok((0..count).map(|i| combination(&lists, i)).collect())
            }
        }
    }
}

/// The arguments of a mapped instance: those of the task, with its element. What the operator does
/// not have is a keyword argument of the function, where it calls one.
///
/// # Errors
/// The name that neither has, with the way out.
pub fn apply(
    spec: &OperatorSpec,
    args: &Map<String, Value>,
    element: &Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let mut args = args.clone();
    for (name, value) in element {
        if let Some(arg) = spec.arg(name) {
            // A list of numbers is a list of texts for an argument that takes text.
            let value = match (arg.kind, value) {
                (ArgKind::Text | ArgKind::Path, Value::Number(_) | Value::Bool(_)) => Value::from(value.to_string()),
                _ => value.clone(),
            };
            args.insert(arg.name.to_owned(), value);
        } else if spec.arg("op_kwargs").is_some() {
            let kwargs = args.entry("op_kwargs").or_insert_with(|| Value::Object(Map::new()));
            match kwargs {
                Value::Object(kwargs) => {
                    kwargs.insert(name.clone(), value.clone());
                }
                other => {
                    return Err(format!("`op_kwargs` is {}, not a mapping, so `{name}` cannot be added", kind(other)));
                }
            }
        } else {
            return Err(format!("an operator `{}` has no argument `{name}` to expand", spec.name));
        }
    }
    Ok(args)
}

type List<'a> = (&'a String, Vec<Value>);

fn lists<'a>(
    sources: &'a IndexMap<String, Source>,
    read: &impl Fn(&str, &str) -> Option<Value>,
) -> Result<Vec<List<'a>>, ExpandError> {
    sources.iter().map(|(name, source)| Ok((name, values(source, read)?.0))).collect()
}

/// The combination of that number, counted with the last list as the lowest digit.
fn combination(lists: &[List<'_>], mut number: usize) -> Map<String, Value> {
    let mut picked = vec![0; lists.len()];
    for (digit, (_, list)) in picked.iter_mut().zip(lists).rev() {
        *digit = number % list.len();
        number /= list.len();
    }
    lists.iter().zip(picked).map(|((name, list), at)| ((*name).clone(), list[at].clone())).collect()
}

/// The values of a source, and what to call it. A mapping gives pairs of key and value.
fn values(source: &Source, read: &impl Fn(&str, &str) -> Option<Value>) -> Result<(Vec<Value>, String), ExpandError> {
    let (value, what) = match source {
        Source::Values(value) => (value.clone(), "the given value".to_owned()),
        Source::Output { task_id, key } => {
            let key = key.as_deref().unwrap_or("return_value");
            let missing = || ExpandError::Missing { task_id: task_id.clone(), key: key.to_owned() };
            (read(task_id, key).ok_or_else(missing)?, format!("the XCom `{key}` of `{task_id}`"))
        }
    };
    match value {
        Value::Array(list) => Ok((list, what)),
        Value::Object(map) => {
            Ok((map.into_iter().map(|(key, value)| Value::from(vec![Value::from(key), value])).collect(), what))
        }
        other => Err(ExpandError::NotAList { what, kind: kind(&other) }),
    }
}

fn limit(count: usize) -> Result<(), ExpandError> {
    if count > MAX_MAP_LENGTH { Err(ExpandError::TooMany { count }) } else { Ok(()) }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(expand: Value, expected: &Value) {
        let expand: Expand = serde_json::from_value(expand).unwrap();
        let read = |task: &str, key: &str| match (task, key) {
            ("numbers", "return_value") => Some(json!([1, 2])),
            ("text", "return_value") => Some(json!("abc")),
            ("rows", "return_value") => Some(json!([{"x": 1}, {"x": 2, "y": 3}])),
            ("rows", "mixed") => Some(json!([{"x": 1}, 2])),
            _ => None,
        };
        let found = match expand.elements(read) {
            Ok(elements) => json!(elements),
            Err(error) => json!(error.to_string()),
        };
        assert_eq!(&found, expected, "{expand:?}");
    }

    #[test]
    fn every_form() {
        check(json!({"product": {"x": {"values": [1, 2]}}}), &json!([{"x": 1}, {"x": 2}]));
        check(
            json!({"product": {"a": {"values": [1, 2]}, "b": {"values": ["x", "y"]}}}),
            &json!([{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]),
        );
        check(json!({"product": {"a": {"values": {"k": 1}}}}), &json!([{"a": ["k", 1]}]));
        check(json!({"product": {"a": {"values": []}, "b": {"values": [1]}}}), &json!([]));
        check(
            json!({"zip": {"a": {"output": {"task_id": "numbers"}}, "b": {"values": [7, 8, 9]}}}),
            &json!([{"a": 1, "b": 7}, {"a": 2, "b": 8}]),
        );
        check(json!({"kwargs": {"output": {"task_id": "rows"}}}), &json!([{"x": 1}, {"x": 2, "y": 3}]));
        check(
            json!({"kwargs": {"output": {"task_id": "rows", "key": "mixed"}}}),
            &json!("element 1 of the XCom `mixed` of `rows` is a number; `expand_kwargs` takes a list of mappings"),
        );
        check(
            json!({"product": {"x": {"output": {"task_id": "text"}}}}),
            &json!(
                "cannot expand over the XCom `return_value` of `text`, which is text; it has to be a list or a mapping"
            ),
        );
        check(
            json!({"product": {"x": {"output": {"task_id": "gone"}}}}),
            &json!("`gone` has left no XCom `return_value` to expand over"),
        );
        let many: Vec<usize> = (0..1_000).collect();
        check(
            json!({"product": {"a": {"values": many}, "b": {"values": many}}}),
            &json!("it would have 1000000 instances; at most 100000 are allowed"),
        );
    }
}
