//! What an attempt leaves behind beside its outcome: its arguments as its operator got them, and what it used.

use std::collections::HashMap;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Map, Value};
use towpath_model::dag::Task;
use towpath_model::operator;

use crate::logs::{LogChunk, LogKey};
use crate::records::TaskKey;
use crate::{Result, Store};

/// Arguments are kept for so many of the newest runs of a DAG, and for a run that is worked on now.
pub const RENDERED_RUNS: u32 = 30;
/// Longest text of one argument that is kept, in bytes of JSON; what is longer is cut, as in Airflow.
const FIELD_BYTES: usize = 4_096;
/// Arguments of one attempt that are kept.
const FIELDS: usize = 64;

/// What the processes of an attempt have used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Usage {
    /// Processor time of all of them, milliseconds.
    pub cpu_ms: u64,
    /// The largest memory of any of them; 0 where it was too small to be told from that of the worker.
    pub peak_bytes: u64,
}

/// What an attempt leaves behind beside its outcome.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// Its arguments as its operator got them, secrets masked; [`None`] where they are what the DAG file says.
    pub rendered: Option<Map<String, Value>>,
    /// [`None`] where it had no process of its own.
    pub usage: Option<Usage>,
    /// What `map_index_template` made of it, secrets masked.
    pub map_name: Option<String>,
}

/// The arguments of a try as they are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    pub try_number: u32,
    /// Values, or texts that begin like their JSON where they were too long.
    pub fields: Map<String, Value>,
}

impl Rendered {
    /// The arguments of a try of `task`: those that are `kept` or, where none are, those that the DAG file writes
    /// without a template. Templated arguments only, as in Airflow.
    #[must_use]
    pub fn or_written(kept: Option<Self>, task: &Task) -> Map<String, Value> {
        if let Some(kept) = kept {
            return kept.fields;
        }
        let Some(spec) = operator::find(&task.operator) else { return Map::new() };
        let is_plain = |name: &str, value: &Value| {
            let text = value.to_string();
            let is_template = ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark));
            spec.arg(name).is_some_and(|arg| arg.templated) && !is_template
        };
        let plain = task.args.iter().filter(|(name, value)| is_plain(name, value));
        plain.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// A row of `rendered_fields`; the try is that of the task instance.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RenderedRow {
    pub(crate) run_key: i64,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) dag_id: String,
    pub(crate) fields: String,
}

/// The name of an instance of a mapped task.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct NameRow {
    pub(crate) run_key: i64,
    pub(crate) task_id: String,
    pub(crate) map_index: i32,
    pub(crate) name: String,
}

#[async_trait]
pub(crate) trait EvidenceStatements {
    /// Keeps arguments, and forgets those of older runs of the same DAGs.
    async fn keep_rendered(&mut self, rows: &[RenderedRow]) -> Result<()>;
    async fn name_instances(&mut self, rows: &[NameRow]) -> Result<()>;
}

#[async_trait]
pub(crate) trait EvidenceRows {
    async fn rendered(&self, keys: &[TaskKey]) -> Result<Vec<(TaskKey, Rendered)>>;
    async fn log_sizes(&self, key: &LogKey) -> Result<Vec<(u32, u32)>>;
    async fn usage(&self, key: &TaskKey) -> Result<Option<Usage>>;
}

impl Store {
    /// The chunks at the end of a log that hold its last `lines` lines, and how many lines come before them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn log_end(&self, key: &LogKey, lines: u64) -> Result<(Vec<LogChunk>, u64)> {
        let sizes = self.inner.backend.log_sizes(key).await?;
        let mut before: u64 = sizes.iter().map(|(_, lines)| u64::from(*lines)).sum();
        let end = before;
        let mut from = sizes.len();
        while from > 0 && end - before < lines {
            from -= 1;
            before -= u64::from(sizes[from].1);
        }
        let Some((seq, _)) = sizes.get(from) else { return Ok((Vec::new(), before)) };
        let chunks = u32::try_from(sizes.len() - from).unwrap_or(u32::MAX);
        Ok((self.read_log(key, *seq, chunks).await?, before))
    }

    /// The arguments of the last tries of task instances, as far as they are kept and differ from what the DAG file says.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rendered(&self, keys: &[TaskKey]) -> Result<HashMap<TaskKey, Rendered>> {
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        Ok(self.inner.backend.rendered(keys).await?.into_iter().collect())
    }
}

/// `fields` as they are kept: a few, and none very long.
pub(crate) fn bounded(fields: &Map<String, Value>) -> String {
    let kept: Map<String, Value> = fields.iter().take(FIELDS).map(|(name, value)| (name.clone(), cut(value))).collect();
    // PostgreSQL's text cannot hold a zero byte.
    Value::Object(kept).to_string().replace("\\u0000", "\\ufffd")
}

fn cut(value: &Value) -> Value {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.len() <= FIELD_BYTES {
        return value.clone();
    }
    let mut end = FIELD_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Value::from(format!("{}… ({} bytes in all)", &text[..end], text.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_long_is_cut() {
        let fields = json!({"a": "é".repeat(4_000), "b": [1, {"c": "\u{0}"}], "d": vec![7; 4_000]});
        let kept: Value = serde_json::from_str(&bounded(fields.as_object().unwrap())).unwrap();
        let text = kept["a"].as_str().unwrap();
        assert!(text.len() < FIELD_BYTES + 40 && text.ends_with("é… (8000 bytes in all)"), "{text}");
        assert_eq!(kept["b"], json!([1, {"c": "\u{fffd}"}]));
        assert!(kept["d"].as_str().unwrap().starts_with("[7,7,7"));
    }
}
