//! `GET /jobs`: schedulers and workers.

use axum::Json;
use axum::extract;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use towpath_store::{JobRecord, JobState, JobType};

use crate::query::Query;
use crate::{Result, State, filter};

/// `JobCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct JobList {
    jobs: Vec<Value>,
    total_entries: u64,
}

pub(crate) async fn get(extract::State(state): extract::State<State>, mut query: Query) -> Result<Json<JobList>> {
    let window = query.window();
    let orders = [
        "id",
        "dag_id",
        "state",
        "job_type",
        "start_date",
        "end_date",
        "latest_heartbeat",
        "executor_class",
        "hostname",
        "unixname",
    ];
    let order = query.order(&orders)?;
    let alive = query.flag("is_alive");
    let start = filter::times(&mut query, "start_date");
    let end = filter::times(&mut query, "end_date");
    let [job_state, job_type, hostname, executor] =
        ["job_state", "job_type", "hostname", "executor_class"].map(|name| query.text(name));
    query.finish()?;
    let now = state.clock.now();
    let is_alive = |job: &JobRecord| job.state == JobState::Running && job.lease_until > now;
    let is = |asked: &Option<String>, value: &str| asked.as_ref().is_none_or(|asked| asked == value);
    let mut jobs = state.store.jobs().await?;
    jobs.retain(|job| {
        alive.is_none_or(|asked| asked == is_alive(job))
            && is(&job_state, state_of(job))
            && is(&job_type, type_of(job))
            && is(&hostname, &job.job.hostname)
            && executor.is_none()
            && filter::within(&start, Some(job.started_at))
            && filter::within(&end, end_of(job))
    });
    jobs.sort_by_key(|job| job.id);
    if let Some((name, descends)) = order.first() {
        match *name {
            "state" => jobs.sort_by_key(state_of),
            "job_type" => jobs.sort_by_key(type_of),
            "start_date" => jobs.sort_by_key(|job| job.started_at),
            "end_date" => jobs.sort_by_key(end_of),
            "latest_heartbeat" => jobs.sort_by_key(|job| job.heartbeat_at),
            "hostname" => jobs.sort_by(|a, b| a.job.hostname.cmp(&b.job.hostname)),
            _ => {}
        }
        if *descends {
            jobs.reverse();
        }
    }
    let total_entries = jobs.len() as u64;
    Ok(Json(JobList { jobs: window.of(jobs).iter().map(reply).collect(), total_entries }))
}

fn state_of(job: &JobRecord) -> &'static str {
    match job.state {
        JobState::Running => "running",
        JobState::Ended => "success",
        JobState::Lost => "failed",
    }
}

fn type_of(job: &JobRecord) -> &'static str {
    match job.job.job_type {
        JobType::Scheduler => "SchedulerJob",
        JobType::Worker => "WorkerJob",
    }
}

/// When it was last heard of, once it runs no more.
fn end_of(job: &JobRecord) -> Option<chrono::DateTime<chrono::Utc>> {
    (job.state != JobState::Running).then_some(job.heartbeat_at)
}

/// `JobResponse`.
fn reply(job: &JobRecord) -> Value {
    json!({
        "id": job.id,
        "dag_id": null,
        "state": state_of(job),
        "job_type": type_of(job),
        "start_date": job.started_at,
        "end_date": end_of(job),
        "latest_heartbeat": job.heartbeat_at,
        "executor_class": null,
        "hostname": job.job.hostname,
        "unixname": null,
        "dag_display_name": null,
    })
}
