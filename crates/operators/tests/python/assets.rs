//! Assets in Python: what is read of events, and what is told with updates.

use serde_json::{Value, json};
use towpath_operators::Outcome;

use crate::fixture::{Fixture, Prepared, error_of};

fn prepared(fixture: &Fixture, code: &str) -> Prepared {
    let outlets = json!([{"name": "orders", "uri": "s3://shop/orders", "group": "crm", "extra": {"a": 1}},
                         {"name": "log", "uri": "log"}]);
    let inlets = json!([{"name": "leads", "uri": "s3://leads"}]);
    fixture.attempt_of(json!({ "code": code }), &json!({"outlets": outlets, "inlets": inlets}), &json!({}))
}

async fn run(code: &str) -> (Value, Value) {
    let fixture = Fixture::new();
    let prepared = prepared(&fixture, code);
    let Outcome::Success { value } = fixture.execute(&prepared).await else { panic!("{}", prepared.log()) };
    (value.unwrap_or_default(), Value::Object(prepared.attempt.take_event_extra()))
}

#[tokio::test]
async fn what_is_told_with_an_update() {
    let orders = json!({"orders": {"rows": 3}});
    for (code, expected) in [
        ("outlet_events[outlets[0]].extra = {'rows': 3}", &orders),
        ("outlet_events['orders'].extra['rows'] = 3", &orders),
        ("outlet_events[0].extra.update(rows=3)", &orders),
        ("from airflow.sdk import Asset\noutlet_events[Asset('s3://shop/orders')].extra = {'rows': 3}", &orders),
        ("context['outlet_events']['log'].extra = {}", &json!({})),
        (
            "outlet_events[-1].extra = {'at': logical_date, 'of': params}",
            &json!({"log": {"at": "2024-02-29T06:00:00+00:00", "of": {"carrier": "UA"}}}),
        ),
        ("x = 1", &json!({})),
    ] {
        assert_eq!(&run(code).await.1, expected, "{code}");
    }
}

#[tokio::test]
async fn assets_are_objects() {
    let code = "result = [[a.name, a.uri, a.group, a.extra] for a in outlets] + [inlets[0].uri, str(inlets[0]), \
                inlets[0] == type(inlets[0])('leads', 's3://leads')]";
    let expected = json!([["orders", "s3://shop/orders", "crm", {"a": 1}], ["log", "log", "asset", {}], "s3://leads",
                          "Asset(name='leads', uri='s3://leads')", true]);
    assert_eq!(run(code).await.0, expected);
}

#[tokio::test]
async fn events_are_read_when_they_are_asked_for() {
    let fixture = Fixture::new();
    let event = |name: &str, extra: Value| {
        serde_json::from_value(json!({
            "asset": {"name": name, "uri": format!("s3://{name}")}, "timestamp": "2026-01-02T03:04:05Z", "extra": extra,
            "source_dag_id": "p", "source_run_id": "r", "source_task_id": "t", "source_map_index": -1,
        }))
        .unwrap()
    };
    *fixture.services.asset_events.lock().unwrap() =
        vec![event("a", json!({"n": 1})), event("b", json!({})), event("a", json!({"n": 2}))];
    let code = "from airflow.sdk import Asset\n\
        result = [len(triggering_asset_events), [e.extra['n'] for e in triggering_asset_events['a']], \
        triggering_asset_events[Asset('s3://b')][0].source_dag_run.run_id, \
        sorted(a.name for a, events in triggering_asset_events.items()), \
        inlet_events['leads'][-1].timestamp.isoformat(), inlet_events[0][0].source_task_id, \
        triggering_asset_events.get('nothing')]";
    let prepared = prepared(&fixture, code);
    let Outcome::Success { value } = fixture.execute(&prepared).await else { panic!("{}", prepared.log()) };
    assert_eq!(value, Some(json!([2, [1, 2], "r", ["a", "b"], "2026-01-02T03:04:05+00:00", "t", null])));
}

#[tokio::test]
async fn a_function_may_yield_what_is_told() {
    let fixture = Fixture::new();
    fixture.write(
        "work.py",
        "from airflow.sdk import Asset, Metadata\n\ndef good(outlets):\n    yield Metadata(Asset('orders'), {'rows': 1})\n    \
         yield Metadata(outlets[1], {'x': 2})\n    yield 'more'\n\ndef bad():\n    yield Metadata('nope', {})\n",
    );
    let of = |name: &str| {
        let mut prepared = prepared(&fixture, "");
        prepared.attempt.args = json!({"python_callable": format!("work.{name}")}).as_object().cloned().unwrap();
        prepared
    };
    let good = of("good");
    let Outcome::Success { value } = fixture.execute(&good).await else { panic!("{}", good.log()) };
    assert_eq!(value, Some(json!(["more"])));
    assert_eq!(Value::Object(good.attempt.take_event_extra()), json!({"orders": {"rows": 1}, "log": {"x": 2}}));
    assert!(error_of(fixture.execute(&of("bad")).await).contains("`nope` is not among the outlets"));
}

#[tokio::test]
async fn what_cannot_be_told_says_why() {
    let fixture = Fixture::new();
    for (code, expected) in [
        ("outlet_events['nope'].extra = {}", "`nope` is not among the outlets of this task: orders, log"),
        ("outlet_events[0].extra = [1]", "outlet_events['orders'].extra must be a dict, not a list"),
        ("outlet_events[0].extra = {'x': object()}", "outlet_events.orders"),
        ("outlet_events[0].add('x')", "asset aliases are not supported"),
        ("inlet_events['orders']", "`orders` is not among the inlets"),
    ] {
        let prepared = prepared(&fixture, code);
        let error = error_of(fixture.execute(&prepared).await);
        assert!(error.contains(expected), "{code}: {error}");
        assert!(prepared.attempt.take_event_extra().is_empty());
    }
}
