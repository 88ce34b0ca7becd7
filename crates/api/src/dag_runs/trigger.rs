//! `POST /dags/{dag_id}/dagRuns`: starts a run.

use axum::extract::{self, Path};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use strum::IntoEnumIterator;
use towpath_auth::Principal;
use towpath_model::dag::Dag;
use towpath_model::run::{RunType, TriggeredBy};
use towpath_model::timetable::DataInterval;
use towpath_store::NewRun;

use super::{RunReply, idempotency};
use crate::body::Body;
use crate::query::Query;
use crate::{Error, Result, State};

/// Longest `dag_run_id`, in characters, as in Airflow.
const LONGEST_ID: usize = 250;

/// `TriggerDAGRunPostBody`.
#[derive(Debug, Clone, PartialEq)]
struct Order {
    run_id: Option<String>,
    logical_date: Option<DateTime<Utc>>,
    data_interval: Option<DataInterval>,
    run_after: Option<DateTime<Utc>>,
    conf: Map<String, Value>,
    note: Option<String>,
}

pub(crate) async fn post(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    caller: Option<Extension<Principal>>,
    headers: HeaderMap,
    query: Query,
    body: Body,
) -> Result<Json<RunReply>> {
    query.finish()?;
    let order = Order::read(body)?;
    let now = state.clock.now();
    let record = state.store.dag(&dag_id).await?.filter(|record| record.is_active);
    let record = record.ok_or_else(|| Error::NotFound(format!("Dag with dag_id: '{dag_id}' not found")))?;
    let dag = state.store.dag_of_version(record.version_id).await?;
    let mut new = order.run_of(&dag, record.version_id, now)?;
    new.triggering_user = caller.map(|Extension(caller)| caller.name);
    let run = match idempotency::key(&headers)? {
        Some(key) => idempotency::create(&state.store, new, &key, now).await?,
        None => state.store.create_run(new, now).await?.run,
    };
    Ok(Json(RunReply::read(&state, run).await?))
}

impl Order {
    fn read(mut body: Body) -> Result<Self> {
        body.required("logical_date");
        let bounds = (body.time("data_interval_start"), body.time("data_interval_end"));
        let data_interval = match bounds {
            (Some(start), Some(end)) if start <= end => Some(DataInterval { start, end }),
            (Some(_), Some(_)) => {
                body.whole_is_wrong("data_interval_start must not be after data_interval_end");
                None
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                body.whole_is_wrong("data_interval_start and data_interval_end are given together or not at all");
                None
            }
        };
        let partition = body.text("partition_key");
        let order = Self {
            run_id: body.text("dag_run_id"),
            logical_date: body.time("logical_date"),
            data_interval,
            run_after: body.time("run_after"),
            conf: body.object("conf").unwrap_or_default(),
            note: body.text("note"),
        };
        body.finish()?;
        if partition.is_some() {
            return Err(Error::BadRequest("this server has no partitioned DAGs; leave `partition_key` out".to_owned()));
        }
        Ok(order)
    }

    /// The run that is asked for, checked against its DAG.
    fn run_of(self, dag: &Dag, version_id: i64, now: DateTime<Utc>) -> Result<NewRun> {
        if let Some(run_id) = &self.run_id {
            check_id(run_id)?;
        }
        if let Err(errors) = dag.check_params(&self.conf) {
            return Err(Error::Store(towpath_store::Error::Params { dag_id: dag.id().to_owned(), errors }));
        }
        let run_after = self.run_after.unwrap_or(now);
        // As in Airflow, a run without a logical date has no data interval either.
        let data_interval = self
            .logical_date
            .map(|date| self.data_interval.unwrap_or_else(|| dag.spec().schedule.manual_interval(date)));
        Ok(NewRun {
            dag_id: dag.id().to_owned(),
            version_id: Some(version_id),
            run_id: self.run_id,
            run_type: RunType::Manual,
            logical_date: self.logical_date,
            data_interval,
            run_after,
            conf: self.conf,
            note: self.note,
            triggered_by: TriggeredBy::RestApi,
            triggering_user: None,
            queue: None,
        })
    }
}

/// Ids go into paths and file names, and those of other run types are made by the scheduler.
pub(crate) fn check_id(run_id: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.~:+-".contains(c);
    if run_id.is_empty() || run_id.len() > LONGEST_ID || run_id == "~" || !run_id.chars().all(fits) {
        return Err(Error::BadRequest(format!(
            "`dag_run_id` has 1 to {LONGEST_ID} characters out of A-Z a-z 0-9 _ . ~ : + -, and is not `~` alone"
        )));
    }
    let reserved = RunType::iter()
        .filter(|run_type| *run_type != RunType::Manual)
        .find(|run_type| run_id.starts_with(&format!("{run_type}__")));
    match reserved {
        Some(run_type) => Err(Error::BadRequest(format!(
            "A manual DAG run cannot use ID '{run_id}' since it is reserved for {run_type} runs"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids() {
        let longest = "x".repeat(LONGEST_ID);
        for (run_id, expected) in [
            ("my-run", true),
            ("manual__2026-11-22T23:55:56.628311+00:00", true),
            (longest.as_str(), true),
            ("", false),
            ("~", false),
            ("a/b", false),
            ("a b", false),
            ("ü", false),
            ("scheduled__2026-11-22T00:00:00+00:00", false),
            ("backfill__x", false),
        ] {
            assert_eq!(check_id(run_id).is_ok(), expected, "{run_id}");
        }
        assert!(check_id(&format!("{longest}x")).is_err());
    }
}
