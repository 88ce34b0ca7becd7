//! The list of DAGs: which there are, how they fare, what runs next.

use std::collections::{BTreeSet, HashSet};

use askama::Template;
use axum::extract::{self, Query};
use axum::response::Html;
use chrono::{DateTime, Utc};
use towpath_auth::Visible;
use towpath_model::state::RunState;
use towpath_store::{DagQuery, DagRecord, RunRecord};

use super::actions::Pairs;
use super::home::Broken;
use super::html;
use crate::frame::{Crumb, Frame};
use crate::view::moment::Moment;
use crate::view::run::dot;
use crate::view::state::{Badge, Dot};
use crate::view::text::{plural, shown};
use crate::{Result, State, links};

/// DAGs on one page.
const PAGE: u32 = 50;
/// Runs in the strip of one DAG.
const STRIP: u32 = 12;
/// Tags offered as filters.
const TAGS: usize = 24;

/// What the address asks for; `tag` may stand there more than once.
#[derive(Debug, Default, Clone, PartialEq)]
struct Params {
    q: String,
    /// `active`, `paused`, `failed`, `running`, or everything.
    show: String,
    tags: Vec<String>,
    owner: String,
    page: u32,
}

#[derive(Template)]
#[template(path = "dags.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    q: String,
    show: String,
    filters: Vec<Filter>,
    tags: Vec<(String, String, bool)>,
    chosen_tags: Vec<String>,
    owners: Vec<(String, bool)>,
    rows: Vec<Row>,
    summary: String,
    errors: Vec<Broken>,
    newer: Option<String>,
    older: Option<String>,
    is_filtered: bool,
    /// There is no DAG at all yet.
    is_new: bool,
    dags_folder: String,
    /// This page, for the way back.
    here: String,
}

struct Filter {
    label: &'static str,
    state: Option<Badge>,
    href: String,
    is_on: bool,
}

struct Row {
    href: String,
    dag_id: String,
    description: String,
    tags: Vec<(String, String)>,
    /// `None`: only when triggered.
    schedule: Option<String>,
    cron: String,
    is_paused: bool,
    last: Option<Moment>,
    strip: Vec<Dot>,
    next: Option<Moment>,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    visible: Visible,
    Query(pairs): Query<Pairs>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let params = Params::read(&pairs);
    let query = DagQuery { among: visible.among.clone(), ..params.query() };
    let found = state.store.find_dags(&query).await?;
    let ids: Vec<String> = found.items.iter().map(|dag| dag.dag_id.clone()).collect();
    let runs = state.store.run_stats(&ids, STRIP).await?;
    // Files hold DAGs of others, too.
    let is_everything = visible.among.is_none();
    let errors = if is_everything { state.store.import_errors().await? } else { Vec::new() };
    let (tags, owners) = if is_everything { state.store.labels().await? } else { labels(&found.items) };
    let is_busy = runs.values().flatten().any(|run| !run.state.is_finished());
    let frame = Frame::new(&state, now, vec![Crumb::here("DAGs")], is_busy).await;
    let last_page = u32::try_from(found.total.div_ceil(u64::from(PAGE))).unwrap_or(u32::MAX);
    let is_filtered = params != Params { page: params.page, ..Params::default() };
    let mut rows = Vec::with_capacity(found.items.len());
    for dag in &found.items {
        let spec = state.store.dag_of_version(dag.version_id).await?;
        let words = spec.spec().schedule_words();
        rows.push(Row::new(dag, &words, runs.get(&dag.dag_id).map_or(&[], Vec::as_slice), now));
    }
    html(&Page {
        frame,
        now,
        filters: params.filters(),
        tags: params.tag_links(&tags),
        chosen_tags: params.tags.iter().map(|tag| shown(tag)).collect(),
        owners: owners.into_iter().map(|owner| (owner.clone(), owner == params.owner)).collect(),
        is_new: found.total == 0 && !is_filtered && errors.is_empty(),
        rows,
        summary: plural(found.total, "DAG", "DAGs"),
        errors: errors.iter().map(|error| Broken::new(error, now)).collect(),
        newer: (params.page > 1).then(|| Params { page: params.page - 1, ..params.clone() }.address()),
        older: (params.page < last_page).then(|| Params { page: params.page + 1, ..params.clone() }.address()),
        is_filtered,
        q: shown(&params.q),
        show: shown(&params.show),
        dags_folder: shown(&state.dags_folder),
        here: params.address(),
    })
}

/// The tags and owners of some DAGs.
fn labels(dags: &[DagRecord]) -> (Vec<String>, Vec<String>) {
    let sorted = |texts: BTreeSet<&String>| texts.into_iter().cloned().collect();
    (sorted(dags.iter().flat_map(|dag| &dag.tags).collect()), sorted(dags.iter().flat_map(|dag| &dag.owners).collect()))
}

impl Params {
    fn read(pairs: &[(String, String)]) -> Self {
        let mut params = Self { page: 1, ..Self::default() };
        let mut seen = HashSet::new();
        for (name, value) in pairs {
            match name.as_str() {
                "q" => params.q.clone_from(value),
                "show" => params.show.clone_from(value),
                "owner" => params.owner.clone_from(value),
                "tag" if !value.is_empty() && seen.insert(value) => params.tags.push(value.clone()),
                "page" => params.page = value.parse().unwrap_or(1).clamp(1, 100_000),
                _ => {}
            }
        }
        params
    }

    fn query(&self) -> DagQuery {
        DagQuery {
            text: Some(self.q.trim().to_owned()).filter(|q| !q.is_empty()),
            tags: self.tags.clone(),
            owner: Some(self.owner.clone()).filter(|owner| !owner.is_empty()),
            paused: match self.show.as_str() {
                "active" => Some(false),
                "paused" => Some(true),
                _ => None,
            },
            with_run: match self.show.as_str() {
                "failed" => Some(RunState::Failed),
                "running" => Some(RunState::Running),
                _ => None,
            },
            limit: PAGE,
            among: None,
            offset: (self.page - 1) * PAGE,
        }
    }

    fn address(&self) -> String {
        let page = if self.page > 1 { self.page.to_string() } else { String::new() };
        let mut values = vec![("q", self.q.as_str()), ("show", &self.show), ("owner", &self.owner)];
        values.extend(self.tags.iter().map(|tag| ("tag", tag.as_str())));
        values.push(("page", &page));
        links::query(links::DAGS, &values)
    }

    fn filters(&self) -> Vec<Filter> {
        [
            ("All", "", None),
            ("Active", "active", None),
            ("Paused", "paused", None),
            ("Failed", "failed", Some(RunState::Failed)),
            ("Running", "running", Some(RunState::Running)),
        ]
        .into_iter()
        .map(|(label, show, state)| Filter {
            label,
            state: state.map(Badge::from),
            href: Self { show: show.to_owned(), page: 1, ..self.clone() }.address(),
            is_on: self.show == show,
        })
        .collect()
    }

    /// Pressed again, a tag is let go.
    fn tag_links(&self, tags: &[String]) -> Vec<(String, String, bool)> {
        let (on, off): (Vec<&String>, Vec<&String>) = tags.iter().partition(|tag| self.tags.contains(*tag));
        on.into_iter()
            .chain(off)
            .take(TAGS)
            .map(|tag| {
                let is_on = self.tags.contains(tag);
                let mut tags = self.tags.clone();
                if is_on {
                    tags.retain(|other| other != tag);
                } else {
                    tags.push(tag.clone());
                }
                (shown(tag), Self { tags, page: 1, ..self.clone() }.address(), is_on)
            })
            .collect()
    }
}

impl Row {
    /// `runs` are the newest, newest first.
    fn new(dag: &DagRecord, schedule: &str, runs: &[RunRecord], now: DateTime<Utc>) -> Self {
        Self {
            href: links::dag(&dag.dag_id),
            dag_id: shown(&dag.dag_id),
            description: dag.description.as_deref().map(shown).unwrap_or_default(),
            tags: dag.tags.iter().map(|tag| (shown(tag), links::query(links::DAGS, &[("tag", tag)]))).collect(),
            schedule: (dag.schedule != "None").then(|| shown(schedule)),
            cron: shown(&dag.schedule),
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
        let pairs = |text: &[(&str, &str)]| -> Pairs {
            text.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(Params::read(&[]).address(), "/dags");
        let params = Params::read(&pairs(&[
            ("q", "a b&c"),
            ("show", "paused"),
            ("tag", "x"),
            ("tag", "y"),
            ("tag", "x"),
            ("page", "3"),
        ]));
        assert_eq!(params.address(), "/dags?q=a%20b%26c&show=paused&tag=x&tag=y&page=3");
        let links = params.tag_links(&["x".to_owned(), "z".to_owned()]);
        assert_eq!(links[0], ("x".to_owned(), "/dags?q=a%20b%26c&show=paused&tag=y".to_owned(), true));
        assert_eq!(links[1].1, "/dags?q=a%20b%26c&show=paused&tag=x&tag=y&tag=z");
    }
}
