//! Which function is called, and with what.

use serde_json::{Value, json};
use towpath_operators::Outcome;

use crate::fixture::{Fixture, error_of};

fn value(outcome: Outcome) -> Value {
    match outcome {
        Outcome::Success { value } => value.unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn functions_are_found_and_called() {
    let fixture = Fixture::new();
    fixture.write(
        "jobs.py",
        r#"
import helper

def add(a, b=10):
    return a + b

def names(**context):
    return sorted(context)

def picked(ds, params, run_id="none", other=5, *, ti):
    return [ds, params["carrier"], run_id, other, ti.task_id]

def overridden(ds):
    return ds

def everything(first, *rest, templates_dict, **more):
    return [first, list(rest), templates_dict, more["extra"], more["dag"].dag_id]

async def later(x):
    import asyncio
    await asyncio.sleep(0)
    return x * 2

def generated():
    yield 1
    yield 2

async def generated_later():
    yield "a"

class Loader:
    @staticmethod
    def load():
        return helper.WORD

def nothing():
    pass
"#,
    );
    fixture.write("helper.py", "WORD = 'helped'\n");
    fixture.write("pack/__init__.py", "");
    fixture.write("pack/inner.py", "def f():\n    return __name__\n");
    for (args, expected) in [
        (json!({"python_callable": "jobs.add", "op_args": [1]}), json!(11)),
        (json!({"python_callable": "jobs.add", "op_args": [1, 2]}), json!(3)),
        (json!({"python_callable": "jobs.add", "op_kwargs": {"a": 1, "b": 5}}), json!(6)),
        (json!({"python_callable": "jobs.picked"}), json!(["2024-02-29", "UA", "manual__1", 5, "load"])),
        (json!({"python_callable": "jobs.overridden", "op_kwargs": {"ds": "mine"}}), json!("mine")),
        (
            json!({"python_callable": "jobs.everything", "op_args": [1, 2], "op_kwargs": {"extra": "e"}, "templates_dict": {"q": "select"}}),
            json!([1, [2], {"q": "select"}, "e", "flights"]),
        ),
        (json!({"python_callable": "jobs.later", "op_kwargs": {"x": 4}}), json!(8)),
        (json!({"python_callable": "jobs.generated"}), json!([1, 2])),
        (json!({"python_callable": "jobs.generated_later"}), json!(["a"])),
        (json!({"python_callable": "jobs.Loader.load"}), json!("helped")),
        (json!({"python_callable": "jobs.nothing"}), Value::Null),
        (json!({"python_callable": "pack.inner.f"}), json!("pack.inner")),
        (json!({"python_callable": "math.sqrt", "op_args": [9]}), json!(3.0)),
        (json!({"python_callable_name": "add", "python_callable_file": "jobs.py", "op_args": [1]}), json!(11)),
        (json!({"python_callable_name": "f", "python_callable_file": "dags/pack/inner.py"}), json!("inner")),
        (
            json!({"code": "result = [params['carrier'], ds, ti.try_number, context['run_id']]"}),
            json!(["UA", "2024-02-29", 2, "manual__1"]),
        ),
        (json!({"code": "  def f():\n    return 1\n  result = f()\n"}), json!(1)),
        (json!({"code": "import helper\nresult = helper.WORD"}), json!("helped")),
        (json!({"code": "x = 1"}), Value::Null),
    ] {
        let (outcome, log, _) = fixture.run(args.clone()).await;
        assert_eq!(outcome, Outcome::Success { value: (!expected.is_null()).then_some(expected) }, "{args}\n{log}");
    }
    let (outcome, ..) = fixture.run(json!({"python_callable": "jobs.names"})).await;
    insta::assert_json_snapshot!(value(outcome));
}

#[tokio::test]
async fn what_cannot_be_called_says_why() {
    let fixture = Fixture::new();
    fixture.write("jobs.py", "def extract(a):\n    pass\nLIMIT = 5\ndef needs(ds_nodash, execution_date=None):\n    pass\ndef old(execution_date):\n    pass\n");
    fixture.write("broken.py", "import no_such_module\n");
    fixture.write("wrong.py", "def f(:\n");
    fixture.write("text.txt", "");
    let mut text = String::new();
    for args in [
        json!({"python_callable": "jobs.extrac"}),
        json!({"python_callable": "jobs.LIMIT"}),
        json!({"python_callable": "extract"}),
        json!({"python_callable": "no_such.module.f"}),
        json!({"python_callable": "jobs.no.f"}),
        json!({"python_callable": "broken.f"}),
        json!({"python_callable": "wrong.f"}),
        json!({"python_callable_name": "f", "python_callable_file": "none.py"}),
        json!({"python_callable_name": "f", "python_callable_file": "text.txt"}),
        json!({"python_callable_name": "load", "python_callable_file": "jobs.py"}),
        json!({"python_callable_name": "load"}),
        json!({"python_callable": "jobs.extract"}),
        json!({"python_callable": "jobs.extract", "op_args": [1], "op_kwargs": {"a": 1}}),
        json!({"python_callable": "jobs.needs", "op_args": ["x"]}),
        json!({"python_callable": "jobs.old"}),
        json!({"python_callable": "jobs.extract", "op_args": [1], "cwd": "no/such/folder"}),
        json!({"code": "result = 1", "env": {"A=B": "1"}}),
        json!({"code": "result = 1", "python": "no-such-python"}),
        json!({"code": "result = 1", "python": "/etc/passwd"}),
    ] {
        let (outcome, ..) = fixture.run(args).await;
        text.push_str(&error_of(outcome));
        text.push('\n');
    }
    let prepared =
        fixture.attempt_of(json!({"python_callable": "jobs.needs"}), &json!({"logical_date": null}), &json!({}));
    text.push_str(&error_of(fixture.execute(&prepared).await));
    let text = text.replace(&fixture.folder.path().display().to_string(), "FOLDER");
    // Python's own path and its words for what it cannot parse differ between versions and machines.
    let text: Vec<_> =
        text.lines().map(|line| line.split(" or among the packages").next().unwrap_or_default()).collect();
    let text: Vec<_> =
        text.iter().map(|line| if line.contains("wrong.py") { "SyntaxError (wrong.py)" } else { line }).collect();
    let path = std::env::var("PATH").expect("there is one");
    insta::assert_snapshot!(text.join("\n").replace(&path, "THE PATH"));
}

#[tokio::test]
async fn keywords_that_nobody_takes_are_named() {
    let fixture = Fixture::new();
    fixture.write("jobs.py", "def f(a):\n    return a\n");
    let (outcome, log, _) = fixture.run(json!({"python_callable": "jobs.f", "op_kwargs": {"a": 1, "b": 2}})).await;
    assert_eq!(value(outcome), json!(1));
    assert_eq!(
        log,
        "towpath warning: op_kwargs: f has no parameter `b`; not passed\ntowpath info: Returned value: 1\n"
    );
}

#[tokio::test]
async fn edited_code_is_picked_up() {
    let fixture = Fixture::new();
    for word in ["first", "second, and longer"] {
        fixture.write("jobs.py", &format!("def f():\n    return '{word}'\n"));
        let (outcome, ..) = fixture.run(json!({"python_callable": "jobs.f"})).await;
        assert_eq!(value(outcome), json!(word));
    }
    assert_eq!(fixture.operator.zygotes().await.len(), 1);
}

#[tokio::test]
async fn exceptions_decide_the_outcome() {
    let fixture = Fixture::new();
    let failed = |error: &str, retry| Outcome::Failed { error: error.to_owned(), retry };
    for (code, expected) in [
        ("raise ValueError('no rows')", failed("ValueError: no rows", true)),
        ("import decimal; raise decimal.InvalidOperation('x')", failed("decimal.InvalidOperation: x", true)),
        ("raise KeyError", failed("KeyError", true)),
        (
            "from airflow.exceptions import AirflowSkipException\nraise AirflowSkipException('nothing new')",
            Outcome::Skipped { reason: "nothing new".to_owned() },
        ),
        (
            "from airflow.sdk.exceptions import AirflowFailException\nraise AirflowFailException('never again')",
            failed("AirflowFailException: never again", false),
        ),
        ("from towpath import AirflowException\nraise AirflowException('x')", failed("AirflowException: x", true)),
        (
            "from airflow.exceptions import AirflowRescheduleException\nraise AirflowRescheduleException(data_interval_end)",
            Outcome::Reschedule { at: "2024-03-01T06:00:00Z".parse().expect("a time") },
        ),
        ("import sys; sys.exit(0)", failed("SystemExit: the task called sys.exit(0)", true)),
        ("import sys; sys.exit('bye')", failed("SystemExit: the task called sys.exit('bye')", true)),
        ("raise KeyboardInterrupt", failed("KeyboardInterrupt", true)),
        (
            "class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Odd",
            failed("__main__.Odd: (its text cannot be had)", true),
        ),
        ("import atexit\natexit.register(print, 'at exit')\nresult = 1", Outcome::Success { value: Some(json!(1)) }),
    ] {
        let (outcome, log, _) = fixture.run(json!({ "code": code })).await;
        assert_eq!(outcome, expected, "{code}\n{log}");
    }
}

#[tokio::test]
async fn processes_that_leave_without_a_word_are_explained() {
    let fixture = Fixture::new();
    let mut text = String::new();
    for code in [
        "import os; os._exit(0)",
        "import os; os._exit(7)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "import os; os.execvp('true', ['true'])",
    ] {
        text.push_str(&fixture.error(code).await);
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}
