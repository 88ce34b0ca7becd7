//! `towpath backfills`

use crate::environment::Environment;

#[test]
fn a_backfill_is_told_made_and_cancelled() {
    let environment = Environment::new();
    environment.write(
        "dags/daily.yaml",
        "dag_id: daily\nschedule: '@daily'\ntasks:\n  a: {operator: bash, bash_command: echo}\n",
    );
    environment.write("dags/never.yaml", "dag_id: never\ntasks:\n  a: {operator: empty}\n");
    environment.ok(&["run", "dags/daily.yaml", "--logical-date", "2026-01-02"]);
    environment.ok(&["run", "dags/never.yaml"]);

    let span = ["--from", "2026-01-01", "--to", "2026-01-03"];
    let create = |dag_id: &'static str| [&["backfills", "create", dag_id][..], &span[..]].concat();
    let told = environment.ok(&[&create("daily")[..], &["--dry-run", "-o", "json"]].concat()).json();
    let actions: Vec<&str> = told.as_array().unwrap().iter().map(|date| date["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["create", "already_exists", "create"]);

    let made = environment.ok(&[&create("daily")[..], &["-o", "json"]].concat()).json();
    assert_eq!((&made["id"], &made["runs"], &made["state"]), (&1.into(), &2.into(), &"running".into()));
    assert_eq!(environment.ok(&["backfills", "pause", "1", "-o", "json"]).json()["state"], "paused");
    let gone = environment.ok(&["backfills", "cancel", "1", "-o", "json"]).json();
    assert_eq!((&gone["state"], &gone["failed"]), (&"cancelled".into(), &2.into()));
    assert_eq!(environment.ok(&["backfills", "list", "daily", "-o", "json"]).json().as_array().unwrap().len(), 1);

    for (arguments, expected) in [
        (create("never"), "has no schedule"),
        (create("dail"), "did you mean `daily`"),
        (vec!["backfills", "show", "7"], "there is no backfill 7"),
    ] {
        let ended = environment.run(&arguments);
        assert!(ended.code == 2 && ended.stderr.contains(expected), "{ended:#?}");
    }
}
