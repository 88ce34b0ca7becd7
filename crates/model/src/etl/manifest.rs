//! What a task says of the data set that it has left: its XCom.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A data set of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The folder that holds it, absolute; its files are read in the order of their names.
    pub location: String,
    /// Always `parquet`.
    pub format: String,
    pub rows: u64,
    pub bytes: u64,
    pub files: u64,
    /// Its columns, in order.
    pub schema: Vec<Field>,
    /// By column.
    #[serde(default)]
    pub profile: IndexMap<String, ColumnProfile>,
    /// Seconds from the start of reading to the end of writing.
    #[serde(default)]
    pub seconds: f64,
    /// How many rows broke each rule of `validate`, by `column: rule`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub rules: IndexMap<String, u64>,
    /// The rows that `validate` has put aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejects: Option<Rejects>,
    /// Its partitions in the order of their values, where it was made with `partition_by`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// The rows of a data set that have the same values in the columns that it is partitioned by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The file with these rows, absolute. It has the columns as well.
    pub location: String,
    /// The values as text, by column.
    pub values: IndexMap<String, Option<String>>,
    pub rows: u64,
}

/// Rows that were put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejects {
    /// A Parquet file with the rows as they came, and a column that lists the rules that each one broke.
    pub location: String,
    pub rows: u64,
}

/// A column of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
}

/// What the values of a column are like.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ColumnProfile {
    pub nulls: u64,
    /// How many different values, nulls aside; exact for small numbers, else within about 2%.
    pub distinct: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    /// Of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// The most frequent values and how often they are there; left out where there are too many different ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<(String, u64)>,
}
