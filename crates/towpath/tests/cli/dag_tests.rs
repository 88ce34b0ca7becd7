//! `towpath dags test`.

use std::path::Path;

use crate::environment::{BAD, Environment, GOOD};

/// Times differ from run to run.
fn without_times(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once([' ', ',']) {
        Some((rest, "ms")) => format!("{} N ms", rest.rsplit_once(' ').map_or(rest, |(rest, _)| rest)),
        _ => line.to_owned(),
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

#[test]
fn the_examples_pass_their_tests() {
    let environment = Environment::new();
    let dags = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dags");
    let mut files = 0;
    for entry in std::fs::read_dir(&dags).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            files += usize::from(path.to_string_lossy().ends_with(".test.yaml"));
            std::fs::copy(&path, environment.path().join("dags").join(path.file_name().unwrap())).unwrap();
        }
    }
    let report = environment.ok(&["dags", "test", "-o", "json"]).json();
    assert_eq!((report["files"].as_u64(), report["failed"].as_u64()), (Some(files as u64), Some(0)), "{report:#}");
    for dag in ["etl_pipeline", "flights_daily", "fan_out"] {
        let cases = report["cases"].as_array().unwrap().iter().filter(|case| case["dag_id"] == dag).count();
        assert!(cases >= 2, "{dag}: {report:#}");
    }
    assert!(!environment.path().join(".towpath").exists(), "a test needs no database");
}

#[test]
fn failures_are_shown_with_what_differs() {
    let environment = Environment::new();
    environment.write("dags/good.yaml", GOOD);
    environment.write("dags/bad.yaml", BAD);
    environment.write(
        "dags/good.test.yaml",
        "cases:\n  greets:\n    tasks: { first: { return_value: hi } }\n    expect:\n      order: [first, second, third]\n      \
         rendered: { second: { bash_command: 'echo \"got hi\"' } }\n  greets wrongly:\n    params: { name: you }\n    \
         tasks: { second: { state: failed, message: no voice } }\n    expect:\n      tries: { second: 2 }\n      \
         rendered: { first: { bash_command: echo hello } }\n",
    );
    let ended = environment.run(&["dags", "test", "dags/good.yaml"]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    insta::assert_snapshot!(without_times(&ended.stdout));

    // A file with errors is one failure, and the others are run.
    environment.write("dags/bad_test.yml", "cases:\n  x:\n    tasks: { fails: failed, aftr: success }\n");
    let ended = environment.run(&["dags", "test", "dags"]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    let broken = "dags/bad_test.yml:3:29: error: DAG `bad` has no task `aftr`";
    assert!(ended.stdout.contains(broken) && ended.stdout.contains("did you mean `after`?"), "{}", ended.stdout);
    assert!(ended.stdout.contains("2 cases: 1 passed, 1 failed, 1 file has errors"), "{}", ended.stdout);
    // Nobody takes it for a DAG.
    assert_eq!(environment.ok(&["dags", "validate"]).stdout, "2 files, 2 DAGs: no problems\n");
}

#[test]
fn what_cannot_be_tested_says_why() {
    let environment = Environment::new();
    environment.write("dags/good.yaml", GOOD);
    for (arguments, expected) in [
        (&["dags", "test"][..], "error: there are no test files here; tests of `etl.yaml` stand beside it"),
        (
            &["dags", "test", "dags/good.yaml"],
            "error: `dags/good.yaml` has no tests; write them to `dags/good.test.yaml`",
        ),
        (&["dags", "test", "nowhere"], "error: there is no file or folder `nowhere`"),
    ] {
        let ended = environment.run(arguments);
        assert!(ended.code == 2 && ended.stderr.starts_with(expected), "{ended:#?}");
    }
    environment.write("dags/lost.test.yaml", "cases: { x: {} }\n");
    let ended = environment.run(&["dags", "test"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stdout.contains("there is no DAG file `lost.yaml` beside it"), "{ended:#?}");
}
