//! DAGs and runs other than an attempt's own, as its operator sees them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use towpath_model::dag::Dag;
use towpath_model::state::RunState;

/// A DAG in its current version.
#[derive(Debug, Clone)]
pub struct DagStatus {
    pub is_paused: bool,
    pub dag: Arc<Dag>,
}

/// Which run of a DAG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunRef {
    Id(String),
    LogicalDate(DateTime<Utc>),
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStatus {
    /// Its key in the store.
    pub key: i64,
    /// The version of the DAG that it runs, as the store numbers them.
    pub version_id: i64,
    pub run_id: String,
    pub state: RunState,
    /// Who asked for it; for a run that a task has triggered, that is [`RunOrder::origin`].
    pub triggering_user: Option<String>,
}

/// Which tasks of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tasks {
    Ids(Vec<String>),
    /// All that the group has, also in groups inside of it.
    Group(String),
}

/// A run that a task asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOrder {
    pub dag_id: String,
    pub run_id: String,
    /// `None`: a run without one, and without a data interval.
    pub logical_date: Option<DateTime<Utc>>,
    pub conf: Map<String, Value>,
    /// Names the try that asks; the run keeps it as its triggering user.
    pub origin: String,
}

/// What became of a [`RunOrder`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Triggered {
    Created,
    /// The DAG has a run of that id or of that logical date.
    Exists,
    /// There is no such DAG, or it needs what the order does not give; the text says it.
    Refused(String),
}
