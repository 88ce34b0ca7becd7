//! The DAGs: which there are, how they fare, what runs next.

use askama::Template;
use axum::extract::{self, Query};
use axum::response::Html;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use towpath_auth::Visible;
use towpath_store::{DagFilter, DagRecord, ImportError, RunRecord};

use super::html;
use crate::frame::{Crumb, Frame};
use crate::view::moment::Moment;
use crate::view::run::dot;
use crate::view::state::Dot;
use crate::view::text::{plural, shown};
use crate::{Result, State, links};

/// DAGs on one page.
const PAGE: u32 = 50;
/// Runs in the strip of one DAG.
const STRIP: u32 = 12;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    q: String,
    /// `active`, `paused`, or everything.
    show: String,
    page: Option<u32>,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    now: DateTime<Utc>,
    q: String,
    filters: Vec<Filter>,
    rows: Vec<Row>,
    summary: String,
    errors: Vec<Broken>,
    newer: Option<String>,
    older: Option<String>,
    /// There is no DAG at all yet.
    is_new: bool,
    dags_folder: String,
}

struct Filter {
    label: &'static str,
    href: String,
    is_on: bool,
}

struct Row {
    href: String,
    dag_id: String,
    description: String,
    tags: Vec<String>,
    /// `None`: only when triggered.
    schedule: Option<String>,
    is_paused: bool,
    last: Option<Moment>,
    strip: Vec<Dot>,
    next: Option<Moment>,
}

/// A file that cannot be read.
pub(super) struct Broken {
    pub(super) file: String,
    pub(super) message: String,
    pub(super) at: Moment,
}

impl Broken {
    pub(super) fn new(error: &ImportError, now: DateTime<Utc>) -> Self {
        Self { file: shown(&error.file), message: shown(&error.message), at: Moment::new(error.at, now) }
    }
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    visible: Visible,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let page = params.page.unwrap_or(1).clamp(1, 100_000);
    let filter = DagFilter {
        id_contains: Some(params.q.trim().to_owned()).filter(|q| !q.is_empty()),
        paused: match params.show.as_str() {
            "active" => Some(false),
            "paused" => Some(true),
            _ => None,
        },
        include_stale: false,
        among: visible.among.clone(),
        limit: PAGE,
        offset: (page - 1) * PAGE,
    };
    let found = state.store.dags(&filter).await?;
    let ids: Vec<String> = found.items.iter().map(|dag| dag.dag_id.clone()).collect();
    let runs = state.store.run_stats(&ids, STRIP).await?;
    // Files hold DAGs of others, too.
    let errors = if visible.among.is_none() { state.store.import_errors().await? } else { Vec::new() };
    let is_busy = runs.values().flatten().any(|run| !run.state.is_finished());
    let mut frame = Frame::new(&state, now, vec![Crumb::here("DAGs")], is_busy).await;
    frame.search = shown(&params.q);
    let last_page = u32::try_from(found.total.div_ceil(u64::from(PAGE))).unwrap_or(u32::MAX);
    html(&Home {
        frame,
        now,
        filters: filters(&params),
        is_new: found.total == 0 && filter.id_contains.is_none() && filter.paused.is_none() && errors.is_empty(),
        rows: found
            .items
            .iter()
            .map(|dag| Row::new(dag, runs.get(&dag.dag_id).map_or(&[], Vec::as_slice), now))
            .collect(),
        summary: plural(found.total, "DAG", "DAGs"),
        errors: errors.iter().map(|error| Broken::new(error, now)).collect(),
        newer: (page > 1).then(|| address(&params.q, &params.show, page - 1)),
        older: (page < last_page).then(|| address(&params.q, &params.show, page + 1)),
        q: shown(&params.q),
        dags_folder: shown(&state.dags_folder),
    })
}

fn filters(params: &Params) -> Vec<Filter> {
    [("All", ""), ("Active", "active"), ("Paused", "paused")]
        .into_iter()
        .map(|(label, show)| Filter {
            label,
            href: address(&params.q, show, 1),
            is_on: params.show == show || (show.is_empty() && !matches!(params.show.as_str(), "active" | "paused")),
        })
        .collect()
}

fn address(q: &str, show: &str, page: u32) -> String {
    let page = if page > 1 { page.to_string() } else { String::new() };
    let query: Vec<String> = [("q", q), ("show", show), ("page", &page)]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", links::part(value)))
        .collect();
    if query.is_empty() { "/".to_owned() } else { format!("/?{}", query.join("&")) }
}

impl Row {
    /// `runs` are the newest, newest first.
    fn new(dag: &DagRecord, runs: &[RunRecord], now: DateTime<Utc>) -> Self {
        Self {
            href: links::dag(&dag.dag_id),
            dag_id: shown(&dag.dag_id),
            description: dag.description.as_deref().map(shown).unwrap_or_default(),
            tags: dag.tags.iter().map(|tag| shown(tag)).collect(),
            schedule: Some(shown(&dag.schedule)).filter(|schedule| schedule != "None"),
            is_paused: dag.is_paused,
            last: runs.first().map(|run| Moment::new(run.start_date.unwrap_or(run.queued_at), now)),
            strip: runs.iter().rev().map(|run| dot(run, now)).collect(),
            next: dag.next_run.filter(|_| !dag.is_paused).map(|next| Moment::new(next.run_after, now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(address("", "", 1), "/");
        assert_eq!(address("a b&c", "paused", 3), "/?q=a%20b%26c&show=paused&page=3");
    }
}
