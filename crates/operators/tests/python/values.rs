//! XComs: what is returned, pushed and pulled.

use serde_json::{Value, json};
use towpath_operators::Outcome;

use crate::fixture::{Fixture, error_of};

#[tokio::test]
async fn values_are_json() {
    let fixture = Fixture::new();
    for (code, expected) in [
        ("1", json!(1)),
        ("18446744073709551615", json!(u64::MAX)),
        ("-2**63", json!(i64::MIN)),
        ("0.1", json!(0.1)),
        ("True", json!(true)),
        ("False", json!(false)),
        ("0", json!(0)),
        ("''", json!("")),
        ("'grüße \\U0001F600 \\0 \"'", json!("grüße \u{1F600} \0 \"")),
        ("(1, [2, (3,)])", json!([1, [2, [3]]])),
        ("{'b': {1: 2}, 'a': None}", json!({"b": {"1": 2}, "a": null})),
        ("[None, {}, []]", json!([null, {}, []])),
        ("logical_date", json!("2024-02-29T06:00:00+00:00")),
        ("__import__('datetime').date(2024, 2, 29)", json!("2024-02-29")),
        ("__import__('decimal').Decimal('1.10')", json!("1.10")),
        ("__import__('uuid').UUID(int=1)", json!("00000000-0000-0000-0000-000000000001")),
        ("__import__('pathlib').Path('/a') / 'b'", json!("/a/b")),
        ("__import__('collections').Counter('aab')", json!({"a": 2, "b": 1})),
        ("__import__('collections').namedtuple('P', 'x y')(1, 2)", json!([1, 2])),
        ("__import__('enum').IntEnum('E', 'A B').B", json!(2)),
    ] {
        assert_eq!(fixture.value(&format!("result = {code}")).await, expected, "{code}");
    }
}

#[tokio::test]
async fn what_cannot_be_json_says_where_it_stands() {
    let fixture = Fixture::new();
    let mut text = String::new();
    for code in [
        "import socket; result = {'a': [1, 2, 3, socket.socket()]}",
        "result = {'x': float('nan')}",
        "result = [float('-inf')]",
        "result = 2**64",
        "result = {1, 2}",
        "result = b'abc'",
        "result = {(1, 2): 3}",
        "result = {1: 'a', '1': 'b'}",
        "result = ['\\udc80']",
        "import datetime; result = datetime.timedelta(1)",
        "result = []; result.append(result)",
        "import dataclasses\n@dataclasses.dataclass\nclass Row:\n    x: int\nresult = Row(1)",
        "result = map(str, [1])",
        "result = object()",
        "import decimal; result = decimal.Decimal('NaN')",
        "result = 'x' * (48 * 1024 * 1024)",
        "ti.xcom_push('rows', {'at': [object]})",
        "ti.xcom_push(5, 1)",
    ] {
        text.push_str(&fixture.error(code).await);
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn large_values_pass() {
    let fixture = Fixture::new();
    let value = fixture.value("result = 'x' * 20_000_000").await;
    assert_eq!(value.as_str().map(str::len), Some(20_000_000));
    let args = json!({"code": "result = len(context['templates_dict']['text'])", "templates_dict": {"text": "y".repeat(5_000_000)}});
    let (outcome, ..) = fixture.run(args).await;
    assert_eq!(outcome, Outcome::Success { value: Some(json!(5_000_000)) });
}

#[tokio::test]
async fn values_are_pushed_and_pulled() {
    let fixture = Fixture::new();
    for (task, key, values) in [
        ("one", "return_value", vec![json!({"rows": 5})]),
        ("other", "return_value", vec![json!("o")]),
        ("mapped", "return_value", vec![json!(10), json!(20)]),
        ("one", "count", vec![json!(7)]),
    ] {
        fixture.services.xcoms.lock().expect("no panic").insert((task.into(), key.into()), values);
    }
    for (pull, expected) in [
        ("task_ids='one'", json!({"rows": 5})),
        ("'one', key='count'", json!(7)),
        ("'one', None, 'count'", json!(7)),
        ("task_ids=['one', 'other']", json!([{"rows": 5}, "o"])),
        ("task_ids=['one']", json!([{"rows": 5}])),
        ("task_ids='mapped'", json!([10, 20])),
        ("task_ids='mapped', map_indexes=1", json!(20)),
        ("task_ids='mapped', map_indexes=[1, 0]", json!([20, 10])),
        ("task_ids='none'", Value::Null),
        ("task_ids='none', default=3", json!(3)),
        ("task_ids=['none', 'other']", json!([null, "o"])),
        ("key='mine'", json!([1])),
        ("", Value::Null),
        ("task_ids='one', dag_id='d', run_id='r'", json!({"rows": 5})),
    ] {
        let code = format!("ti.xcom_push(key='mine', value=(1,))\nresult = ti.xcom_pull({pull})");
        assert_eq!(fixture.value(&code).await, expected, "xcom_pull({pull})");
    }
    let queries = fixture.services.queries.lock().expect("no panic").clone();
    let last = queries.last().expect("there are some");
    assert_eq!((last.dag_id.as_deref(), last.run_id.as_deref()), (Some("d"), Some("r")));
    let error = fixture.error("ti.xcom_pull('one', include_prior_dates=True)").await;
    assert_eq!(error, "AirflowException: xcom_pull: Towpath does not look at earlier runs; name the run with `run_id`");
}

#[tokio::test]
async fn pushes_are_kept_for_the_report() {
    let fixture = Fixture::new();
    let (outcome, log, pushed) = fixture
        .run(json!({"code": "ti.xcom_push('a', 1)\nti.xcom_push('a', {'b': [2]})\nraise OSError('late')"}))
        .await;
    assert_eq!(error_of(outcome), "OSError: late", "{log}");
    assert_eq!(Value::Object(pushed), json!({"a": {"b": [2]}}));

    let prepared = fixture.attempt_of(json!({"code": "result = 5"}), &json!({}), &json!({"do_xcom_push": false}));
    assert_eq!(fixture.execute(&prepared).await, Outcome::Success { value: None });

    fixture.write(
        "jobs.py",
        "from airflow.decorators import task\n@task(multiple_outputs=True)\ndef f():\n    return {'x': 1, 'y': 2}\n",
    );
    let (outcome, _, pushed) = fixture.run(json!({"python_callable": "jobs.f"})).await;
    assert_eq!(outcome, Outcome::Success { value: Some(json!({"x": 1, "y": 2})) });
    assert_eq!(Value::Object(pushed), json!({"x": 1, "y": 2}));
}
