//! Ending and deleting by hand.

use std::net::TcpListener;

use crate::environment::{BAD, Environment};

#[test]
fn runs_are_cancelled_and_deleted() {
    let environment = Environment::new();
    environment.write("bad.yaml", BAD);
    // The DAG of a file outside of the folder is paused, so that its runs wait.
    assert_eq!(environment.run(&["run", "bad.yaml", "--run-id", "over"]).code, 1);
    environment.ok(&["dags", "trigger", "bad", "--run-id", "waits", "--logical-date", "none"]);
    let cancel = |run| environment.ok(&["runs", "cancel", "bad", run]).stdout;
    assert_eq!(cancel("waits"), "run `waits` of DAG `bad` is cancelled\n");
    assert_eq!(cancel("waits"), "run `waits` of DAG `bad` is over already: failed\n");
    let shown = environment.ok(&["runs", "show", "bad", "waits", "-o", "json"]).json();
    assert_eq!(shown["task_instances"][0]["note"], "its run was cancelled", "{shown}");

    environment.ok(&["dags", "unpause", "bad"]);
    environment.ok(&["dags", "trigger", "bad", "--run-id", "runs", "--logical-date", "none"]);
    let refused = environment.run(&["runs", "delete", "bad", "runs"]);
    assert_eq!(
        (refused.code, refused.stderr.as_str()),
        (
            1,
            "error: run `runs` of DAG `bad` is running; cancel it first with `towpath runs cancel bad runs`, or delete it \
             with --force\n"
        )
    );
    let refused = environment.run(&["dags", "delete", "bad"]);
    assert_eq!(
        (refused.code, refused.stderr.as_str()),
        (
            1,
            "error: DAG `bad` has running runs: `runs`; wait for them, or end each with `towpath runs cancel bad RUN`\n"
        )
    );
    let deleted = "run `runs` of DAG `bad` is deleted\n";
    assert_eq!(environment.ok(&["runs", "delete", "bad", "runs", "--force"]).stdout, deleted);
    assert_eq!(environment.run(&["runs", "show", "bad", "runs"]).code, 2);

    let ended = environment.ok(&["dags", "delete", "bad"]);
    assert_eq!(ended.stdout, "DAG `bad` is deleted with its runs\n");
    assert!(ended.stderr.contains("bad.yaml` is still there: it brings the DAG back"), "{ended:?}");
    assert_eq!(environment.run(&["dags", "show", "bad"]).code, 2);
}

#[test]
fn connections_are_tested() {
    let environment = Environment::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let uri = format!("postgres://etl:hunter2@127.0.0.1:{port}/warehouse");
    environment.ok(&["connections", "add", "away", "--uri", &uri]);
    let ended = environment.run(&["connections", "test", "away"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    let expected = format!("error: connection `away` does not work: the database at 127.0.0.1:{port} does not answer");
    assert!(ended.stderr.starts_with(&expected) && !ended.stderr.contains("hunter2"), "{ended:?}");

    // The database of the command line itself is one to open.
    let file = environment.path().join(".towpath/towpath.db");
    environment.ok(&["connections", "add", "mine", "--conn-type", "sqlite", "--host", file.to_str().unwrap()]);
    let ended = environment.ok(&["connections", "test", "mine"]);
    assert!(ended.stdout.starts_with("connection `mine` works: SQLite 3."), "{ended:?}");
    let ended = environment.run(&["connections", "test", "mien"]);
    assert_eq!(ended.stderr, "error: connection `mien` does not exist; did you mean `mine`?\n");
    let ended = environment.run(&["connections", "test", "mine", "--timeout", "soon"]);
    assert_eq!(ended.code, 2, "{ended:?}");
}

#[test]
fn the_servers_own_database_is_tested_as_a_connection() {
    let server = std::env::var("TOWPATH_TEST_POSTGRES").expect("tests have a PostgreSQL server");
    let environment = Environment::new();
    environment.ok(&["connections", "add", "db", "--uri", &server]);
    let ended = environment.ok(&["connections", "test", "db"]);
    assert!(ended.stdout.starts_with("connection `db` works: PostgreSQL "), "{ended:?}");
    assert!(ended.stdout.ends_with("answers SELECT 1\n"), "{ended:?}");
}

#[test]
fn old_runs_are_cleaned() {
    let environment = Environment::new();
    environment.write("bad.yaml", BAD);
    for run in ["one", "two", "three"] {
        assert_eq!(environment.run(&["run", "bad.yaml", "--run-id", run]).code, 1);
    }
    let table = "dag_run  bad     2";
    let shown = environment.ok(&["db", "clean", "--keep", "0s", "--tables", "dag_run", "--dry-run"]);
    assert!(shown.stdout.contains(table), "{}", shown.stdout);
    let cleaned = environment.ok(&["db", "clean", "--keep", "0s", "--tables", "log,dag_run", "-o", "json"]).json();
    assert_eq!((&cleaned[0]["table"], &cleaned[0]["rows"]), (&"dag_run".into(), &2.into()), "{cleaned}");
    let left = environment.ok(&["runs", "list", "-o", "json"]).json();
    assert_eq!((left.as_array().map(Vec::len), &left[0]["run_id"]), (Some(1), &"three".into()), "{left}");
    for (args, expected) in [
        (&["--keep", "1d", "--tables", "runs"][..], "there is no table `runs` to clean"),
        (&["--before", "2999-01-01"][..], "lies ahead"),
        (&[][..], "--before"),
        (&["--keep", "1d", "--before", "2026-01-01"][..], "cannot be used with"),
    ] {
        let refused = environment.run(&[&["db", "clean"][..], args].concat());
        assert!(refused.code == 2 && refused.stderr.contains(expected), "{args:?}: {}", refused.stderr);
    }
}
