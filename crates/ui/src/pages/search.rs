//! What the palette finds: DAGs, tasks and runs, each with its address.

use axum::Json;
use axum::extract::{self, Query};
use serde::{Deserialize, Serialize};
use towpath_auth::Visible;
use towpath_store::{DagQuery, DagRecord, RunFilter};

use crate::view::state::Badge;
use crate::view::text::shown;
use crate::{Result, State, links};

/// Of each kind.
const DAGS: u32 = 8;
const TASKS: usize = 8;
const RUNS: usize = 6;
/// Runs that are looked through.
const NEWEST: u32 = 100;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    q: String,
    /// The DAG of the page that asks.
    dag: String,
}

/// Something to go to.
#[derive(Debug, Serialize)]
pub(crate) struct Found {
    kind: &'static str,
    label: String,
    about: String,
    href: String,
    /// Where there are actions: the DAG's address and whether it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    dag: Option<(String, bool)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

/// `dag` finds DAGs; `dag task` finds tasks of them; whatever else is in the DAG of the page.
pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    visible: Visible,
    Query(params): Query<Params>,
) -> Result<Json<Vec<Found>>> {
    let text = params.q.trim().to_lowercase();
    let mut found = Vec::new();
    let (first, rest) = text.split_once(' ').map_or((text.as_str(), ""), |(first, rest)| (first, rest.trim()));
    let words = if rest.is_empty() { text.as_str() } else { first };
    let query = DagQuery {
        text: Some(words.to_owned()).filter(|it| !it.is_empty()),
        among: visible.among.clone(),
        limit: DAGS,
        ..DagQuery::default()
    };
    let dags = state.store.find_dags(&query).await?.items;
    if rest.is_empty() {
        found.extend(dags.iter().map(dag));
    }
    // Tasks of the DAG that one is at, or of the first that was named.
    let within = if rest.is_empty() {
        (!params.dag.is_empty()).then_some(params.dag.clone())
    } else {
        dags.first().map(|dag| dag.dag_id.clone())
    };
    let may_see = |dag_id: &String| visible.among.as_ref().is_none_or(|among| among.contains(dag_id));
    if let Some(dag_id) = within.filter(may_see)
        && !text.is_empty()
    {
        found.extend(tasks(&state, &dag_id, if rest.is_empty() { &text } else { rest }).await?);
    }
    if !text.is_empty() {
        let filter = RunFilter {
            dag_id: Some(params.dag).filter(|dag| !dag.is_empty()),
            newest_first: true,
            among: visible.among.clone(),
            limit: NEWEST,
            ..RunFilter::default()
        };
        let runs = state.store.some_runs(&filter).await?;
        let fits = runs.iter().filter(|run| run.run_id.to_lowercase().contains(&text));
        found.extend(fits.take(RUNS).map(|run| Found {
            kind: "run",
            label: shown(&run.run_id),
            about: shown(&run.dag_id),
            href: links::run(&run.dag_id, &run.run_id),
            dag: None,
            state: Some(Badge::from(run.state).word()),
        }));
    }
    Ok(Json(found))
}

fn dag(record: &DagRecord) -> Found {
    Found {
        kind: "DAG",
        label: shown(&record.dag_id),
        about: record.description.as_deref().map(shown).unwrap_or_default(),
        href: links::dag(&record.dag_id),
        dag: Some((links::dag(&record.dag_id), record.is_paused)),
        state: None,
    }
}

async fn tasks(state: &State, dag_id: &str, part: &str) -> Result<Vec<Found>> {
    let Some(record) = state.store.dag(dag_id).await? else { return Ok(Vec::new()) };
    let dag = state.store.dag_of_version(record.version_id).await?;
    let newest = state.store.run_stats(&[dag_id.to_owned()], 1).await?.remove(dag_id).and_then(|mut runs| runs.pop());
    let fits = dag.tasks().iter().filter(|task| task.task_id.to_lowercase().contains(part));
    Ok(fits
        .take(TASKS)
        .map(|task| Found {
            kind: "task",
            label: shown(&task.task_id),
            about: format!("{} of {}", shown(&task.operator), shown(dag_id)),
            href: match &newest {
                Some(run) => format!("{}/tasks/{}", links::run(dag_id, &run.run_id), links::part(&task.task_id)),
                None => links::query(&links::dag(dag_id), &[("task", &task.task_id)]),
            },
            dag: None,
            state: None,
        })
        .collect())
}
