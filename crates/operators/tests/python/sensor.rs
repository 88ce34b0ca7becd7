//! Functions that say whether a wait is over.

use std::sync::Arc;

use serde_json::{Value, json};
use towpath_operators::python::{Options, PythonOperator};
use towpath_operators::sensor::{PythonSensor, Sensing};
use towpath_operators::{Operator, Outcome};

use crate::fixture::Fixture;

async fn look(fixture: &Fixture, sensor: &Sensing<PythonSensor>, mut args: Value) -> Outcome {
    args["mode"] = "reschedule".into();
    let task = json!({"operator": "python_sensor", "do_xcom_push": false});
    // The clock of these attempts is the machine's, and the fixture's start long ago.
    let start = json!({"start_date": "2999-01-01T00:00:00Z"});
    sensor.execute(&fixture.attempt_of(args, &start, &task).attempt).await
}

#[tokio::test]
async fn what_a_function_returns_is_true_or_not() {
    let fixture = Fixture::new();
    fixture.write(
        "ready.py",
        r#"
from airflow.decorators import task
from airflow.sensors.base import PokeReturnValue

def echo(value, times=1):
    return value * times

def strange():
    return object()

@task.sensor(poke_interval=30)
def decorated(rows):
    return PokeReturnValue(is_done=rows > 2, xcom_value={"rows": rows})
"#,
    );
    let sensor = Sensing(PythonSensor::new(Arc::new(PythonOperator::new(Options::default()))));
    let done = |value: Option<Value>| Some(Outcome::Success { value });
    for (args, expected) in [
        (json!({"python_callable": "ready.echo", "op_args": [1]}), done(None)),
        (json!({"python_callable": "ready.echo", "op_args": ["x"], "op_kwargs": {"times": 0}}), None),
        (json!({"python_callable": "ready.echo", "op_args": [[]]}), None),
        // No JSON, and true nevertheless.
        (json!({"python_callable": "ready.strange"}), done(None)),
        (json!({"python_callable": "ready.decorated", "op_args": [2]}), None),
        (json!({"python_callable": "ready.decorated", "op_args": [3]}), done(Some(json!({"rows": 3})))),
        (json!({"code": "result = ds == '2024-02-29'"}), done(None)),
        (json!({"code": "pass"}), None),
    ] {
        let outcome = look(&fixture, &sensor, args.clone()).await;
        match expected {
            Some(expected) => assert_eq!(outcome, expected, "{args}"),
            None => assert!(matches!(outcome, Outcome::Reschedule { .. }), "{args}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn exceptions_end_the_wait() {
    let fixture = Fixture::new();
    let sensor = Sensing(PythonSensor::new(Arc::new(PythonOperator::new(Options::default()))));
    let raise = |name: &str| json!({"code": format!("from airflow.exceptions import *\nraise {name}('why')")});
    let with = |mut args: Value, name: &str| {
        args[name] = true.into();
        args
    };
    let skipped = |reason: &str| Outcome::Skipped { reason: reason.to_owned() };
    let failed = |error: &str, retry| Outcome::Failed { error: error.to_owned(), retry };
    for (args, expected) in [
        (raise("ValueError"), failed("ValueError: why", true)),
        (raise("AirflowFailException"), failed("AirflowFailException: why", false)),
        (raise("AirflowSkipException"), skipped("why")),
        (with(raise("AirflowFailException"), "soft_fail"), skipped("AirflowFailException: why (soft_fail)")),
        (with(raise("ValueError"), "soft_fail"), failed("ValueError: why", true)),
        (with(raise("ValueError"), "never_fail"), skipped("ValueError: why (never_fail)")),
    ] {
        assert_eq!(look(&fixture, &sensor, args.clone()).await, expected, "{args}");
    }
    let silent = look(&fixture, &sensor, with(raise("ValueError"), "silent_fail")).await;
    assert!(matches!(silent, Outcome::Reschedule { .. }), "{silent:?}");
}
