//! `GET /dags/{dag_id}/dagVersions` and one of them; `~` lists those of all DAGs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{self, Path};
use schemars::JsonSchema;
use serde::Serialize;
use towpath_store::DagFilter;

use crate::query::Query;
use crate::versions::{BUNDLE_NAME, Version};
use crate::{Error, Result, State, path};

/// `DAGVersionCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VersionList {
    dag_versions: Vec<Arc<Version>>,
    total_entries: u64,
}

pub(crate) async fn list(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    mut query: Query,
) -> Result<Json<VersionList>> {
    let window = query.window();
    let order = query.order(&["id", "version_number", "bundle_name", "bundle_version", "dag_id"])?;
    let number = query.whole("version_number", i64::MIN);
    let bundle = query.text("bundle_name");
    let bundle_version = query.text("bundle_version");
    query.finish()?;
    let ids = if dag_id == "~" {
        let all = DagFilter { limit: i32::MAX as u32, include_stale: true, ..DagFilter::default() };
        state.store.dags(&all).await?.items.into_iter().map(|record| record.dag_id).collect()
    } else {
        vec![super::find(&state, &dag_id).await?.dag_id]
    };
    let mut versions = Vec::new();
    if bundle.is_none_or(|name| name == BUNDLE_NAME) && bundle_version.is_none() {
        for id in ids {
            versions.extend(state.store.versions(&id).await?);
        }
    }
    versions.retain(|version| number.is_none_or(|number| i64::from(version.number) == number));
    versions.sort_by_key(|version| version.id);
    if let Some((name, descends)) = order.first() {
        match *name {
            "version_number" => versions.sort_by_key(|version| version.number),
            "dag_id" => versions.sort_by(|a, b| a.dag_id.cmp(&b.dag_id)),
            _ => {}
        }
        if *descends {
            versions.reverse();
        }
    }
    let total_entries = versions.len() as u64;
    let mut dag_versions = Vec::new();
    for version in window.of(versions) {
        dag_versions.push(state.version(version.id).await?);
    }
    Ok(Json(VersionList { dag_versions, total_entries }))
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, number)): Path<(String, String)>,
    query: Query,
) -> Result<Json<Arc<Version>>> {
    query.finish()?;
    let number = path::whole("version_number", &number)?;
    let found = state.store.versions(&dag_id).await?.into_iter().find(|version| i64::from(version.number) == number);
    let found = found.ok_or_else(|| {
        Error::NotFound(format!("The DagVersion with dag_id: `{dag_id}` and version_number: `{number}` was not found"))
    })?;
    Ok(Json(state.version(found.id).await?))
}
