//! `GET /dags/{dag_id}/schedule/preview`: what the schedule of a DAG will do, as `towpath schedule preview` tells it.

use std::time::Duration;

use axum::Json;
use axum::extract::{self, Path};
use chrono::TimeDelta;
use towpath_model::duration;
use towpath_scheduler::preview::calendar::Span;
use towpath_scheduler::preview::report::{LONGEST_SPAN, Named, Preview, USUAL_SPAN};
use towpath_scheduler::preview::simulate::Assumptions;

use crate::query::Query;
use crate::{Error, Result, State, dags};

/// How long a task is assumed to take.
const TASK: Duration = Duration::from_secs(60);

pub(crate) async fn preview(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    mut query: Query,
) -> Result<Json<Preview>> {
    let (from, to, now) = (query.time("from"), query.time("to"), query.time("now"));
    let takes = query.text("task_duration");
    query.finish()?;
    let takes = match takes {
        None => TASK,
        Some(text) => duration::parse(&text)
            .map_err(|error| Error::BadRequest(format!("`task_duration` has no duration: {error}")))?,
    };
    let task_duration = TimeDelta::from_std(takes).unwrap_or(TimeDelta::MAX);
    if task_duration < TimeDelta::seconds(1) || task_duration > TimeDelta::days(365) {
        return Err(Error::BadRequest("`task_duration` lies between 1s and 365d".to_owned()));
    }
    let from = from.or(now).unwrap_or_else(|| state.clock.now());
    let to = to.or_else(|| from.checked_add_signed(USUAL_SPAN)).unwrap_or(from);
    if to <= from {
        return Err(Error::BadRequest("the span ends before it begins; choose a `to` after `from`".to_owned()));
    }
    if to - from > LONGEST_SPAN {
        return Err(Error::BadRequest("the span is longer than ten years; choose a `to` nearer to `from`".to_owned()));
    }
    let record = dags::find(&state, &dag_id).await?;
    let dag = state.store.dag_of_version(record.version_id).await?;
    let pools = state.store.pools().await?;
    let pools = pools.into_iter().map(|pool| (pool.name, pool.slots)).collect();
    let assumptions = Assumptions { task_duration, pools };
    // Years of a schedule are played through: no work for a thread that answers others.
    let made = tokio::task::spawn_blocking(move || {
        Preview::new(&[Named { dag: &dag, file: &record.file }], Span { from, to }, now, &assumptions)
    });
    Ok(Json(made.await.map_err(|error| Error::Panic(error.to_string()))?))
}
