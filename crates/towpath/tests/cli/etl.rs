//! Data tasks through the real binary: the flights example, and what is said when something is wrong.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::environment::Environment;

/// The repository's examples.
fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dags")
}

/// The example, with copies of 100 rows that differ in what no key has: those have to win.
fn prepare(environment: &Environment) -> Vec<Vec<String>> {
    let source = examples().join("data/nycflights13");
    let mut text = std::fs::read_to_string(source.join("flights-2013-01.csv")).unwrap();
    let copies: Vec<String> = text
        .lines()
        .skip(1)
        .step_by(250)
        .take(100)
        .map(|line| {
            let mut fields: Vec<&str> = line.split(',').collect();
            fields[5] = "1000";
            fields.join(",")
        })
        .collect();
    text.push_str(&copies.join("\n"));
    text.push('\n');
    environment.write("dags/data/nycflights13/flights-2013-01.csv", &text);
    let airlines = std::fs::read_to_string(source.join("airlines.csv")).unwrap();
    environment.write("dags/data/nycflights13/airlines.csv", &airlines);
    let dag = std::fs::read_to_string(examples().join("flights_etl.yaml")).unwrap();
    environment.write("dags/flights_etl.yaml", &dag);
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn the_flights_example_gives_what_counting_by_hand_gives() {
    let environment = Environment::new();
    let rows = prepare(&environment);
    let mut kept: BTreeMap<Vec<&str>, &Vec<String>> = BTreeMap::new();
    let mut rejected = 0;
    for row in &rows {
        let distance: i64 = row[15].parse().unwrap();
        if !(90..=5000).contains(&distance) {
            rejected += 1;
            continue;
        }
        // Year, month, day, carrier, flight, origin, scheduled departure; the last one stays.
        kept.insert([0, 1, 2, 9, 10, 12, 4].map(|at| row[at].as_str()).to_vec(), row);
    }
    let mut groups: BTreeMap<(i64, &str), (u64, u64, f64)> = BTreeMap::new();
    for row in kept.values() {
        let group = groups.entry((row[2].parse().unwrap(), row[9].as_str())).or_default();
        group.0 += 1;
        match row[5].parse::<f64>() {
            Ok(delay) => group.2 += delay,
            Err(_) => group.1 += 1,
        }
    }
    let ended = environment.ok(&["run", "dags/flights_etl.yaml"]);
    let xcom = |task: &str| environment.ok(&["xcom", "get", "flights_etl", task]).json();
    assert_eq!(xcom("extract_flights")["rows"], json!(rows.len()));
    let checked = xcom("checked");
    assert_eq!((&checked["rows"], &checked["rejects"]["rows"]), (&json!(kept.len()), &json!(rejected)), "{ended:#?}");
    assert_eq!(checked["profile"]["dep_delay"]["max"], json!(1301.0));
    let loaded = xcom("to_lake");
    assert_eq!((&loaded["rows"], &loaded["files"]), (&json!(groups.len()), &json!(16)));
    let log = environment.ok(&["tasks", "logs", "flights_etl", "checked"]).stdout;
    assert!(log.contains("rows broke distance: between, ge 90"), "{log}");

    // What is in the lake is read back by a pipeline of its own.
    environment.write(
        "back.yaml",
        "tasks:\n  back:\n    operator: load\n    input: {parquet: warehouse/delays}\n    target: {csv: back.csv}\n",
    );
    environment.ok(&["run", "back.yaml"]);
    let text = std::fs::read_to_string(environment.path().join("back.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("day,airline,flights,cancelled,mean_delay,carrier"));
    let mut found = BTreeMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let mean = fields[4].parse::<f64>().ok();
        found.insert((fields[0].parse::<i64>().unwrap(), fields[5]), (fields[2], fields[3], mean));
    }
    assert_eq!(found.len(), groups.len());
    for (key, (flights, cancelled, total)) in &groups {
        let (rows, nulls, mean) = found[key];
        assert_eq!((rows, nulls), (flights.to_string().as_str(), cancelled.to_string().as_str()), "{key:?}");
        let known = flights - cancelled;
        let expected = (known > 0).then(|| total / known as f64);
        assert!(
            (mean.unwrap_or_default() - expected.unwrap_or_default()).abs() < 1e-9,
            "{key:?}: {mean:?} {expected:?}"
        );
    }
}

#[test]
fn wrong_files_are_told_with_line_and_column() {
    let environment = Environment::new();
    let file = "\
tasks:
  read:
    operator: extract
    source: { csv: x.csv, delimitter: ';' }
  check:
    operator: transform
    input: read
    steps:
      - dedup: { subset: id }
      - dedupe: { keep: newest }
      - validate: { columns: { a: int46 } }
      - join: { with: nobody, on: id }
  store:
    operator: load
    target: { parquet: out, mode: upsert }
";
    environment.write("wrong.yaml", file);
    let ended = environment.run(&["dags", "validate", "wrong.yaml"]);
    let text = format!("{}{}", ended.stdout, ended.stderr);
    for expected in [
        "wrong.yaml:4:27: error: there is no `delimitter` here",
        "did you mean `delimiter`?",
        "wrong.yaml:9:9: error: `dedup` is not known here",
        "did you mean `dedupe`?",
        "wrong.yaml:10:25: error: `newest` is not known here",
        "wrong.yaml:11:35: error: there is no type `int46`",
        "wrong.yaml:12:23: error: there is no task or group `nobody` in this DAG",
        "a task with operator `load` needs `input`",
        "mode upsert belongs to a target with `table`",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn a_file_that_is_missing_is_named() {
    let environment = Environment::new();
    environment.write("missing.yaml", "tasks:\n  read:\n    operator: extract\n    source: {csv: nowhere.csv}\n");
    let ended = environment.run(&["run", "missing.yaml"]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    assert!(ended.stdout.contains("there is no file or folder `nowhere.csv`"), "{ended:#?}");
}
