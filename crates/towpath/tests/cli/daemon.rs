//! `towpath up`: start, work, stop.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::environment::{Environment, GOOD};

/// The DAG is there once its file has been read.
fn is_there(status: u16, _: &serde_json::Value) -> bool {
    status == 200
}

#[test]
fn up_runs_what_is_triggered_and_stops() {
    let environment = Environment::new();
    environment.write("dags/good.yaml", &GOOD.replace("schedule: '@daily'\n", ""));
    let daemon = environment.up(&[]);
    assert!(daemon.line.starts_with("Towpath is up: http://127.0.0.1:"), "{}", daemon.line);
    let health = daemon.until("/health", |_, health| health["status"] == "healthy");
    assert_eq!(health["database"]["dialect"], "sqlite");
    daemon.until("/api/v2/dags/good", is_there);

    // Through the API, and through the command line.
    let (status, body) =
        daemon.post("/api/v2/dags/good/dagRuns", &json!({"logical_date": null, "dag_run_id": "by_api"}));
    assert_eq!(status, 200, "{body}");
    daemon.until("/api/v2/dags/good/dagRuns/by_api", |_, run| run["state"] == "success");
    let ended = environment.ok(&["dags", "trigger", "good", "--wait", "-o", "json", "--run-id", "by_cli"]);
    assert_eq!(ended.json()["state"], "success");
    let list = environment.ok(&["dags", "list", "-o", "json"]).json();
    assert_eq!((&list[0]["dag_id"], &list[0]["last_run_state"]), (&"good".into(), &"success".into()));

    // A paused DAG makes the run wait, and says so.
    environment.ok(&["dags", "pause", "good"]);
    let ended = environment.ok(&["dags", "trigger", "good", "--run-id", "waits"]);
    assert!(
        ended.stderr.contains("DAG `good` is paused") && ended.stderr.contains("`towpath dags unpause good`"),
        "{ended:?}"
    );
    environment.ok(&["dags", "unpause", "good"]);
    daemon.until("/api/v2/dags/good/dagRuns/waits", |_, run| run["state"] == "success");

    daemon.signal(Signal::SIGTERM);
    let (status, rest) = daemon.wait();
    assert_eq!((status.code(), rest.as_str()), (Some(0), ""));
}

#[test]
fn a_stop_lets_tasks_finish_and_a_second_one_does_not() {
    let environment = Environment::new();
    environment.write(
        "dags/slow.yaml",
        "dag_id: slow\ntasks:\n  waits:\n    operator: bash\n    cwd: .\n    bash_command: touch started; until test -e go; do sleep 0.02; done\n",
    );
    for (go_on, expected) in [(true, "success"), (false, "failed")] {
        let daemon = environment.up(&[]);
        daemon.until("/api/v2/dags/slow", is_there);
        let run_id = format!("run_{go_on}");
        let body = json!({"logical_date": null, "dag_run_id": run_id});
        assert_eq!(daemon.post("/api/v2/dags/slow/dagRuns", &body).0, 200);
        let tasks = format!("/api/v2/dags/slow/dagRuns/{run_id}/taskInstances/waits");
        daemon.until(&tasks, |_, task| task["state"] == "running");
        daemon.signal(Signal::SIGTERM);
        if go_on {
            environment.write("dags/go", "");
        } else {
            // The first signal has been heard when the log says so.
            let heard = || std::fs::read_to_string(environment.path().join("up.log")).unwrap().contains("stopping");
            let start = Instant::now();
            while !heard() {
                assert!(start.elapsed().as_secs() < 60);
                std::thread::yield_now();
            }
            daemon.signal(Signal::SIGTERM);
        }
        assert_eq!(daemon.wait().0.code(), Some(0));
        let shown = environment.ok(&["runs", "show", "slow", &run_id, "-o", "json"]).json();
        let state = shown["task_instances"][0]["state"].as_str().unwrap().to_owned();
        // Ended by force, it may be retried by the next daemon; it must not count as a success.
        assert_eq!(state == "success", expected == "success", "{shown}");
        std::fs::remove_file(environment.path().join("dags/go")).unwrap_or_default();
    }
}

/// A task fails, and somebody hears of it: through a command, with the mail that nobody can send left in the outbox.
#[test]
fn somebody_is_told_of_a_failure() {
    let environment = Environment::new();
    environment.write(
        "dags/bad.yaml",
        "dag_id: bad\nalerts: {on: [failure, success], command: cat > run.json}\ndefault_args: {email: ops@example.org}\ntasks:\n  fails:\n    \
         operator: bash\n    bash_command: echo last words; exit 3\n    alerts: [{command: 'cat > told.json; mv told.json task.json'}]\n",
    );
    let daemon = environment.up(&[]);
    daemon.until("/api/v2/dags/bad", is_there);
    let body = json!({"logical_date": null, "dag_run_id": "first"});
    assert_eq!(daemon.post("/api/v2/dags/bad/dagRuns", &body).0, 200);
    let start = Instant::now();
    let told = loop {
        assert!(start.elapsed().as_secs() < 60, "nobody was told");
        if let Ok(text) = std::fs::read_to_string(environment.path().join("task.json")) {
            break serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    assert_eq!((&told["title"], &told["state"]), (&json!("failed: bad.fails (run first)"), &json!("failed")));
    assert!(told["log"].to_string().contains("last words"), "{told}");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().0.code(), Some(0));
    assert!(environment.path().join("run.json").exists());
    let log = std::fs::read_to_string(environment.path().join("up.log")).unwrap();
    assert!(log.contains("there is no mail server; set `smtp_url`"), "{log}");
}

#[test]
fn a_mail_server_that_cannot_be_used_is_told_at_once() {
    let mut environment = Environment::new();
    environment.set("TOWPATH_SMTP_URL", "smtp://u:hunter2@h?tls=maybe");
    let ended = environment.run(&["up", "--listen", "127.0.0.1:0"]);
    assert_eq!(ended.code, 1);
    let expected = "error: mail cannot be sent as TOWPATH_SMTP_URL and default say: `smtp_url` has an unknown `tls`";
    assert!(ended.stderr.starts_with(expected) && !ended.stderr.contains("hunter2"), "{ended:?}");
}

#[test]
fn the_second_daemon_on_a_folder_is_refused() {
    let environment = Environment::new();
    let daemon = environment.up(&[]);
    let second = environment.run(&["up", "--listen", "127.0.0.1:0"]);
    assert_eq!((second.code, second.stdout.as_str()), (1, ""));
    let expected = format!("error: the data folder `[DIR]/.towpath` is in use by process {};", daemon.pid());
    assert!(second.stderr.starts_with(&expected), "{second:?}");
    // One that was killed leaves nothing in the way.
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    environment.up(&[]);
}

#[test]
fn a_dags_folder_that_is_not_there_is_named() {
    let environment = Environment::new();
    let ended = environment.run(&["up", "--listen", "127.0.0.1:0", "--dags", "dag"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert_eq!(
        ended.stderr,
        "error: there is no DAGs folder `[DIR]/dag` (set by --dags); create it, or name another one with --dags\n"
    );
}

#[test]
fn a_port_that_is_taken_is_named() {
    let environment = Environment::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let ended = environment.run(&["up", "--listen", &address]);
    assert_eq!(ended.code, 1);
    let expected = format!("error: cannot listen on {address}; choose another address with --listen: ");
    assert!(ended.stderr.starts_with(&expected), "{ended:?}");
}

#[test]
fn a_database_that_is_not_there_is_waited_for_and_then_given_up() {
    let mut environment = Environment::new();
    // Nobody listens on a port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    environment.set("TOWPATH_DATABASE_URL", &format!("postgres://towpath:hunter2@127.0.0.1:{port}/towpath"));
    let ended = environment.run(&["dags", "list"]);
    assert_eq!((ended.code, ended.stderr.lines().count()), (1, 1), "{ended:?}");
    assert!(ended.stderr.starts_with("error: the database at postgres://towpath:***@127.0.0.1"), "{ended:?}");

    environment.set("TOWPATH_DATABASE_WAIT", "30s");
    let daemon = environment.up(&[]);
    assert!(daemon.line.starts_with("Towpath waits for its database: http://"), "{}", daemon.line);
    let (status, health) = daemon.get("/health");
    assert_eq!(status, 503, "{health}");
    assert!(health.contains("the database does not answer yet"), "{health}");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().0.code(), Some(0));

    environment.set("TOWPATH_DATABASE_WAIT", "0");
    let ended = environment.run(&["up", "--listen", "127.0.0.1:0"]);
    assert_eq!(ended.code, 1);
    assert!(!ended.stderr.contains("hunter2") && !ended.stderr.contains("panicked"), "{ended:?}");
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named() {
    let environment = Environment::new();
    environment.write("file", "");
    let refused = |data_dir: &str| {
        let ended = environment.run(&["up", "--listen", "127.0.0.1:0", "--data-dir", data_dir]);
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.lines().count()), (1, "", 1), "{ended:?}");
        ended.stderr
    };
    let error = refused("file/data");
    assert!(error.starts_with("error: cannot create the data folder `[DIR]/file/data` (set by --data-dir)"), "{error}");
    // The superuser may write everywhere but in /proc.
    let error = refused("/proc/towpath");
    assert!(error.starts_with("error: cannot create the data folder `/proc/towpath`"), "{error}");
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        let folder = environment.path().join("locked");
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o500)).unwrap();
        let error = refused("locked");
        assert!(error.starts_with("error: cannot write to the data folder `[DIR]/locked`"), "{error}");
    }
}

#[test]
fn an_idle_daemon_is_quiet_and_small() {
    let environment = Environment::new();
    let daemon = environment.up(&[]);
    daemon.until("/health", |_, health| health["status"] == "healthy");
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let resident_kb: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok()).unwrap();
    // The bar is 40 MB for a release build; a debug build carries more code.
    assert!(resident_kb < 150_000, "{resident_kb} kB");
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    let log = std::fs::read_to_string(environment.path().join("up.log")).unwrap();
    // It says that it starts and that it stops, and nothing in between.
    assert!(log.lines().all(|line| line.contains(" INFO ")) && log.lines().count() <= 4, "{log}");
}
