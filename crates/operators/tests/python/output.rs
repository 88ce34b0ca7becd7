//! What reaches the log, and in which order.

use serde_json::json;
use towpath_operators::Outcome;
use towpath_operators::log::Level;

use crate::fixture::{Fixture, error_of};

#[tokio::test]
async fn prints_and_records_keep_their_order() {
    let fixture = Fixture::new();
    let code = r#"
import logging, subprocess, sys, os
log = logging.getLogger("app.db")
for i in range(50):
    print("out", i)
    log.warning("record %d", i)
    print("err", i, file=sys.stderr)
    if i % 10 == 0:
        subprocess.run(["echo", f"sub {i}"], check=True)
        os.write(1, f"raw {i}\n".encode())
print("no end", end="")
"#;
    let (outcome, log, _) = fixture.run(json!({ "code": code })).await;
    assert_eq!(outcome, Outcome::Success { value: None });
    let mut expected = String::new();
    for i in 0..50 {
        expected += &format!("task.stdout info: out {i}\napp.db warning: record {i}\ntask.stderr info: err {i}\n");
        if i % 10 == 0 {
            expected += &format!("task.stdout info: sub {i}\ntask.stdout info: raw {i}\n");
        }
    }
    expected += "task.stdout info: no end\n";
    assert_eq!(log, expected);
}

#[tokio::test]
async fn records_carry_level_logger_and_traceback() {
    let fixture = Fixture::new();
    let code = r#"
import logging, warnings
ti.log.info("from the task")
logging.debug("not shown")
logging.getLogger("a.b").critical("two\nlines")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("a").exception("caught")
logging.getLogger("a").setLevel(logging.DEBUG)
logging.getLogger("a").debug("shown")
logging.info("bad surrogate \udc80")
logging.info("wrong %d", "x")
"#;
    let prepared = fixture.attempt(json!({ "code": code }));
    assert_eq!(fixture.execute(&prepared).await, Outcome::Success { value: None }, "{}", prepared.log());
    let lines = prepared.sink.lines();
    let short: Vec<_> = lines
        .iter()
        .filter(|line| line.logger != "task.stderr")
        .map(|line| (line.logger.as_str(), line.level, line.event.lines().next().unwrap_or_default()))
        .collect();
    assert_eq!(
        short,
        [
            ("airflow.task", Level::Info, "from the task"),
            ("a.b", Level::Critical, "two"),
            ("a", Level::Error, "caught"),
            ("a", Level::Debug, "shown"),
            ("root", Level::Info, "bad surrogate \\udc80"),
        ]
    );
    assert_eq!(lines[1].event, "two\nlines");
    assert!(lines[2].event.ends_with("ZeroDivisionError: division by zero"), "{}", lines[2].event);
    assert!(prepared.log().contains("--- Logging error ---"), "Python complains of a wrong format");
}

/// A traceback without the lines in which newer versions of Python underline the place.
fn plain(log: &str) -> String {
    let lines: Vec<_> =
        log.lines().filter(|line| line.is_empty() || !line.trim_matches([' ', '~', '^']).is_empty()).collect();
    lines.join("\n")
}

#[tokio::test]
async fn tracebacks_show_the_users_frames_only() {
    let fixture = Fixture::new();
    fixture.write("deep.py", "def check(rows):\n    if not rows:\n        raise ValueError('no rows')\n");
    fixture.write(
        "jobs.py",
        "import deep\n\ndef run():\n    try:\n        deep.check([])\n    except ValueError as error:\n        raise RuntimeError('failed') from error\n",
    );
    let (outcome, log, _) = fixture.run(json!({"python_callable": "jobs.run"})).await;
    assert_eq!(error_of(outcome), "RuntimeError: failed");
    insta::assert_snapshot!("traceback_of_a_function", plain(&log));
    let code = "def f(x):\n    return 10 / x\n\nfor n in (1, 0):\n    f(n)\n";
    let (outcome, log, _) = fixture.run(json!({ "code": code })).await;
    assert_eq!(error_of(outcome), "ZeroDivisionError: division by zero");
    insta::assert_snapshot!("traceback_of_code", plain(&log));
    let (outcome, log, _) = fixture.run(json!({"code": "var.value.none"})).await;
    assert_eq!(error_of(outcome), "VariableNotFound: variable `none` does not exist");
    assert!(!log.contains("<towpath>"), "{log}");
}

#[tokio::test]
async fn secrets_are_masked_everywhere() {
    let fixture = Fixture::new();
    fixture.services.variables.lock().expect("no panic").insert("api_token".into(), "t0ken-12345".into());
    let code = r#"
import logging, subprocess, sys
from airflow.sdk.log import mask_secret
token = var.value.api_token
mask_secret({"x": ["made-up-secret"]})
print(token, "made-up-secret")
logging.info("use %s", token)
subprocess.run(["echo", token])
print(f"{token}", file=sys.stderr)
raise ValueError(f"bad {token}")
"#;
    let (outcome, log, _) = fixture.run(json!({ "code": code })).await;
    assert_eq!(error_of(outcome), "ValueError: bad ***");
    assert!(!log.contains("t0ken-12345") && !log.contains("made-up-secret"), "{log}");
    assert!(
        log.starts_with(
            "task.stdout info: *** ***\nroot info: use ***\ntask.stdout info: ***\ntask.stderr info: ***\n"
        ),
        "{log}"
    );
}

#[tokio::test]
async fn much_output_is_complete() {
    let fixture = Fixture::new();
    let code = r#"
import threading
def work(name):
    for i in range(2000):
        print(f"{name} {i} " + "x" * 50)
threads = [threading.Thread(target=work, args=(n,)) for n in "abc"]
for t in threads: t.start()
for t in threads: t.join()
print("y" * 3_000_000)
"#;
    let prepared = fixture.attempt(json!({ "code": code }));
    assert_eq!(fixture.execute(&prepared).await, Outcome::Success { value: None });
    let lines = prepared.sink.lines();
    for name in ["a", "b", "c"] {
        let own: Vec<_> = lines.iter().filter(|line| line.event.starts_with(&format!("{name} "))).collect();
        assert!(own.iter().zip(0..).all(|(line, i)| line.event.starts_with(&format!("{name} {i} "))));
        assert_eq!(own.len(), 2000);
    }
    let y: usize = lines.iter().map(|line| line.event.matches("yyyyyyyyyy").count()).sum();
    assert!((299_990..=300_000).contains(&y), "long lines come in pieces: {y}");
}

#[tokio::test]
async fn threads_and_exit_handlers_are_waited_for() {
    let fixture = Fixture::new();
    let code = r#"
import atexit, threading, time
def late():
    time.sleep(0.05)
    print("thread")
threading.Thread(target=late).start()
atexit.register(print, "at exit", end="")
print("main")
"#;
    let (_, log, _) = fixture.run(json!({ "code": code })).await;
    assert_eq!(log, "task.stdout info: main\ntask.stdout info: thread\ntask.stdout info: at exit\n");
}

#[tokio::test]
async fn forked_processes_and_pools_work() {
    let fixture = Fixture::new();
    let code = r#"
import multiprocessing, os, sys, logging
from airflow.models import Variable

def square(x):
    print("square", x)
    logging.warning("pool %d", x)
    return x * x

def ask():
    try:
        Variable.get("x")
    except Exception as error:
        print("refused:", type(error).__name__)

fork = multiprocessing.get_context("fork")
with fork.Pool(2) as pool:
    result = pool.map(square, range(4))
process = fork.Process(target=ask)
process.start()
process.join()
"#;
    let (outcome, log, _) = fixture.run(json!({ "code": code })).await;
    assert_eq!(outcome, Outcome::Success { value: Some(json!([0, 1, 4, 9])) }, "{log}");
    for line in [
        "task.stdout info: square 3",
        "task.stderr info: WARNING root: pool 2",
        "task.stdout info: refused: AirflowRuntimeError",
    ] {
        assert!(log.contains(line), "{line} is missing in\n{log}");
    }
    assert!(!log.contains("Traceback"), "{log}");
}
