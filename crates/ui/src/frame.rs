//! What stands around every page: the bar at the top, with where one is and how the system is.

use chrono::{DateTime, Utc};
use towpath_store::{JobState, JobType};

use crate::State;
use crate::assets::Urls;

/// How often a page that shows something unfinished asks for news, in milliseconds.
const BUSY_MS: u32 = 1_500;
/// How often the others do.
const IDLE_MS: u32 = 15_000;

/// What stands around a page.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) assets: Urls,
    /// Of the window.
    pub(crate) title: String,
    /// From the outermost to this page, which has no address.
    pub(crate) crumbs: Vec<Crumb>,
    pub(crate) health: Health,
    pub(crate) refresh_ms: Option<u32>,
    /// The DAG that the page is about: the palette looks into it first.
    pub(crate) dag_id: String,
    /// The zone of that DAG.
    pub(crate) zone: String,
}

/// A step on the way to this page.
#[derive(Debug)]
pub(crate) struct Crumb {
    pub(crate) label: String,
    pub(crate) href: Option<String>,
}

impl Crumb {
    /// To the list of DAGs.
    pub(crate) fn dags() -> Self {
        Self::link("DAGs", crate::links::DAGS.to_owned())
    }
}

/// The dot at the top.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) is_good: bool,
    pub(crate) words: String,
}

impl Crumb {
    pub(crate) fn link(label: &str, href: String) -> Self {
        Self { label: crate::view::text::shown(label), href: Some(href) }
    }

    pub(crate) fn here(label: &str) -> Self {
        Self { label: crate::view::text::shown(label), href: None }
    }
}

impl Frame {
    /// `is_busy` says whether something on the page is expected to change soon.
    pub(crate) async fn new(state: &State, now: DateTime<Utc>, crumbs: Vec<Crumb>, is_busy: bool) -> Self {
        let mut labels: Vec<&str> = crumbs.iter().rev().map(|crumb| crumb.label.as_str()).collect();
        labels.push("Towpath");
        Self {
            assets: Urls::get(),
            title: labels.join(" · "),
            crumbs,
            health: health(state, now).await,
            refresh_ms: Some(if is_busy { BUSY_MS } else { IDLE_MS }),
            dag_id: String::new(),
            zone: String::new(),
        }
    }

    /// The outermost step names the part of the site.
    pub(crate) fn section(&self) -> &str {
        self.crumbs.first().map(|crumb| crumb.label.as_str()).unwrap_or_default()
    }

    /// For a page about one DAG.
    pub(crate) fn of_dag(mut self, dag: &towpath_model::dag::DagSpec) -> Self {
        self.dag_id = dag.dag_id.clone();
        self.zone = dag.timezone.name().to_owned();
        self
    }

    /// For a page that is costly to make.
    pub(crate) fn at_most_every(mut self, milliseconds: u32) -> Self {
        self.refresh_ms = self.refresh_ms.map(|every| every.max(milliseconds));
        self
    }

    /// For a form: nothing may move under the user's hands.
    pub(crate) fn still(mut self) -> Self {
        self.refresh_ms = None;
        self
    }
}

async fn health(state: &State, now: DateTime<Utc>) -> Health {
    let jobs = match state.store.jobs().await {
        Ok(jobs) => jobs,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the health of the system cannot be read");
            return Health { is_good: false, words: "The database does not answer".to_owned() };
        }
    };
    let alive = |job_type| {
        jobs.iter()
            .filter(|job| job.job.job_type == job_type && job.state == JobState::Running && job.lease_until > now)
            .count()
    };
    judge(alive(JobType::Scheduler), alive(JobType::Worker))
}

fn judge(schedulers: usize, workers: usize) -> Health {
    let words = match (schedulers, workers) {
        (0, 0) => "No scheduler and no worker is alive: nothing runs".to_owned(),
        (0, _) => "No scheduler is alive: no run is started".to_owned(),
        (_, 0) => "No worker is alive: no task is run".to_owned(),
        (_, 1) => "All well, 1 worker".to_owned(),
        (_, n) => format!("All well, {n} workers"),
    };
    Health { is_good: schedulers > 0 && workers > 0, words }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_in_words() {
        for (schedulers, workers, is_good, words) in [
            (1, 1, true, "All well, 1 worker"),
            (2, 3, true, "All well, 3 workers"),
            (0, 3, false, "No scheduler is alive: no run is started"),
            (1, 0, false, "No worker is alive: no task is run"),
            (0, 0, false, "No scheduler and no worker is alive: nothing runs"),
        ] {
            assert_eq!(judge(schedulers, workers), Health { is_good, words: words.to_owned() });
        }
    }
}
