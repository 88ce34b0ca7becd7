use std::sync::Arc;

use serde_json::{Value, json};
use towpath_operators::bash::Bash;
use towpath_operators::log::Memory;
use towpath_operators::{Operator, Outcome};

use crate::support::{Fixture, Ready};

fn attempt(args: Value) -> (Ready, Arc<Memory>) {
    let fixture = Fixture::new();
    let sink = Arc::clone(&fixture.sink);
    (fixture.attempt("bash", args), sink)
}

async fn run(args: Value) -> Outcome {
    Bash.execute(&attempt(args).0).await
}

fn value(text: &str) -> Outcome {
    Outcome::Success { value: Some(text.into()) }
}

fn error(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed { error, .. } => error,
        other => panic!("it did not fail: {other:?}"),
    }
}

#[tokio::test]
async fn the_exit_code_decides() {
    for (args, expected) in [
        (json!({"bash_command": "echo one; echo ' two '"}), value(" two")),
        (json!({"bash_command": "true"}), Outcome::Success { value: None }),
        (json!({"bash_command": "echo x; echo"}), Outcome::Success { value: None }),
        (json!({"bash_command": "echo '{\"a\": 1}'"}), value("{\"a\": 1}")),
        (json!({"bash_command": "exit 99"}), Outcome::Skipped { reason: "bash exited with code 99".into() }),
        (
            json!({"bash_command": "exit 4", "skip_on_exit_code": [3, 4]}),
            Outcome::Skipped { reason: "bash exited with code 4".into() },
        ),
        (
            json!({"bash_command": "exit 99", "skip_on_exit_code": null}),
            Outcome::Failed { error: "bash exited with code 99".into(), retry: true },
        ),
        (json!({"bash_command": "exit 3"}), Outcome::Failed { error: "bash exited with code 3".into(), retry: true }),
        (
            json!({"bash_command": "kill -TERM $$"}),
            Outcome::Failed { error: "bash was ended by SIGTERM".into(), retry: true },
        ),
    ] {
        assert_eq!(run(args.clone()).await, expected, "{args}");
    }
}

#[tokio::test]
async fn the_log_tells_what_happened() {
    let (attempt, sink) = attempt(json!({"bash_command": "echo out\necho err >&2; sleep 0.1; exit 3"}));
    Bash.execute(&attempt).await;
    insta::assert_snapshot!(sink.text());
}

#[tokio::test]
async fn xcom_can_be_switched_off() {
    let fixture = Fixture { do_xcom_push: false, ..Fixture::new() };
    let attempt = fixture.attempt("bash", json!({"bash_command": "echo x"}));
    assert_eq!(Bash.execute(&attempt).await, Outcome::Success { value: None });
}

#[tokio::test]
async fn the_environment_is_scrubbed() {
    // Cargo sets it for every test.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let echo = "echo \"${CARGO_MANIFEST_DIR:+seen} $A $B ${HOME:+home} $AIRFLOW_CTX_DAG_ID $AIRFLOW_CTX_TASK_ID \
        $AIRFLOW_CTX_TRY_NUMBER $AIRFLOW_CTX_LOGICAL_DATE $AIRFLOW_CTX_DAG_RUN_ID\"";
    let context = "home sales load 1 2024-03-05T07:08:09+00:00 scheduled__2024-03-05T07:08:09+00:00";
    let args = json!({"bash_command": echo, "env": {"A": "a b", "B": 1}});
    assert_eq!(run(args).await, value(&format!(" a b 1 {context}")));
    let args = json!({"bash_command": echo, "append_env": true, "env": {"A": "x"}});
    assert_eq!(run(args).await, value(&format!("seen x  {context}")));
    let wrong = run(json!({"bash_command": "true", "env": {"A=B": "x"}})).await;
    assert_eq!(error(wrong), "`env.A=B` cannot be an environment variable: it holds `=` or a NUL");
}

#[tokio::test]
async fn it_works_in_a_folder_of_its_own() {
    let (attempt, _) = attempt(json!({"bash_command": "mkdir -p a/b; echo x > a/b/c; ls; pwd"}));
    // Left by a worker that was killed.
    std::fs::create_dir(&attempt.scratch).expect("created");
    std::fs::write(attempt.scratch.join("old"), "x").expect("written");
    let scratch = attempt.scratch.canonicalize().expect("it exists");
    assert_eq!(Bash.execute(&attempt).await, value(scratch.to_str().expect("text")));
    let start = std::time::Instant::now();
    while scratch.exists() {
        assert!(start.elapsed() < std::time::Duration::from_secs(10), "it is removed");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_given_folder_is_relative_to_the_dag_file() {
    let (attempt, _) = attempt(json!({"bash_command": "basename $PWD", "cwd": "sub"}));
    let message = error(Bash.execute(&attempt).await);
    assert!(message.starts_with("`cwd`: the folder `") && message.ends_with("sub` does not exist"), "{message}");
    std::fs::create_dir(attempt.dag_folder.join("sub")).expect("created");
    assert_eq!(Bash.execute(&attempt).await, value("sub"));
    assert!(attempt.dag_folder.join("sub").is_dir(), "it is not removed");
}

#[tokio::test]
async fn a_script_file_is_rendered_and_run() {
    let (attempt, _) = attempt(json!({"bash_command": "scripts/report.sh"}));
    // Where there is no file it is a command.
    assert!(error(Bash.execute(&attempt).await).starts_with("bash exited with code 127"));
    std::fs::create_dir(attempt.dag_folder.join("scripts")).expect("created");
    let path = attempt.dag_folder.join("scripts/report.sh");
    std::fs::write(&path, "for i in 1 2; do\n  echo \"$i {{ ds }}\"\ndone\n").expect("written");
    assert_eq!(Bash.execute(&attempt).await, value("2 2024-03-05"));
    std::fs::write(&path, "echo ok\necho {{ dss }}\n").expect("written");
    let message = error(Bash.execute(&attempt).await);
    assert_eq!(message, "`scripts/report.sh`, line 2: `dss` is not defined; did you mean `ds`? (in `echo {{ dss }}`)");
}

#[tokio::test]
async fn very_long_commands_run() {
    let script = format!("# {}\necho done", "x".repeat(300_000));
    assert_eq!(run(json!({ "bash_command": script })).await, value("done"));
}

#[tokio::test]
async fn memory_limits_are_named_in_the_failure() {
    let hungry = "x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo ${#x}";
    let message = error(run(json!({"bash_command": hungry, "memory": 50_000_000})).await);
    assert!(message.contains("may have 50000000 bytes of data memory (`memory`)"), "{message}");
    let killed = error(run(json!({"bash_command": "kill -KILL $$"})).await);
    assert_eq!(killed, "bash was ended by SIGKILL; the machine may have run out of memory");
}

#[tokio::test]
async fn a_stopped_command_fails() {
    let fixture = Fixture::new();
    let (stop, sink) = (fixture.stop.clone(), Arc::clone(&fixture.sink));
    let attempt = fixture
        .attempt("bash", json!({"bash_command": "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done"}));
    let stopper = async {
        while !sink.text().contains("ready\n") {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        stop.cancel();
    };
    let (outcome, ()) = tokio::join!(Bash.execute(&attempt), stopper);
    assert_eq!(error(outcome), "bash was told to stop and ended with code 0");
}

#[tokio::test]
async fn what_cannot_run_says_why() {
    for (args, expected, again) in [
        (json!({"bash_command": "  "}), "`bash_command` is empty; write the command to run", false),
        (json!({"bash_command": "a\u{0}b"}), "`bash_command` holds a NUL character, which no command can", false),
        (
            json!({"bash_command": "x", "skip_on_exit_code": ["y"]}),
            "`skip_on_exit_code` must be an exit code or a list of them",
            false,
        ),
    ] {
        assert_eq!(run(args).await, Outcome::Failed { error: expected.into(), retry: again });
    }
}
