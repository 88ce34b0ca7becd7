//! Dynamic mapping: one task, as many instances as a list has elements.
//!
//! Airflow's `expand`, `expand_kwargs` and `zip`. What a task expands over is known when its
//! upstream has ended; each instance then gets its own arguments, so that nobody reads the whole
//! list again to find one element.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::dag::Dag;
use crate::etl::Manifest;
use crate::operator::{ArgKind, OperatorSpec};

/// Most instances of one mapped task. Airflow's default (`max_map_length`) is 1,024; here an
/// instance is a row, and as many as a DAG may have tasks are no burden.
pub const MAX_MAP_LENGTH: usize = 100_000;

/// The XCom with the rows of a data set, for tasks that are mapped over them.
pub const ROWS: &str = "rows";

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
    /// The data set that a task has left: of a mapped task, those of all its instances.
    DataSet { task_id: String, each: Each },
}

/// What of a data set makes an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Each {
    /// A row, as a mapping.
    Rows,
    /// A partition, as a source that reads it alone. A data set without partitions is one.
    Partitions,
}

impl Source {
    /// The task that it comes from.
    #[must_use]
    pub fn task_id(&self) -> Option<&str> {
        match self {
            Self::Values(_) => None,
            Self::Output { task_id, .. } | Self::DataSet { task_id, .. } => Some(task_id),
        }
    }

    /// As [`Source::task_id`], to be changed.
    pub fn task_id_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Values(_) => None,
            Self::Output { task_id, .. } | Self::DataSet { task_id, .. } => Some(task_id),
        }
    }

    /// The keys of the XComs of that task that are read.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        const RETURN_VALUE: &str = "return_value";
        let (one, other) = match self {
            Self::Values(_) => (None, None),
            Self::Output { key, .. } => (Some(key.as_deref().unwrap_or(RETURN_VALUE)), None),
            Self::DataSet { each: Each::Partitions, .. } => (Some(RETURN_VALUE), None),
            Self::DataSet { each: Each::Rows, .. } => (Some(RETURN_VALUE), Some(ROWS)),
        };
        one.into_iter().chain(other)
    }
}

/// Whether a task of the DAG is mapped over the rows of what `task_id` leaves.
#[must_use]
pub fn rows_are_expanded(dag: &Dag, task_id: &str) -> bool {
    let of_tasks = dag.tasks().iter().filter_map(|task| task.expand.as_ref());
    let is_read =
        |source: &Source| matches!(source, Source::DataSet { task_id: id, each: Each::Rows } if id == task_id);
    of_tasks.chain(dag.spec().mapped_groups.values()).flat_map(Expand::sources).any(is_read)
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
    #[error("task `{task_id}` has left no data set to expand over")]
    NoDataSet { task_id: String },
    #[error(
        "the rows of the data set of `{task_id}` are not there to expand over, or are too large; its log says why, or clear it"
    )]
    NoRows { task_id: String },
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
        Source::DataSet { task_id, each } => {
            let left = read(task_id, "return_value");
            let left = left.ok_or_else(|| ExpandError::NoDataSet { task_id: task_id.clone() })?;
            let values = match each {
                Each::Partitions => partitions(left, task_id)?,
                Each::Rows => rows(left, read(task_id, ROWS), task_id)?,
            };
            return Ok((values, format!("the data set of `{task_id}`")));
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

/// The data sets among what a task, or each of its instances, has returned.
fn manifests(left: Value) -> Option<Vec<Manifest>> {
    let values = if let Value::Array(values) = left { values } else { vec![left] };
    values.into_iter().map(|value| serde_json::from_value(value).ok()).collect()
}

/// A source for each partition.
fn partitions(left: Value, task_id: &str) -> Result<Vec<Value>, ExpandError> {
    let manifests = manifests(left).ok_or_else(|| ExpandError::NoDataSet { task_id: task_id.to_owned() })?;
    let mut found = Vec::new();
    for manifest in manifests {
        if manifest.parts.is_empty() {
            found.push(json!({ "parquet": manifest.location }));
        }
        found.extend(manifest.parts.into_iter().map(|part| json!({ "parquet": part.location })));
    }
    Ok(found)
}

/// The rows of a data set, which its task has passed on, or those that it has returned itself.
fn rows(left: Value, passed_on: Option<Value>, task_id: &str) -> Result<Vec<Value>, ExpandError> {
    let data_sets = manifests(left.clone()).filter(|data_sets| !data_sets.is_empty());
    let values = match (data_sets, passed_on) {
        (None, _) => left,
        (Some(data_sets), passed_on) => {
            let count = data_sets.iter().map(|data_set| data_set.rows).sum::<u64>();
            limit(usize::try_from(count).unwrap_or(usize::MAX))?;
            passed_on.ok_or_else(|| ExpandError::NoRows { task_id: task_id.to_owned() })?
        }
    };
    let Value::Array(values) = values else { return Err(ExpandError::NoDataSet { task_id: task_id.to_owned() }) };
    let mut found = Vec::with_capacity(values.len());
    for value in values {
        match value {
            // Each instance of a mapped task has rows of its own.
            Value::Array(rows) => found.extend(rows),
            row => found.push(row),
        }
    }
    if found.iter().all(Value::is_object) {
        return Ok(found);
    }
    Err(ExpandError::NoDataSet { task_id: task_id.to_owned() })
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
            ("set", "return_value") => Some(manifest(2, true)),
            ("set", "rows") => Some(json!([{"c": "AA"}, {"c": null}])),
            ("sets", "return_value") => Some(json!([manifest(1, false), manifest(1, true)])),
            ("sets", "rows") => Some(json!([[{"c": 1}], [{"c": 2}]])),
            ("old", "return_value") => Some(manifest(1, false)),
            ("large", "return_value") => Some(manifest(200_000, false)),
            _ => None,
        };
        let found = match expand.elements(read) {
            Ok(elements) => json!(elements),
            Err(error) => json!(error.to_string()),
        };
        assert_eq!(&found, expected, "{expand:?}");
    }

    fn manifest(rows: u64, in_parts: bool) -> Value {
        let part = |file: &str| json!({"location": format!("/s/{file}"), "values": {"c": "AA"}, "rows": 1});
        let parts = if in_parts { json!([part("1"), part("2")]) } else { json!([]) };
        let schema = json!([{"name": "c", "type": "string"}]);
        json!({"location": "/s", "format": "parquet", "rows": rows, "bytes": 1, "files": 1, "schema": schema, "parts": parts})
    }

    #[test]
    fn data_sets_by_rows_and_by_partitions() {
        let over =
            |task_id: &str, each: &str| json!({"product": {"x": {"data_set": {"task_id": task_id, "each": each}}}});
        let part = |path: &str| json!({"x": {"parquet": path}});
        check(over("set", "rows"), &json!([{"x": {"c": "AA"}}, {"x": {"c": null}}]));
        check(over("set", "partitions"), &json!([part("/s/1"), part("/s/2")]));
        check(over("sets", "rows"), &json!([{"x": {"c": 1}}, {"x": {"c": 2}}]));
        check(over("sets", "partitions"), &json!([part("/s"), part("/s/1"), part("/s/2")]));
        // Rows that a task has returned itself, which are no data set.
        check(over("rows", "rows"), &json!([{"x": {"x": 1}}, {"x": {"x": 2, "y": 3}}]));
        check(json!({"kwargs": {"data_set": {"task_id": "set", "each": "rows"}}}), &json!([{"c": "AA"}, {"c": null}]));
        check(over("numbers", "rows"), &json!("task `numbers` has left no data set to expand over"));
        check(over("text", "partitions"), &json!("task `text` has left no data set to expand over"));
        check(over("gone", "rows"), &json!("task `gone` has left no data set to expand over"));
        check(over("large", "rows"), &json!("it would have 200000 instances; at most 100000 are allowed"));
        check(
            over("old", "rows"),
            &json!(
                "the rows of the data set of `old` are not there to expand over, or are too large; its log says why, or clear it"
            ),
        );
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
