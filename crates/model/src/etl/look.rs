//! A look at a data set: its first rows, its columns, what its values are like, and which rows were rejected.
//!
//! Words only. Who reads files is a [`Reader`], which the binary gives to the API and to the pages, so that those need no
//! engine; `store` says what a task instance has left.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{ColumnProfile, Manifest};
use crate::state::TaskState;

/// What stands at the end of a value that is longer than it may be.
pub const CUT: char = '…';

/// How much of a data set is read, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub rows: usize,
    /// All values together, as JSON; a row that goes beyond it is the last one.
    pub bytes: usize,
    /// Characters of one value.
    pub cell_chars: usize,
    pub columns: usize,
}

/// Whose data set it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    pub dag_id: &'a str,
    pub task_id: &'a str,
}

/// A column of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Column {
    pub name: String,
    /// As DAG files and manifests call it: `int64`, `timestamptz`.
    #[serde(rename = "type")]
    pub kind: String,
    /// As SQL calls it: `BIGINT`.
    pub sql: String,
    /// As Arrow calls it, where the file could be asked.
    pub arrow: Option<String>,
    /// Whether the file has room for nulls, where it could be asked.
    pub nullable: Option<bool>,
}

impl Column {
    /// What the manifest alone tells.
    #[must_use]
    pub fn new(name: &str, kind: &str) -> Self {
        Self { name: name.to_owned(), kind: kind.to_owned(), sql: sql(kind), arrow: None, nullable: None }
    }
}

/// Rows of a data set.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    pub columns: Vec<Column>,
    /// The values of each row, in the order of the columns.
    pub rows: Vec<Vec<Value>>,
    /// How many rows there are in all.
    pub total_rows: u64,
    /// Columns that were left out.
    pub columns_left: usize,
    /// Values that were cut, each with [`CUT`] at its end.
    pub values_cut: u64,
}

impl Rows {
    /// Each row as an object.
    #[must_use]
    pub fn objects(&self) -> Vec<Map<String, Value>> {
        let object = |row: &Vec<Value>| {
            let names = self.columns.iter().map(|column| column.name.clone());
            names.zip(row.iter().cloned()).collect()
        };
        self.rows.iter().map(object).collect()
    }
}

/// How often something is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counted {
    pub value: String,
    pub count: u64,
}

/// What the values of a column are like.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ProfiledColumn {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub nulls: u64,
    /// How many different values, nulls aside; exact for small numbers, else within about 2%.
    pub distinct: u64,
    pub min: Option<Value>,
    pub max: Option<Value>,
    /// Of numbers.
    pub mean: Option<f64>,
    /// The most frequent values; none where there are too many different ones.
    pub top: Vec<Counted>,
}

/// What the values of a data set are like, as its manifest tells it.
#[must_use]
pub fn profile(manifest: &Manifest) -> Vec<ProfiledColumn> {
    let column = |field: &super::Field| {
        let ColumnProfile { nulls, distinct, min, max, mean, top } =
            manifest.profile.get(&field.name).cloned().unwrap_or_default();
        let top = top.into_iter().map(|(value, count)| Counted { value, count }).collect();
        let (name, kind) = (field.name.clone(), field.kind.clone());
        ProfiledColumn { name, kind, nulls, distinct, min, max, mean, top }
    };
    manifest.schema.iter().map(column).collect()
}

/// How many rows broke each rule of `validate`, the most first.
#[must_use]
pub fn rules(manifest: &Manifest) -> Vec<Counted> {
    let mut rules: Vec<Counted> =
        manifest.rules.iter().map(|(rule, count)| Counted { value: rule.clone(), count: *count }).collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.count));
    rules
}

/// Reads the files of data sets. It waits for disks: call it where that may be.
pub trait Reader: std::fmt::Debug + Send + Sync {
    /// The first rows.
    ///
    /// # Errors
    /// When the files are not there any more, cannot be read or are none of the DAG's.
    fn head(&self, owner: Owner<'_>, manifest: &Manifest, bounds: &Bounds) -> Result<Rows, Trouble>;

    /// The first rows that `validate` has put aside, each with the rules that it broke in the column `_rejected_by`.
    ///
    /// # Errors
    /// Those of [`Reader::head`].
    fn rejects(&self, owner: Owner<'_>, manifest: &Manifest, bounds: &Bounds) -> Result<Rows, Trouble>;

    /// The columns; without files as the manifest has them.
    ///
    /// # Errors
    /// When the data set is none of the DAG's.
    fn columns(&self, owner: Owner<'_>, manifest: &Manifest) -> Result<Vec<Column>, Trouble>;
}

/// Why there is nothing to look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    #[error("task `{task_id}` of run `{run_id}` has left no data set yet: it is in state `{state}`")]
    NotYet { task_id: String, run_id: String, state: TaskState },
    #[error(
        "task `{task_id}` of run `{run_id}` has left no data set: it ended as `{state}`; its log tells why, and clearing it makes it \
         run again"
    )]
    Ended { task_id: String, run_id: String, state: TaskState },
    #[error(
        "task `{task_id}` of run `{run_id}` has left no data set: extract and transform do, and a Python task that returns a frame"
    )]
    NoDataSet { task_id: String, run_id: String },
    #[error(
        "task `{task_id}` of run `{run_id}` is a load: its rows are in `{place}`, and the task before it has them as a data set"
    )]
    Load { task_id: String, run_id: String, place: String },
    #[error("task `{task_id}` of run `{run_id}` has no measured plan: data tasks have one once they have run")]
    NoPlan { task_id: String, run_id: String },
    #[error(
        "the data set of task `{task_id}` is not there any more (`{location}`): staging is cleaned some time after the end of a run \
         (`data_keep`); clear task `{task_id}`, so that it runs again"
    )]
    Cleaned { task_id: String, location: String },
    #[error(
        "`{location}`, which task `{task_id}` names as its data set, is not in the staging area of its DAG, so it is not read; \
         `data_staging` has to be the same for all processes"
    )]
    Elsewhere { task_id: String, location: String },
    #[error("the data set of task `{task_id}` cannot be read: {reason}; clear task `{task_id}`, so that it runs again")]
    Unreadable { task_id: String, reason: String },
}

/// The SQL name of a type of a manifest; what SQL has no name for stays as it is.
fn sql(kind: &str) -> String {
    let simple = match kind {
        "bool" => "BOOLEAN",
        "int8" => "TINYINT",
        "int16" => "SMALLINT",
        "int32" => "INTEGER",
        "int64" => "BIGINT",
        "uint8" => "TINYINT UNSIGNED",
        "uint16" => "SMALLINT UNSIGNED",
        "uint32" => "INTEGER UNSIGNED",
        "uint64" => "BIGINT UNSIGNED",
        "float32" => "REAL",
        "float64" => "DOUBLE PRECISION",
        "string" => "VARCHAR",
        "binary" => "VARBINARY",
        "date" => "DATE",
        "time" => "TIME",
        "timestamp" => "TIMESTAMP",
        "timestamptz" => "TIMESTAMP WITH TIME ZONE",
        _ => "",
    };
    if !simple.is_empty() {
        return simple.to_owned();
    }
    if let Some(item) = kind.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>')) {
        return format!("{} ARRAY", sql(item));
    }
    kind.strip_prefix("decimal").map_or_else(|| kind.to_uppercase(), |size| format!("DECIMAL{size}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_sql() {
        for (kind, expected) in [
            ("int64", "BIGINT"),
            ("decimal(12, 2)", "DECIMAL(12, 2)"),
            ("list<string>", "VARCHAR ARRAY"),
            ("list<list<date>>", "DATE ARRAY ARRAY"),
            ("timestamptz", "TIMESTAMP WITH TIME ZONE"),
            ("interval", "INTERVAL"),
        ] {
            assert_eq!(sql(kind), expected, "{kind}");
        }
    }

    #[test]
    fn rules_come_with_the_most_broken_first() {
        let manifest = serde_json::json!({
            "location": "/s", "format": "parquet", "rows": 1, "bytes": 1, "files": 1,
            "schema": [{"name": "n", "type": "int64"}, {"name": "s", "type": "string"}],
            "profile": {"n": {"nulls": 1, "distinct": 2, "min": 1, "max": 3, "mean": 2.0, "top": [["3", 2]]}},
            "rules": {"n: ge 0": 2, "s: required": 5},
        });
        let manifest: Manifest = serde_json::from_value(manifest).unwrap();
        let rules: Vec<(String, u64)> = rules(&manifest).into_iter().map(|it| (it.value, it.count)).collect();
        assert_eq!(rules, [("s: required".to_owned(), 5), ("n: ge 0".to_owned(), 2)]);
        let columns = profile(&manifest);
        assert_eq!((columns[0].nulls, columns[0].top[0].count, columns[1].distinct), (1, 2, 0));
    }
}
