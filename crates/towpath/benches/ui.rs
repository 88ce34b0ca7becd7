//! How long the server takes for each page, and for long lists of the API, over a database with a past: more than a
//! million task instances, a million runs, 5,000 DAGs. Run it with `scripts/bench ui`; every figure comes from this one
//! run. With Chromium at hand the first paint of the largest pictures is measured as well.

#![expect(clippy::print_stdout, reason = "what a benchmark has found is its output")]

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use towpath_api::guard::Hosts;
use towpath_model::clock::{Clock as _, SystemClock};
use towpath_model::dag::{Dag, DagSpec, Task};
use towpath_store::{DagUpsert, Key, Options, Store};
use towpath_testkit::TestDb;
use towpath_testkit::history::{self, History};

/// Requests of each page that are measured.
const REQUESTS: usize = 60;
/// Longest time of the server for 19 of 20 requests, milliseconds.
const BAR: f64 = 20.0;
/// Largest page of a DAG of 100 tasks, kB.
const SIZE: f64 = 200.0;

#[tokio::main]
async fn main() -> Result<()> {
    // `scripts/bench ui sqlite` measures one of the two; `/dags/huge` those pages whose address begins like that.
    let only: Vec<String> = std::env::args().filter(|name| name == "sqlite" || name == "postgres").collect();
    let pages: Vec<String> = std::env::args().filter(|name| name.starts_with('/')).skip(1).collect();
    for db in [towpath_testkit::sqlite(), towpath_testkit::postgres().await] {
        if !only.is_empty() && !only.iter().any(|name| name == db.name) {
            continue;
        }
        println!("{}", db.name);
        measure(&db, &pages).await?;
        println!();
    }
    Ok(())
}

/// `count` tasks in layers of `wide`, each behind two of the layer before.
fn layered(dag_id: &str, count: usize, wide: usize) -> DagUpsert {
    let mut spec = DagSpec::new(dag_id);
    spec.tags = vec![format!("team_{}", count % 7)];
    for index in 0..count {
        let mut task = Task::new(format!("t{index:04}"), "bash");
        task.args.insert("bash_command".to_owned(), "true".into());
        if let Some(before) = index.checked_sub(wide) {
            let beside = (before / wide) * wide + (before + 1) % wide;
            task.upstream = vec![format!("t{before:04}")];
            if beside != before {
                task.upstream.push(format!("t{beside:04}"));
            }
        }
        spec.tasks.push(task);
    }
    let dag = Dag::build(spec).expect("layers form no cycle");
    DagUpsert { dag: Arc::new(dag), file: format!("{dag_id}.yml"), source: "# made up\n".into() }
}

async fn fill(db: &TestDb, store: &Store) -> Result<()> {
    let now = SystemClock.now();
    let small: Vec<DagUpsert> = (0..5_000).map(|number| layered(&format!("small_{number:04}"), 25, 5)).collect();
    for part in small.chunks(500) {
        store.sync_dags(part, false, now).await?;
    }
    let large =
        [layered("hundred", 100, 10), layered("graph", 1_000, 25), layered("huge", 5_000, 100), layered("old", 1, 1)];
    store.sync_dags(&large, false, now).await?;
    let until = now.timestamp() / 3_600 * 3_600;
    let of = |dags, runs, tasks| History { dags, runs, tasks: ("t", tasks), until };
    let start = Instant::now();
    history::write(
        db,
        &[
            of("old", 1_000_000, 1),
            of("huge", 25, 5_000),
            of("graph", 10, 1_000),
            of("hundred", 100, 100),
            of("small%", 8, 25),
        ],
    )
    .await?;
    println!(
        "  a past of 2,145,000 task instances in 1,040,135 runs, made up in {:.0} s",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn router(store: &Store) -> Router {
    let state = towpath_api::State::new(towpath_api::Options {
        store: store.clone(),
        clock: Arc::new(SystemClock),
        dags_folder: "dags".into(),
        hosts: Hosts::Any,
        stop: CancellationToken::new(),
    });
    let pages = towpath_ui::router(towpath_ui::State {
        store: store.clone(),
        clock: Arc::new(SystemClock),
        dags_folder: "dags".into(),
        settings: [].into(),
        test_connection: None,
        data: None,
        graphs: towpath_ui::Graphs::default(),
    });
    towpath_api::app(state, pages)
}

/// `pages`: beginnings of the addresses to measure; all of them where there is none.
async fn measure(db: &TestDb, pages: &[String]) -> Result<()> {
    let options = Options { url: db.url.clone(), key: Key::random(), max_connections: 8 };
    let store = Store::connect(options).await?;
    store.migrate().await?;
    fill(db, &store).await?;
    let router = router(&store);
    println!("  {:<66} {:>8} {:>8} {:>9}", "", "median", "p95", "size");
    for path in paths(&router).await? {
        if pages.is_empty() || pages.iter().any(|page| path.starts_with(page)) {
            time(&router, &path).await?;
        }
    }
    if pages.is_empty() {
        paint(router).await?;
    }
    store.close().await;
    Ok(())
}

/// Pages, then lists of the API.
async fn paths(router: &Router) -> Result<Vec<String>> {
    let of_a_dag =
        ["", "/graph", "/gantt", "/calendar", "/durations", "/runs", "/backfills", "/code", "/details", "/audit"];
    let mut paths: Vec<String> = [
        "/",
        "/dags",
        "/dags?page=90",
        "/dags?q=small_4",
        "/dags?tag=team_4",
        "/dags?show=failed",
        "/dags?show=running",
        "/runs",
        "/runs?state=failed",
        "/runs?type=manual",
        "/search?q=small_12",
        "/assets",
        "/admin/audit",
        "/admin/pools",
        "/admin/workers",
        "/admin/variables",
        "/admin/connections",
        "/admin/users",
        "/admin/config",
    ]
    .map(str::to_owned)
    .into();
    for dag_id in ["hundred", "graph", "huge", "old"] {
        paths.extend(of_a_dag.iter().map(|view| format!("/dags/{dag_id}{view}")));
        let newest = if dag_id == "old" { 1_000_000 } else { 10 };
        paths.push(format!("/dags/{dag_id}/runs/scheduled__{newest}"));
        paths.push(format!("/dags/{dag_id}/runs/scheduled__{newest}/tasks/t0000"));
    }
    // The last pages of long lists.
    for list in ["/runs", "/dags/old/runs"] {
        paths.push(format!("{list}?before=-1000000000000000.1"));
    }
    let api = "/api/v2/dags";
    for query in ["", "&offset=500000", "&state=failed", "&state=running", "&order_by=-run_after", "&order_by=-id"] {
        paths.push(format!("{api}/~/dagRuns?limit=50{query}"));
    }
    paths.push(format!("{api}/old/dagRuns?limit=50&order_by=-run_after"));
    for query in ["", "&offset=500000", "&state=failed", "&state=running"] {
        paths.push(format!("{api}/~/dagRuns/~/taskInstances?limit=50{query}"));
    }
    paths.push(format!("{api}/small_0001/dagRuns/~/taskInstances?limit=50"));
    paths.push(format!("{api}/huge/dagRuns/scheduled__1/taskInstances?limit=50"));
    paths.push(format!("{api}?limit=50"));
    paths.push("/metrics".to_owned());
    let mut known = Vec::new();
    for path in paths {
        let status = get(router, &path).await?.0;
        if status == 404 {
            println!("  {path}: there is no such page");
        } else {
            anyhow::ensure!(status == 200, "{path} is answered by {status}");
            known.push(path);
        }
    }
    Ok(known)
}

async fn get(router: &Router, path: &str) -> Result<(u16, usize)> {
    let response = router.clone().oneshot(Request::get(path).body(Body::empty())?).await?;
    let status = response.status().as_u16();
    Ok((status, axum::body::to_bytes(response.into_body(), usize::MAX).await?.len()))
}

async fn time(router: &Router, path: &str) -> Result<()> {
    let mut times = Vec::with_capacity(REQUESTS);
    let mut size = 0;
    let start = Instant::now();
    for _ in 0..REQUESTS {
        let begin = Instant::now();
        size = get(router, path).await?.1;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        // What takes seconds need not be measured 60 times.
        if times.len() >= 5 && start.elapsed() > Duration::from_secs(20) {
            break;
        }
    }
    times.sort_by(f64::total_cmp);
    let (median, p95) = (times[times.len() / 2], times[(times.len() * 19).div_ceil(20) - 1]);
    let size = size as f64 / 1e3;
    let mut over = String::new();
    if p95 > BAR {
        over.push_str(&format!("  over {BAR} ms"));
    }
    if size > SIZE && path.contains("/hundred") {
        over.push_str(&format!("  over {SIZE} kB"));
    }
    println!("  {path:<66} {median:>5.1} ms {p95:>5.1} ms {size:>6.1} kB{over}");
    Ok(())
}

/// Lets a browser look, if there is one and Node.js to drive it.
async fn paint(router: Router) -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/e2e");
    let done = tokio::task::spawn_blocking(move || {
        let pages = ["/dags/huge", "/dags/graph/graph", "/dags/hundred", "/dags"];
        Command::new("node").arg("paint.mjs").arg(base).args(pages).current_dir(folder).status()
    })
    .await?;
    server.abort();
    match done {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => println!("  no Node.js: nothing is painted"),
        done => anyhow::ensure!(done.context("the browser cannot be started")?.success(), "the browser has failed"),
    }
    Ok(())
}
