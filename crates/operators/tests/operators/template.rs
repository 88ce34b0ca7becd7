//! Templates know what Airflow's know. Expected texts of dates were computed with pendulum 3 and Jinja2.

use std::sync::Arc;

use crate::support::{Answers, Fixture, context};
use serde_json::{Map, Value, json};
use towpath_operators::template::{Error, Limits, check_rendered, has_template, render_args};
use towpath_operators::{Context, Services};

struct Rendering {
    context: Context,
    limits: Limits,
    fixture: Fixture,
    services: Arc<Answers>,
}

impl Rendering {
    fn new() -> Self {
        let variables = [
            ("greeting", "hello"),
            ("db_password", "hunter2-long"),
            ("settings", r#"{"rows": 10, "token": "abc-def", "deep": {"on": true}}"#),
            ("broken", "{"),
        ];
        let xcoms = [
            ("extract/return_value", vec![json!({"rows": 5, "path": "/x"})]),
            ("extract/count", vec![json!(7)]),
            ("mapped/return_value", vec![json!("a"), json!("b"), json!("c")]),
            ("load/return_value", vec![json!("own")]),
        ];
        let fixture =
            Fixture::new().connection("db", "postgres://ann:s3cr3t-pw@h.example:5432/sales?mode=ro&api_key=k-123456");
        let connections = fixture.answers.connections.clone();
        let services = Answers {
            variables: variables.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            xcoms: xcoms.map(|(key, values)| (key.to_owned(), values)).into(),
            connections,
            ..Answers::default()
        };
        Self { context: context(), limits: Limits::default(), fixture, services: Arc::new(services) }
    }

    async fn args(&self, operator: &str, args: Value) -> Result<Map<String, Value>, Error> {
        let spec = towpath_model::operator::find(operator).expect("an operator");
        let services: Arc<dyn Services> = self.services.clone();
        let args = args.as_object().cloned().expect("an object");
        render_args(&self.context, &services, &self.fixture.log, self.limits, spec, args).await
    }

    async fn text(&self, template: &str) -> Result<String, Error> {
        let args = self.args("bash", json!({ "bash_command": template })).await?;
        Ok(args["bash_command"].as_str().expect("text").to_owned())
    }
}

async fn check(cases: &[(&str, &str)]) {
    let rendering = Rendering::new();
    for (template, expected) in cases {
        match rendering.text(template).await {
            Ok(text) => assert_eq!(text, *expected, "{template}"),
            Err(error) => panic!("{template}: {error}"),
        }
    }
}

#[tokio::test]
async fn names_of_airflow() {
    check(&[
        ("{{ ds }} {{ ds_nodash }} {{ ts }}", "2024-03-05 20240305 2024-03-05T07:08:09+00:00"),
        ("{{ ts_nodash }} {{ ts_nodash_with_tz }}", "20240305T070809 20240305T070809+0000"),
        ("{{ logical_date }} {{ data_interval_end }}", "2024-03-05 07:08:09+00:00 2024-03-06 07:08:09+00:00"),
        ("{{ dag.dag_id }} {{ dag.tags }} {{ run_id }}", "sales ['etl'] scheduled__2024-03-05T07:08:09+00:00"),
        ("{{ dag_run.conf.region }} {{ dag_run.conf['n'] + 1 }} {{ dag_run.conf.get('x', 'no') }}", "eu 4 no"),
        ("{{ dag_run.run_type }} {{ dag_run.logical_date.day }}", "scheduled 5"),
        ("{{ task.task_id }} {{ ti.try_number }} {{ task_instance.hostname }}", "load 1 box"),
        ("{{ task_instance_key_str }}", "sales__load__20240305"),
        ("{{ params }}", r#"{'carrier': 'AA', 'flag': True, 'none': None, 'ids': [1, 2], 'deep': {'x': "it's"}}"#),
        ("{{ params.flag }} {{ params.none }} {{ params.ids | string }}", "True None [1, 2]"),
        (
            "{% if params.flag %}yes{% endif %} {{ prev_start_date_success }} {{ triggering_asset_events }}",
            "yes None {}",
        ),
        ("{% for id in params.ids %}{{ id }},{% endfor %}\n", "1,2,\n"),
        ("{{ params.missing | default('d') }} {{ 'x' if nothing is defined else 'y' }}", "d y"),
        ("{{ 'a,b'.split(',') }} {{ 'Ab'.lower() }} {{ params.deep.items() | list | length }}", "['a', 'b'] ab 1"),
        ("{{ execution_date.year }} {{ params.ids | tojson }}", "2024 [1, 2]"),
    ])
    .await;
}

#[tokio::test]
async fn dates_are_pendulums() {
    check(&[
        ("{{ logical_date.strftime('%Y/%m/%d %H:%M:%S.%f %z %-d') }}", "2024/03/05 07:08:09.000000 +0000 5"),
        ("{{ logical_date.format('dddd Do MMMM YYYY, h:mm A [at] ZZ Q') }}", "Tuesday 5th March 2024, 7:08 AM at +0000 1"),
        ("{{ logical_date.format('E d DDDD X SSS z') }}", "2 2 065 1709622489 000 UTC"),
        ("{{ logical_date.isoformat() }} {{ logical_date.to_iso8601_string() }}", "2024-03-05T07:08:09+00:00 2024-03-05T07:08:09Z"),
        ("{{ logical_date.to_date_string() }} {{ logical_date.to_datetime_string() }}", "2024-03-05 2024-03-05 07:08:09"),
        ("{{ logical_date.date() }} {{ logical_date.time() }} {{ logical_date.date().isoformat() }}", "2024-03-05 07:08:09 2024-03-05"),
        ("{{ logical_date.add(months=1, days=-1) }}", "2024-04-04 07:08:09+00:00"),
        ("{{ logical_date.replace(month=1, day=31).add(months=1) }}", "2024-02-29 07:08:09+00:00"),
        ("{{ logical_date.subtract(years=1, hours=8) }}", "2023-03-04 23:08:09+00:00"),
        ("{{ logical_date.start_of('week') }} {{ logical_date.end_of('month') }}", "2024-03-04 00:00:00+00:00 2024-03-31 23:59:59.999999+00:00"),
        ("{{ logical_date.start_of('hour') }} {{ logical_date.end_of('decade').year }}", "2024-03-05 07:00:00+00:00 2029"),
        ("{{ logical_date.in_timezone('Europe/Berlin') }} {{ logical_date.in_tz('America/New_York').isoformat() }}", "2024-03-05 08:08:09+01:00 2024-03-05T02:08:09-05:00"),
        // The night in which clocks go forward has 23 hours.
        ("{{ logical_date.replace(day=30).in_tz('Europe/Berlin').add(days=1) }}", "2024-03-31 08:08:09+02:00"),
        ("{{ logical_date.replace(day=30).in_tz('Europe/Berlin').add(hours=24) }}", "2024-03-31 09:08:09+02:00"),
        ("{{ logical_date.timestamp() }} {{ logical_date.int_timestamp }}", "1709622489.0 1709622489"),
        ("{{ logical_date.day_of_week }} {{ logical_date.day_of_year }} {{ logical_date.week_of_year }} {{ logical_date.week_of_month }} {{ logical_date.quarter }} {{ logical_date.weekday() }} {{ logical_date.isoweekday() }} {{ logical_date.days_in_month }}", "1 65 10 2 1 1 2 31"),
        ("{{ logical_date < data_interval_end }} {{ logical_date == data_interval_start }} {{ ds < '2024-03-06' }}", "True True True"),
        ("{{ data_interval_end - data_interval_start }}", "1 day, 0:00:00"),
        ("{{ (data_interval_end - data_interval_start).total_seconds() }}", "86400.0"),
        ("{{ logical_date - macros.timedelta(days=1) }}", "2024-03-04 07:08:09+00:00"),
        ("a - b {{ (logical_date + macros.timedelta(hours=20, minutes=1)).strftime('%d') }} {{- 1 + 2 - 1 }}", "a - b 062"),
        ("{{ (logical_date.date() - macros.timedelta(days=5)) }} {{ macros.timedelta(seconds=-1) }}", "2024-02-29 -1 day, 23:59:59"),
        ("{{ logical_date.diff(data_interval_end).in_hours() }}", "24"),
    ])
    .await;
}

#[tokio::test]
async fn macros_and_filters() {
    check(&[
        ("{{ macros.ds_add(ds, -5) }} {{ macros.ds_add('2024-02-28', 2) }}", "2024-02-29 2024-03-01"),
        ("{{ macros.ds_format(ds, '%Y-%m-%d', '%d.%m.%y') }}", "05.03.24"),
        ("{{ logical_date | ds }} {{ logical_date | ts }} {{ logical_date | ts_nodash }}", "2024-03-05 2024-03-05T07:08:09+00:00 20240305T070809"),
        ("{{ data_interval_end | ds_nodash }} {{ '2024-01-02T03:04:05Z' | ts_nodash_with_tz }}", "20240306 20240102T030405+0000"),
        ("{{ macros.datetime(2024, 1, 31) }} {{ macros.datetime(2024, month=2, day=1).isoformat() }}", "2024-01-31 00:00:00 2024-02-01T00:00:00"),
        ("{{ macros.datetime.strptime('2024-07', '%Y-%m') }} {{ macros.datetime.strptime('05/03/24 10', '%d/%m/%y %H') }}", "2024-07-01 00:00:00 2024-03-05 10:00:00"),
        ("{{ macros.datetime.now() }} {{ macros.time.time() }}", "2024-03-06 12:00:00 1709726400.0"),
        ("{{ macros.dateutil.parser.parse('2024-01-02 03:04') }}", "2024-01-02 03:04:00"),
        ("{{ macros.datetime_diff_for_humans(logical_date) }}", "1 day ago"),
        ("{{ macros.datetime_diff_for_humans(logical_date, data_interval_end.add(days=1)) }}", "2 days before"),
        ("{{ macros.uuid.uuid4() | length }} {{ 0 <= macros.random() < 1 }}", "36 True"),
        ("{{ macros.json.dumps(params.deep) }} {{ macros.json.loads('[1]')[0] }}", r#"{"x":"it's"} 1"#),
    ])
    .await;
}

#[tokio::test]
async fn variables_connections_and_xcoms() {
    check(&[
        ("{{ var.value.greeting }} {{ var.value.get('none', 'd') }} {{ var.value.get('greeting') }}", "hello d hello"),
        (
            "{{ var.value['greeting'] }} {{ var.value.get('none') }} {{ var.value.get('none', default_var='x') }}",
            "hello None x",
        ),
        (
            "{{ var.json.settings.rows }} {{ var.json.settings['deep'] }} {{ var.json.get('none', {'a': 1}).a }}",
            "10 {'on': True} 1",
        ),
        (
            "{{ conn.db.host }}:{{ conn.db.port }}/{{ conn.db.schema }} {{ conn.db.login }} {{ conn.db.conn_type }}",
            "h.example:5432/sales ann postgres",
        ),
        ("{{ conn.db.password }} {{ conn.db.extra_dejson.mode }} {{ conn.get('no', 'd') }}", "s3cr3t-pw ro d"),
        ("{{ conn.db.get_uri() }}", "postgres://ann:s3cr3t-pw@h.example:5432/sales?mode=ro&api_key=k-123456"),
        ("{{ ti.xcom_pull(task_ids='extract').rows }} {{ ti.xcom_pull('extract', key='count') + 1 }}", "5 8"),
        (
            "{{ ti.xcom_pull(task_ids='none') }} {{ ti.xcom_pull(task_ids='none', default=3) }} {{ ti.xcom_pull() }}",
            "None 3 own",
        ),
        ("{{ ti.xcom_pull(task_ids=['extract', 'none'], key='count') }}", "[7, None]"),
        (
            "{{ ti.xcom_pull(task_ids='mapped') }} {{ ti.xcom_pull(task_ids='mapped', map_indexes=1) }}",
            "['a', 'b', 'c'] b",
        ),
        ("{{ ti.xcom_pull(task_ids='mapped', map_indexes=[0, 2]) | join('-') }}", "a-c"),
        ("{% for x in ti.xcom_pull(task_ids='mapped') %}{{ x }}{% endfor %}", "abc"),
    ])
    .await;
    let rendering = Rendering::new();
    let template = "{{ ti.xcom_pull(task_ids='x', dag_id='d', run_id='r', key='k', map_indexes=4) }}";
    rendering.text(template).await.expect("it renders");
    let asked = rendering.services.asked.lock().expect("no panic").clone();
    assert_eq!(asked, [r#"{"dag_id":"d","run_id":"r","task_id":"x","key":"k","map_index":4}"#]);
}

#[tokio::test]
async fn secrets_that_are_read_are_masked() {
    let rendering = Rendering::new();
    let template =
        "{{ var.value.db_password }} {{ conn.db.host }} {{ var.json.settings.token }} {{ var.value.greeting }}";
    let text = rendering.text(template).await.expect("it renders");
    rendering.fixture.log.info(&format!("{text} s3cr3t-pw k-123456"));
    assert_eq!(rendering.fixture.sink.lines()[0].event, "*** h.example *** hello *** ***");
}

#[tokio::test]
async fn what_is_no_template_is_untouched() {
    let rendering = Rendering::new();
    let args =
        json!({"bash_command": "echo ${X} {a,b} $((1 + 2)) {", "env": {"A": "b"}, "memory": 5, "append_env": true});
    assert!(!has_template(&args));
    let rendered = rendering.args("bash", args.clone()).await.expect("nothing to do");
    assert_eq!(Value::Object(rendered), args);
    // What is not templated stays as it is, even if it looks like a template.
    let args = json!({"python_callable": "{{ ds }}", "op_args": ["{{ ds }}", 1, {"k": ["{{ params.carrier }}"]}]});
    let rendered = rendering.args("python", args).await.expect("it renders");
    let expected = json!({"python_callable": "{{ ds }}", "op_args": ["2024-03-05", 1, {"k": ["AA"]}]});
    assert_eq!(Value::Object(rendered), expected);
}

#[tokio::test]
async fn native_templates_keep_their_type() {
    let mut rendering = Rendering::new();
    rendering.context.native_templates = true;
    for (template, expected) in [
        ("{{ params.ids }}", json!([1, 2])),
        ("{{ params.flag }}", json!(true)),
        (" {{ ti.xcom_pull(task_ids='extract') }} ", json!({"rows": 5, "path": "/x"})),
        ("{{ params.none }}", json!(null)),
        ("{{ 1.5 }}", json!(1.5)),
        ("{{ logical_date }}", json!("2024-03-05 07:08:09+00:00")),
        ("{{ logical_date - macros.timedelta(days=1) }}", json!("2024-03-04 07:08:09+00:00")),
        ("{{ {'a': {'b': 1}} }}", json!({"a": {"b": 1}})),
        ("{{ ds }} {{ ds }}", json!("2024-03-05 2024-03-05")),
        ("x {{ params.ids }}", json!("x [1, 2]")),
    ] {
        let args = rendering.args("python", json!({"op_args": [template]})).await.expect(template);
        assert_eq!(args["op_args"][0], expected, "{template}");
    }
}

#[tokio::test]
async fn errors_name_the_place_and_the_way_out() {
    let rendering = Rendering::new();
    let mut seen = String::new();
    for args in [
        json!({"bash_command": "echo {{ prams.carrier }}"}),
        json!({"bash_command": "echo\n  {{ params.carier }}"}),
        json!({"bash_command": "x", "env": {"A": "ok", "B": "{{ dag_run.cof }}"}}),
        json!({"bash_command": "{{ ti.xcom_pull('a').rows }}"}),
        json!({"bash_command": "{{ logical_date.strftme('%Y') }}"}),
        json!({"bash_command": "{{ logical_date.strftime('%Q') }}"}),
        json!({"bash_command": "{{ logical_date.add(day=1) }}"}),
        json!({"bash_command": "{{ logical_date.start_of('fortnight') }}"}),
        json!({"bash_command": "{{ logical_date.in_tz('Mars') }}"}),
        json!({"bash_command": "{{ macros.ds_add('5.3.2024', 1) }}"}),
        json!({"bash_command": "{{ params.ids - 1 }}"}),
        json!({"bash_command": "{{ var.value.none }}"}),
        json!({"bash_command": "{{ var.json.broken }}"}),
        json!({"bash_command": "{{ conn.none.host }}"}),
        json!({"bash_command": "{{ conn.db.hos }}"}),
        json!({"bash_command": "{{ ti.xcom_pull('unreachable') }}"}),
        json!({"bash_command": "{{ ds | dss }}"}),
        json!({"bash_command": "{% if %}"}),
        json!({"bash_command": "{{ ds"}),
        json!({"bash_command": "{% include 'other.sh' %}"}),
    ] {
        let error = rendering.args("bash", args.clone()).await.expect_err(&args.to_string());
        seen.push_str(&format!("{error}\n"));
    }
    let args = json!({"op_kwargs": {"a": [{"b": "{{ nothing }}"}]}});
    seen.push_str(&format!("{}\n", rendering.args("python", args).await.expect_err("not defined")));
    insta::assert_snapshot!(seen);
}

#[tokio::test]
async fn without_a_logical_date_its_names_are_errors() {
    let mut rendering = Rendering::new();
    rendering.context.logical_date = None;
    rendering.context.data_interval = None;
    let text =
        rendering.text("{{ dag_run.logical_date }} {{ data_interval_start }} {{ dag_run.run_after | ds }}").await;
    assert_eq!(text.expect("it renders"), "None None 2024-03-05");
    for name in ["ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz", "logical_date"] {
        let error = rendering.text(&format!("{{{{ {name} }}}}")).await.expect_err(name).to_string();
        assert!(error.contains(&format!("`{name}` needs a logical date, and this run has none")), "{error}");
    }
}

#[tokio::test]
async fn work_and_output_are_limited() {
    let mut rendering = Rendering::new();
    let endless = "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}";
    let mut seen = format!("{}\n", rendering.text(endless).await.expect_err("too much work"));
    rendering.limits = Limits { output_bytes: 100, ..Limits::default() };
    seen.push_str(&format!("{}\n", rendering.text("{{ 'x' * 1000 }}").await.expect_err("too long")));
    let deep = "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}";
    seen.push_str(&format!("{}\n", rendering.text(deep).await.expect_err("too deep")));
    insta::assert_snapshot!(seen);
}

#[tokio::test]
async fn kinds_are_checked_after_rendering() {
    let rendering = Rendering::new();
    let args = json!({"op_args": "{{ params.ids | tojson }}", "op_kwargs": "{{ params.deep | tojson }}"});
    let rendered = rendering.args("python", args).await.expect("they are JSON");
    assert_eq!(Value::Object(rendered), json!({"op_args": [1, 2], "op_kwargs": {"x": "it's"}}));
    let error = rendering.args("python", json!({"op_args": "{{ params.ids }}x"})).await.expect_err("no list");
    insta::assert_snapshot!(error.to_string());
    let spec = towpath_model::operator::find("bash").expect("an operator");
    let mut args = json!({"bash_command": 5, "env": {"A": 1, "B": true}}).as_object().cloned().expect("an object");
    check_rendered(spec, &mut args).expect("numbers are texts too");
    assert_eq!(Value::Object(args), json!({"bash_command": "5", "env": {"A": "1", "B": "true"}}));
}

#[tokio::test]
async fn assets_and_their_events() {
    let mut rendering = Rendering::new();
    let event = |name: &str, extra: Value| {
        serde_json::from_value(json!({
            "asset": {"name": name, "uri": format!("s3://{name}")}, "timestamp": "2026-01-02T03:04:05Z", "extra": extra,
            "source_dag_id": "p", "source_run_id": "r1", "source_task_id": "t", "source_map_index": -1,
        }))
        .unwrap()
    };
    let answers = Arc::get_mut(&mut rendering.services).unwrap();
    answers.asset_events = vec![event("a", json!({"n": 1})), event("b", json!({})), event("a", json!({"n": 2}))];
    rendering.context.inlets = serde_json::from_value(json!([{"name": "b", "uri": "s3://b"}])).unwrap();
    rendering.context.outlets = serde_json::from_value(json!([{"name": "c", "uri": "c", "group": "g"}])).unwrap();
    for (template, expected) in [
        ("{{ triggering_asset_events | length }}", "2"),
        ("{{ triggering_asset_events['a'][-1].extra.n }}", "2"),
        (
            "{% for name, events in triggering_asset_events.items() %}{{ name }}{{ events | length }} {% endfor %}",
            "a2 b1 ",
        ),
        ("{{ (triggering_asset_events.values() | first | first).source_dag_run.run_id }}", "r1"),
        ("{{ triggering_asset_events.a[0].timestamp | ds }}", "2026-01-02"),
        ("{{ inlets[0].uri }} {{ outlets[0].group }} {{ outlets | map(attribute='name') | join(',') }}", "s3://b g c"),
        (
            "{{ inlet_events['b'][0].source_task_id }} {{ inlet_events[0] | length }} {{ inlet_events['s3://b'] | length }}",
            "t 1 1",
        ),
    ] {
        assert_eq!(rendering.text(template).await.as_deref(), Ok(expected), "{template}");
    }
    assert!(rendering.text("{{ inlet_events['nope'] }}").await.is_err());
}
