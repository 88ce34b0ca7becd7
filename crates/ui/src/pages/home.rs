//! The first page: what is wrong, what runs, what comes next.

use askama::Template;
use axum::extract;
use axum::response::Html;
use chrono::{DateTime, TimeDelta, Utc};
use towpath_auth::Visible;
use towpath_model::state::{RunState, TaskState};
use towpath_store::{DagFilter, HourCount, ImportError, JobState, JobType, RunFilter, RunRecord};

use super::html;
use crate::frame::{Crumb, Frame};
use crate::view::moment::{Moment, took};
use crate::view::state::Badge;
use crate::view::text::{count, shown};
use crate::{Result, State, links};

/// Lines of each list.
const LINES: u32 = 8;
/// Hours of the chart.
const HOURS: i64 = 24;
/// Height of the chart, in pixels.
const HEIGHT: u64 = 64;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    now: DateTime<Utc>,
    /// Label, number, what stands under it, address, and whether it is a worry.
    tiles: Vec<(&'static str, String, String, String, bool)>,
    failed: Vec<Line>,
    live: Vec<Line>,
    next: Vec<(String, String, Moment)>,
    pools: Vec<Pool>,
    hours: Vec<Hour>,
    busiest: u64,
    errors: Vec<Broken>,
    /// There is no DAG at all yet.
    is_new: bool,
    dags_folder: String,
}

/// A run in a list.
struct Line {
    state: Badge,
    dag_id: String,
    dag_href: String,
    run_id: String,
    href: String,
    at: Moment,
    took: String,
}

struct Pool {
    name: String,
    used: u32,
    slots: u32,
    is_full: bool,
}

/// Runs that ended in an hour.
struct Hour {
    x: i64,
    about: String,
    good: (u64, u64),
    bad: (u64, u64),
}

/// A file that cannot be read.
pub(crate) struct Broken {
    pub(crate) file: String,
    pub(crate) message: String,
    pub(crate) at: Moment,
}

impl Broken {
    pub(super) fn new(error: &ImportError, now: DateTime<Utc>) -> Self {
        Self { file: shown(&error.file), message: shown(&error.message), at: Moment::new(error.at, now) }
    }
}

pub(crate) async fn get(extract::State(state): extract::State<State>, visible: Visible) -> Result<Html<String>> {
    if let Some(among) = visible.among {
        return of_some(&state, among).await;
    }
    let now = state.clock.now();
    let store = &state.store;
    let day_ago = now - TimeDelta::hours(HOURS);
    let (all, paused) = store.dag_totals().await?;
    let errors = store.import_errors().await?;
    let failed = store.failed_runs_since(day_ago, LINES).await?;
    let live = store.live_runs(LINES).await?;
    let ended = store.ended_by_hour(day_ago, now).await?;
    let tasks = store.state_counts().await?;
    let jobs = store.jobs().await?;
    let workers = jobs
        .iter()
        .filter(|job| job.job.job_type == JobType::Worker && job.state == JobState::Running && job.lease_until > now);
    let (workers, slots) = workers.fold((0_u64, 0_u64), |(n, slots), job| (n + 1, slots + u64::from(job.job.slots)));
    let of = |state: TaskState| tasks.get(&state).copied().unwrap_or_default();
    let busy = of(TaskState::Running) + of(TaskState::Restarting);
    let waiting = of(TaskState::Queued) + of(TaskState::Scheduled);
    let of_runs = |state: RunState| ended.iter().filter(|hour| hour.state == state).map(|hour| hour.count).sum::<u64>();
    let bad = of_runs(RunState::Failed);
    html(&Home {
        frame: Frame::new(&state, now, vec![Crumb::here("Home")], !live.is_empty()).await,
        now,
        tiles: vec![
            (
                "Failed runs, 24 h",
                count(bad),
                format!("{} succeeded", count(of_runs(RunState::Success))),
                links::query(links::RUNS, &[("state", "failed")]),
                bad > 0,
            ),
            (
                "Tasks running",
                count(busy),
                format!("{} waiting", count(waiting)),
                links::query(links::RUNS, &[("state", "running")]),
                false,
            ),
            (
                "Worker slots",
                format!("{} of {}", count(busy), count(slots)),
                crate::view::text::plural(workers, "worker", "workers"),
                format!("{}/workers", links::ADMIN),
                workers == 0,
            ),
            ("DAGs", count(all), format!("{} paused", count(paused)), links::DAGS.to_owned(), false),
        ],
        failed: failed.iter().map(|run| Line::new(run, run.end_date.unwrap_or(run.run_after), now)).collect(),
        live: live.iter().map(|run| Line::new(run, run.start_date.unwrap_or(run.queued_at), now)).collect(),
        next: store
            .upcoming(LINES)
            .await?
            .into_iter()
            .map(|next| (links::dag(&next.dag_id), shown(&next.dag_id), Moment::new(next.run_after, now)))
            .collect(),
        pools: store
            .pools()
            .await?
            .into_iter()
            .map(|pool| Pool {
                name: shown(&pool.name),
                used: pool.used,
                slots: pool.slots,
                is_full: pool.used >= pool.slots,
            })
            .collect(),
        hours: hours(&ended, now),
        busiest: busiest(&ended),
        is_new: all == 0 && errors.is_empty(),
        errors: errors.iter().map(|error| Broken::new(error, now)).collect(),
        dags_folder: shown(&state.dags_folder),
    })
}

/// For somebody who may see some DAGs: how these fare, and nothing of what is shared with others.
async fn of_some(state: &State, among: Vec<String>) -> Result<Html<String>> {
    let now = state.clock.now();
    let filter = |states: Vec<RunState>| RunFilter {
        states,
        among: Some(among.clone()),
        newest_first: true,
        limit: LINES,
        ..RunFilter::default()
    };
    let mut failed = state.store.runs(&filter(vec![RunState::Failed])).await?.items;
    failed.retain(|run| run.end_date.is_some_and(|end| end >= now - TimeDelta::hours(HOURS)));
    let live = state.store.runs(&filter(vec![RunState::Running, RunState::Queued])).await?;
    let some = DagFilter { among: Some(among.clone()), limit: 500, ..DagFilter::default() };
    let dags = state.store.dags(&some).await?;
    let mut next: Vec<_> = dags
        .items
        .iter()
        .filter(|dag| !dag.is_paused)
        .filter_map(|dag| Some((dag.next_run?.run_after, dag.dag_id.as_str())))
        .collect();
    next.sort_unstable();
    html(&Home {
        frame: Frame::new(state, now, vec![Crumb::here("Home")], live.total > 0).await,
        now,
        tiles: vec![
            ("Runs under way", count(live.total), String::new(), links::RUNS.to_owned(), false),
            ("DAGs", count(dags.total), String::new(), links::DAGS.to_owned(), false),
        ],
        failed: failed.iter().map(|run| Line::new(run, run.end_date.unwrap_or(run.run_after), now)).collect(),
        live: live.items.iter().map(|run| Line::new(run, run.start_date.unwrap_or(run.queued_at), now)).collect(),
        next: next
            .into_iter()
            .take(LINES as usize)
            .map(|(at, dag_id)| (links::dag(dag_id), shown(dag_id), Moment::new(at, now)))
            .collect(),
        pools: Vec::new(),
        hours: Vec::new(),
        busiest: 0,
        errors: Vec::new(),
        is_new: false,
        dags_folder: String::new(),
    })
}

impl Line {
    fn new(run: &RunRecord, at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self {
            state: run.state.into(),
            dag_id: shown(&run.dag_id),
            dag_href: links::dag(&run.dag_id),
            run_id: shown(&run.run_id),
            href: links::run(&run.dag_id, &run.run_id),
            at: Moment::new(at, now),
            took: took(run.start_date, run.end_date, now).unwrap_or_default(),
        }
    }
}

fn of_hour(ended: &[HourCount], hour: i64, state: RunState) -> u64 {
    ended.iter().filter(|it| it.hour == hour && it.state == state).map(|it| it.count).sum()
}

fn busiest(ended: &[HourCount]) -> u64 {
    let all = |hour: i64| ended.iter().filter(|it| it.hour == hour).map(|it| it.count).sum::<u64>();
    ended.iter().map(|it| all(it.hour)).max().unwrap_or_default()
}

fn hours(ended: &[HourCount], now: DateTime<Utc>) -> Vec<Hour> {
    let this = now.timestamp().div_euclid(3_600);
    let most = busiest(ended).max(1);
    (0..HOURS)
        .map(|place| {
            let hour = this - (HOURS - 1 - place);
            let (good, bad) = (of_hour(ended, hour, RunState::Success), of_hour(ended, hour, RunState::Failed));
            // Whatever ended can be seen.
            let tall = |number: u64| if number == 0 { 0 } else { (number * HEIGHT / most).max(2) };
            let (good_height, bad_height) = (tall(good), tall(bad));
            let begin = DateTime::from_timestamp(hour * 3_600, 0).unwrap_or(now);
            Hour {
                x: place * 14,
                about: format!("{} UTC: {good} succeeded, {bad} failed", begin.format("%H:%M")),
                good: ((HEIGHT + 4).saturating_sub(good_height), good_height),
                bad: ((HEIGHT + 4).saturating_sub(good_height + bad_height), bad_height),
            }
        })
        .collect()
}
