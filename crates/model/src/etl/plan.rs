//! What a data task has done, operator by operator: the XCom `plan`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The key of the XCom with a [`MeasuredPlan`].
pub const PLAN: &str = "plan";

/// What an operator of a plan has done.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Operator {
    pub name: String,
    /// Its columns, conditions and files.
    pub detail: String,
    /// How far it stands below the writer, which is 0; what an operator reads from follows it, one deeper.
    pub depth: usize,
    pub rows_out: u64,
    /// Time of its own work, of all threads together, milliseconds. That of databases includes the wait for them.
    pub elapsed_ms: f64,
    /// Memory that it has reserved at most, bytes; 0 also where it does not say.
    pub memory_bytes: u64,
    pub spilled_bytes: u64,
}

/// What a job has done: the XCom `plan`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct MeasuredPlan {
    /// From the writer down to the sources.
    pub operators: Vec<Operator>,
    /// Rows that came from sources.
    pub rows_in: u64,
    /// Bytes of files that were read, as they lie there.
    pub bytes_in: u64,
    pub seconds: f64,
    /// The most memory that the process has held, bytes.
    pub peak_memory_bytes: u64,
}
