//! `Idempotency-Key`: the same key gives the same run, however often a request is repeated.
//!
//! The key becomes the run's id, which is unique in the database: two requests at once cannot both make a run, and
//! there is nothing to expire.

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use towpath_store::{NewRun, RunRecord, Store};

use crate::{Error, Result};

/// Longest key, in bytes.
const LONGEST: usize = 255;

/// The key of a request.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim).filter(|text| (1..=LONGEST).contains(&text.len()));
    match text {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(Error::BadRequest(format!("`Idempotency-Key` has 1 to {LONGEST} ASCII characters"))),
    }
}

/// Creates the run, or finds the one that a request with this key has made before.
///
/// # Errors
/// [`Error::Conflict`] where that was a request for another run.
pub(super) async fn create(store: &Store, mut new: NewRun, key: &str, now: DateTime<Utc>) -> Result<RunRecord> {
    let namespace = uuid::Uuid::NAMESPACE_OID;
    let id =
        new.run_id.get_or_insert_with(|| format!("manual__key_{}", uuid::Uuid::new_v5(&namespace, key.as_bytes())));
    let (dag_id, run_id) = (new.dag_id.clone(), id.clone());
    let (conf, logical_date) = (new.conf.clone(), new.logical_date);
    match store.create_run(new, now).await {
        Ok(created) => Ok(created.run),
        Err(error @ towpath_store::Error::RunExists { .. }) => match store.run(&dag_id, &run_id).await? {
            Some(run) if run.conf == conf && run.logical_date == logical_date => Ok(run),
            Some(_) => Err(Error::Conflict(format!(
                "the `Idempotency-Key` was used for run `{run_id}` of DAG `{dag_id}` with another conf or logical date; \
                 take another key for another run"
            ))),
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}
