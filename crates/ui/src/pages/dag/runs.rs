//! The runs of one DAG, or of all: to filter, and to clear or delete many at once.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{self, Path, Query};
use axum::response::{Html, IntoResponse, Redirect, Response};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use strum::IntoEnumIterator;
use towpath_auth::Visible;
use towpath_model::state::RunState;
use towpath_store::{Deletion, RunFilter, RunRecord, Selection};

use super::super::html;
use super::{Head, load};
use crate::frame::{Crumb, Frame};
use crate::pages::actions::{Confirm, Line, Pairs};
use crate::view::run::RunRow;
use crate::view::state::Badge;
use crate::view::text::{plural, shown};
use crate::{Error, Result, State, links};

/// Runs on one page.
const PAGE: u32 = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Params {
    state: String,
    #[serde(rename = "type")]
    run_type: String,
    /// A day in the DAG's zone, such as 2026-02-03.
    day: String,
    page: Option<u32>,
}

#[derive(Template)]
#[template(path = "dag/runs.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    /// None for the runs of all DAGs.
    head: Option<Head>,
    href: String,
    states: Vec<(Badge, String, bool)>,
    types: Vec<(&'static str, bool)>,
    state: String,
    day: String,
    rows: Vec<(String, String, RunRow)>,
    total: String,
    newer: Option<String>,
    older: Option<String>,
    is_filtered: bool,
}

const TYPES: [&str; 5] = ["scheduled", "manual", "backfill", "asset_triggered", "operator_triggered"];

/// The runs of one DAG.
pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let loaded = load(&state, &dag_id, "Runs", now).await?;
    let zone = loaded.dag.spec().timezone;
    let href = format!("{}/runs", loaded.head.href);
    page(&state, loaded.frame, Some((dag_id, loaded.head)), None, zone, href, &params).await
}

/// The runs of all DAGs.
pub(crate) async fn all(
    extract::State(state): extract::State<State>,
    visible: Visible,
    Query(params): Query<Params>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let frame = Frame::new(&state, now, vec![Crumb::here("Runs")], true).await;
    page(&state, frame, None, visible.among, Tz::UTC, links::RUNS.to_owned(), &params).await
}

async fn page(
    state: &State,
    frame: Frame,
    of: Option<(String, Head)>,
    among: Option<Vec<String>>,
    zone: Tz,
    href: String,
    params: &Params,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let number = params.page.unwrap_or(1).clamp(1, 100_000);
    let only: Option<RunState> = params.state.parse().ok();
    let day = span(&params.day, zone)?;
    let (dag_id, head) = of.unzip();
    let filter = RunFilter {
        dag_id,
        states: only.into_iter().collect(),
        run_type: params.run_type.parse().ok(),
        logical_date_gte: day.map(|day| day.0),
        logical_date_lte: day.map(|day| day.1),
        newest_first: true,
        among,
        limit: PAGE,
        offset: (number - 1) * PAGE,
    };
    let found = state.store.runs(&filter).await?;
    let at = |state: &str, page: u32| {
        let page = if page > 1 { page.to_string() } else { String::new() };
        let values = [("state", state), ("type", &params.run_type), ("day", &params.day), ("page", &page)];
        links::query(&href, &values)
    };
    let last = u32::try_from(found.total.div_ceil(u64::from(PAGE))).unwrap_or(u32::MAX);
    html(&Page {
        frame,
        now,
        head,
        states: RunState::iter()
            .map(|state| {
                let is_on = only == Some(state);
                (state.into(), if is_on { at("", 1) } else { at(state.as_ref(), 1) }, is_on)
            })
            .collect(),
        types: TYPES.map(|name| (name, params.run_type == name)).into(),
        state: shown(&params.state),
        day: shown(&params.day),
        rows: found
            .items
            .iter()
            .map(|run| (shown(&run.dag_id), links::dag(&run.dag_id), RunRow::new(run, now)))
            .collect(),
        total: plural(found.total, "run", "runs"),
        newer: (number > 1).then(|| at(&params.state, number - 1)),
        older: (number < last).then(|| at(&params.state, number + 1)),
        is_filtered: only.is_some() || filter.run_type.is_some() || day.is_some(),
        href,
    })
}

/// The first and the last moment of a day.
fn span(day: &str, zone: Tz) -> Result<Option<(DateTime<Utc>, DateTime<Utc>)>> {
    if day.trim().is_empty() {
        return Ok(None);
    }
    let wrong = || Error::BadRequest(format!("`{}` is no day; write it as 2026-02-03", shown(day)));
    let day: NaiveDate = day.trim().parse().map_err(|_| wrong())?;
    let begin = |day: NaiveDate| zone.from_local_datetime(&day.and_time(NaiveTime::MIN)).earliest();
    let next = day.checked_add_days(Days::new(1)).and_then(begin).ok_or_else(wrong)?;
    let first = begin(day).ok_or_else(wrong)?;
    Ok(Some((first.to_utc(), next.to_utc() - chrono::TimeDelta::microseconds(1))))
}

/// Clears or deletes the runs that were ticked: shows first what that touches.
pub(crate) async fn bulk(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    axum::Form(fields): axum::Form<Pairs>,
) -> Result<Response> {
    let now = state.clock.now();
    let ids: BTreeSet<&str> =
        fields.iter().filter(|(name, _)| name == "run").map(|(_, value)| value.as_str()).collect();
    let action = fields.iter().find(|(name, _)| name == "action").map(|(_, value)| value.as_str()).unwrap_or_default();
    let is_sure = fields.iter().any(|(name, value)| name == "sure" && value == "1");
    let back = format!("{}/runs", links::dag(&dag_id));
    let mut runs = Vec::new();
    for id in &ids {
        runs.push(super::super::find_run(&state, &dag_id, id).await?);
    }
    if runs.is_empty() {
        return Ok(Redirect::to(&back).into_response());
    }
    if is_sure {
        for run in &runs {
            carry_out(&state, action, run, now).await?;
        }
        return Ok(Redirect::to(&back).into_response());
    }
    let mut lines = Vec::new();
    for run in &runs {
        lines.extend(preview(&state, action, run, now).await?);
    }
    let count = |one, many| plural(lines.len() as u64, one, many);
    let (title, button, warning) = match action {
        "delete" => (
            format!("Delete {} of {}", count("run", "runs"), shown(&dag_id)),
            format!("Delete {}", count("run", "runs")),
            "Their task instances, logs and XComs go with them. This cannot be undone.",
        ),
        _ => (
            format!("Clear {} of {}", plural(runs.len() as u64, "run", "runs"), shown(&dag_id)),
            format!("Clear {}", count("task instance", "task instances")),
            "They run again, with their retries anew; the runs go on.",
        ),
    };
    let crumbs = vec![
        Crumb::dags(),
        Crumb::link(&dag_id, links::dag(&dag_id)),
        Crumb::link("Runs", back.clone()),
        Crumb::here(if action == "delete" { "Delete" } else { "Clear" }),
    ];
    let mut hidden: Vec<(String, String)> = runs.iter().map(|run| ("run".to_owned(), run.run_id.clone())).collect();
    hidden.extend([("action".to_owned(), action.to_owned()), ("sure".to_owned(), "1".to_owned())]);
    let frame = Frame::new(&state, now, crumbs, false).await.still();
    let confirm = Confirm {
        action: back.clone(),
        is_danger: action == "delete",
        warning: warning.to_owned(),
        ..Confirm::new(frame, now, title, button, back, hidden, lines)
    };
    Ok(html(&confirm)?.into_response())
}

async fn carry_out(state: &State, action: &str, run: &RunRecord, now: DateTime<Utc>) -> Result<()> {
    match action {
        "delete" => match state.store.delete_run(run.key, false, now).await? {
            Deletion::Deleted | Deletion::Missing => Ok(()),
            Deletion::Running => {
                Err(Error::BadRequest(format!("run `{}` is running; cancel it before you delete it", run.run_id)))
            }
        },
        "clear" | "clear_failed" => {
            let selection = Selection { only_failed: action == "clear_failed", ..Selection::default() };
            state.store.clear(run.key, &selection, false, now).await?;
            Ok(())
        }
        _ => Err(Error::BadRequest("choose what is to be done with the runs".to_owned())),
    }
}

async fn preview(state: &State, action: &str, run: &RunRecord, now: DateTime<Utc>) -> Result<Vec<Line>> {
    match action {
        "delete" => Ok(vec![Line { state: run.state.into(), words: shown(&run.run_id) }]),
        "clear" | "clear_failed" => {
            let selection = Selection { only_failed: action == "clear_failed", ..Selection::default() };
            let touched = state.store.clear(run.key, &selection, true, now).await?;
            Ok(touched.iter().map(|touched| Line::of(touched, Some(&run.run_id))).collect())
        }
        _ => Err(Error::BadRequest("choose what is to be done with the runs".to_owned())),
    }
}
