//! The audit log, in the form of Airflow's event log.

pub(crate) mod get;
pub(crate) mod list;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_auth::Principal;
use towpath_store::{EventRecord, Role};

/// `EventLogResponse`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct EventLogReply {
    event_log_id: i64,
    when: DateTime<Utc>,
    dag_id: Option<String>,
    task_id: Option<String>,
    run_id: Option<String>,
    map_index: Option<i32>,
    try_number: Option<i32>,
    event: String,
    logical_date: Option<DateTime<Utc>>,
    owner: Option<String>,
    /// Details, as JSON in text.
    extra: Option<String>,
    dag_display_name: Option<String>,
    task_display_name: Option<String>,
}

impl From<EventRecord> for EventLogReply {
    fn from(EventRecord { id, at, what }: EventRecord) -> Self {
        Self {
            event_log_id: id,
            when: at,
            dag_display_name: what.dag_id.clone(),
            task_display_name: what.task_id.clone(),
            dag_id: what.dag_id,
            task_id: what.task_id,
            run_id: what.run_id,
            map_index: what.map_index,
            try_number: what.try_number,
            event: what.event,
            logical_date: what.logical_date,
            owner: what.owner,
            extra: what.extra,
        }
    }
}

/// Whether somebody sees only what was done with DAGs. Logins, users and connections are the business of administrators; what was
/// done with DAGs is everybody's who may see all DAGs, as in Airflow.
fn sees_dags_alone(caller: &Principal) -> bool {
    caller.role < Role::Admin
}
