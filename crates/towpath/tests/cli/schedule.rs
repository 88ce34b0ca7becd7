//! `towpath schedule preview`.

use crate::environment::{BAD, Environment};

const NIGHTLY: &str = "\
dag_id: nightly
schedule: '30 2 * * *'
timezone: Europe/Berlin
start_date: 2026-03-25
catchup: true
max_active_runs: 1
tasks:
  extract: { operator: bash, bash_command: 'true', pool: warehouse, pool_slots: 2 }
  load: { operator: bash, bash_command: 'true', pool: warehouse, dependencies: [extract] }
";
const HOURLY: &str = "\
dag_id: hourly
schedule: { cron: '0 * * * *', timezone: Europe/Berlin, timetable: data_interval }
start_date: 2026-03-25
tasks:
  a: { operator: bash, bash_command: 'true', pool: warehouse }
  b: { operator: bash, bash_command: 'true', pool: warehouse }
";

fn environment() -> Environment {
    let environment = Environment::new();
    environment.write("dags/nightly.yaml", NIGHTLY);
    environment.write("dags/hourly.yaml", HOURLY);
    environment.write("dags/bad.yaml", BAD);
    environment.write("dags/nightly.test.yaml", "cases: { x: {} }\n");
    environment
}

#[test]
fn a_night_without_an_hour() {
    let environment = environment();
    let span = ["--from", "2026-03-29", "--to", "2026-03-29T04:00", "--now", "2026-03-29T01:10"];
    let more = ["--pools", "warehouse=2", "--task-duration", "10m"];
    let ended = environment.ok(&[&["schedule", "preview"][..], &span, &more].concat());
    assert_eq!(ended.stderr, "");
    insta::assert_snapshot!(ended.stdout);
    assert!(!environment.path().join(".towpath").exists(), "files need no database");
}

#[test]
fn versions_are_compared() {
    let environment = environment();
    environment.write("old/nightly.yaml", &NIGHTLY.replace("30 2", "0 5"));
    environment.write("old/gone.yaml", "dag_id: gone\nschedule: '@daily'\ntasks: { a: { operator: empty } }\n");
    let compare = ["schedule", "preview", "dags/nightly.yaml", "--from", "2026-03-28", "--to", "2026-03-31", "--diff"];
    let ended = environment.ok(&[&compare[..], &["old"]].concat());
    let (_, changes) = ended.stdout.split_once("Changed since").unwrap_or_else(|| panic!("{ended:#?}"));
    insta::assert_snapshot!(changes);
    let ended = environment.ok(&[&compare[..], &["dags/nightly.yaml"]].concat());
    assert!(ended.stdout.ends_with("\nThe schedules are the same as in the other version.\n"), "{ended:#?}");
}

#[test]
fn programs_get_all_of_it() {
    let environment = environment();
    let span = ["--from", "2026-10-25", "--to", "2026-10-26", "-o", "json"];
    let preview = environment.ok(&[&["schedule", "preview", "dags"][..], &span].concat()).json();
    let dags = preview["dags"].as_array().unwrap();
    let ids: Vec<&str> = dags.iter().map(|dag| dag["dag_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["bad", "hourly", "nightly"]);
    assert_eq!(dags[0]["remark"], "runs only when triggered");
    let doubled = |dag: &serde_json::Value| {
        dag["fires"].as_array().unwrap().iter().filter(|fire| !fire["clock"].is_null()).count()
    };
    assert_eq!((doubled(&dags[1]), doubled(&dags[2])), (2, 1), "{preview:#}");
    let night = &dags[2]["fires"][0];
    assert_eq!(
        (&night["run_after"], &night["local"]),
        (&"2026-10-25T01:30:00Z".into(), &"2026-10-25T02:30:00+01:00".into())
    );
    assert_eq!((&night["clock"]["kind"], &night["making"]), (&"doubled_second".into(), &"on_time".into()));
    assert_eq!(
        (preview["collisions"].as_array().map(Vec::len), dags[2]["run_takes_at_least_s"].as_i64()),
        (Some(0), Some(120))
    );
}

#[test]
fn what_is_wrong_is_said() {
    let environment = environment();
    for (arguments, expected) in [
        (
            &["--from", "2026-03-02", "--to", "2026-03-01"][..],
            "error: the span ends (2026-03-01 00:00:00Z) before it begins",
        ),
        (&["--from", "2026-03-02", "--to", "2046-03-01"], "error: the span is longer than ten years"),
        (&["nowhere"], "error: there is no file or folder `nowhere`"),
        (&["--pools", "db"], "error: invalid value 'db' for '--pools <NAME=SLOTS>'"),
    ] {
        let ended = environment.run(&[&["schedule", "preview"][..], arguments].concat());
        assert!(ended.code == 2 && ended.stderr.starts_with(expected), "{ended:#?}");
    }
    // The others are shown nevertheless.
    environment.write("dags/broken.yaml", "schedule: '@daily'\ntasks: { a: { operator: bsh } }\n");
    let ended = environment.run(&["schedule", "preview", "--from", "2026-03-26", "--to", "2026-03-27"]);
    assert!(ended.code == 1 && ended.stdout.contains("hourly") && ended.stderr.contains("bsh"), "{ended:#?}");
}
