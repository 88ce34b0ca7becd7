//! What attempts leave behind: rendered arguments and resources; the ends of logs; long lists.

use serde_json::{Map, Value, json};
use towpath_model::dag::Task;
use towpath_store::{
    After, Evidence, Listing, LogChunk, LogKey, RENDERED_RUNS, Rendered, Report, ReportOutcome, RunField, RunFilter,
    Store, TaskField, TaskInstanceRecord, TaskKey, Usage,
};

use crate::harness::*;

both!(
    arguments_of_the_last_try_are_kept,
    arguments_of_old_runs_are_forgotten,
    instances_have_names,
    resources_stay_with_their_try,
    the_end_of_a_log_is_read_alone,
    pages_far_into_a_list_are_those_of_the_whole,
    nulls_of_params_are_stored,
);

#[expect(clippy::needless_pass_by_value, reason = "made where it is given")]
fn fields(value: Value) -> Option<Map<String, Value>> {
    value.as_object().cloned()
}

async fn arguments_of_the_last_try_are_kept(store: Store) {
    sync(&store, wide("d", 1, |spec| spec.tasks[0].retry.retries = 1)).await;
    let run = manual(&store, "d").await;
    let worker = worker(&store).await;
    let key = key(run.key, "t0000");
    let kept = async || store.rendered(std::slice::from_ref(&key)).await.expect("it can be read").remove(&key);
    let mut at = 2;
    for (try_number, outcome) in [(1, ReportOutcome::Failed { retry: true }), (2, ReportOutcome::Success)] {
        let task = claim_one(&store, worker).await;
        let rendered = fields(json!({"bash_command": format!("echo {try_number}\0"), "long": "x".repeat(10_000)}));
        let report = Report { evidence: Evidence { rendered, ..Evidence::default() }, ..ended(&task, outcome) };
        assert_eq!(send(&store, std::slice::from_ref(&report)).await.accepted, [true]);
        let now = kept().await.expect("it is kept");
        assert_eq!(now.fields["bash_command"], json!(format!("echo {try_number}\u{fffd}")));
        assert!(now.fields["long"].as_str().is_some_and(|text| text.len() < 5_000));
        assert_eq!(now.try_number, try_number);
        // What comes too late changes nothing.
        let late = Evidence { rendered: fields(json!({"bash_command": "late"})), ..Evidence::default() };
        assert_eq!(send(&store, &[Report { evidence: late, ..report }]).await.accepted, [false]);
        assert_ne!(kept().await.expect("it is kept").fields["bash_command"], json!("late"));
        at += 1_000;
        store.wake_due(time(at), 10).await.expect("the next try starts");
    }
    // An instance of which nothing is kept shows what its DAG file says, unless that is a template.
    let mut task = Task::new("t", "bash");
    task.args =
        json!({"bash_command": "echo", "cwd": "{{ ds }}", "memory": 1}).as_object().cloned().unwrap_or_default();
    assert_eq!(Value::from(Rendered::or_written(None, &task)), json!({"bash_command": "echo"}));
    assert!(store.delete_run(run.key, true, time(9_000)).await.is_ok());
    assert!(kept().await.is_none());
}

async fn instances_have_names(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let run = manual(&store, "d").await;
    let worker = worker(&store).await;
    let key = key(run.key, "t0000");
    let task = claim_one(&store, worker).await;
    let evidence = Evidence { map_name: Some("día 'x'".into()), ..Evidence::default() };
    let report = Report { evidence, ..ended(&task, ReportOutcome::Success) };
    assert_eq!(send(&store, std::slice::from_ref(&report)).await.accepted, [true]);
    assert_eq!(instance(&store, &key).await.rendered_map_index.as_deref(), Some("día 'x'"));
    let late = Evidence { map_name: Some("late".into()), ..Evidence::default() };
    assert_eq!(send(&store, &[Report { evidence: late, ..report }]).await.accepted, [false]);
    let record = instance(&store, &key).await;
    assert_eq!(record.rendered_map_index.as_deref(), Some("día 'x'"));
    assert_eq!(record.shown_index(), None, "it has no number");
    let mapped = TaskInstanceRecord { key: TaskKey { map_index: 3, ..key }, ..record };
    assert_eq!(mapped.shown_index().as_deref(), Some("3: día 'x'"));
}

async fn arguments_of_old_runs_are_forgotten(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    sync(&store, wide("other", 1, |_| {})).await;
    let worker = worker(&store).await;
    let mut keys = Vec::new();
    let mut finish = async |dag_id: &str| {
        let run = manual(&store, dag_id).await;
        let task = claim_one(&store, worker).await;
        let rendered = fields(json!({"bash_command": "echo"}));
        let report =
            Report { evidence: Evidence { rendered, ..Evidence::default() }, ..ended(&task, ReportOutcome::Success) };
        send(&store, &[report]).await;
        keys.push(key(run.key, "t0000"));
    };
    finish("other").await;
    for _ in 0..RENDERED_RUNS + 3 {
        finish("d").await;
    }
    let kept = store.rendered(&keys).await.expect("they can be read");
    let gone: Vec<usize> = (0..keys.len()).filter(|index| !kept.contains_key(&keys[*index])).collect();
    assert_eq!(gone, [1, 2, 3]);
}

async fn resources_stay_with_their_try(store: Store) {
    sync(&store, wide("d", 1, |spec| spec.tasks[0].retry.retries = 1)).await;
    let run = manual(&store, "d").await;
    let worker = worker(&store).await;
    let usage = |cpu_ms| Some(Usage { cpu_ms, peak_bytes: 4_096 * cpu_ms });
    let first = claim_one(&store, worker).await;
    let evidence = Evidence { usage: usage(7), ..Evidence::default() };
    send(&store, &[Report { evidence, ..ended(&first, ReportOutcome::Failed { retry: true }) }]).await;
    store.wake_due(time(1_000), 10).await.expect("the next try starts");
    let second = claim_one(&store, worker).await;
    let of_tries = async || {
        let tries = store.tries(&key(run.key, "t0000")).await.expect("tries can be read");
        tries.into_iter().map(|attempt| attempt.usage).collect::<Vec<_>>()
    };
    assert_eq!(of_tries().await, [usage(7), None], "one that runs has used nothing yet");
    let evidence = Evidence { usage: usage(9), ..Evidence::default() };
    send(&store, &[Report { evidence, ..ended(&second, ReportOutcome::Success) }]).await;
    assert_eq!(of_tries().await, [usage(7), usage(9)]);
}

async fn the_end_of_a_log_is_read_alone(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let run = manual(&store, "d").await;
    let log = LogKey { task: key(run.key, "t0000"), try_number: 1 };
    assert_eq!(store.log_end(&log, 5).await.expect("it can be read"), (Vec::new(), 0));
    let chunk = |seq: u32| LogChunk { key: log.clone(), seq, lines: 3, text: format!("{seq}a\n{seq}b\n{seq}c\n") };
    store.append_logs(&(0..4).map(chunk).collect::<Vec<_>>(), time(1)).await.expect("it is written");
    for (lines, expected) in [(1, vec![3]), (3, vec![3]), (4, vec![2, 3]), (99, vec![0, 1, 2, 3])] {
        let (chunks, before) = store.log_end(&log, lines).await.expect("it can be read");
        let found: Vec<u32> = chunks.iter().map(|chunk| chunk.seq).collect();
        assert_eq!((found, before), (expected.clone(), u64::from(expected[0]) * 3), "{lines}");
    }
}

async fn pages_far_into_a_list_are_those_of_the_whole(store: Store) {
    sync(&store, wide("d", 3, |_| {})).await;
    sync(&store, wide("other", 1, |_| {})).await;
    for _ in 0..7 {
        manual(&store, "d").await;
        manual(&store, "other").await;
    }
    let filter = RunFilter { dag_id: Some("d".into()), newest_first: true, limit: 100, ..RunFilter::default() };
    let all = store.runs(&filter).await.expect("runs can be listed");
    assert_eq!((all.items.len(), all.total), (7, 7));
    for offset in 0..9_u32 {
        let page = store.runs(&RunFilter { limit: 2, offset, ..filter.clone() }).await.expect("runs can be listed");
        let expected: Vec<_> = all.items.iter().skip(offset as usize).take(2).cloned().collect();
        assert_eq!((page.items, page.total), (expected, 7), "{offset}");
    }
    // From the last one on, as a page that is found by the run beside it.
    let last = all.items.last().expect("there are runs");
    let after = Some(After::Run { key: last.key, run_after: last.run_after });
    let newer = Listing { after, ..Listing::of(&RunFilter { newest_first: false, ..filter }) };
    let newer = store.list_runs(&newer, false).await.expect("runs can be listed").items;
    assert_eq!(newer.into_iter().rev().collect::<Vec<_>>(), all.items[..6]);
    for order in [Vec::new(), vec![(TaskField::RunAfter, true)], vec![(TaskField::VersionNumber, false)]] {
        let mut listing = Listing { order, limit: 100, ..Listing::default() };
        listing.is(TaskField::DagId, "d");
        let all = store.list_tasks(&listing, false).await.expect("tasks can be listed").items;
        let part = Listing { limit: 4, offset: 9, ..listing };
        let part = store.list_tasks(&part, false).await.expect("tasks can be listed");
        assert_eq!((part.items.as_slice(), part.total), (&all[9..13], 21));
    }
    let many: Vec<String> = (0..40).map(|number| format!("no_{number}")).chain(["d".to_owned()]).collect();
    let filter = RunFilter { among: Some(many), limit: 100, ..RunFilter::default() };
    assert_eq!(store.runs(&filter).await.expect("runs can be listed").total, 7);
    let none = RunFilter { among: Some(Vec::new()), limit: 100, ..RunFilter::default() };
    assert_eq!(store.runs(&none).await.expect("runs can be listed").total, 0);
    let counted = store.list_runs(&Listing { limit: 1, ..Listing::<RunField>::default() }, true).await;
    assert_eq!(counted.expect("runs can be listed").total, 14);
}

async fn nulls_of_params_are_stored(store: Store) {
    let param = towpath_model::params::Param { default: Some(Value::Null), ..Default::default() };
    sync(
        &store,
        wide("d", 1, |spec| {
            spec.params.insert("p".into(), param.clone());
        }),
    )
    .await;
    let record = store.dag("d").await.expect("it can be read").expect("it is there");
    let spec: Value = serde_json::to_value(&param).expect("it is JSON");
    assert_eq!(spec, json!({"default": null}));
    let dag = store.dag_of_version(record.version_id).await.expect("it can be read");
    assert_eq!(dag.spec().params["p"], param);
}
