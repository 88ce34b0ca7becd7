//! The backfills of a DAG: which there are, and new ones.

use askama::Template;
use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Extension, Form};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use towpath_store::{BackfillAction, BackfillDate, BackfillRecord, NewBackfill, Reprocess};

use super::super::html;
use super::super::trigger::read_date;
use super::{Head, load};
use crate::frame::Frame;
use crate::view::moment::{Moment, absolute};
use crate::view::text::{plural, shown};
use crate::{Error, Result, State, links};

/// Dates named in a preview.
const DATES: usize = 50;

/// The form as it comes, and as it is shown again.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    from: String,
    to: String,
    reprocess: String,
    max_active_runs: String,
    backwards: Option<String>,
    conf: String,
    /// Not only a preview.
    sure: Option<String>,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            from: String::new(),
            to: String::new(),
            reprocess: Reprocess::None.to_string(),
            max_active_runs: "10".to_owned(),
            backwards: None,
            conf: String::new(),
            sure: None,
        }
    }
}

#[derive(Template)]
#[template(path = "dag/backfills.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    head: Head,
    is_scheduled: bool,
    rows: Vec<Row>,
    fields: Fields,
    mistake: Option<String>,
    preview: Option<Preview>,
}

struct Row {
    id: i64,
    span: String,
    state: &'static str,
    is_open: bool,
    is_paused: bool,
    /// The action of the button that pauses it, or lets it go on.
    pause: String,
    counts: String,
    done: u64,
    runs: u64,
    created: Moment,
}

struct Preview {
    button: String,
    left: Option<String>,
    dates: Vec<(String, String)>,
    more: Option<String>,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
) -> Result<Html<String>> {
    page(&state, &dag_id, Fields::default(), None, None).await
}

/// Previews, then makes.
pub(crate) async fn post(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    caller: Option<Extension<towpath_auth::Principal>>,
    Form(fields): Form<Fields>,
) -> Result<Response> {
    let now = state.clock.now();
    let refused = async |fields: Fields, mistake: String| -> Result<Response> {
        let page = page(&state, &dag_id, fields, Some(mistake), None).await?;
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    let new = match read(&dag_id, &fields) {
        Ok(new) => NewBackfill { triggering_user: caller.map(|Extension(caller)| caller.name), ..new },
        Err(mistake) => return refused(fields, mistake).await,
    };
    match state.store.create_backfill(&new, fields.sure.is_none(), now).await {
        Ok((Some(_), _)) => Ok(Redirect::to(&format!("{}/backfills", links::dag(&dag_id))).into_response()),
        Ok((None, dates)) => Ok(page(&state, &dag_id, fields, None, Some(Preview::of(&dates))).await?.into_response()),
        Err(towpath_store::Error::Invalid(why)) => refused(fields, why).await,
        Err(error) => Err(error.into()),
    }
}

/// Pauses, goes on with or cancels one.
pub(crate) async fn change(
    extract::State(state): extract::State<State>,
    Path((dag_id, id, action)): Path<(String, i64, String)>,
) -> Result<Redirect> {
    let known = state.store.backfill(id).await?.is_some_and(|backfill| backfill.backfill.dag_id == dag_id);
    if !known {
        return Err(Error::no_such("backfill", &id.to_string()));
    }
    match action.as_str() {
        "pause" => drop(state.store.pause_backfill(id, true).await?),
        "unpause" => drop(state.store.pause_backfill(id, false).await?),
        "cancel" => drop(state.store.cancel_backfill(id, state.clock.now()).await?),
        _ => return Err(Error::no_such("action", &action)),
    }
    Ok(Redirect::to(&format!("{}/backfills", links::dag(&dag_id))))
}

async fn page(
    state: &State,
    dag_id: &str,
    fields: Fields,
    mistake: Option<String>,
    preview: Option<Preview>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let loaded = load(state, dag_id, "Backfills", now).await?;
    let backfills = state.store.backfills(Some(dag_id)).await?;
    html(&Page {
        is_scheduled: loaded.dag.spec().schedule.is_scheduled(),
        frame: loaded.frame,
        now,
        head: loaded.head,
        rows: backfills.iter().map(|backfill| Row::new(backfill, now)).collect(),
        fields,
        mistake: mistake.as_deref().map(shown),
        preview,
    })
}

fn read(dag_id: &str, fields: &Fields) -> std::result::Result<NewBackfill, String> {
    let date = |name: &str, text: &str| {
        read_date(text)
            .map_err(|why| format!("{name}: {why}"))?
            .ok_or_else(|| format!("{name}: write a date, such as 2026-02-03"))
    };
    let (from, to) = (date("first date", &fields.from)?, date("last date", &fields.to)?);
    if from > to {
        return Err("the first date is after the last".to_owned());
    }
    let conf: Map<String, Value> = match fields.conf.trim() {
        "" => Map::new(),
        text => serde_json::from_str(text).map_err(|error| format!("conf: this is no JSON object: {error}"))?,
    };
    let at_once: Option<u32> = fields.max_active_runs.trim().parse().ok().filter(|count| *count > 0);
    Ok(NewBackfill {
        dag_id: dag_id.to_owned(),
        from,
        to,
        reprocess: fields.reprocess.parse().unwrap_or_default(),
        max_active_runs: at_once.ok_or("runs at a time: write a number from 1 on")?,
        backwards: fields.backwards.is_some(),
        conf,
        triggering_user: None,
    })
}

impl Row {
    fn new(record: &BackfillRecord, now: DateTime<Utc>) -> Self {
        let parts = [
            (record.success, "success"),
            (record.failed, "failed"),
            (record.running, "running"),
            (record.queued, "queued"),
        ];
        let counts: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        let is_open = record.queued + record.running > 0 && !record.is_cancelled;
        Self {
            id: record.id,
            span: format!("{} to {}", absolute(record.backfill.from), absolute(record.backfill.to)),
            state: match (record.is_cancelled, is_open, record.is_paused) {
                (true, ..) => "cancelled",
                (false, false, _) => "done",
                (false, true, true) => "paused",
                (false, true, false) => "under way",
            },
            is_open,
            is_paused: record.is_paused,
            pause: format!("{}/{}", record.id, if record.is_paused { "unpause" } else { "pause" }),
            counts: counts.join(", "),
            done: record.success + record.failed,
            runs: record.runs,
            created: Moment::new(record.created_at, now),
        }
    }
}

impl Preview {
    fn of(dates: &[BackfillDate]) -> Self {
        let is_made = |date: &&BackfillDate| matches!(date.action, BackfillAction::Create | BackfillAction::Reprocess);
        let made = dates.iter().filter(is_made).count();
        let left = dates.len() - made;
        let more = dates.len().saturating_sub(DATES);
        let word = |date: &BackfillDate| match date.action {
            BackfillAction::Create => "a new run",
            BackfillAction::Reprocess => "its run runs again",
            BackfillAction::InFlight => "its run is under way and stays as it is",
            BackfillAction::AlreadyExists => "has a run, which stays as it is",
        };
        Self {
            button: format!("Make {}", plural(made as u64, "run", "runs")),
            left: (left > 0).then(|| format!("{} left as they are", plural(left as u64, "date is", "dates are"))),
            dates: dates.iter().take(DATES).map(|date| (absolute(date.logical_date), word(date).to_owned())).collect(),
            more: (more > 0).then(|| plural(more as u64, "more date", "more dates")),
        }
    }
}
