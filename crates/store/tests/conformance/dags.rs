//! Migrations, DAGs and their versions, and what the scheduler reads of them.

use std::sync::Arc;

use chrono::TimeDelta;
use towpath_model::dag::Dag;
use towpath_model::timetable::{DataInterval, DueRun};
use towpath_store::{DagFilter, DagRecord, DagUpsert, Error, Key, NewRun, Options, Store, Synced};
use towpath_testkit::TestDb;

use crate::harness::{both, dag, manual, time};

/// How many handles meet where a case is about meeting.
const AT_ONCE: usize = 8;

/// Version `n` of DAG `id`.
fn version(id: &str, n: u32) -> Dag {
    dag(id, &[("a", "bash", &[])], |spec| spec.description = Some(format!("version {n}")))
}

fn upsert(dag: Dag, file: &str) -> DagUpsert {
    DagUpsert { dag: Arc::new(dag), file: file.into(), source: format!("source in {file}").into() }
}

async fn sync_as(store: &Store, dags: &[DagUpsert]) -> Synced {
    store.sync_dags(dags, false, time(0)).await.expect("DAGs are taken")
}

async fn sync_version(store: &Store, id: &str, n: u32) -> Synced {
    sync_as(store, &[upsert(version(id, n), "f.yml")]).await
}

async fn record(store: &Store, id: &str) -> DagRecord {
    store.dag(id).await.expect("a DAG can be read").expect("the DAG exists")
}

fn synced(created: u32, new_versions: u32, unchanged: u32) -> Synced {
    Synced { created, new_versions, unchanged }
}

/// A fire `seconds` after the start of the made-up time.
fn due(seconds: i64) -> DueRun {
    let at = time(seconds);
    DueRun { run_after: at, logical_date: at, data_interval: DataInterval { start: at, end: at } }
}

async fn migrate_at_once(db: &TestDb) {
    let mut stores = Vec::new();
    for _ in 0..4 {
        let options = Options { url: db.url.clone(), key: Key::random(), max_connections: 2 };
        stores.push(Store::connect(options).await.expect("the test database answers"));
    }
    let pending = stores[0].pending_migrations().await.expect("migrations can be listed");
    assert!(pending[0].starts_with("0001 "), "{pending:?}");
    let mut tasks = tokio::task::JoinSet::new();
    for store in stores.clone() {
        tasks.spawn(async move { store.migrate().await });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("nothing panics").expect("every handle finds the schema up to date");
    }
    stores[0].migrate().await.expect("nothing is left to do");
    for store in stores {
        assert_eq!(store.pending_migrations().await.expect("migrations can be listed"), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_migrate_sqlite_at_once() {
    migrate_at_once(&towpath_testkit::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_migrate_postgres_at_once() {
    migrate_at_once(&towpath_testkit::postgres().await).await;
}

async fn a_version_for_every_content(store: Store) {
    assert_eq!(sync_version(&store, "d", 1).await, synced(1, 1, 0));
    let first = record(&store, "d").await;
    assert_eq!((first.version_number, first.description.as_deref()), (1, Some("version 1")));
    assert_eq!(sync_version(&store, "d", 1).await, synced(0, 0, 1), "unchanged");
    assert_eq!(sync_version(&store, "d", 2).await, synced(0, 1, 0), "changed");
    let second = record(&store, "d").await;
    assert_eq!((second.version_number, second.description.as_deref()), (2, Some("version 2")));
    assert_eq!(sync_version(&store, "d", 1).await, synced(0, 0, 0), "back to what it was");
    let back = record(&store, "d").await;
    assert_eq!((back.version_id, back.description), (first.version_id, first.description));
    let versions = store.versions("d").await.expect("versions can be read");
    assert_eq!(
        versions.iter().map(|v| (v.number, v.id)).collect::<Vec<_>>(),
        [(2, second.version_id), (1, first.version_id)]
    );
    let compiled = store.dag_of_version(second.version_id).await.expect("a version compiles");
    assert_eq!(compiled.hash(), version("d", 2).hash());
    assert!(matches!(store.dag_of_version(-1).await, Err(Error::NotFound { .. })));
}

async fn what_is_gone_may_come_back(store: Store) {
    sync_version(&store, "d", 1).await;
    store.set_next_run("d", record(&store, "d").await.version_id, Some(due(9)), time(0)).await.expect("it is current");
    store.deactivate_dags(&["d".into(), "unknown".into()], time(0)).await.expect("a DAG leaves service");
    let gone = record(&store, "d").await;
    assert_eq!((gone.is_active, gone.next_run), (false, None));
    let listed = |include_stale| DagFilter { include_stale, limit: 10, ..DagFilter::default() };
    assert_eq!(store.dags(&listed(false)).await.expect("DAGs can be read").total, 0);
    assert_eq!(store.dags(&listed(true)).await.expect("DAGs can be read").total, 1);
    assert_eq!(sync_version(&store, "d", 1).await, synced(0, 0, 0));
    let back = record(&store, "d").await;
    assert_eq!((back.is_active, back.version_id), (true, gone.version_id));
    assert_eq!(store.schedulable_dags(time(0), 10).await.expect("DAGs can be read").len(), 1, "its next run is open");
}

async fn a_dag_that_moves_keeps_its_version(store: Store) {
    sync_version(&store, "d", 1).await;
    let before = record(&store, "d").await;
    assert_eq!(sync_as(&store, &[upsert(version("d", 1), "moved.yml")]).await, synced(0, 0, 0));
    let after = record(&store, "d").await;
    assert_eq!((after.file.as_str(), after.version_id), ("moved.yml", before.version_id));
    let stored = store.version(before.version_id).await.expect("a version can be read").expect("it exists");
    assert_eq!((stored.file.as_str(), stored.source.as_str()), ("moved.yml", "source in moved.yml"));
}

async fn paused_from_the_start_or_not(store: Store) {
    for (i, (default, own, expected)) in
        [(false, None, false), (true, None, true), (true, Some(false), false), (false, Some(true), true)]
            .into_iter()
            .enumerate()
    {
        let id = format!("d{i}");
        let made = || upsert(dag(&id, &[("a", "bash", &[])], |spec| spec.is_paused_upon_creation = own), "f.yml");
        store.sync_dags(&[made()], default, time(0)).await.expect("a DAG is taken");
        assert_eq!(record(&store, &id).await.is_paused, expected, "default {default}, own {own:?}");
        assert!(store.set_paused(&id, !expected, time(0)).await.expect("a DAG is paused"));
        let moved = DagUpsert { file: "other.yml".into(), ..made() };
        store.sync_dags(&[moved], default, time(0)).await.expect("a DAG is taken");
        assert_eq!(record(&store, &id).await.is_paused, !expected, "what people chose stays");
    }
    assert!(!store.set_paused("unknown", true, time(0)).await.expect("an unknown DAG is no failure"));
    for paused in [true, false] {
        let filter = DagFilter { paused: Some(paused), limit: 10, ..DagFilter::default() };
        assert_eq!(store.dags(&filter).await.expect("DAGs can be read").total, 2);
    }
}

async fn syncs_at_once_make_one_version(store: Store) {
    for n in 1..=5 {
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..AT_ONCE {
            // In different orders, so that locks taken in the order of the batch would meet.
            let mut batch: Vec<DagUpsert> = (0..6).map(|d| upsert(version(&format!("d{d}"), n), "f.yml")).collect();
            batch.rotate_left(i % 6);
            let store = store.clone();
            tasks.spawn(async move { store.sync_dags(&batch, false, time(0)).await });
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("nothing panics").expect("DAGs are taken");
        }
        for d in 0..6 {
            let versions = store.versions(&format!("d{d}")).await.expect("versions can be read");
            assert_eq!(versions.iter().map(|v| v.number).collect::<Vec<_>>(), (1..=n as i32).rev().collect::<Vec<_>>());
            assert_eq!(record(&store, &format!("d{d}")).await.version_id, versions[0].id);
        }
    }
}

async fn import_errors_come_and_go(store: Store) {
    let change = async |changed: &[(&str, Option<&str>)], at| {
        let changed: Vec<_> = changed.iter().map(|(f, m)| ((*f).to_owned(), m.map(str::to_owned))).collect();
        store.replace_import_errors(&changed, time(at)).await.expect("import errors are taken");
        let errors = store.import_errors().await.expect("import errors can be read");
        errors.into_iter().map(|e| (e.file, e.message, e.at)).collect::<Vec<_>>()
    };
    let row = |file: &str, message: &str, at| (file.to_owned(), message.to_owned(), time(at));
    assert_eq!(
        change(&[("b.yml", Some("one")), ("a.yml", Some("two"))], 1).await,
        [row("a.yml", "two", 1), row("b.yml", "one", 1)]
    );
    assert_eq!(change(&[("a.yml", Some("three")), ("b.yml", None)], 2).await, [row("a.yml", "three", 2)]);
    assert_eq!(change(&[("unknown.yml", None)], 3).await, [row("a.yml", "three", 2)]);
    assert_eq!(change(&[("a.yml", None)], 4).await, []);
}

async fn the_scheduler_sees_what_is_due(store: Store) {
    let names = async |seconds| {
        let dags = store.schedulable_dags(time(seconds), 10).await.expect("DAGs can be read");
        dags.into_iter().map(|d| d.record.dag_id).collect::<Vec<_>>()
    };
    let next = async |seconds| store.next_due_at(time(seconds)).await.expect("times can be read");
    for id in ["a", "b", "paused"] {
        sync_version(&store, id, 1).await;
    }
    store.set_paused("paused", true, time(0)).await.expect("a DAG is paused");
    assert_eq!(names(0).await, ["a", "b"], "new ones are not planned yet");
    assert_eq!(next(0).await, None);
    let (a, b) = (record(&store, "a").await.version_id, record(&store, "b").await.version_id);
    let planned = [("a".to_owned(), a, Some(due(20))), ("b".to_owned(), b, Some(due(10))), ("x".to_owned(), 1, None)];
    assert_eq!(store.set_next_runs(&planned, time(0)).await.expect("plans are taken"), 2);
    assert_eq!(names(9).await, [""; 0]);
    assert_eq!((next(9).await, next(10).await, next(20).await), (Some(time(10)), Some(time(20)), None));
    assert_eq!(names(10).await, ["b"]);
    assert_eq!(names(20).await, ["b", "a"], "the longest due comes first");
    assert_eq!(record(&store, "b").await.next_run, Some(due(10)));
    sync_version(&store, "b", 2).await;
    assert_eq!(names(9).await, ["b"], "another version is planned anew");
    assert!(matches!(store.set_next_run("b", b, Some(due(30)), time(0)).await, Err(Error::Stale(_))));
    let b = record(&store, "b").await.version_id;
    store.set_next_run("b", b, None, time(0)).await.expect("it is the current version");
    assert_eq!((names(30).await, next(0).await), (vec!["a".to_owned()], Some(time(20))));
}

async fn what_is_known_of_the_last_runs(store: Store) {
    sync_version(&store, "d", 1).await;
    let version = record(&store, "d").await.version_id;
    store.set_next_run("d", version, Some(due(10)), time(0)).await.expect("it is the current version");
    let made = store.create_scheduled_run("d", due(10), Some(due(20)), time(11)).await.expect("a run is created");
    assert!(made.is_some());
    manual(&store, "d").await;
    let foreground =
        NewRun { queue: Some("q".into()), ..NewRun::manual("d", time(1), towpath_model::run::TriggeredBy::Cli) };
    store.create_run(foreground, time(1)).await.expect("a run is created");
    let later = time(20) + TimeDelta::milliseconds(1);
    let found = store.schedulable_dags(later, 10).await.expect("DAGs can be read").pop().expect("one is due");
    assert_eq!(found.last_interval, Some(due(10).data_interval));
    assert_eq!((found.active_runs, found.last_run_end), (2, None), "foreground runs do not count");
}

both!(
    a_version_for_every_content,
    what_is_gone_may_come_back,
    a_dag_that_moves_keeps_its_version,
    paused_from_the_start_or_not,
    syncs_at_once_make_one_version,
    import_errors_come_and_go,
    the_scheduler_sees_what_is_due,
    what_is_known_of_the_last_runs,
);
