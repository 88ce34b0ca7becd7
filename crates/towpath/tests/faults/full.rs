//! A disk that becomes full while a load writes: a clear error, the old data, and nothing besides.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::disk::library;
use crate::harness::Project;

/// Bytes that find room.
const ROOM: &str = "20000";

/// The process of an attempt, with a disk that is full soon; how it ended.
fn attempt(project: &Project, mut job: Value, is_full: bool) -> Result<Value, String> {
    let result = project.path("result.json");
    job["folder"] = json!(project.path(""));
    job["scratch"] = json!(project.path("store/scratch"));
    let flag = project.path("full");
    if is_full {
        std::fs::write(&flag, "").unwrap();
    } else {
        drop(std::fs::remove_file(&flag));
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_towpath"))
        .arg("etl-attempt")
        .env("LD_PRELOAD", library(project))
        .env("FULL_DISK_ROOT", project.path("store"))
        .env("FULL_DISK_FLAG", &flag)
        .env("FULL_DISK_ROOM", ROOM)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(json!({"job": job, "result": result}).to_string().as_bytes()).unwrap();
    let status = child.wait().unwrap();
    let told: Value = serde_json::from_slice(&std::fs::read(&result).unwrap()).unwrap();
    assert_eq!(status.success(), told["ended"]["success"].is_object(), "{told}");
    match told["ended"]["failed"]["error"].as_str() {
        None => Ok(told["ended"]["success"].clone()),
        Some(error) => Err(error.to_owned()),
    }
}

/// Every file below a folder, with what is in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().map_while(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            found.insert(name, std::fs::read(path).unwrap());
        }
    }
    found
}

#[tokio::test]
async fn a_load_that_finds_no_room_leaves_what_was_there() {
    let project = Project::new("sqlite").await;
    std::fs::create_dir_all(project.path("store")).unwrap();
    let write = |name: &str, rows: u64| {
        // Digits that do not pack well.
        let row = |i: u64| format!("{i},{:x}\n", i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17));
        std::fs::write(project.path(name), (0..rows).fold("k,v\n".to_owned(), |text, i| text + &row(i))).unwrap();
    };
    write("few.csv", 100);
    write("many.csv", 100_000);
    write("more.csv", 1_500_000);
    let database = json!({"db": {"conn_type": "sqlite", "schema": project.path("store/warehouse.db")}});
    for (target, steps) in [
        (json!({"parquet": "store/folder", "mode": "overwrite"}), json!([])),
        (json!({"parquet": "store/appended", "mode": "append"}), json!([])),
        (json!({"parquet": "store/one.parquet", "mode": "overwrite"}), json!([])),
        (json!({"csv": "store/one.csv.gz", "mode": "overwrite"}), json!([])),
        (json!({"ndjson": "store/lines", "mode": "overwrite"}), json!([])),
        (json!({"arrow": "store/arrow", "mode": "overwrite"}), json!([])),
        (json!({"table": "t", "connection": "db", "mode": "overwrite"}), json!([])),
        // What goes to disk on the way, to a result that has room.
        (json!({"csv": "small.csv", "mode": "overwrite"}), json!([{"sort": ["v"]}])),
        (json!({"csv": "small.csv", "mode": "overwrite"}), json!([{"dedupe": {"subset": ["v"]}}])),
    ] {
        let job = |input: &str| {
            json!({"inputs": [["input", {"csv": input}]], "steps": steps, "output": {"target": target}, "connections": database,
                "memory_bytes": 16_000_000})
        };
        attempt(&project, job("few.csv"), false).unwrap_or_else(|error| panic!("{target}: {error}"));
        let (before, small) = (files(&project.path("store")), std::fs::read(project.path("small.csv")).ok());
        let many = if small.is_some() { "more.csv" } else { "many.csv" };
        let error = match attempt(&project, job(many), true) {
            Err(error) => error,
            Ok(value) => panic!("{target}: {value}"),
        };
        assert!(
            ["No space left on device", "disk is full"].iter().any(|words| error.contains(words)),
            "{target}: {error}"
        );
        let after = files(&project.path("store"));
        let is_of_sqlite = |name: &str| name.contains("warehouse.db");
        let names = |files: &BTreeMap<String, Vec<u8>>| {
            files.keys().filter(|name| !is_of_sqlite(name)).cloned().collect::<Vec<_>>()
        };
        assert_eq!(names(&after), names(&before), "{target}");
        assert!(
            before.iter().all(|(name, bytes)| is_of_sqlite(name) || after[name] == *bytes),
            "{target}: other bytes"
        );
        assert_eq!(std::fs::read(project.path("small.csv")).ok(), small, "{target}");
        // With room again the same load goes through, over whatever was left.
        let done = attempt(&project, job(many), false).unwrap_or_else(|error| panic!("{target}: {error}"));
        assert!(done["rows"].as_u64().is_some_and(|rows| rows >= 3), "{target}: {done}");
    }
}
