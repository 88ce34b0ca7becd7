//! A DAG as data: what is written, stored and hashed. Nothing here looks at the graph.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strum::{Display, EnumString};

use crate::alert::{Alert, Event};
use crate::asset::{Asset, Condition, Outlet};
use crate::deadline::Deadline;
use crate::expand::Expand;
use crate::params::Param;
use crate::retry::RetryPolicy;
use crate::teardown::Role;
use crate::timetable::Schedule;
use crate::trigger_rule::TriggerRule;

/// `max_active_runs` where the file does not say.
pub const DEFAULT_MAX_ACTIVE_RUNS: u32 = 16;
/// `max_active_tasks` (per run) where the file does not say.
pub const DEFAULT_MAX_ACTIVE_TASKS: u32 = 16;
/// What the summary of a schedule on assets begins with, and no other does; Airflow's word.
pub const ASSET_SCHEDULE: &str = "Asset";
/// The pool of tasks that do not name one.
pub const DEFAULT_POOL: &str = "default_pool";
/// The queue of tasks that do not name one.
pub const DEFAULT_QUEUE: &str = "default";

/// A DAG as it is written, stored and hashed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DagSpec {
    pub dag_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_md: Option<String>,
    #[serde(default)]
    pub tags: Vec<String>,
    /// Its runs by time; those by data come from `asset_schedule`.
    pub schedule: Schedule,
    /// The assets whose updates make it run, whatever `schedule` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset_schedule: Option<Condition>,
    /// Zone of dates and crons that do not name their own.
    pub timezone: Tz,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<DateTime<Utc>>,
    /// No run has a logical date after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<DateTime<Utc>>,
    #[serde(default)]
    pub catchup: bool,
    pub max_active_runs: u32,
    /// Queued and running task instances per run.
    pub max_active_tasks: u32,
    #[serde(default, with = "crate::duration::micros_opt", skip_serializing_if = "Option::is_none")]
    pub dagrun_timeout: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_paused_upon_creation: Option<bool>,
    #[serde(default)]
    pub render_template_as_native_obj: bool,
    #[serde(default)]
    pub params: IndexMap<String, Param>,
    /// The first task that fails ends the run: what runs fails, what has not started is skipped, teardowns run.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fail_fast: bool,
    /// What the mapped task groups are expanded over, by the ids of the groups.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub mapped_groups: IndexMap<String, Expand>,
    /// Who is told how its runs end; tasks have alerts of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    /// Until when its runs have to have succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deadlines: Vec<Deadline>,
    /// Sorted by `task_id`.
    pub tasks: Vec<Task>,
}

/// One task of a DAG.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    pub task_id: String,
    /// Short name of its operator, as in [`crate::operator::SPECS`].
    pub operator: String,
    /// The operator's arguments under their canonical names; text in them may be templates.
    #[serde(default)]
    pub args: Map<String, Value>,
    /// Ids of the tasks that must end before it, sorted.
    #[serde(default)]
    pub upstream: Vec<String>,
    #[serde(default)]
    pub trigger_rule: TriggerRule,
    #[serde(default)]
    pub retry: RetryPolicy,
    #[serde(default, with = "crate::duration::micros_opt", skip_serializing_if = "Option::is_none")]
    pub execution_timeout: Option<Duration>,
    pub pool: String,
    pub pool_slots: u32,
    pub queue: String,
    pub priority_weight: i64,
    #[serde(default)]
    pub weight_rule: WeightRule,
    pub owner: String,
    #[serde(default)]
    pub email: Vec<String>,
    #[serde(default = "yes")]
    pub email_on_failure: bool,
    #[serde(default = "yes")]
    pub email_on_retry: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub email_on_success: bool,
    /// Who else is told how its tries end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
    #[serde(default = "yes")]
    pub do_xcom_push: bool,
    /// The assets that it reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inlets: Vec<Asset>,
    /// The assets that it updates when it succeeds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outlets: Vec<Outlet>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_md: Option<String>,
    /// A template for the names of its instances when it is mapped, rendered when each has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_index_template: Option<String>,
    #[serde(default)]
    pub params: IndexMap<String, Param>,
    /// What it asks of earlier runs and of its own other instances before it starts.
    #[serde(default, skip_serializing_if = "Gates::is_open")]
    pub gates: Gates,
    /// What it is mapped over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expand: Option<Expand>,
    /// Whether it makes or takes away what other tasks need.
    #[serde(default, skip_serializing_if = "Role::is_work")]
    pub role: Role,
    /// The mapped task group that it belongs to, one of [`DagSpec::mapped_groups`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_group: Option<String>,
}

/// Conditions on other runs and instances of the same task (Airflow's names).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gates {
    /// In the run before, it must have succeeded or been skipped.
    #[serde(default, skip_serializing_if = "is_false")]
    pub depends_on_past: bool,
    /// In the run before, what is directly downstream of it must have succeeded or been skipped, too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub wait_for_downstream: bool,
    /// Most queued and running instances in all runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_tis_per_dag: Option<u32>,
    /// Most queued and running instances in one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_tis_per_dagrun: Option<u32>,
}

impl Gates {
    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// How a task's weight in the queue follows from its place in the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, Display, EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum WeightRule {
    /// Its own and those of everything downstream.
    #[default]
    Downstream,
    /// Its own and those of everything upstream.
    Upstream,
    /// Its own alone.
    Absolute,
}

impl Task {
    /// A task with every setting at its default.
    #[must_use]
    pub fn new(task_id: impl Into<String>, operator: impl Into<String>) -> Self {
        Self {
            task_id: task_id.into(),
            operator: operator.into(),
            args: Map::new(),
            upstream: Vec::new(),
            trigger_rule: TriggerRule::default(),
            retry: RetryPolicy::default(),
            execution_timeout: None,
            pool: DEFAULT_POOL.to_owned(),
            pool_slots: 1,
            queue: DEFAULT_QUEUE.to_owned(),
            priority_weight: 1,
            weight_rule: WeightRule::default(),
            owner: "airflow".to_owned(),
            email: Vec::new(),
            email_on_failure: true,
            email_on_retry: true,
            email_on_success: false,
            alerts: Vec::new(),
            do_xcom_push: true,
            inlets: Vec::new(),
            outlets: Vec::new(),
            doc_md: None,
            map_index_template: None,
            params: IndexMap::new(),
            gates: Gates::default(),
            expand: None,
            role: Role::Work,
            map_group: None,
        }
    }

    /// Whether it ends well in the step that would schedule it, without a worker: an `empty` task,
    /// which has nothing to do. Airflow's scheduler treats its `EmptyOperator` so too, and as there one
    /// whose success somebody wants to be told of, or that has outlets, runs as any other.
    #[must_use]
    pub fn ends_without_worker(&self) -> bool {
        self.operator == "empty"
            && self.gates.is_open()
            && self.outlets.is_empty()
            && self.alert_targets(Event::Success).is_empty()
    }
}

impl DagSpec {
    /// A DAG without a schedule or tasks, with every setting at its default.
    #[must_use]
    pub fn new(dag_id: impl Into<String>) -> Self {
        Self {
            dag_id: dag_id.into(),
            display_name: None,
            description: None,
            doc_md: None,
            tags: Vec::new(),
            schedule: Schedule::Never,
            asset_schedule: None,
            timezone: Tz::UTC,
            start_date: None,
            end_date: None,
            catchup: false,
            max_active_runs: DEFAULT_MAX_ACTIVE_RUNS,
            max_active_tasks: DEFAULT_MAX_ACTIVE_TASKS,
            dagrun_timeout: None,
            is_paused_upon_creation: None,
            render_template_as_native_obj: false,
            params: IndexMap::new(),
            fail_fast: false,
            mapped_groups: IndexMap::new(),
            alerts: Vec::new(),
            deadlines: Vec::new(),
            tasks: Vec::new(),
        }
    }

    /// Its whole schedule as lists show it: `@daily`, `Asset`, `Asset or @daily` (Airflow's words).
    #[must_use]
    pub fn schedule_summary(&self) -> String {
        match (&self.asset_schedule, self.schedule.is_scheduled()) {
            (None, _) => self.schedule.summary(),
            (Some(_), false) => ASSET_SCHEDULE.to_owned(),
            (Some(_), true) => format!("{ASSET_SCHEDULE} or {}", self.schedule.summary()),
        }
    }

    /// Its whole schedule in words: `when orders and customers are updated`.
    #[must_use]
    pub fn schedule_words(&self) -> String {
        let Some(condition) = &self.asset_schedule else { return self.schedule.describe() };
        let verb = if matches!(condition, Condition::All(parts) if parts.len() > 1) { "are" } else { "is" };
        let words = format!("when {} {verb} updated", condition.words());
        if self.schedule.is_scheduled() { format!("{}, and {words}", self.schedule.describe()) } else { words }
    }

    /// The owners of its tasks, each once, in order of appearance.
    #[must_use]
    pub fn owners(&self) -> Vec<&str> {
        let mut owners: Vec<&str> = Vec::new();
        for task in &self.tasks {
            if !owners.contains(&task.owner.as_str()) {
                owners.push(&task.owner);
            }
        }
        owners
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}
