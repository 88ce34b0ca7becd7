//! The tasks of a DAG, as its current version has them.

pub(crate) mod get;
pub(crate) mod list;

use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use towpath_model::dag::{Dag, Task};
use towpath_model::operator;

use crate::dags::details::params;

/// `TaskResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TaskReply {
    task_id: String,
    task_display_name: String,
    owner: String,
    start_date: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
    trigger_rule: String,
    depends_on_past: bool,
    wait_for_downstream: bool,
    retries: f64,
    queue: String,
    pool: String,
    pool_slots: f64,
    execution_timeout: Option<Value>,
    retry_delay: Value,
    retry_exponential_backoff: f64,
    priority_weight: f64,
    weight_rule: String,
    ui_color: &'static str,
    ui_fgcolor: &'static str,
    template_fields: Vec<String>,
    downstream_task_ids: Vec<String>,
    doc_md: Option<String>,
    operator_name: String,
    params: Map<String, Value>,
    class_ref: Value,
    is_mapped: bool,
    extra_links: Vec<String>,
}

impl TaskReply {
    pub(crate) fn new(dag: &Dag, task: &Task) -> Self {
        let spec = dag.spec();
        let index = dag.index_of(&task.task_id).expect("a task of a DAG has a place in it");
        let mut downstream: Vec<String> =
            dag.downstream(index).filter_map(|index| dag.tasks().get(index)).map(|task| task.task_id.clone()).collect();
        downstream.sort();
        let (module, class) = class_of(&task.operator);
        let mut shown = params(&spec.params, Some("dag"));
        shown.extend(params(&task.params, Some("task")));
        Self {
            task_id: task.task_id.clone(),
            task_display_name: task.task_id.clone(),
            owner: task.owner.clone(),
            start_date: spec.start_date,
            end_date: spec.end_date,
            trigger_rule: task.trigger_rule.to_string(),
            depends_on_past: task.gates.depends_on_past,
            wait_for_downstream: task.gates.wait_for_downstream,
            retries: f64::from(task.retry.retries),
            queue: task.queue.clone(),
            pool: task.pool.clone(),
            pool_slots: f64::from(task.pool_slots),
            execution_timeout: task.execution_timeout.map(time_delta),
            retry_delay: time_delta(task.retry.delay),
            retry_exponential_backoff: task.retry.exponential_backoff,
            priority_weight: task.priority_weight as f64,
            weight_rule: task.weight_rule.to_string(),
            ui_color: "#fff",
            ui_fgcolor: "#000",
            template_fields: task.args.keys().cloned().collect(),
            downstream_task_ids: downstream,
            doc_md: task.doc_md.clone(),
            operator_name: class.clone(),
            params: shown,
            class_ref: json!({"module_path": module, "class_name": class}),
            is_mapped: task.expand.is_some(),
            extra_links: Vec::new(),
        }
    }
}

/// Airflow's module and class of an operator; its own name where Airflow has none.
fn class_of(name: &str) -> (Option<String>, String) {
    let path = operator::find(name).and_then(|spec| {
        let is_class = |class: &str| class.ends_with("Operator") || class.ends_with("Sensor");
        spec.aliases
            .iter()
            .filter_map(|alias| alias.rsplit_once('.'))
            .find(|(_, class)| is_class(class))
            .map(|(module, class)| (Some(module.to_owned()), class.to_owned()))
    });
    path.unwrap_or_else(|| (None, name.to_owned()))
}

/// `TimeDelta`, as Python counts it.
fn time_delta(duration: Duration) -> Value {
    let seconds = duration.as_secs();
    json!({
        "__type": "TimeDelta",
        "days": seconds / 86_400,
        "seconds": seconds % 86_400,
        "microseconds": duration.subsec_micros(),
    })
}
