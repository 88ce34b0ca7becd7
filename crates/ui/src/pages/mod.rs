//! The pages.

pub(crate) mod actions;
pub(crate) mod admin;
pub(crate) mod asset;
pub(crate) mod audit;
pub(crate) mod dag;
pub(crate) mod dags;
pub(crate) mod data;
pub(crate) mod docs;
pub(crate) mod home;
pub(crate) mod log;
pub(crate) mod panel;
pub(crate) mod pause;
pub(crate) mod run;
pub(crate) mod search;
pub(crate) mod task;
pub(crate) mod trigger;

use askama::Template;
use axum::response::Html;
use towpath_store::{DagRecord, RunRecord};

use crate::{Error, Result, State};

/// Renders a page.
fn html(page: &impl Template) -> Result<Html<String>> {
    Ok(Html(page.render()?))
}

async fn find_dag(state: &State, dag_id: &str) -> Result<DagRecord> {
    state.store.dag(dag_id).await?.ok_or_else(|| Error::no_such("DAG", dag_id))
}

async fn find_run(state: &State, dag_id: &str, run_id: &str) -> Result<RunRecord> {
    state.store.run(dag_id, run_id).await?.ok_or_else(|| Error::no_such("run", run_id))
}
