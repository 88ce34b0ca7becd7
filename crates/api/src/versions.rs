//! The DAG version in replies. A version never changes, so what replies say about it is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::{Error, Result, State, ids};

/// The name of the one place that DAG files come from, as in Airflow.
pub(crate) const BUNDLE_NAME: &str = "dags-folder";

/// Versions kept before the memory is emptied.
const MOST: usize = 10_000;

/// `DagVersionResponse`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Version {
    pub(crate) id: Uuid,
    pub(crate) version_number: i32,
    pub(crate) dag_id: String,
    pub(crate) bundle_name: &'static str,
    pub(crate) bundle_version: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) dag_display_name: String,
    pub(crate) bundle_url: Option<String>,
}

/// Those that were asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Versions(Arc<Mutex<HashMap<i64, Arc<Version>>>>);

impl State {
    /// What replies say about a version.
    pub(crate) async fn version(&self, version_id: i64) -> Result<Arc<Version>> {
        let kept = self.versions.0.lock().unwrap_or_else(PoisonError::into_inner).get(&version_id).cloned();
        if let Some(version) = kept {
            return Ok(version);
        }
        let record = self
            .store
            .version(version_id)
            .await?
            .ok_or_else(|| Error::NotFound(format!("DAG version {version_id} was not found")))?;
        let dag = self.store.dag_of_version(version_id).await?;
        let version = Arc::new(Version {
            id: ids::version(record.id),
            version_number: record.number,
            dag_display_name: dag.spec().display_name.clone().unwrap_or_else(|| record.dag_id.clone()),
            dag_id: record.dag_id,
            bundle_name: BUNDLE_NAME,
            bundle_version: None,
            created_at: record.created_at,
            bundle_url: None,
        });
        let mut versions = self.versions.0.lock().unwrap_or_else(PoisonError::into_inner);
        if versions.len() >= MOST {
            versions.clear();
        }
        versions.insert(version_id, version.clone());
        Ok(version)
    }
}
