//! `GET /dags/{dag_id}/dagRuns/{run_id}/wait`: tells the state of a run, one JSON object a line,
//! until it has ended, and then the results that were asked for.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{self, Path};
use axum::response::Response;
use serde_json::{Map, Value, json};
use towpath_model::state::RunState;
use towpath_store::RunRecord;
use towpath_store::Topic;

use crate::ndjson::{self, Lines};
use crate::query::Query;
use crate::{Result, State};

/// Shortest time between two lines, whatever the client asks for.
const SHORTEST: Duration = Duration::from_millis(50);
/// Longest time between two lines, so that a client that has gone is noticed.
const LONGEST: Duration = Duration::from_secs(3_600);

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path((dag_id, run_id)): Path<(String, String)>,
    mut query: Query,
) -> Result<Response> {
    let interval = query.positive("interval");
    let results = query.texts("result");
    query.finish()?;
    let run = super::find(&state, &dag_id, &run_id).await?;
    let interval = interval.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(LONGEST);
    let interval = interval.clamp(SHORTEST, LONGEST);
    let watcher = state.clone();
    Ok(ndjson::reply(&state, |lines| watch(watcher, run, interval, results, lines)))
}

/// Sends a line at once, then one each `interval`, and the last as soon as the run has ended.
async fn watch(state: State, mut run: RunRecord, interval: Duration, results: Vec<String>, lines: Lines) {
    let mut progress = state.store.wakes().subscribe(Topic::Progress);
    let mut next_line = tokio::time::Instant::now();
    loop {
        progress.mark_unchanged();
        match state.store.run(&run.dag_id, &run.run_id).await {
            Ok(Some(current)) => run = current,
            // It was deleted.
            Ok(None) => return,
            // The state that is known is told again, and asked for later.
            Err(error) if error.is_transient() => {}
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a run cannot be watched any more");
                return;
            }
        }
        let over = run.state.is_finished();
        if over || next_line <= tokio::time::Instant::now() {
            let line = if over { last_line(&state, &run, &results).await } else { line(run.state) };
            if lines.send(line).await.is_err() || over {
                return;
            }
            next_line = tokio::time::Instant::now() + interval;
        }
        tokio::select! {
            () = tokio::time::sleep_until(next_line) => {}
            changed = progress.changed() => if changed.is_err() { return },
        }
    }
}

fn line(run_state: RunState) -> Bytes {
    format!("{}\n", json!({"state": run_state})).into()
}

async fn last_line(state: &State, run: &RunRecord, results: &[String]) -> Bytes {
    let mut found = Map::new();
    for task_id in results {
        match state.store.xcoms(run.key, task_id, "return_value", None).await {
            Ok(xcoms) => {
                let is_mapped = xcoms.iter().any(|xcom| xcom.map_index >= 0);
                let mut values: Vec<Value> = xcoms.into_iter().map(|xcom| xcom.value).collect();
                let value = if is_mapped { Value::Array(values) } else { values.pop().unwrap_or_default() };
                found.insert(task_id.clone(), value);
            }
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, task_id, "a result cannot be read"),
        }
    }
    if results.is_empty() {
        return line(run.state);
    }
    format!("{}\n", json!({"state": run.state, "results": found})).into()
}
