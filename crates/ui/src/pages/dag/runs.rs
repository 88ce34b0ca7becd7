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
use towpath_store::{After, Deletion, Listing, RunFilter, RunRecord, Selection};

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
    /// Only runs older than this one, or newer: `run_after` in microseconds since 1970 and key, as `1767225600000000.7`.
    before: String,
    after: String,
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
    // A page is found by the run beside it, so that the last one costs no more than the first.
    let (before, after) = (place(&params.before)?, place(&params.after)?);
    let newest_first = after.is_none();
    let only: Option<RunState> = params.state.parse().ok();
    let day = span(&params.day, zone)?;
    let (dag_id, head) = of.unzip();
    let filter = RunFilter {
        dag_id,
        states: only.into_iter().collect(),
        run_type: params.run_type.parse().ok(),
        logical_date_gte: day.map(|day| day.0),
        logical_date_lte: day.map(|day| day.1),
        newest_first,
        among,
        // One more tells whether there is another page.
        limit: PAGE + 1,
        offset: 0,
    };
    let is_first = before.is_none() && after.is_none();
    let mut found = state.store.list_runs(&Listing { after: after.or(before), ..Listing::of(&filter) }, false).await?;
    let is_more = found.items.len() > PAGE as usize;
    found.items.truncate(PAGE as usize);
    if !newest_first {
        found.items.reverse();
    }
    let at = |state: &str, side: &str, run: Option<&RunRecord>| {
        let place = run.map(|run| format!("{}.{}", run.run_after.timestamp_micros(), run.key)).unwrap_or_default();
        let values = [("state", state), ("type", &params.run_type), ("day", &params.day), (side, &place)];
        links::query(&href, &values)
    };
    let newer = found.items.first().filter(|_| if newest_first { !is_first } else { is_more });
    let older = found.items.last().filter(|_| if newest_first { is_more } else { true });
    html(&Page {
        frame,
        now,
        head,
        states: RunState::iter()
            .map(|state| {
                let is_on = only == Some(state);
                (state.into(), at(if is_on { "" } else { state.as_ref() }, "before", None), is_on)
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
        newer: newer.map(|run| at(&params.state, "after", Some(run))),
        older: older.map(|run| at(&params.state, "before", Some(run))),
        is_filtered: only.is_some() || filter.run_type.is_some() || day.is_some(),
        href,
    })
}

/// A place in the list, from an address.
fn place(text: &str) -> Result<Option<After>> {
    if text.is_empty() {
        return Ok(None);
    }
    let found = text.split_once('.').and_then(|(micros, key)| {
        Some(After::Run { run_after: DateTime::from_timestamp_micros(micros.parse().ok()?)?, key: key.parse().ok()? })
    });
    let wrong = || Error::BadRequest(format!("`{}` is no place in the list; begin with its first page", shown(text)));
    found.map(Some).ok_or_else(wrong)
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
