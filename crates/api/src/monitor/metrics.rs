//! `GET /metrics`: what a Prometheus scrapes. Everything is read at that moment; nothing is counted
//! in memory but the requests themselves, so that no number can drift from the store.

use axum::extract;
use axum::http::{HeaderName, header};
use chrono::{DateTime, Utc};
use strum::IntoEnumIterator;
use towpath_model::state::{RunState, TaskState};
use towpath_store::{DagFilter, JobRecord, JobState, PoolRecord, RunFilter};

use super::exposition::{CONTENT_TYPE, Exposition, Kind};
use super::process;
use crate::observe::Requests;
use crate::{Result, State};

/// What the store knows at the moment of the scrape.
#[derive(Debug, Default)]
struct Snapshot {
    /// Unfinished ones.
    tasks: Vec<(TaskState, u64)>,
    /// Unfinished ones.
    runs: Vec<(RunState, u64)>,
    pools: Vec<PoolRecord>,
    jobs: Vec<JobRecord>,
    active_dags: u64,
    paused_dags: u64,
    import_errors: usize,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
) -> Result<([(HeaderName, &'static str); 1], String)> {
    let now = state.clock.now();
    let snapshot = read(&state).await?;
    let mut exposition = Exposition::default();
    write_store(&mut exposition, &snapshot, now);
    write_requests(&mut exposition, &state.requests);
    write_process(&mut exposition, state.started_at, now);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], exposition.finish()))
}

async fn read(state: &State) -> Result<Snapshot> {
    let store = &state.store;
    let counts = store.state_counts().await?;
    let tasks = TaskState::iter()
        .filter(|state| !state.is_finished())
        .map(|state| (state, counts.get(&state).copied().unwrap_or(0)))
        .collect();
    let mut runs = Vec::new();
    for state in RunState::iter().filter(|state| !state.is_finished()) {
        let filter = RunFilter { states: vec![state], limit: 1, ..RunFilter::default() };
        runs.push((state, store.runs(&filter).await?.total));
    }
    let dags = async |paused| {
        let filter = DagFilter { paused: Some(paused), limit: 1, ..DagFilter::default() };
        store.dags(&filter).await.map(|page| page.total)
    };
    Ok(Snapshot {
        tasks,
        runs,
        active_dags: dags(false).await?,
        paused_dags: dags(true).await?,
        pools: store.pools().await?,
        jobs: store.jobs().await?,
        import_errors: store.import_errors().await?.len(),
    })
}

fn write_store(out: &mut Exposition, snapshot: &Snapshot, now: DateTime<Utc>) {
    let mut family = out.family("towpath_task_instances", Kind::Gauge, "Unfinished task instances by state.");
    for (state, count) in &snapshot.tasks {
        family.sample(&[("state", state.as_ref())], count);
    }
    let mut family = out.family("towpath_dag_runs", Kind::Gauge, "Unfinished DAG runs by state.");
    for (state, count) in &snapshot.runs {
        family.sample(&[("state", state.as_ref())], count);
    }
    let mut family = out.family("towpath_dags", Kind::Gauge, "DAGs whose file is there.");
    family.sample(&[("paused", "false")], snapshot.active_dags).sample(&[("paused", "true")], snapshot.paused_dags);
    out.family("towpath_import_errors", Kind::Gauge, "DAG files that cannot be read.")
        .sample(&[], snapshot.import_errors);
    let mut family = out.family("towpath_pool_slots", Kind::Gauge, "Slots of a pool by whether they are taken.");
    for pool in &snapshot.pools {
        family.sample(&[("pool", &pool.name), ("state", "used")], pool.used);
        family.sample(&[("pool", &pool.name), ("state", "open")], pool.slots.saturating_sub(pool.used));
    }
    let running = || snapshot.jobs.iter().filter(|job| job.state == JobState::Running);
    let mut family =
        out.family("towpath_job_heartbeat_age_seconds", Kind::Gauge, "Seconds since a process last renewed its lease.");
    for job in running() {
        let age = (now - job.heartbeat_at).num_milliseconds() as f64 / 1e3;
        let (id, kind) = (job.id.to_string(), job.job.job_type.to_string());
        family.sample(&[("type", &kind), ("hostname", &job.job.hostname), ("job", &id)], age.max(0.0));
    }
    let mut family = out.family("towpath_worker_slots", Kind::Gauge, "Attempts that a worker runs at once.");
    for job in running().filter(|job| job.job.slots > 0) {
        let id = job.id.to_string();
        family.sample(&[("hostname", &job.job.hostname), ("job", &id)], job.job.slots);
    }
}

fn write_requests(out: &mut Exposition, requests: &Requests) {
    let tallies = requests.snapshot();
    let mut family =
        out.family("towpath_http_requests_total", Kind::Counter, "Requests answered, by route, method and status.");
    for (label, tally) in &tallies {
        let status = label.status.to_string();
        family.sample(&[("route", &label.route), ("method", label.method), ("status", &status)], tally.count);
    }
    let mut family = out.family(
        "towpath_http_request_seconds_total",
        Kind::Counter,
        "Seconds until the replies of those requests began.",
    );
    for (label, tally) in &tallies {
        let status = label.status.to_string();
        let labels = [("route", label.route.as_str()), ("method", label.method), ("status", &status)];
        family.sample(&labels, tally.time.as_secs_f64());
    }
}

fn write_process(out: &mut Exposition, started_at: DateTime<Utc>, now: DateTime<Utc>) {
    let usage = process::usage();
    out.family("towpath_build_info", Kind::Gauge, "Always 1; the version is a label.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    out.family("process_cpu_seconds_total", Kind::Counter, "Seconds of CPU that this process has used.")
        .sample(&[], usage.cpu_seconds);
    if let Some(bytes) = usage.resident_bytes {
        out.family("process_resident_memory_bytes", Kind::Gauge, "Bytes of memory that this process holds.")
            .sample(&[], bytes);
    }
    out.family("process_start_time_seconds", Kind::Gauge, "When this server started, in seconds since 1970.")
        .sample(&[], started_at.timestamp_millis() as f64 / 1e3);
    out.family("towpath_uptime_seconds", Kind::Gauge, "Seconds since this server started.")
        .sample(&[], (now - started_at).num_milliseconds() as f64 / 1e3);
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use towpath_store::{JobType, NewJob};

    #[test]
    fn metrics_of_the_store() {
        let at = DateTime::UNIX_EPOCH;
        let job = NewJob {
            job_type: JobType::Worker,
            hostname: "host".into(),
            pid: 7,
            process_mark: String::new(),
            queues: vec![],
            slots: 4,
        };
        let snapshot = Snapshot {
            tasks: vec![(TaskState::Queued, 3), (TaskState::Running, 2)],
            runs: vec![(RunState::Running, 1)],
            pools: vec![PoolRecord { name: "a \"b\"".into(), slots: 2, description: None, used: 3 }],
            jobs: vec![JobRecord {
                id: 9,
                job,
                state: JobState::Running,
                started_at: at,
                heartbeat_at: at,
                lease_until: at,
            }],
            active_dags: 5,
            paused_dags: 1,
            import_errors: 2,
        };
        let mut exposition = Exposition::default();
        write_store(&mut exposition, &snapshot, at + TimeDelta::milliseconds(1_500));
        insta::assert_snapshot!(exposition.finish());
    }
}
