//! What a test file says, as data.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use towpath_model::connection::Connection;
use towpath_model::dag::Dag;
use towpath_model::state::{RunState, TaskState};

/// One test of a DAG.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    /// Its line in the test file, from 1.
    pub line: u32,
    pub dag: Arc<Dag>,
    pub given: Given,
    /// How the attempts of a task end, in order; the last one stands for all that follow. Tasks that are not
    /// there succeed.
    pub mocks: BTreeMap<String, Vec<Mock>>,
    pub expect: Expect,
}

/// What the run finds.
#[derive(Debug, Clone, Default)]
pub struct Given {
    pub logical_date: LogicalDate,
    /// What the clock shows when the run is created; `None`: the time at which it is due.
    pub now: Option<DateTime<Utc>>,
    /// Configuration of the run, params included.
    pub conf: Map<String, Value>,
    pub variables: BTreeMap<String, String>,
    pub connections: Vec<Connection>,
    /// Slots of pools that differ from the default of 128.
    pub pools: BTreeMap<String, u32>,
    /// Render all arguments of every attempt, and fail it where that fails, as a worker does.
    pub render_templates: bool,
}

/// Which run is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogicalDate {
    /// The first one of the schedule; for a DAG without one, 2026-01-01.
    #[default]
    First,
    /// A manual run without a logical date.
    None,
    /// The scheduled run of that date if the schedule has one, else a manual one.
    At(DateTime<Utc>),
}

/// How one attempt ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Mock {
    pub ending: Ending,
    /// What it pushes, by key.
    pub xcoms: Vec<(String, Value)>,
    /// How long it takes on the case's clock.
    pub duration: Duration,
    /// Why, for the note of the task instance.
    pub message: Option<String>,
}

/// In which way an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Success,
    /// `retry`: whether another try may follow.
    Failed {
        retry: bool,
    },
    Skipped,
}

impl Default for Mock {
    fn default() -> Self {
        Self { ending: Ending::Success, xcoms: Vec::new(), duration: Duration::ZERO, message: None }
    }
}

/// What must have come of it.
#[derive(Debug, Clone)]
pub struct Expect {
    pub state: RunState,
    pub states: BTreeMap<String, TaskState>,
    /// Every task of a group starts before every task of the next one.
    pub order: Vec<Vec<String>>,
    /// How many tries a task needed; 0 for one that never started.
    pub tries: BTreeMap<String, u32>,
    /// XComs by task and key; null for one that must not be there.
    pub xcoms: BTreeMap<(String, String), Value>,
    /// Arguments by task, as its last attempt got them.
    pub rendered: BTreeMap<String, Map<String, Value>>,
    /// When the next runs of the schedule are due; an empty list means that there is none.
    pub next_runs: Option<Vec<DateTime<Utc>>>,
}

impl Default for Expect {
    fn default() -> Self {
        Self {
            state: RunState::Success,
            states: BTreeMap::new(),
            order: Vec::new(),
            tries: BTreeMap::new(),
            xcoms: BTreeMap::new(),
            rendered: BTreeMap::new(),
            next_runs: None,
        }
    }
}
