//! What tasks have left as data, found again by run, task and map index.

use serde_json::{Value, json};
use towpath_model::etl::look::Trouble;
use towpath_model::state::TaskState;
use towpath_store::{Left, ReportOutcome, RunRecord, Store};

use crate::harness::*;

both!(
    a_data_set_is_found_by_run_and_task,
    of_a_mapped_task_the_first_one_counts,
    the_newest_run_with_data_is_found,
    what_a_run_has_left_is_listed
);

fn manifest(location: &str, rows: u64) -> Value {
    let schema = json!([{"name": "n", "type": "int64"}]);
    json!({"location": location, "format": "parquet", "rows": rows, "bytes": 9, "files": 1, "schema": schema, "seconds": 0.1})
}

/// Ends the next task with XComs.
async fn end(store: &Store, worker: i64, outcome: ReportOutcome, xcoms: &[(&str, Value)]) -> String {
    let task = claim_one(store, worker).await;
    let mut report = ended(&task, outcome);
    report.xcoms = xcoms.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    assert_eq!(send(store, &[report]).await.accepted, [true]);
    task.key.task_id
}

async fn trouble(store: &Store, run: &RunRecord, task_id: &str) -> Trouble {
    store.data_set(run, task_id, None).await.expect("asked").expect_err("there is none")
}

async fn a_data_set_is_found_by_run_and_task(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[]), ("b", "bash", &["a"]), ("c", "bash", &["b"])], |_| {})).await;
    let worker = worker(&store).await;
    let run = manual(&store, "d").await;
    assert!(matches!(trouble(&store, &run, "a").await, Trouble::NotYet { state: TaskState::Queued, .. }));
    let plan = json!({"operators": [], "rows_in": 3, "bytes_in": 1, "seconds": 0.1, "peak_memory_bytes": 5});
    let left = [("return_value", manifest("/s/a", 3)), ("plan", plan)];
    assert_eq!(end(&store, worker, ReportOutcome::Success, &left).await, "a");
    let (map_index, found) = store.data_set(&run, "a", None).await.expect("asked").expect("it is there");
    assert_eq!((map_index, found.rows, found.location.as_str()), (-1, 3, "/s/a"));
    assert_eq!(store.measured_plan(&run, "a", Some(-1)).await.expect("asked").expect("it is there").1.rows_in, 3);
    assert!(matches!(store.measured_plan(&run, "b", None).await.expect("asked"), Err(Trouble::NoPlan { .. })));
    let load = json!({"table": "t", "rows": 3, "seconds": 0.1});
    assert_eq!(end(&store, worker, ReportOutcome::Success, &[("return_value", load)]).await, "b");
    assert!(matches!(trouble(&store, &run, "b").await, Trouble::Load { place, .. } if place == "table t"));
    end(&store, worker, ReportOutcome::Failed { retry: false }, &[]).await;
    assert!(matches!(trouble(&store, &run, "c").await, Trouble::Ended { state: TaskState::Failed, .. }));
    assert!(matches!(trouble(&store, &run, "nobody").await, Trouble::NoDataSet { .. }));
}

async fn of_a_mapped_task_the_first_one_counts(store: Store) {
    let over = json!({"product": {"x": {"values": [1, 2]}}});
    let expand = serde_json::from_value(over).expect("it is a list");
    sync(&store, dag("d", &[("m", "bash", &[])], |spec| spec.tasks[0].expand = Some(expand))).await;
    let worker = worker(&store).await;
    let run = manual(&store, "d").await;
    for task in claim(&store, worker, 9).await {
        let mut report = ended(&task, ReportOutcome::Success);
        let value = if task.key.map_index == 0 { json!(7) } else { manifest("/s/m", 5) };
        report.xcoms = vec![("return_value".into(), value)];
        assert_eq!(send(&store, &[report]).await.accepted, [true]);
    }
    let (map_index, _) = store.data_set(&run, "m", None).await.expect("asked").expect("it is there");
    assert_eq!(map_index, 1);
    assert!(matches!(store.data_set(&run, "m", Some(0)).await.expect("asked"), Err(Trouble::NoDataSet { .. })));
}

async fn the_newest_run_with_data_is_found(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[])], |_| {})).await;
    let worker = worker(&store).await;
    assert!(store.newest_run_with_data("d", "a", None).await.expect("asked").is_none());
    let first = manual(&store, "d").await;
    end(&store, worker, ReportOutcome::Success, &[("return_value", manifest("/s/a", 1))]).await;
    let second = manual(&store, "d").await;
    end(&store, worker, ReportOutcome::Failed { retry: false }, &[]).await;
    let found = store.newest_run_with_data("d", "a", None).await.expect("asked").expect("there is one");
    assert_eq!(found.run_id, first.run_id);
    // Without data it is one of which it can be told why.
    let found = store.newest_run_with_data("d", "other", None).await.expect("asked").expect("there is one");
    assert!([&first.run_id, &second.run_id].contains(&&found.run_id));
}

async fn what_a_run_has_left_is_listed(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[]), ("b", "bash", &["a"]), ("c", "bash", &["b"])], |_| {})).await;
    let worker = worker(&store).await;
    let run = manual(&store, "d").await;
    end(&store, worker, ReportOutcome::Success, &[("return_value", manifest("/s/a", 1))]).await;
    end(&store, worker, ReportOutcome::Success, &[("return_value", json!({"rows": 7}))]).await;
    let load = json!({"location": "/lake", "format": "csv", "rows": 2, "bytes": 4, "files": 1, "seconds": 0.1});
    end(&store, worker, ReportOutcome::Success, &[("return_value", load)]).await;
    let (found, has_more) = store.data_of_run(&run, |_| true, 9).await.expect("asked");
    let names: Vec<&str> = found.iter().map(|one| one.task_id.as_str()).collect();
    assert_eq!((names, has_more), (vec!["a", "c"], false));
    assert!(matches!(&found[1].left, Left::Load(load) if load.place == "/lake" && load.files == Some(1)));
    let (found, has_more) = store.data_of_run(&run, |task| task != "a", 9).await.expect("asked");
    assert_eq!((found.len(), has_more), (1, false));
    let (found, has_more) = store.data_of_run(&run, |_| true, 1).await.expect("asked");
    assert_eq!((found.len(), has_more), (1, true));
}
