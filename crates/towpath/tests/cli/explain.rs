//! Why something does not run.

use crate::environment::{BAD, Environment, GOOD};

/// What changes from run to run: times.
fn steady(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive([' ', '\n']) {
        let (word, end) = word.split_at(word.trim_end_matches([' ', '\n', ',', ';', ')', ':']).len());
        let is_time = word.len() == 9 && word.ends_with('Z') && word.matches(':').count() == 2;
        out.push_str(if is_time { "[TIME]" } else { word });
        out.push_str(end);
    }
    out
}

#[test]
fn a_dag_a_run_and_a_task() {
    let environment = Environment::new();
    environment.write("bad.yaml", BAD);
    assert_eq!(environment.run(&["run", "bad.yaml", "--run-id", "r1"]).code, 1);
    let mut pages = String::new();
    for arguments in [
        &["explain", "bad"][..],
        &["explain", "bad", "r1"],
        &["explain", "bad", "r1", "fails"],
        &["explain", "bad", "r1", "after"],
    ] {
        pages.push_str(&format!("$ towpath {}\n{}\n", arguments.join(" "), environment.ok(arguments).stdout));
    }
    insta::assert_snapshot!(steady(&pages));
    let told = environment.ok(&["explain", "bad", "r1", "after", "-o", "json"]).json();
    let reason = &told["reasons"][0];
    assert_eq!((&told["task_id"], &told["state"]), (&"after".into(), &"upstream_failed".into()), "{told}");
    assert_eq!((&reason["kind"], &reason["upstream"][0]["task_id"]), (&"rule".into(), &"fails".into()), "{told}");
    let yaml = environment.ok(&["explain", "bad", "r1", "after", "-o", "yaml"]).stdout;
    assert!(yaml.contains("kind: rule"), "{yaml}");
}

#[test]
fn what_waits() {
    let environment = Environment::new();
    environment.write("dags/good.yaml", &GOOD.replace("schedule: '@daily'\n", "is_paused_upon_creation: true\n"));
    let daemon = environment.up(&[]);
    daemon.until("/api/v2/dags/good", |status, _| status == 200);
    environment.ok(&["dags", "trigger", "good", "--run-id", "r1"]);
    let run = environment.ok(&["explain", "good", "r1"]).stdout;
    assert_eq!(
        run,
        "good / r1: queued\n  DAG `good` is paused: what runs goes on, nothing else starts\n    -> towpath dags unpause good\n"
    );
    // It is no advice that does not help.
    environment.ok(&["dags", "unpause", "good"]);
    daemon.until("/api/v2/dags/good/dagRuns/r1", |_, run| run["state"] == "success");
    let told = environment.ok(&["explain", "good", "r1", "first", "-o", "json"]).json();
    assert_eq!(told["reasons"][0]["kind"], "ended", "{told}");
}

#[test]
fn what_is_not_there_is_named() {
    let environment = Environment::new();
    environment.write("bad.yaml", BAD);
    assert_eq!(environment.run(&["run", "bad.yaml", "--run-id", "r1"]).code, 1);
    for (arguments, expected) in [
        (&["explain", "bda"][..], "error: DAG `bda` does not exist; did you mean `bad`?\n"),
        (&["explain", "bad", "r2"], "error: DAG `bad` has no run `r2`; did you mean `r1`?\n"),
        (&["explain", "bad", "r1", "fail"], "error: run `r1` of DAG `bad` has no task `fail`; did you mean `fails`?\n"),
        (
            &["explain", "bad", "r1", "fails", "--map-index", "2"],
            "error: run `r1` has no task instance 2 of `fails`; it is not mapped: leave out --map-index\n",
        ),
    ] {
        let ended = environment.run(arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (2, expected), "{arguments:?}");
    }
}
