//! Events of assets, as templates and Python code see them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use towpath_model::asset::Asset;

/// An update of an asset. The source is missing where somebody told of it by hand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssetEvent {
    pub asset: Asset,
    pub timestamp: DateTime<Utc>,
    pub extra: Map<String, Value>,
    pub source_dag_id: Option<String>,
    pub source_run_id: Option<String>,
    pub source_task_id: Option<String>,
    pub source_map_index: i32,
}
