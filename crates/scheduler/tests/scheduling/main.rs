//! The scheduler as a whole, on both databases, under a clock that the tests move. Workers are
//! played by the tests.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends by a panic")]

mod looking_after;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use towpath_model::clock::{Clock as _, ManualClock};
use towpath_model::dag::{Dag, DagSpec, Task};
use towpath_model::state::{RunState, TaskState};
use towpath_model::timetable::{self, Kind};
use towpath_scheduler::preview::{self, Window};
use towpath_scheduler::{Options, ProcessIdentity, Scheduler};
use towpath_store::{
    Claim, ClaimedTask, DagUpsert, JobState, JobType, Key, NewJob, Report, ReportOutcome, RunFilter, RunRecord, Store,
    Topic,
};
use towpath_testkit::TestDb;

const LIMIT: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(30);

fn at(text: &str) -> DateTime<Utc> {
    let text = if text.len() == 10 { format!("{text}T00:00:00Z") } else { format!("{text}:00Z") };
    text.parse().unwrap()
}

struct World {
    store: Store,
    clock: Arc<ManualClock>,
    db: TestDb,
}

struct Running {
    soft: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.soft.cancel();
        self.task.await.unwrap();
    }
}

impl World {
    async fn all(start: &str) -> Vec<Self> {
        let mut worlds = Vec::new();
        for db in towpath_testkit::databases().await {
            let store = connect(&db.url).await;
            store.migrate().await.unwrap();
            worlds.push(Self { store, clock: Arc::new(ManualClock::new(at(start))), db });
        }
        worlds
    }

    fn schedule(&self) -> Running {
        self.schedule_on(self.store.clone())
    }

    fn schedule_on(&self, store: Store) -> Running {
        let options = Options {
            store,
            clock: self.clock.clone(),
            identity: ProcessIdentity::current(),
            heartbeat: Duration::from_secs(5),
            lease: LEASE,
            dags_folder: None,
            limits: towpath_dagfile::Limits::default(),
            paused_by_default: false,
            rescan: Duration::from_secs(60),
        };
        let soft = CancellationToken::new();
        let scheduler = Scheduler::new(options);
        let task = tokio::spawn({
            let soft = soft.clone();
            async move { scheduler.run(soft).await.unwrap() }
        });
        Running { soft, task }
    }

    async fn add(&self, spec: DagSpec) -> Dag {
        let dag = Dag::build(spec).unwrap();
        let upsert = DagUpsert { dag: Arc::new(dag.clone()), file: "d.yml".into(), source: "".into() };
        self.store.sync_dags(&[upsert], false, self.clock.now()).await.unwrap();
        dag
    }

    fn go_to(&self, time: DateTime<Utc>) {
        self.clock.set(time);
        self.store.wakes().wake(Topic::Schedule);
    }

    async fn runs(&self, dag_id: &str) -> Vec<RunRecord> {
        let filter = RunFilter { dag_id: Some(dag_id.into()), limit: 10_000, ..RunFilter::default() };
        self.store.runs(&filter).await.unwrap().items
    }

    async fn logical_dates(&self, dag_id: &str) -> Vec<String> {
        let date = |run: &RunRecord| run.logical_date.unwrap().format("%m-%d %H:%M").to_string();
        self.runs(dag_id).await.iter().map(date).collect()
    }

    /// When the DAG runs next, or why nobody knows.
    async fn next_run(&self, dag_id: &str) -> String {
        let dag = self.store.dag(dag_id).await.unwrap().unwrap();
        dag.next_run.map_or("never".into(), |next| next.run_after.format("%m-%d %H:%M").to_string())
    }

    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let mut schedule = self.store.wakes().subscribe(Topic::Schedule);
        let begun = Instant::now();
        loop {
            schedule.mark_unchanged();
            if condition().await {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{}: {what} does not become true", self.db.name);
            let _ = tokio::time::timeout(Duration::from_millis(20), schedule.changed()).await;
        }
    }

    async fn until_next_run(&self, dag_id: &str, expected: &str) {
        self.until(&format!("next run {expected}"), async || self.next_run(dag_id).await == expected).await;
    }

    async fn worker(&self, job: NewJob) -> Claim {
        let id = self.store.register_job(job.clone(), LEASE, self.clock.now()).await.unwrap();
        Claim { worker: id, slots: 100, queues: vec!["default".into()], hostname: job.hostname, pid: job.pid }
    }

    async fn claim(&self, claim: &Claim) -> Vec<ClaimedTask> {
        self.store.report(&[], &[], claim, self.clock.now()).await.unwrap().claimed
    }

    /// Ends attempts well and claims what comes next.
    async fn succeed(&self, tasks: &[ClaimedTask], claim: &Claim) -> Vec<ClaimedTask> {
        let now = self.clock.now();
        let report = |task: &ClaimedTask| Report {
            key: task.key.clone(),
            attempt: task.attempt,
            outcome: ReportOutcome::Success,
            note: None,
            xcoms: Vec::new(),
            asset_extra: Default::default(),
            evidence: Default::default(),
            ended_at: now,
        };
        let reports: Vec<Report> = tasks.iter().map(report).collect();
        let reply = self.store.report(&reports, &[], claim, now).await.unwrap();
        assert!(reply.accepted.iter().all(|accepted| *accepted));
        reply.claimed
    }
}

async fn connect(url: &str) -> Store {
    Store::connect(towpath_store::Options { url: url.into(), key: Key::random(), max_connections: 8 }).await.unwrap()
}

fn identity_of_worker() -> NewJob {
    // Of another machine, so that nobody looks for its process here.
    let job = ProcessIdentity::current().job(JobType::Worker, vec!["default".into()], 100);
    NewJob { hostname: "elsewhere".into(), ..job }
}

/// Two tasks in a row.
fn spec(dag_id: &str, schedule: &str, kind: Kind) -> DagSpec {
    let mut spec = DagSpec::new(dag_id);
    spec.schedule = timetable::parse(schedule, Tz::UTC, kind).unwrap();
    spec.tasks.push(Task::new("first", "bash"));
    let mut second = Task::new("second", "bash");
    second.upstream.push("first".into());
    spec.tasks.push(second);
    spec
}

#[tokio::test]
async fn a_month_is_caught_up_four_days_at_a_time() {
    for world in World::all("2026-03-05").await {
        let mut january = spec("january", "@daily", Kind::DataInterval);
        january.catchup = true;
        january.start_date = Some(at("2026-01-01"));
        january.end_date = Some(at("2026-01-31"));
        january.max_active_runs = 4;
        world.add(january).await;
        let scheduler = world.schedule();
        let claim = world.worker(identity_of_worker()).await;
        let mut held: Vec<ClaimedTask> = Vec::new();
        let mut order = Vec::new();
        let begun = Instant::now();
        while order.len() < 62 {
            assert!(begun.elapsed() < LIMIT, "{}: stuck after {} tasks", world.db.name, order.len());
            let runs = world.runs("january").await;
            let active = runs.iter().filter(|run| !run.state.is_finished()).count();
            assert!(active <= 4, "{active} active runs");
            if held.is_empty() {
                let mut work = world.store.wakes().subscribe(Topic::Work);
                held = world.claim(&claim).await;
                if held.is_empty() {
                    let _ = tokio::time::timeout(Duration::from_millis(50), work.changed()).await;
                    continue;
                }
            }
            // One at a time, so that runs end at different times.
            let task = held.remove(0);
            order.push((task.run.logical_date.unwrap(), task.key.task_id.clone()));
            held.extend(world.succeed(&[task], &claim).await);
        }
        world.until_next_run("january", "never").await;
        let runs = world.runs("january").await;
        assert!(runs.iter().all(|run| run.state == RunState::Success), "{runs:?}");
        let dates = world.logical_dates("january").await;
        let expected: Vec<String> = (1..=31).map(|day| format!("01-{day:02} 00:00")).collect();
        assert_eq!(dates, expected);
        let distinct: BTreeSet<_> = order.iter().collect();
        assert_eq!(distinct.len(), 62, "each task ran once");
        scheduler.stop().await;
    }
}

#[tokio::test]
async fn two_schedulers_create_each_run_once() {
    for world in World::all("2026-03-05").await {
        for number in 0..10 {
            let mut minutely = spec(&format!("d{number}"), "* * * * *", Kind::Trigger);
            minutely.catchup = true;
            minutely.start_date = Some(at("2026-03-04T23:30"));
            minutely.max_active_runs = 1_000;
            world.add(minutely).await;
        }
        // Each with connections of its own, as if in processes of their own.
        let schedulers =
            [world.schedule_on(connect(&world.db.url).await), world.schedule_on(connect(&world.db.url).await)];
        for number in 0..10 {
            world.until_next_run(&format!("d{number}"), "03-05 00:01").await;
            let expected: Vec<String> =
                (30..60).map(|m| format!("03-04 23:{m}")).chain(["03-05 00:00".into()]).collect();
            assert_eq!(world.logical_dates(&format!("d{number}")).await, expected);
        }
        let jobs = world.store.jobs().await.unwrap();
        let running = jobs.iter().filter(|job| job.state == JobState::Running).count();
        assert_eq!(running, 2);
        for scheduler in schedulers {
            scheduler.stop().await;
        }
        let jobs = world.store.jobs().await.unwrap();
        assert!(jobs.iter().all(|job| job.state == JobState::Ended), "they said goodbye: {jobs:?}");
    }
}

#[tokio::test]
async fn a_week_in_which_clocks_are_moved() {
    for start in ["2026-03-26", "2026-10-22"] {
        for world in World::all(start).await {
            let mut dags = Vec::new();
            for (id, cron) in [("daily", "30 2 * * *"), ("hourly", "15 * * * *"), ("workdays", "0 6 * * 1-5")] {
                let mut moved = spec(id, "@daily", Kind::Trigger);
                moved.schedule = timetable::parse(cron, Tz::Europe__Berlin, Kind::Trigger).unwrap();
                moved.start_date = Some(at(start));
                moved.max_active_runs = 1_000;
                dags.push(world.add(moved).await);
            }
            let scheduler = world.schedule();
            let end = at(start) + TimeDelta::days(5);
            let fires = |dag: &Dag| preview::fires(dag, Window { from: at(start), to: Some(end), count: 1_000 });
            let mut times: BTreeSet<DateTime<Utc>> = dags.iter().flat_map(&fires).map(|fire| fire.run_after).collect();
            times.insert(end - TimeDelta::seconds(1));
            for time in times {
                world.go_to(time);
                for dag in &dags {
                    world
                        .until("every DAG knows a later run", async || {
                            let record = world.store.dag(dag.id()).await.unwrap().unwrap();
                            record.next_run.is_some_and(|next| next.run_after > time)
                        })
                        .await;
                }
            }
            for dag in &dags {
                let expected: Vec<DateTime<Utc>> = fires(dag).iter().map(|fire| fire.logical_date).collect();
                let found: Vec<DateTime<Utc>> =
                    world.runs(dag.id()).await.iter().map(|run| run.logical_date.unwrap()).collect();
                assert_eq!(found, expected, "{} {start}", dag.id());
            }
            assert_eq!(fires(&dags[1]).len(), 120, "hours are counted in absolute time");
            scheduler.stop().await;
        }
    }
}

#[tokio::test]
async fn a_pause_skips_what_was_missed() {
    for world in World::all("2026-03-05T12:00").await {
        world.add(spec("d", "@daily", Kind::Trigger)).await;
        let scheduler = world.schedule();
        world.until_next_run("d", "03-06 00:00").await;
        world.store.set_paused("d", true, world.clock.now()).await.unwrap();
        world.go_to(at("2026-03-09T12:00"));
        // Another DAG shows that the scheduler has looked.
        world.add(spec("other", "@daily", Kind::Trigger)).await;
        world.until_next_run("other", "03-10 00:00").await;
        assert_eq!(world.logical_dates("d").await, [""; 0]);
        world.store.set_paused("d", false, world.clock.now()).await.unwrap();
        world.until_next_run("d", "03-10 00:00").await;
        assert_eq!(world.logical_dates("d").await, ["03-09 00:00"]);
        scheduler.stop().await;
    }
}

#[tokio::test]
async fn a_new_version_moves_the_next_run() {
    for world in World::all("2026-03-05T12:00").await {
        let scheduler = world.schedule();
        world.add(spec("d", "@daily", Kind::Trigger)).await;
        world.until_next_run("d", "03-06 00:00").await;
        world.add(spec("d", "@hourly", Kind::Trigger)).await;
        // The tick of this very moment is not missed.
        world.until_next_run("d", "03-05 13:00").await;
        world.add(spec("d", "0 18 * * *", Kind::Trigger)).await;
        world.until_next_run("d", "03-05 18:00").await;
        world.add(spec("d", "none", Kind::Trigger)).await;
        world.until_next_run("d", "never").await;
        world.add(spec("d", "0 18 * * *", Kind::Trigger)).await;
        world.until_next_run("d", "03-05 18:00").await;
        // A change that leaves the schedule alone, seen when the run is due.
        world.clock.set(at("2026-03-05T18:00"));
        let mut tagged = spec("d", "0 18 * * *", Kind::Trigger);
        tagged.tags.push("new".into());
        world.add(tagged).await;
        world.until_next_run("d", "03-06 18:00").await;
        let runs = world.runs("d").await;
        assert_eq!(runs.last().unwrap().logical_date, Some(at("2026-03-05T18:00")));
        scheduler.stop().await;
    }
}

#[tokio::test]
async fn once_and_continuous_dags() {
    for world in World::all("2026-03-05T12:00").await {
        world.add(spec("once", "@once", Kind::Trigger)).await;
        world.add(spec("again", "@continuous", Kind::Trigger)).await;
        let scheduler = world.schedule();
        world
            .until("the first runs", async || {
                world.runs("once").await.len() == 1 && world.runs("again").await.len() == 1
            })
            .await;
        for round in 1..=3_i64 {
            world.go_to(at("2026-03-05T12:00") + TimeDelta::minutes(10 * round));
            // A new one each time: ten minutes are longer than a lease.
            let claim = world.worker(identity_of_worker()).await;
            let first = world.claim(&claim).await;
            assert!(!first.is_empty());
            let second = world.succeed(&first, &claim).await;
            assert_eq!(world.runs("again").await.len() as i64, round, "one at a time");
            world.succeed(&second, &claim).await;
            world.until("the next run", async || world.runs("again").await.len() as i64 == round + 1).await;
        }
        let runs = world.runs("again").await;
        for pair in runs.windows(2) {
            assert!(pair[0].logical_date < pair[1].logical_date);
            assert!(pair[0].data_interval.unwrap().end <= pair[1].data_interval.unwrap().end);
        }
        assert_eq!(world.runs("once").await.len(), 1);
        scheduler.stop().await;
    }
}
