//! Mapped task groups.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use towpath_model::branch::Skips;
use towpath_model::dag::DagSpec;
use towpath_model::state::RunState;
use towpath_model::trigger_rule::TriggerRule;
use towpath_store::{ClaimedTask, Report, ReportOutcome, Selection, Store};

use crate::harness::*;

both!(
    each_instance_follows_its_own,
    literals_need_no_upstream,
    results_expand_a_group_when_they_are_there,
    nothing_to_expand_over_skips_the_group,
    a_branch_in_a_group_speaks_of_its_own_instance,
    what_follows_waits_for_all_instances,
    a_rule_that_does_not_wait_waits_for_the_elements,
    a_cleared_group_follows_its_new_elements,
    a_thousand_instances_end,
    ends_inside_and_outside_count_together,
);

/// `list`, then a group `g` of `a` and `b` over its result, then `end`.
const SHAPE: [(&str, &str, &[&str]); 4] =
    [("list", "bash", &[]), ("g.a", "bash", &["list"]), ("g.b", "bash", &["g.a"]), ("end", "bash", &["g.b"])];

fn mapped(spec: &mut DagSpec, over: Value) {
    spec.mapped_groups.insert("g".into(), serde_json::from_value(over).expect("it can be expanded over"));
    for task in spec.tasks.iter_mut().filter(|task| task.task_id.starts_with("g.")) {
        task.map_group = Some("g".into());
    }
}

fn over_list(spec: &mut DagSpec) {
    mapped(spec, json!({"product": {"x": {"output": {"task_id": "list"}}}}));
}

fn over_values(spec: &mut DagSpec) {
    mapped(spec, json!({"product": {"x": {"values": [10, 20, 30]}}}));
}

async fn returns(store: &Store, task: &ClaimedTask, value: Value) {
    let report = Report { xcoms: vec![("return_value".into(), value)], ..ended(task, ReportOutcome::Success) };
    assert_eq!(send(store, &[report]).await.accepted, [true]);
}

/// The states of all instances: `g.a[0]`, or the id alone for what has no instances.
async fn all(store: &Store, run_key: i64) -> BTreeMap<String, String> {
    let name = |id: &str, index: i32| if index < 0 { id.to_owned() } else { format!("{id}[{index}]") };
    let instances = store.task_instances(run_key).await.expect("a run can be read");
    instances.into_iter().map(|ti| (name(&ti.key.task_id, ti.key.map_index), ti.state.to_string())).collect()
}

/// Claims everything; by name.
async fn claims(store: &Store, worker: i64) -> BTreeMap<(String, i32), ClaimedTask> {
    let claimed = claim(store, worker, 99).await;
    claimed.into_iter().map(|task| ((task.key.task_id.clone(), task.key.map_index), task)).collect()
}

async fn each_instance_follows_its_own(store: Store) {
    sync(
        &store,
        dag("d", &SHAPE[1..], |spec| {
            spec.tasks[0].upstream.clear();
            over_values(spec);
        }),
    )
    .await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    let first = claims(&store, worker).await;
    assert_eq!(first.keys().map(|key| key.1).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(first[&("g.a".into(), 1)].element, json!({"x": 20}).as_object().cloned());
    succeed(&store, &first[&("g.a".into(), 1)]).await;
    let found = all(&store, run).await;
    assert_eq!((found["g.b[0]"].as_str(), found["g.b[1]"].as_str()), ("none", "queued"));
    end(&store, &first[&("g.a".into(), 0)], ReportOutcome::Failed { retry: false }).await;
    skip(&store, &first[&("g.a".into(), 2)]).await;
    let found = all(&store, run).await;
    let states = ["g.b[0]", "g.b[1]", "g.b[2]", "end"].map(|id| found[id].as_str());
    assert_eq!(states, ["upstream_failed", "queued", "skipped", "upstream_failed"]);
    succeed(&store, &claim_one(&store, worker).await).await;
    assert_eq!(run_state(&store, run).await, RunState::Failed);
}

async fn literals_need_no_upstream(store: Store) {
    sync(&store, dag("d", &SHAPE, over_values)).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    assert_eq!(all(&store, run).await.len(), 4, "the group is expanded when its first task may run");
    succeed(&store, &claim_one(&store, worker).await).await;
    let found = all(&store, run).await;
    assert_eq!((found.len(), found["g.a[2]"].as_str(), found["g.b[2]"].as_str()), (8, "queued", "none"));
}

async fn results_expand_a_group_when_they_are_there(store: Store) {
    sync(&store, dag("d", &SHAPE, over_list)).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    returns(&store, &claim_one(&store, worker).await, json!(["p", "q"])).await;
    let ran = drain(&store, 2, |_| ReportOutcome::Success).await;
    assert_eq!(ran.len(), 5);
    let found = all(&store, run).await;
    assert!(found.values().all(|state| state == "success") && found.len() == 6, "{found:?}");
    assert_eq!(run_state(&store, run).await, RunState::Success);
}

async fn nothing_to_expand_over_skips_the_group(store: Store) {
    sync(&store, dag("d", &SHAPE, over_list)).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    returns(&store, &claim_one(&store, worker).await, json!([])).await;
    let found = all(&store, run).await;
    assert_eq!(["g.a", "g.b", "end"].map(|id| found[id].as_str()), ["skipped"; 3]);
    let again = manual(&store, "d").await.key;
    succeed(&store, &claim_one(&store, worker).await).await;
    let found = all(&store, again).await;
    assert_eq!(["g.a", "g.b", "end"].map(|id| found[id].as_str()), ["upstream_failed"; 3], "it has left no XCom");
}

async fn a_branch_in_a_group_speaks_of_its_own_instance(store: Store) {
    let shape: [(&str, &str, &[&str]); 5] = [
        ("g.pick", "branch", &[]),
        ("g.left", "bash", &["g.pick"]),
        ("g.right", "bash", &["g.pick"]),
        ("after", "bash", &["g.pick"]),
        ("end", "bash", &["g.left", "g.right"]),
    ];
    sync(
        &store,
        dag("d", &shape, |spec| {
            over_values(spec);
            spec.tasks
                .iter_mut()
                .filter(|task| task.task_id == "end")
                .for_each(|t| t.trigger_rule = TriggerRule::NoneFailed);
        }),
    )
    .await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    let picks = claims(&store, worker).await;
    for (i, way) in [(0, "g.left"), (1, "g.right"), (2, "g.left")] {
        let skips = Skips::AllExcept(vec![way.to_owned()]);
        end(&store, &picks[&("g.pick".into(), i)], ReportOutcome::Branched { skips }).await;
    }
    let found = all(&store, run).await;
    let of = |id: &str| (0..3).map(|i| found[&format!("{id}[{i}]")].clone()).collect::<Vec<_>>();
    assert_eq!(of("g.left"), ["queued", "skipped", "queued"]);
    assert_eq!(of("g.right"), ["skipped", "queued", "skipped"]);
    assert_eq!(found["after"], "queued", "nothing outside of the group is ruled out");
    drain(&store, 1, |_| ReportOutcome::Success).await;
    assert_eq!(all(&store, run).await["end"], "success");
    // One instance decides anew; what the others have ruled out stays so when it is cleared.
    let one = vec![("g.pick".into(), Some(0))];
    let cleared = |tasks| Selection { tasks, downstream: true, ..Selection::default() };
    store.clear(run, &cleared(one), false, time(8)).await.expect("it is cleared");
    let ways = ["g.left", "g.right"].map(|id| (id.to_owned(), None)).to_vec();
    store.clear(run, &cleared(ways), false, time(9)).await.expect("they are cleared");
    store.start_queued_runs(time(10)).await.expect("runs start");
    let mut again = claims(&store, worker).await;
    let pick = again.remove(&("g.pick".into(), 0)).expect("it runs again");
    for other in again.values() {
        succeed(&store, other).await;
    }
    end(&store, &pick, ReportOutcome::Branched { skips: Skips::AllExcept(vec!["g.right".to_owned()]) }).await;
    drain(&store, 1, |_| ReportOutcome::Success).await;
    let found = all(&store, run).await;
    let of = |id: &str| (0..3).map(|i| found[&format!("{id}[{i}]")].clone()).collect::<Vec<_>>();
    assert_eq!(of("g.left"), ["skipped", "skipped", "success"]);
    assert_eq!(of("g.right"), ["success", "success", "skipped"]);
}

async fn what_follows_waits_for_all_instances(store: Store) {
    sync(&store, dag("d", &SHAPE, over_list)).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    returns(&store, &claim_one(&store, worker).await, json!([1, 2])).await;
    for _ in 0..3 {
        assert_eq!(all(&store, run).await["end"], "none");
        succeed(&store, &claim_one(&store, worker).await).await;
    }
    assert_eq!(all(&store, run).await["end"], "none");
    succeed(&store, &claim_one(&store, worker).await).await;
    assert_eq!(all(&store, run).await["end"], "queued");
}

async fn a_rule_that_does_not_wait_waits_for_the_elements(store: Store) {
    sync(
        &store,
        dag("d", &SHAPE, |spec| {
            over_list(spec);
            spec.tasks[2].trigger_rule = TriggerRule::Always;
        }),
    )
    .await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    assert_eq!(all(&store, run).await["g.b"], "none");
    returns(&store, &claim_one(&store, worker).await, json!([1, 2])).await;
    let found = all(&store, run).await;
    assert_eq!(["g.a[0]", "g.a[1]", "g.b[0]", "g.b[1]"].map(|id| found[id].as_str()), ["queued"; 4]);
}

async fn a_cleared_group_follows_its_new_elements(store: Store) {
    sync(&store, dag("d", &SHAPE, over_list)).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    returns(&store, &claim_one(&store, worker).await, json!([1, 2])).await;
    drain(&store, 1, |_| ReportOutcome::Success).await;
    for (elements, expected) in [(json!([7, 8, 9]), 3), (json!([5]), 1)] {
        let selection = Selection { tasks: vec![("list".into(), None)], downstream: true, ..Selection::default() };
        store.clear(run, &selection, false, time(8)).await.expect("all is cleared");
        store.start_queued_runs(time(9)).await.expect("runs start");
        returns(&store, &claim_one(&store, worker).await, elements).await;
        let ran = drain(&store, 1, |_| ReportOutcome::Success).await;
        assert_eq!(ran.len(), 2 * expected + 1, "{:?}", all(&store, run).await);
        assert_eq!(run_state(&store, run).await, RunState::Success);
    }
    let found = all(&store, run).await;
    assert_eq!(
        (found["g.b[0]"].as_str(), found["g.b[1]"].as_str(), found["end"].as_str()),
        ("success", "removed", "success")
    );
}

async fn a_thousand_instances_end(store: Store) {
    sync(
        &store,
        dag("d", &SHAPE, |spec| {
            over_list(spec);
            spec.max_active_tasks = 200;
        }),
    )
    .await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    returns(&store, &claim_one(&store, worker).await, json!((0..1_000).collect::<Vec<_>>())).await;
    let ran = drain(&store, 4, |_| ReportOutcome::Success).await;
    assert_eq!(ran.len(), 2_001);
    assert_eq!(run_state(&store, run).await, RunState::Success);
}

async fn ends_inside_and_outside_count_together(store: Store) {
    let shape: [(&str, &str, &[&str]); 3] =
        [("out", "bash", &[]), ("g.a", "bash", &[]), ("g.b", "bash", &["g.a", "out"])];
    sync(&store, dag("d", &shape, over_values)).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    let reports: Vec<Report> =
        claims(&store, worker).await.values().map(|task| ended(task, ReportOutcome::Success)).collect();
    assert_eq!(reports.len(), 4);
    send(&store, &reports).await;
    let found = all(&store, run).await;
    assert_eq!(["g.b[0]", "g.b[1]", "g.b[2]"].map(|id| found[id].as_str()), ["queued"; 3], "all in one step");
}
