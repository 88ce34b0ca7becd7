//! What tasks know and what they can import.

use serde_json::{Value, json};

use crate::fixture::Fixture;

#[tokio::test]
async fn the_context_is_airflows() {
    let fixture = Fixture::new();
    let code = r#"
names = ["run_id", "ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz", "logical_date", "data_interval_start",
         "data_interval_end", "prev_start_date_success", "prev_data_interval_end_success", "params", "task_instance_key_str"]
result = {name: context[name] for name in names}
result["dag"] = [dag.dag_id, dag.description, sorted(dag.tags)]
result["dag_run"] = [dag_run.run_id, dag_run.run_type, dag_run.conf, dag_run.start_date, dag_run.logical_date]
result["ti"] = [ti.task_id, ti.dag_id, ti.run_id, ti.try_number, ti.max_tries, ti.map_index, ti.start_date, ti.hostname]
result["task"] = [task.task_id, task.owner, task.queue, task.retries]
result["same"] = [ti is task_instance, ti.task is task, ti.get_dagrun() is dag_run, task.dag is dag, context["ti"] is ti]
result["reprs"] = [repr(dag), repr(dag_run), repr(task), repr(ti)]
result["macros"] = [macros.ds_add(ds, 5), macros.ds_format(ds, "%Y-%m-%d", "%m/%d/%y"), str(macros.timedelta(days=1))]
result["conf"] = [conf.get("core", "x", fallback="none")]
"#;
    insta::assert_json_snapshot!(fixture.value(code).await);
}

#[tokio::test]
async fn times_can_be_reckoned_with() {
    let fixture = Fixture::new();
    for (code, expected) in [
        ("logical_date.add(months=12, hours=1).isoformat()", json!("2025-02-28T07:00:00+00:00")),
        ("logical_date.subtract(days=1).to_date_string()", json!("2024-02-28")),
        ("logical_date.start_of('month').to_datetime_string()", json!("2024-02-01 00:00:00")),
        ("logical_date.start_of('week').to_date_string()", json!("2024-02-26")),
        ("logical_date.end_of('day').to_time_string()", json!("23:59:59")),
        ("logical_date.int_timestamp", json!(1_709_186_400)),
        ("logical_date.format('YYYY/MM/DD HH')", json!("2024/02/29 06")),
        ("(data_interval_end - data_interval_start).total_seconds()", json!(86400.0)),
        ("(logical_date + macros.timedelta(hours=3)).to_iso8601_string()", json!("2024-02-29T09:00:00Z")),
        ("str(ti.start_date.microsecond)", json!("125")),
        ("logical_date.tzinfo is not None", json!(true)),
    ] {
        assert_eq!(fixture.value(&format!("result = {code}")).await, expected, "{code}");
    }
}

#[tokio::test]
async fn names_that_are_missing_are_explained() {
    let fixture = Fixture::new();
    let prepared = fixture.attempt_of(
        json!({"code": "result = ['ds' in context]\nfor name in ('ds', 'execution_date', 'nonsense'):\n    try:\n        context[name]\n    except KeyError as error:\n        result.append(str(error))"}),
        &json!({"logical_date": null}),
        &json!({}),
    );
    let towpath_operators::Outcome::Success { value } = fixture.execute(&prepared).await else {
        panic!("{}", prepared.log())
    };
    insta::assert_json_snapshot!(value);
}

#[tokio::test]
async fn variables_are_read_and_written() {
    let fixture = Fixture::new();
    fixture
        .services
        .variables
        .lock()
        .expect("no panic")
        .extend([("city".to_owned(), "Berlin".to_owned()), ("settings".to_owned(), r#"{"depth": [1, 2]}"#.to_owned())]);
    for (code, expected) in [
        ("Variable.get('city')", json!("Berlin")),
        ("Variable.get('settings', deserialize_json=True)", json!({"depth": [1, 2]})),
        ("Variable.get('none', default_var='d')", json!("d")),
        ("Variable.get('none', default=None)", Value::Null),
        ("[var.value.city, var.json.settings['depth'], var.value.get('none', 4)]", json!(["Berlin", [1, 2], 4])),
        (
            "[Variable.set('x', {'a': 1}, serialize_json=True), Variable.get('x', deserialize_json=True)]",
            json!([null, {"a": 1}]),
        ),
        ("[Variable.delete('x'), Variable.delete('x')]", json!([1, 0])),
        ("[Variable.setdefault('y', 'one'), Variable.setdefault('y', 'two')]", json!(["one", "one"])),
    ] {
        let value = fixture.value(&format!("from airflow.models import Variable\nresult = {code}")).await;
        assert_eq!(value, expected, "{code}");
    }
    for (code, expected) in [
        ("var.value.none", "VariableNotFound: variable `none` does not exist"),
        ("var.json.city", "ValueError: variable `city` is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("var.value.get('broken')", "AirflowRuntimeError: the store does not answer"),
    ] {
        assert_eq!(fixture.error(code).await, expected, "{code}");
    }
    let caught = fixture.value("try:\n    var.value.none\nexcept KeyError as error:\n    result = str(error)").await;
    assert_eq!(caught, json!("variable `none` does not exist"));
}

#[tokio::test]
async fn connections_are_read() {
    let fixture = Fixture::new();
    let code = r#"
from airflow.hooks.base import BaseHook
c = BaseHook.get_connection("warehouse")
result = [c.conn_id, c.conn_type, c.host, c.login, c.password, c.schema, c.port, c.extra_dejson, c.get_uri(), conn.warehouse.login]
print("password:", c.password, c.extra)
"#;
    let (outcome, log, _) = fixture.run(json!({ "code": code })).await;
    let uri = "postgres://ann:pa%2Fss-word@db.example.com:5432/sales?sslmode=require&api_key=k-98765";
    let extra = json!({"sslmode": "require", "api_key": "k-98765"});
    let expected =
        json!(["warehouse", "postgres", "db.example.com", "ann", "pa/ss-word", "sales", 5432, extra, uri, "ann"]);
    assert_eq!(outcome, towpath_operators::Outcome::Success { value: Some(expected) }, "{log}");
    assert!(log.contains("password: *** {\"sslmode\":\"require\",\"api_key\":\"***\"}"), "{log}");
    assert!(!log.contains("ss-word") && !log.contains("k-98765"), "{log}");
    let error = fixture.error("conn.nowhere").await;
    assert_eq!(error, "AirflowNotFoundException: connection `nowhere` does not exist");
    let uris = r#"
from airflow.models import Connection
uris = ["http://https%3A%2F%2Fa.b/", "postgres://u:p%40x@h:1/d?a=b+c", "fs:///%2Ftmp%2Fx", "aws://?__extra__=%7B%22a%22%3A+%7B%22b%22%3A+1%7D%7D"]
result = [[c.conn_type, c.host, c.login, c.password, c.schema, c.port, c.extra_dejson, c.get_uri()] for c in (Connection(uri=u) for u in uris)]
"#;
    insta::assert_json_snapshot!(fixture.value(uris).await);
}

#[tokio::test]
async fn imports_work_as_with_airflow() {
    let fixture = Fixture::new();
    let code = r#"
import airflow
from airflow.decorators import task
from airflow.exceptions import AirflowException, AirflowNotFoundException, AirflowSkipException
from airflow.hooks.base import BaseHook
from airflow.models import Connection, TaskInstance, Variable
from airflow.models.variable import Variable as V2
from airflow.operators.python import get_current_context
from airflow.sdk import Variable as V3, get_current_context as g2, task as t2
from airflow.sdk.bases.hook import BaseHook as B2
from airflow.utils import timezone
from airflow.utils.dates import days_ago
from airflow.utils.log.logging_mixin import LoggingMixin
import towpath
result = [
    Variable is V2 is V3 is towpath.Variable,
    BaseHook is B2,
    get_current_context()["run_id"],
    isinstance(ti, TaskInstance),
    timezone.parse("2024-01-01").isoformat(),
    days_ago(1) < timezone.utcnow(),
    issubclass(AirflowNotFoundException, AirflowException),
]
"#;
    assert_eq!(
        fixture.value(code).await,
        json!([true, true, "manual__1", true, "2024-01-01T00:00:00+00:00", true, true])
    );
    let (_, log, _) = fixture.run(json!({"code": "from airflow.models import Pool"})).await;
    assert!(log.contains("Towpath's `airflow.models` has only: Connection, DagRun, TaskInstance, Variable"), "{log}");
    let (_, log, _) = fixture.run(json!({"code": "import airflow.providers.imaginary"})).await;
    assert!(log.contains("is a part of Airflow that is not installed here"), "{log}");
    let (outcome, ..) =
        fixture.run(json!({"code": "import airflow.models", "env": {"TOWPATH_AIRFLOW_SHIM": "0"}})).await;
    assert!(matches!(outcome, towpath_operators::Outcome::Failed { .. }), "there is no Airflow where the tests run");
}

/// A stand-in for an installed Airflow: its providers are found, its models are not used.
#[tokio::test]
async fn modules_of_an_installed_airflow_are_found() {
    let fixture = Fixture::new();
    fixture.write("airflow/__init__.py", "raise ImportError('the real one must not be loaded')\n");
    fixture.write("airflow/models/__init__.py", "Variable = 'real'\n");
    fixture.write("airflow/models/pool.py", "class Pool: pass\n");
    fixture.write(
        "airflow/providers/vendor/hooks.py",
        "from airflow.hooks.base import BaseHook\nclass Hook(BaseHook): pass\n",
    );
    let code = r#"
from airflow.models import Variable
from airflow.models.pool import Pool
from airflow.providers.vendor.hooks import Hook
result = [Variable.__module__, Pool.__name__, Hook.get_connection("warehouse").login]
"#;
    assert_eq!(fixture.value(code).await, json!(["_towpath.api", "Pool", "ann"]));
}
