//! `GET /health` and `GET /monitor/health`: whether the database answers and the processes live.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use towpath_store::{JobRecord, JobState, JobType};

use crate::State;

/// Longest wait for the database; who asks for health wants an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Status {
    Healthy,
    /// It answers, but not everything that should run does.
    Degraded,
    Unhealthy,
}

/// The reply of `/health`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Health {
    status: Status,
    /// What is wrong, in words; empty when nothing is.
    reasons: Vec<String>,
    version: &'static str,
    database: Database,
    scheduler: Scheduler,
    workers: Vec<Worker>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Database {
    status: Status,
    dialect: String,
    latency_ms: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Scheduler {
    status: Status,
    latest_heartbeat: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Worker {
    hostname: String,
    pid: u32,
    queues: Vec<String>,
    slots: u32,
    latest_heartbeat: DateTime<Utc>,
}

pub(crate) async fn own(extract::State(state): extract::State<State>) -> (StatusCode, Json<Health>) {
    let health = look(&state).await;
    let status = if health.status == Status::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, Json(health))
}

/// `HealthInfoResponse`. Files are read by the scheduler's process, and nothing is deferred to a
/// triggerer, so those parts are unknown.
pub(crate) async fn airflow(extract::State(state): extract::State<State>) -> Json<Value> {
    let health = look(&state).await;
    Json(json!({
        "metadatabase": {"status": health.database.status},
        "scheduler": {
            "status": health.scheduler.status,
            "latest_scheduler_heartbeat": health.scheduler.latest_heartbeat,
        },
        "triggerer": {"status": null, "latest_triggerer_heartbeat": null},
        "dag_processor": null,
    }))
}

async fn look(state: &State) -> Health {
    let dialect = state.store.dialect().to_string();
    let start = Instant::now();
    let asked = async {
        state.store.ping().await?;
        let latency = start.elapsed();
        Ok::<_, towpath_store::Error>((latency, state.store.jobs().await?))
    };
    let now = state.clock.now();
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok((latency, jobs))) => judge(dialect, latency, &jobs, now),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the database does not answer");
            away(dialect)
        }
        Err(_) => away(dialect),
    }
}

fn judge(dialect: String, latency: Duration, jobs: &[JobRecord], now: DateTime<Utc>) -> Health {
    let alive = |job: &&JobRecord| job.state == JobState::Running && job.lease_until > now;
    let schedulers = || jobs.iter().filter(|job| job.job.job_type == JobType::Scheduler);
    let workers: Vec<Worker> = jobs
        .iter()
        .filter(|job| job.job.job_type == JobType::Worker)
        .filter(alive)
        .map(|job| Worker {
            hostname: job.job.hostname.clone(),
            pid: job.job.pid,
            queues: job.job.queues.clone(),
            slots: job.job.slots,
            latest_heartbeat: job.heartbeat_at,
        })
        .collect();
    let scheduler = Scheduler {
        status: if schedulers().any(|job| alive(&job)) { Status::Healthy } else { Status::Unhealthy },
        latest_heartbeat: schedulers().map(|job| job.heartbeat_at).max(),
    };
    let mut reasons = Vec::new();
    if scheduler.status != Status::Healthy {
        reasons.push("no scheduler is alive, so no run is started".to_owned());
    }
    if workers.is_empty() {
        reasons.push("no worker is alive, so no task is run".to_owned());
    }
    Health {
        status: if reasons.is_empty() { Status::Healthy } else { Status::Degraded },
        reasons,
        version: env!("CARGO_PKG_VERSION"),
        database: Database { status: Status::Healthy, dialect, latency_ms: Some(latency.as_micros() as f64 / 1e3) },
        scheduler,
        workers,
    }
}

fn away(dialect: String) -> Health {
    Health {
        status: Status::Unhealthy,
        reasons: vec!["the database does not answer".to_owned()],
        version: env!("CARGO_PKG_VERSION"),
        database: Database { status: Status::Unhealthy, dialect, latency_ms: None },
        scheduler: Scheduler { status: Status::Unhealthy, latest_heartbeat: None },
        workers: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use towpath_store::NewJob;

    fn job(job_type: JobType, state: JobState, lease_s: i64) -> JobRecord {
        let at = DateTime::UNIX_EPOCH;
        let job = NewJob {
            job_type,
            hostname: "host".into(),
            pid: 7,
            process_mark: "mark".into(),
            queues: vec!["default".into()],
            slots: 4,
        };
        JobRecord { id: 1, job, state, started_at: at, heartbeat_at: at, lease_until: at + TimeDelta::seconds(lease_s) }
    }

    #[track_caller]
    fn check(jobs: &[JobRecord], status: Status, scheduler: Status, workers: usize) {
        let health = judge("sqlite".into(), Duration::from_millis(1), jobs, DateTime::UNIX_EPOCH);
        assert_eq!((health.status, health.scheduler.status, health.workers.len()), (status, scheduler, workers));
        assert_eq!(health.reasons.is_empty(), status == Status::Healthy);
    }

    #[test]
    fn who_lives_decides() {
        use JobType::{Scheduler, Worker};
        let running = JobState::Running;
        check(&[job(Scheduler, running, 9), job(Worker, running, 9)], Status::Healthy, Status::Healthy, 1);
        check(&[job(Scheduler, running, 9), job(Worker, running, -1)], Status::Degraded, Status::Healthy, 0);
        check(&[job(Scheduler, JobState::Lost, 9), job(Worker, running, 9)], Status::Degraded, Status::Unhealthy, 1);
        check(&[job(Scheduler, JobState::Ended, 9), job(Scheduler, running, 9)], Status::Degraded, Status::Healthy, 0);
        check(&[], Status::Degraded, Status::Unhealthy, 0);
    }
}
