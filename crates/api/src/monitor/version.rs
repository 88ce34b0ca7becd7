//! `GET /version`.

use axum::Json;
use schemars::JsonSchema;
use serde::Serialize;

/// `VersionInfo`: the version of Towpath, not of an Airflow.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VersionInfo {
    version: &'static str,
    git_version: Option<&'static str>,
}

pub(crate) async fn get() -> Json<VersionInfo> {
    Json(VersionInfo { version: env!("CARGO_PKG_VERSION"), git_version: None })
}
