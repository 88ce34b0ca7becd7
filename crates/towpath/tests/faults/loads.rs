//! A table of kills: each mode of a load into files and into tables, its process or the whole daemon killed at any moment, most of all at
//! the one when the new data appears and nobody was told yet. In the end each row is there once, and no reader has seen less than a whole.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::Connection as _;

use crate::harness::{Dice, LIMIT, Process, Project};

/// Rows that each load brings.
const ROWS: u64 = 20_000;
/// How often something is killed.
const KILLS: usize = 14;

/// Rows of the keys `from` up to `to`, marked as `note`.
fn rows(keys: std::ops::Range<u64>, note: &str) -> Vec<String> {
    keys.map(|key| format!("{key},{},{note}", key % 3)).collect()
}

/// One load of the table: what lies at its target before, and what does after.
struct Row {
    mode: &'static str,
    before: Vec<String>,
    after: Vec<String>,
}

fn new_rows() -> Vec<String> {
    rows(0..ROWS, "new")
}

fn file_rows() -> Vec<Row> {
    let old = || rows(1_000_000..1_000_500, "old");
    let both = || [old(), new_rows()].concat();
    // The part 7 of the old data is not in the new one.
    let parts: Vec<String> = old().into_iter().chain(["1,7,kept".to_owned()]).collect();
    vec![
        Row { mode: "append", before: old(), after: both() },
        Row { mode: "overwrite", before: old(), after: new_rows() },
        Row { mode: "error", before: Vec::new(), after: new_rows() },
        Row { mode: "ignore", before: Vec::new(), after: new_rows() },
        Row { mode: "overwrite_partitions", before: parts, after: [new_rows(), vec!["1,7,kept".to_owned()]].concat() },
    ]
}

fn table_rows() -> Vec<Row> {
    let old = || rows(ROWS / 2..ROWS + 500, "old");
    let appended = || rows(1_000_000..1_000_500, "old");
    vec![
        Row { mode: "append", before: appended(), after: [appended(), new_rows()].concat() },
        Row { mode: "overwrite", before: old(), after: new_rows() },
        Row { mode: "upsert", before: old(), after: [new_rows(), rows(ROWS..ROWS + 500, "old")].concat() },
        Row { mode: "error", before: Vec::new(), after: new_rows() },
        Row { mode: "ignore", before: Vec::new(), after: new_rows() },
    ]
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort_unstable();
    rows
}

/// The DAG of all loads, and what they read.
fn write_dag(project: &Project, rows: &[Row], target: impl Fn(&str) -> String) {
    std::fs::write(project.path("new.csv"), format!("key,part,note\n{}\n", new_rows().join("\n"))).unwrap();
    let mut dag = "default_args: {retries: 60, retry_delay: 0.1s}\ntasks:\n".to_owned();
    for Row { mode, .. } in rows {
        let target = target(mode);
        writeln!(dag, "  {mode}: {{operator: load, input: {{csv: new.csv}}, memory: 300MB, target: {target}}}")
            .unwrap();
    }
    project.write_dag("loads.yaml", &dag);
}

/// The rows of a folder of partitions, at one moment; none where it is not there.
fn read_folder(folder: &Path) -> Vec<String> {
    let inode = || std::fs::metadata(folder).map(|found| found.ino()).ok();
    loop {
        let before = inode();
        let read = || -> std::io::Result<Vec<String>> {
            let mut rows = Vec::new();
            for part in std::fs::read_dir(folder)? {
                let part = part?;
                let name = part.file_name().into_string().unwrap();
                let value = name.strip_prefix("part=").unwrap_or_else(|| panic!("{name} in a target")).to_owned();
                for file in std::fs::read_dir(part.path())? {
                    let text = std::fs::read_to_string(file?.path())?;
                    rows.extend(text.lines().skip(1).map(|line| {
                        let (key, note) = line.split_once(',').unwrap_or_else(|| panic!("half a line: {line}"));
                        format!("{key},{value},{note}")
                    }));
                }
            }
            Ok(rows)
        };
        let found = read();
        // Where another folder has come in between, what was read is of two of them.
        if inode() == before {
            return if before.is_none() { Vec::new() } else { found.unwrap() };
        }
    }
}

fn write_folder(folder: &Path, rows: &[String]) {
    let mut parts: BTreeMap<&str, String> = BTreeMap::new();
    for row in rows {
        let (key, rest) = row.split_once(',').unwrap();
        let (part, note) = rest.split_once(',').unwrap();
        writeln!(parts.entry(part).or_insert_with(|| "key,note\n".to_owned()), "{key},{note}").unwrap();
    }
    for (part, text) in parts {
        let folder = folder.join(format!("part={part}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("old.csv"), text).unwrap();
    }
}

/// The process that works on a load just now, if there is one: a child of the daemon.
fn load_processes(daemon: &Process) -> Vec<String> {
    let all = std::process::Command::new("ps").args(["-eo", "pid=,ppid=,args="]).output().unwrap();
    let all = String::from_utf8_lossy(&all.stdout).into_owned();
    let line = |line: &str| -> Option<(String, String, bool)> {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned(), line.contains("etl-attempt")))
    };
    let all: Vec<_> = all.lines().filter_map(line).collect();
    let mut family = vec![daemon.pid().to_string()];
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(parent) = family.get(at).cloned() {
        for (pid, _, is_load) in all.iter().filter(|(_, of, _)| *of == parent) {
            family.push(pid.clone());
            if *is_load {
                found.push(pid.clone());
            }
        }
        at += 1;
    }
    found
}

/// What watches the targets: it says what is there that must not be, and knows when something has changed.
struct Watch {
    stop: Arc<AtomicBool>,
    changes: std::sync::mpsc::Receiver<()>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    /// `read` gives the rows at the target of a mode, or nothing where it cannot be read just now.
    fn new(rows: Vec<Row>, read: impl Fn(&str) -> Option<Vec<String>> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, changes) = std::sync::mpsc::channel();
        let is_over = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen: Vec<usize> = rows.iter().map(|row| row.before.len()).collect();
            let allowed: Vec<(Vec<String>, Vec<String>)> =
                rows.iter().map(|row| (sorted(row.before.clone()), sorted(row.after.clone()))).collect();
            while !is_over.load(Ordering::Relaxed) {
                for (at, row) in rows.iter().enumerate() {
                    let Some(found) = read(row.mode) else { continue };
                    let found = sorted(found);
                    let (before, after) = &allowed[at];
                    assert!(found == *before || found == *after, "{}: {} rows are seen", row.mode, found.len());
                    if found.len() != seen[at] {
                        seen[at] = found.len();
                        // Nobody waits for it any more.
                        let _ = sender.send(());
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { stop, changes, thread: Some(thread) }
    }

    fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Kills until it is enough: at random moments, and as soon as new data appears.
async fn kill_and_finish(project: &Project, environment: &[(&str, PathBuf)], dice: &mut Dice, watch: Watch) {
    let up = || project.start_with(&["up", "--listen", "127.0.0.1:0", "--no-auth"], environment);
    let mut daemon = up();
    let run_id = daemon.trigger("loads").await;
    for _ in 0..KILLS {
        let wait = Duration::from_millis(dice.between(20, 900));
        let changed = tokio::task::block_in_place(|| watch.changes.recv_timeout(wait)).is_ok();
        if changed || dice.between(0, 3) == 0 {
            // The old one goes first: two of them do not share a data folder.
            daemon.kill();
            daemon = up();
        } else {
            for pid in load_processes(&daemon) {
                // It may have ended by itself.
                let _ =
                    std::process::Command::new("kill").args(["-9", &pid]).stderr(std::process::Stdio::null()).status();
            }
        }
    }
    let start = Instant::now();
    loop {
        let runs = daemon.runs("loads").await;
        let run = runs.iter().find(|run| run["dag_run_id"] == run_id.as_str());
        match run.and_then(|run| run["state"].as_str()) {
            Some("success") => break,
            Some("failed") => panic!("the run has failed\n{}", project.log()),
            _ => {}
        }
        assert!(start.elapsed() < LIMIT, "{}", project.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let base = format!("/api/v2/dags/loads/dagRuns/{}", run_id.replace('+', "%2B"));
    let tasks = daemon.get(&format!("{base}/taskInstances?limit=100")).await.unwrap();
    for task in tasks["task_instances"].as_array().unwrap() {
        let task_id = task["task_id"].as_str().unwrap();
        let value = daemon.get(&format!("{base}/taskInstances/{task_id}/xcomEntries/return_value")).await.unwrap();
        let value =
            value["value"].as_str().map(|text| serde_json::from_str(text).unwrap()).unwrap_or(value["value"].clone());
        let value: serde_json::Value = value;
        assert_eq!(value["rows"], ROWS, "{task_id} tells what was loaded: {value}");
    }
    watch.end();
    project.assert_no_panic();
    assert_eq!(daemon.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_into_files_survive_every_kill() {
    let mut dice = Dice::new("loads into files");
    let project = Project::new("sqlite").await;
    write_dag(&project, &file_rows(), |mode| format!("{{csv: lake/{mode}, partition_by: part, mode: {mode}}}"));
    let folder = project.path("lake");
    for Row { mode, before, .. } in file_rows() {
        write_folder(&folder.join(mode), &before);
    }
    let of_watch = folder.clone();
    let watch = Watch::new(file_rows(), move |mode| Some(read_folder(&of_watch.join(mode))));
    kill_and_finish(&project, &[], &mut dice, watch).await;
    for Row { mode, after, .. } in file_rows() {
        assert!(sorted(read_folder(&folder.join(mode))) == sorted(after), "{mode}: other rows");
    }
    // What killed loads have left is gone with the next load of the target.
    let left = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    let left: Vec<String> = left.filter(|name| name.contains(".towpath-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_into_tables_of_sqlite_survive_every_kill() {
    let mut dice = Dice::new("loads into tables of SQLite");
    let project = Project::new("sqlite").await;
    write_dag(&project, &table_rows(), |mode| {
        let key = if mode == "upsert" { ", key: key" } else { "" };
        format!("{{table: loaded, connection: {mode}_file, mode: {mode}{key}}}")
    });
    // A file for each, since there is one writer of a file.
    let path = {
        let folder = project.path("");
        move |mode: &str| folder.join(format!("{mode}.db"))
    };
    let mut environment = Vec::new();
    let names: Vec<String> =
        table_rows().iter().map(|row| format!("TOWPATH_CONN_{}_FILE", row.mode.to_uppercase())).collect();
    for (Row { mode, before, .. }, name) in table_rows().iter().zip(&names) {
        let url = format!("sqlite://{}?mode=rwc", path(mode).display());
        let mut database = sqlx::SqliteConnection::connect(&url).await.unwrap();
        for sql in statements(before) {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut database).await.unwrap();
        }
        database.close().await.unwrap();
        environment.push((name.as_str(), PathBuf::from(format!("sqlite:///{}", path(mode).display()))));
    }
    let read = {
        let path = path.clone();
        let runtime = tokio::runtime::Handle::current();
        move |mode: &str| runtime.block_on(read_sqlite(&path(mode)))
    };
    let watch = Watch::new(table_rows(), read);
    kill_and_finish(&project, &environment, &mut dice, watch).await;
    for Row { mode, after, .. } in table_rows() {
        assert!(sorted(read_sqlite(&path(mode)).await.unwrap()) == sorted(after), "{mode}: other rows");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_into_tables_of_postgres_survive_every_kill() {
    let mut dice = Dice::new("loads into tables of PostgreSQL");
    let project = Project::new("sqlite").await;
    let database = towpath_testkit::postgres().await;
    write_dag(&project, &table_rows(), |mode| {
        let key = if mode == "upsert" { ", key: key" } else { "" };
        format!("{{table: loaded_{mode}, connection: target, mode: {mode}{key}}}")
    });
    let mut connection = sqlx::PgConnection::connect(&database.url).await.unwrap();
    for Row { mode, before, .. } in table_rows() {
        for sql in statements(&before) {
            let sql = sql.replace(" loaded ", &format!(" loaded_{mode} "));
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        }
    }
    let runtime = tokio::runtime::Handle::current();
    let reader = std::sync::Mutex::new(sqlx::PgConnection::connect(&database.url).await.unwrap());
    let watch = Watch::new(table_rows(), move |mode| {
        let mut reader = reader.lock().unwrap();
        Some(runtime.block_on(read_postgres(&mut reader, mode)))
    });
    let environment = [("TOWPATH_CONN_TARGET", PathBuf::from(&database.url))];
    kill_and_finish(&project, &environment, &mut dice, watch).await;
    for Row { mode, after, .. } in table_rows() {
        assert!(sorted(read_postgres(&mut connection, mode).await) == sorted(after), "{mode}: other rows");
    }
}

/// What makes a table with these rows.
fn statements(rows: &[String]) -> Vec<String> {
    let mut all = vec!["CREATE TABLE loaded (key bigint primary key, part bigint, note text)".to_owned()];
    if !rows.is_empty() {
        let values = rows.iter().map(|row| {
            let fields: Vec<&str> = row.split(',').collect();
            format!("({}, {}, '{}')", fields[0], fields[1], fields[2])
        });
        all.push(format!("INSERT INTO loaded VALUES {}", values.collect::<Vec<_>>().join(", ")));
    }
    all
}

const SELECT: &str = "SELECT CAST(key AS text) || ',' || CAST(part AS text) || ',' || note FROM loaded";

/// `None` while somebody commits.
async fn read_sqlite(path: &Path) -> Option<Vec<String>> {
    let url = format!("sqlite://{}?mode=rw", path.display());
    let mut database = sqlx::SqliteConnection::connect(&url).await.ok()?;
    sqlx::query_scalar(SELECT).fetch_all(&mut database).await.ok()
}

async fn read_postgres(database: &mut sqlx::PgConnection, mode: &str) -> Vec<String> {
    let sql = SELECT.replace("FROM loaded", &format!("FROM loaded_{mode}"));
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(database).await.unwrap()
}
