//! DAG runs in lists and strips.

use chrono::{DateTime, Utc};
use towpath_store::RunRecord;

use super::moment::{Moment, took};
use super::state::{Badge, Dot};
use super::text::shown;
use crate::links;

/// A row of a list of runs.
#[derive(Debug)]
pub(crate) struct RunRow {
    pub(crate) href: String,
    pub(crate) run_id: String,
    /// As it is, for a form that names it.
    pub(crate) raw_id: String,
    pub(crate) state: Badge,
    pub(crate) run_type: &'static str,
    pub(crate) logical_date: Option<Moment>,
    pub(crate) started: Option<Moment>,
    pub(crate) took: String,
    pub(crate) note: String,
}

impl RunRow {
    pub(crate) fn new(run: &RunRecord, now: DateTime<Utc>) -> Self {
        Self {
            href: links::run(&run.dag_id, &run.run_id),
            run_id: shown(&run.run_id),
            raw_id: run.run_id.clone(),
            state: run.state.into(),
            run_type: run.run_type.into(),
            logical_date: run.logical_date.map(Moment::exact),
            started: run.start_date.map(|at| Moment::new(at, now)),
            took: took(run.start_date, run.end_date, now).unwrap_or_default(),
            note: run.note.as_deref().map(shown).unwrap_or_default(),
        }
    }
}

/// A run as a glyph.
pub(crate) fn dot(run: &RunRecord, now: DateTime<Utc>) -> Dot {
    let mut about = shown(&run.run_id);
    if let Some(took) = took(run.start_date, run.end_date, now) {
        about.push_str(", ");
        about.push_str(&took);
    }
    Dot { badge: run.state.into(), href: links::run(&run.dag_id, &run.run_id), about }
}
