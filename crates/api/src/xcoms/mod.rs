//! XComs.

pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod write;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use towpath_store::{RunRecord, XComRecord};

use crate::versions::Version;

/// `XComResponse`, and `XComResponseNative` or `XComResponseString` where it has a value.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct XComReply {
    key: String,
    timestamp: DateTime<Utc>,
    logical_date: Option<DateTime<Utc>>,
    map_index: i32,
    task_id: String,
    dag_id: String,
    run_id: String,
    dag_display_name: String,
    task_display_name: String,
    run_after: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
}

impl XComReply {
    fn new(xcom: XComRecord, run: &RunRecord, version: &Version) -> Self {
        Self {
            key: xcom.key,
            timestamp: xcom.at,
            logical_date: run.logical_date,
            map_index: xcom.map_index,
            task_display_name: xcom.task_id.clone(),
            task_id: xcom.task_id,
            dag_id: run.dag_id.clone(),
            run_id: run.run_id.clone(),
            dag_display_name: version.dag_display_name.clone(),
            run_after: run.run_after,
            value: None,
        }
    }
}
