//! The pages about one DAG: what stands above all of them, and one file for each tab.

pub(crate) mod backfills;
pub(crate) mod calendar;
pub(crate) mod code;
pub(crate) mod data;
pub(crate) mod details;
pub(crate) mod durations;
pub(crate) mod gantt;
pub(crate) mod graph;
pub(crate) mod grid;
pub(crate) mod plan;
pub(crate) mod runs;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use towpath_model::dag::Dag;
use towpath_store::{DagRecord, RunFilter, RunRecord};

use super::find_dag;
use super::home::Broken;
use crate::frame::{Crumb, Frame};
use crate::view::moment::Moment;
use crate::view::run::dot;
use crate::view::state::{Badge, Dot};
use crate::view::text::shown;
use crate::{Error, Result, State, links};

/// Runs in the strip of the header.
const STRIP: u32 = 16;

/// What stands above every tab.
pub(crate) struct Head {
    pub(crate) href: String,
    /// Where the button leads that pauses it, or lets it run.
    pub(crate) pause_href: String,
    pub(crate) dag_id: String,
    pub(crate) description: String,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) owners: String,
    pub(crate) schedule: String,
    /// As it is written, where that differs from the words.
    pub(crate) cron: Option<String>,
    pub(crate) is_paused: bool,
    pub(crate) is_stale: bool,
    pub(crate) next: Option<Moment>,
    pub(crate) strip: Vec<Dot>,
    pub(crate) broken: Option<Broken>,
    pub(crate) file: String,
    pub(crate) version: i32,
    pub(crate) tabs: Vec<Tab>,
}

/// A view of the DAG.
pub(crate) struct Tab {
    pub(crate) label: &'static str,
    pub(crate) href: String,
    pub(crate) is_on: bool,
}

/// A DAG with what its pages share.
pub(crate) struct Loaded {
    pub(crate) frame: Frame,
    pub(crate) head: Head,
    pub(crate) record: DagRecord,
    pub(crate) dag: Arc<Dag>,
}

const TABS: [(&str, &str); 11] = [
    ("Grid", ""),
    ("Graph", "graph"),
    ("Gantt", "gantt"),
    ("Calendar", "calendar"),
    ("Durations", "durations"),
    ("Runs", "runs"),
    ("Data", "data"),
    ("Backfills", "backfills"),
    ("Code", "code"),
    ("Details", "details"),
    ("Audit", "audit"),
];

/// Reads what stands above `tab`.
pub(crate) async fn load(state: &State, dag_id: &str, tab: &'static str, now: DateTime<Utc>) -> Result<Loaded> {
    let record = find_dag(state, dag_id).await?;
    let dag = state.store.dag_of_version(record.version_id).await?;
    let runs = state.store.run_stats(&[dag_id.to_owned()], STRIP).await?.remove(dag_id).unwrap_or_default();
    let errors = state.store.import_errors().await?;
    let is_busy = runs.iter().any(|run| !run.state.is_finished());
    let mut crumbs = vec![Crumb::dags()];
    if tab == "Grid" {
        crumbs.push(Crumb::here(dag_id));
    } else {
        crumbs.extend([Crumb::link(dag_id, links::dag(dag_id)), Crumb::here(tab)]);
    }
    let frame = Frame::new(state, now, crumbs, is_busy).await.of_dag(dag.spec());
    let broken = errors.iter().find(|error| error.file == record.file).map(|error| Broken::new(error, now));
    Ok(Loaded { frame, head: Head::new(&record, &dag, &runs, broken, tab, now), record, dag })
}

impl Head {
    fn new(
        record: &DagRecord,
        dag: &Dag,
        runs: &[RunRecord],
        broken: Option<Broken>,
        tab: &str,
        now: DateTime<Utc>,
    ) -> Self {
        let spec = dag.spec();
        let (words, written) = (spec.schedule_words(), spec.schedule_summary());
        let href = links::dag(&record.dag_id);
        Self {
            pause_href: format!("{href}/{}", if record.is_paused { "unpause" } else { "pause" }),
            dag_id: shown(&record.dag_id),
            description: record.description.as_deref().map(shown).unwrap_or_default(),
            tags: record.tags.iter().map(|tag| (shown(tag), links::query(links::DAGS, &[("tag", tag)]))).collect(),
            owners: shown(&record.owners.join(", ")),
            cron: (spec.schedule.is_scheduled() && written != words).then(|| shown(&written)),
            schedule: shown(&words),
            is_paused: record.is_paused,
            is_stale: !record.is_active,
            next: record.next_run.filter(|_| !record.is_paused).map(|next| Moment::new(next.run_after, now)),
            strip: runs.iter().rev().map(|run| dot(run, now)).collect(),
            broken,
            file: shown(&record.file),
            version: record.version_number,
            tabs: TABS
                .into_iter()
                .map(|(label, part)| Tab {
                    label,
                    href: if part.is_empty() { href.clone() } else { format!("{href}/{part}") },
                    is_on: label == tab,
                })
                .collect(),
            href,
        }
    }
}

/// A tab that shows one run: the DAG as it was then, or as it is where there is no run.
pub(super) struct OfRun {
    pub(super) frame: Frame,
    pub(super) head: Head,
    pub(super) choices: Vec<Choice>,
    pub(super) run: Option<RunRecord>,
    /// Of the DAG.
    pub(super) version_id: i64,
    pub(super) dag: Arc<Dag>,
}

/// Address, id and state of the run that a tab shows.
pub(super) type Shown = (String, String, Badge);

impl OfRun {
    pub(super) fn shown(&self) -> Option<Shown> {
        let run = self.run.as_ref()?;
        Some((links::run(&run.dag_id, &run.run_id), shown(&run.run_id), run.state.into()))
    }
}

/// Reads what a tab about the run `run_id` shares with the others; about the newest where no run is named.
pub(super) async fn load_run(
    state: &State,
    dag_id: &str,
    run_id: &str,
    tab: &'static str,
    now: DateTime<Utc>,
) -> Result<OfRun> {
    let loaded = load(state, dag_id, tab, now).await?;
    let run = chosen_run(state, dag_id, run_id).await?;
    let dag = match &run {
        Some(run) => state.store.dag_of_version(run.version_id).await?,
        None => loaded.dag,
    };
    let choices = choices(state, dag_id, run.as_ref()).await?;
    let version_id = run.as_ref().map_or(loaded.record.version_id, |run| run.version_id);
    Ok(OfRun { frame: loaded.frame, head: loaded.head, choices, run, version_id, dag })
}

/// The newest runs, `limit` of them, newest first.
pub(super) async fn newest_runs(state: &State, dag_id: &str, limit: u32) -> Result<Vec<RunRecord>> {
    let filter = RunFilter { dag_id: Some(dag_id.to_owned()), newest_first: true, limit, ..RunFilter::default() };
    Ok(state.store.some_runs(&filter).await?)
}

async fn chosen_run(state: &State, dag_id: &str, run_id: &str) -> Result<Option<RunRecord>> {
    if run_id.is_empty() {
        return Ok(newest_runs(state, dag_id, 1).await?.pop());
    }
    let run = state.store.run(dag_id, run_id).await?;
    run.map(Some).ok_or_else(|| Error::no_such("run", run_id))
}

/// A run to choose in a list of some, with its address.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) is_on: bool,
}

/// The newest runs to choose from, `chosen` among them.
async fn choices(state: &State, dag_id: &str, chosen: Option<&RunRecord>) -> Result<Vec<Choice>> {
    let mut runs = newest_runs(state, dag_id, 25).await?;
    if let Some(chosen) = chosen.filter(|chosen| runs.iter().all(|run| run.key != chosen.key)) {
        runs.push(chosen.clone());
    }
    Ok(runs
        .into_iter()
        .map(|run| Choice {
            is_on: chosen.is_some_and(|chosen| chosen.key == run.key),
            label: format!("{} ({})", shown(&run.run_id), run.state),
            value: run.run_id,
        })
        .collect())
}
