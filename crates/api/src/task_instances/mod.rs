//! Task instances.

pub(crate) mod bulk;
pub(crate) mod clear;
pub(crate) mod delete;
pub(crate) mod dependencies;
pub(crate) mod get;
pub(crate) mod links;
pub(crate) mod list;
pub(crate) mod log_stream;
pub(crate) mod logs;
pub(crate) mod patch;
pub(crate) mod tries;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use towpath_model::dag::Dag;
use towpath_model::operator;
use towpath_model::state::TaskState;
use towpath_store::{
    Compare, Datum, Listing, Rendered, RunField, RunRecord, TaskInstanceRecord, TaskKey, Test, Touched,
};
use uuid::Uuid;

use crate::dag_runs::seconds;
use crate::versions::Version;
use crate::{Error, Result, State, ids};

/// `TaskInstanceResponse`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct TaskInstanceReply {
    id: Uuid,
    task_id: String,
    dag_id: String,
    dag_run_id: String,
    map_index: i32,
    logical_date: Option<DateTime<Utc>>,
    run_after: DateTime<Utc>,
    start_date: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
    /// Seconds, once it is over.
    duration: Option<f64>,
    state: Option<TaskState>,
    try_number: u32,
    max_tries: u32,
    task_display_name: String,
    dag_display_name: String,
    hostname: Option<String>,
    unixname: Option<String>,
    pool: String,
    pool_slots: u32,
    queue: Option<String>,
    priority_weight: Option<i64>,
    operator: Option<String>,
    operator_name: Option<String>,
    queued_when: Option<DateTime<Utc>>,
    scheduled_when: Option<DateTime<Utc>>,
    pid: Option<u32>,
    executor: Option<String>,
    executor_config: &'static str,
    note: Option<String>,
    rendered_map_index: Option<String>,
    rendered_fields: Map<String, Value>,
    trigger: Option<Value>,
    triggerer_job: Option<Value>,
    dag_version: Option<Arc<Version>>,
}

/// What the replies about the task instances of one run have in common.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) dag: Arc<Dag>,
    pub(crate) version: Arc<Version>,
}

impl Context {
    pub(crate) async fn of(state: &State, version_id: i64) -> Result<Self> {
        Ok(Self { version: state.version(version_id).await?, dag: state.store.dag_of_version(version_id).await? })
    }

    /// Airflow's class name of the operator of a task: `BashOperator` for `bash`.
    pub(crate) fn operator(&self, task_id: &str) -> Option<String> {
        let name = &self.dag.task(task_id)?.operator;
        let class = operator::find(name).and_then(|spec| {
            spec.aliases
                .iter()
                .filter_map(|alias| alias.rsplit_once('.'))
                .map(|(_, class)| class)
                .find(|class| class.ends_with("Operator") || class.ends_with("Sensor"))
        });
        Some(class.unwrap_or(name).to_owned())
    }

    pub(crate) fn reply(&self, record: TaskInstanceRecord) -> TaskInstanceReply {
        let operator = self.operator(&record.key.task_id);
        TaskInstanceReply {
            id: ids::task_instance(&record.key),
            task_display_name: record.key.task_id.clone(),
            task_id: record.key.task_id,
            dag_id: record.dag_id,
            dag_run_id: record.run_id,
            map_index: record.key.map_index,
            logical_date: record.logical_date,
            run_after: record.run_after,
            start_date: record.start_date,
            end_date: record.end_date,
            duration: seconds(record.start_date, record.end_date),
            state: wire_state(record.state),
            try_number: record.try_number,
            max_tries: record.max_tries,
            dag_display_name: self.version.dag_display_name.clone(),
            hostname: record.hostname,
            unixname: None,
            pool: record.pool,
            pool_slots: record.pool_slots,
            queue: Some(record.queue),
            priority_weight: Some(record.priority_weight),
            operator_name: operator.clone(),
            operator,
            queued_when: record.queued_at,
            scheduled_when: None,
            pid: record.pid,
            executor: None,
            executor_config: "{}",
            note: record.note,
            rendered_map_index: match record.rendered_map_index {
                Some(name) => Some(name),
                None => (record.key.map_index >= 0).then(|| record.key.map_index.to_string()),
            },
            rendered_fields: Map::new(),
            trigger: None,
            triggerer_job: None,
            dag_version: Some(self.version.clone()),
        }
    }
}

/// Replies with the arguments as the operators got them.
pub(crate) async fn with_rendered(
    state: &State,
    replies: Vec<(TaskKey, Arc<Context>, TaskInstanceReply)>,
) -> Result<Vec<TaskInstanceReply>> {
    let keys: Vec<TaskKey> = replies.iter().map(|(key, ..)| key.clone()).collect();
    let mut kept = state.store.rendered(&keys).await?;
    let add = |(key, context, reply): (TaskKey, Arc<Context>, TaskInstanceReply)| {
        let task = context.dag.task(&key.task_id).filter(|_| reply.try_number > 0);
        let rendered_fields = task.map(|task| Rendered::or_written(kept.remove(&key), task)).unwrap_or_default();
        TaskInstanceReply { rendered_fields, ..reply }
    };
    Ok(replies.into_iter().map(add).collect())
}

/// On the wire, no state is null.
pub(crate) fn wire_state(state: TaskState) -> Option<TaskState> {
    (state != TaskState::None).then_some(state)
}

/// A task instance of a run.
///
/// # Errors
/// 404.
pub(crate) async fn find(state: &State, run: &RunRecord, task_id: &str, map_index: i32) -> Result<TaskInstanceRecord> {
    let key = TaskKey { run_key: run.key, task_id: task_id.to_owned(), map_index };
    state.store.task_instance(&key).await?.ok_or_else(|| {
        let index = if map_index < 0 { String::new() } else { format!(" and map_index: `{map_index}`") };
        Error::NotFound(format!(
            "The Task Instance with dag_id: `{}`, run_id: `{}` and task_id: `{task_id}`{index} was not found",
            run.dag_id, run.run_id
        ))
    })
}

/// A `map_index` of the query; -1 where it says nothing.
pub(crate) fn map_index(query: &mut crate::query::Query) -> i32 {
    query.whole("map_index", -1).and_then(|index| i32::try_from(index).ok()).unwrap_or(-1)
}

/// Contexts of the versions that a list meets.
#[derive(Debug, Default)]
pub(crate) struct Contexts(HashMap<i64, Arc<Context>>);

impl Contexts {
    pub(crate) async fn of(&mut self, state: &State, version_id: i64) -> Result<Arc<Context>> {
        if let Some(context) = self.0.get(&version_id) {
            return Ok(Arc::clone(context));
        }
        let context = Arc::new(Context::of(state, version_id).await?);
        self.0.insert(version_id, Arc::clone(&context));
        Ok(context)
    }
}

/// The replies about task instances of a run that were, or would be, changed, as they are now.
pub(crate) async fn replies(state: &State, run: &RunRecord, touched: &[Touched]) -> Result<Vec<TaskInstanceReply>> {
    if touched.is_empty() {
        return Ok(Vec::new());
    }
    let keys: HashSet<&TaskKey> = touched.iter().map(|touched| &touched.key).collect();
    let mut contexts = Contexts::default();
    let mut replies = Vec::with_capacity(touched.len());
    for record in state.store.task_instances(run.key).await? {
        if keys.contains(&record.key) {
            // The run may have moved to another version of its DAG.
            replies.push(contexts.of(state, record.version_id).await?.reply(record));
        }
    }
    Ok(replies)
}

/// The run itself and, as asked, the earlier and later ones of its DAG by logical date.
pub(crate) async fn runs_around(state: &State, run: &RunRecord, past: bool, future: bool) -> Result<Vec<RunRecord>> {
    let mut runs = vec![run.clone()];
    let Some(date) = run.logical_date else { return Ok(runs) };
    for (asked, compare) in [(past, Compare::Below), (future, Compare::Above)] {
        if asked {
            let mut listing = Listing { limit: i32::MAX as u32, ..Listing::default() };
            listing.is(RunField::DagId, &run.dag_id);
            listing.tests.push((RunField::LogicalDate, Test::Bound(compare, Datum::Time(date))));
            runs.extend(state.store.list_runs(&listing, true).await?.items);
        }
    }
    Ok(runs)
}
