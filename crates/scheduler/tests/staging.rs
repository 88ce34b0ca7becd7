//! The janitor of the staging area, on both databases, with a clock that stands still.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use towpath_model::clock::{Clock, ManualClock};
use towpath_model::dag::{Dag, DagSpec, Task};
use towpath_model::run::TriggeredBy;
use towpath_model::staging::{run_folder, task_folder};
use towpath_scheduler::staging::{Janitor, Options, Why};
use towpath_store::{Claim, DagUpsert, JobType, Key, NewJob, NewRun, Report, ReportOutcome, RunRecord, Store};
use towpath_testkit::TestDb;

struct House {
    store: Store,
    clock: Arc<ManualClock>,
    staging: tempfile::TempDir,
    worker: i64,
    _db: TestDb,
}

fn hours(hours: i64) -> TimeDelta {
    TimeDelta::hours(hours)
}

/// A data set of a try, with a file of eight bytes.
fn data_set(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("part-00000.parquet"), "8 bytes!").unwrap();
    path
}

impl House {
    async fn new(db: TestDb) -> Self {
        let options = towpath_store::Options { url: db.url.clone(), key: Key::random(), max_connections: 4 };
        let store = Store::connect(options).await.unwrap();
        store.migrate().await.unwrap();
        // The time of files is that of the machine.
        let clock = Arc::new(ManualClock::new(DateTime::<Utc>::from(file_time())));
        let mut spec = DagSpec::new("d");
        spec.tasks.push(Task::new("t", "bash"));
        let upsert = DagUpsert { dag: Arc::new(Dag::build(spec).unwrap()), file: "d.yaml".into(), source: "d".into() };
        store.sync_dags(&[upsert], false, clock.now()).await.unwrap();
        let job = NewJob {
            job_type: JobType::Worker,
            hostname: "host".into(),
            pid: 7,
            process_mark: "mark".into(),
            queues: vec!["default".into()],
            slots: 16,
        };
        let worker = store.register_job(job, Duration::from_secs(86_400 * 365), clock.now()).await.unwrap();
        Self { store, clock, staging: tempfile::tempdir().unwrap(), worker, _db: db }
    }

    /// A run whose task leaves a data set; not over yet.
    async fn run(&self, run_id: &str) -> (RunRecord, Report, PathBuf) {
        let now = self.clock.now();
        let new = NewRun { run_id: Some(run_id.to_owned()), ..NewRun::manual("d", now, TriggeredBy::Cli) };
        let run = self.store.create_run(new, now).await.unwrap().run;
        let claim =
            Claim { worker: self.worker, slots: 1, queues: vec!["default".into()], hostname: "host".into(), pid: 7 };
        let claimed = self.store.report(&[], &[], &claim, now).await.unwrap().claimed.pop().unwrap();
        assert_eq!(claimed.key.run_key, run.key);
        let path = data_set(&task_folder(self.staging.path(), "d", run_id, "t", -1), "try-1-abc");
        let report = Report {
            key: claimed.key,
            attempt: claimed.attempt,
            outcome: ReportOutcome::Success,
            note: None,
            xcoms: vec![("return_value".into(), json!({"location": path, "rows": 1}))],
            evidence: Default::default(),
            asset_extra: serde_json::Map::new(),
            ended_at: now,
        };
        (run, report, path)
    }

    async fn end(&self, report: Report) {
        let claim = Claim { worker: self.worker, slots: 0, queues: Vec::new(), hostname: "host".into(), pid: 7 };
        let reply = self.store.report(&[report], &[], &claim, self.clock.now()).await.unwrap();
        assert_eq!(reply.accepted, [true]);
    }

    fn options(&self, keep: Option<Duration>) -> Options {
        let clock = Arc::clone(&self.clock) as towpath_model::clock::SharedClock;
        Options { store: self.store.clone(), clock, staging: self.staging.path().to_owned(), keep }
    }

    /// What a pass removes: run and reason.
    async fn pass(&self) -> Vec<(String, Why)> {
        let keep = Some(Duration::from_secs(7 * 86_400));
        let rehearsed = Janitor::rehearsal(self.options(keep)).pass().await.unwrap();
        let removed = Janitor::new(self.options(keep)).pass().await.unwrap();
        assert_eq!(rehearsed, removed);
        for one in &removed {
            assert!(!one.path.exists() && one.bytes > 0, "{one:?}");
        }
        let left = std::fs::read_dir(self.staging.path()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "d"), "{left:?}");
        removed.into_iter().map(|one| (one.run_id, one.why)).collect()
    }
}

/// The time of a file that is made now.
fn file_time() -> std::time::SystemTime {
    tempfile::NamedTempFile::new().unwrap().as_file().metadata().unwrap().modified().unwrap()
}

async fn house(is_sqlite: bool) -> House {
    House::new(if is_sqlite { towpath_testkit::sqlite() } else { towpath_testkit::postgres().await }).await
}

async fn data_goes_when_its_time_is_over(house: House) {
    let (_, report, old) = house.run("manual__1:old").await;
    house.end(report).await;
    let (_, report, latest) = house.run("latest").await;
    house.end(report).await;
    let (_, report, open) = house.run("open").await;
    let strange = data_set(&task_folder(house.staging.path(), "d", "of another database", "t", 3), "try-1-x");
    assert_eq!(house.pass().await, []);
    house.clock.advance(hours(7 * 24) - TimeDelta::minutes(1));
    assert_eq!(house.pass().await, []);
    house.clock.advance(TimeDelta::minutes(2));
    let found = house.pass().await;
    assert_eq!(found, [("manual__1:old".to_owned(), Why::Old), ("of another database".to_owned(), Why::Unknown)]);
    assert!(!old.exists() && !strange.exists() && latest.exists() && open.exists());
    // The data of a run that is not over stays, however long it takes; after it the former latest one may go.
    house.clock.advance(hours(100 * 24));
    assert_eq!(house.pass().await, []);
    house.end(report).await;
    assert_eq!(house.pass().await, [("latest".to_owned(), Why::Old)]);
    house.clock.advance(hours(100 * 24));
    assert_eq!(house.pass().await, []);
    assert!(open.exists());
}

async fn what_killed_attempts_have_left_goes(house: House) {
    let (_, report, path) = house.run("one").await;
    let task = path.parent().unwrap();
    let (part, other) = (data_set(task, ".try-1-zzz.part"), data_set(task, "try-1-000"));
    let mapped = task_folder(house.staging.path(), "d", "one", "m", 4);
    let lonely = data_set(&mapped, ".try-2-x.part");
    house.clock.advance(hours(50));
    assert_eq!(house.pass().await, []);
    house.end(report).await;
    assert_eq!(house.pass().await, []);
    house.clock.advance(hours(1));
    assert_eq!(house.pass().await.len(), 3);
    assert!(path.exists() && !part.exists() && !other.exists() && !lonely.exists());
    // What a janitor that was killed had moved away.
    let trash = house.staging.path().join(format!(".trash-{}-1-0", house.clock.now().timestamp_micros()));
    std::fs::create_dir(&trash).unwrap();
    house.clock.advance(hours(2));
    assert_eq!(house.pass().await, []);
    assert!(!trash.exists());
}

async fn deleted_runs_take_their_data_along(house: House) {
    let (one, report, path) = house.run("one").await;
    house.end(report).await;
    let (two, report, other) = house.run("two").await;
    house.end(report).await;
    let now = house.clock.now();
    house.store.delete_run(one.key, false, now).await.unwrap();
    house.store.delete_run(two.key, false, now).await.unwrap();
    // One is made again, under the same name, before anybody has cleaned.
    std::fs::remove_dir_all(run_folder(house.staging.path(), "d", "two")).unwrap();
    let (_, _, again) = house.run("two").await;
    assert_eq!(again, other);
    assert_eq!(house.pass().await, [("one".to_owned(), Why::Deleted)]);
    assert!(!path.exists() && again.exists());
    assert!(house.store.staging_removals(9).await.unwrap().is_empty());
}

async fn nothing_goes_where_data_is_kept_for_ever(house: House) {
    let (_, report, path) = house.run("one").await;
    house.end(report).await;
    let (_, report, _) = house.run("two").await;
    house.end(report).await;
    house.clock.advance(hours(100_000));
    assert_eq!(Janitor::new(house.options(None)).pass().await.unwrap(), []);
    assert!(path.exists());
}

macro_rules! both {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$name(super::house(true).await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$name(super::house(false).await).await;
            }
        }
    )+};
}
both!(
    data_goes_when_its_time_is_over,
    what_killed_attempts_have_left_goes,
    deleted_runs_take_their_data_along,
    nothing_goes_where_data_is_kept_for_ever,
);
