//! From DAG files to runs, and through times without a database.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends by a panic")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use towpath_model::clock::SystemClock;
use towpath_scheduler::{Options, ProcessIdentity, Scheduler};
use towpath_store::{Key, RunFilter, Store, Topic};

const LIMIT: Duration = Duration::from_secs(30);

async fn connect(url: &str) -> Store {
    let options = towpath_store::Options { url: url.into(), key: Key::random(), max_connections: 4 };
    Store::connect(options).await.unwrap()
}

fn options(store: Store, folder: &Path) -> Options {
    Options {
        store,
        clock: Arc::new(SystemClock),
        identity: ProcessIdentity::current(),
        heartbeat: Duration::from_secs(5),
        lease: Duration::from_secs(30),
        dags_folder: Some(folder.to_owned()),
        limits: towpath_dagfile::Limits::default(),
        paused_by_default: false,
        rescan: Duration::from_secs(60),
    }
}

async fn until(store: &Store, what: &str, condition: impl AsyncFn() -> bool) {
    let mut schedule = store.wakes().subscribe(Topic::Schedule);
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < LIMIT, "{what} does not become true");
        let _ = tokio::time::timeout(Duration::from_millis(20), schedule.changed()).await;
    }
}

async fn count_runs(store: &Store, dag_id: &str) -> usize {
    let filter = RunFilter { dag_id: Some(dag_id.into()), limit: 100, ..RunFilter::default() };
    store.runs(&filter).await.unwrap().items.len()
}

fn once(dag_id: &str) -> String {
    format!(
        "dag_id: {dag_id}\nschedule: \"@once\"\ntasks:\n  hello:\n    operator: bash\n    bash_command: echo hello\n"
    )
}

#[tokio::test]
async fn a_file_becomes_a_run() {
    for db in towpath_testkit::databases().await {
        let store = connect(&db.url).await;
        store.migrate().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("first.yml"), once("first")).unwrap();
        let scheduler = Scheduler::new(options(store.clone(), folder.path()));
        let mut handle = scheduler.handle();
        let soft = CancellationToken::new();
        let running = tokio::spawn(scheduler.run(soft.clone()));
        assert!(handle.ready().await);
        until(&store, "a run of the first", async || count_runs(&store, "first").await == 1).await;
        std::fs::write(folder.path().join("second.yml"), once("second")).unwrap();
        until(&store, "a run of the second", async || count_runs(&store, "second").await == 1).await;
        // A broken file says where, and its DAG stays.
        std::fs::write(folder.path().join("second.yml"), "dag_id: second\ntasks: 7\n").unwrap();
        until(&store, "an import error", async || !store.import_errors().await.unwrap().is_empty()).await;
        let error = store.import_errors().await.unwrap().remove(0);
        assert_eq!(error.file, "second.yml");
        assert!(error.message.contains("second.yml:2:"), "{}", error.message);
        assert!(store.dag("second").await.unwrap().unwrap().is_active);
        soft.cancel();
        running.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_missing_folder_ends_the_start() {
    let db = towpath_testkit::sqlite();
    let store = connect(&db.url).await;
    store.migrate().await.unwrap();
    let scheduler = Scheduler::new(options(store, Path::new("/nowhere/at/all")));
    let mut handle = scheduler.handle();
    let message = scheduler.run(CancellationToken::new()).await.unwrap_err().to_string();
    assert!(message.contains("/nowhere/at/all") && message.contains("`dags_dir`"), "{message}");
    assert!(!handle.ready().await);
}

/// A way to the server that can be cut.
struct Cable {
    port: u16,
    plugged: watch::Sender<bool>,
    /// Connections that were tried while it was cut.
    missed: watch::Receiver<u32>,
}

impl Cable {
    async fn new(server: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (plugged, missed) = (watch::Sender::new(true), watch::Sender::new(0));
        let (seen, missing) = (plugged.subscribe(), missed.subscribe());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (server, mut cut) = (server.clone(), seen.clone());
                if !*cut.borrow_and_update() {
                    missed.send_modify(|count| *count += 1);
                    continue;
                }
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    // How a connection ends is nobody's business here.
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { port, plugged, missed: missing }
    }

    /// Waits until it was missed a few times.
    async fn pull(&mut self) {
        self.plugged.send_replace(false);
        let before = *self.missed.borrow();
        let missed = self.missed.wait_for(|missed| *missed >= before + 3);
        tokio::time::timeout(LIMIT, missed).await.unwrap().unwrap();
    }

    fn plug(&self) {
        self.plugged.send_replace(true);
    }
}

/// Only PostgreSQL can be away: an embedded database is where its process is.
#[tokio::test]
async fn a_database_that_is_away_is_waited_for() {
    let db = towpath_testkit::postgres().await;
    let direct = connect(&db.url).await;
    direct.migrate().await.unwrap();
    let mut url = url::Url::parse(&db.url).unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
    let mut cable = Cable::new(server).await;
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(cable.port)).unwrap();

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("first.yml"), once("first")).unwrap();
    let scheduler = Scheduler::new(options(connect(url.as_str()).await, folder.path()));
    let soft = CancellationToken::new();
    let running = tokio::spawn(scheduler.run(soft.clone()));
    until(&direct, "a run of the first", async || count_runs(&direct, "first").await == 1).await;
    for round in 0..2 {
        cable.pull().await;
        let id = format!("away{round}");
        std::fs::write(folder.path().join(format!("{id}.yml")), once(&id)).unwrap();
        assert_eq!(count_runs(&direct, &id).await, 0);
        assert!(!running.is_finished());
        cable.plug();
        until(&direct, "a run after the outage", async || count_runs(&direct, &id).await == 1).await;
    }
    // Told to stop while the database is away, it stops.
    cable.pull().await;
    soft.cancel();
    tokio::time::timeout(LIMIT, running).await.unwrap().unwrap().unwrap();
}
