//! The processes that schedule and work.

use askama::Template;
use axum::extract;
use axum::response::Html;
use chrono::{DateTime, Utc};
use towpath_store::{JobRecord, JobState};

use super::super::html;
use super::{Tab, crumbs, tabs};
use crate::frame::Frame;
use crate::view::moment::Moment;
use crate::view::text::shown;
use crate::{Result, State};

#[derive(Template)]
#[template(path = "admin/workers.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    tabs: Vec<Tab>,
    live: Vec<Row>,
    past: Vec<Row>,
}

struct Row {
    id: i64,
    kind: String,
    place: String,
    queues: String,
    slots: u32,
    state: &'static str,
    is_good: bool,
    started: Moment,
    heartbeat: Moment,
}

pub(crate) async fn get(extract::State(state): extract::State<State>) -> Result<Html<String>> {
    let now = state.clock.now();
    let jobs = state.store.jobs().await?;
    let (live, mut past): (Vec<&JobRecord>, Vec<&JobRecord>) =
        jobs.iter().partition(|job| job.state == JobState::Running);
    past.reverse();
    html(&Page {
        frame: Frame::new(&state, now, crumbs("Workers"), false).await,
        now,
        tabs: tabs("Workers"),
        live: live.into_iter().map(|job| Row::new(job, now)).collect(),
        past: past.into_iter().take(20).map(|job| Row::new(job, now)).collect(),
    })
}

impl Row {
    fn new(job: &JobRecord, now: DateTime<Utc>) -> Self {
        let is_late = job.state == JobState::Running && job.lease_until <= now;
        Self {
            id: job.id,
            kind: job.job.job_type.to_string(),
            place: format!("{}, process {}", shown(&job.job.hostname), job.job.pid),
            queues: shown(&job.job.queues.join(", ")),
            slots: job.job.slots,
            state: match job.state {
                JobState::Running if is_late => "silent past its lease",
                JobState::Running => "alive",
                JobState::Ended => "ended",
                JobState::Lost => "lost",
            },
            is_good: job.state == JobState::Running && !is_late,
            started: Moment::new(job.started_at, now),
            heartbeat: Moment::new(job.heartbeat_at, now),
        }
    }
}
