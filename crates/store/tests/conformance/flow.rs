//! Branches, mapped tasks, clearing and marking.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use towpath_model::branch::Skips;
use towpath_model::dag::DagSpec;
use towpath_model::expand::Expand;
use towpath_model::state::{RunState, TaskState};
use towpath_store::{ClaimedTask, Mark, Report, ReportOutcome, Selection, Store};

use crate::harness::*;

both!(
    a_branch_skips_what_it_does_not_follow,
    skips_of_a_branch_survive_clearing,
    a_cleared_branch_may_choose_again,
    literals_expand_when_the_run_starts,
    results_expand_when_they_are_there,
    nothing_to_expand_over_is_a_skip,
    what_cannot_be_expanded_says_why,
    instances_are_expanded_over_in_turn,
    ten_thousand_instances_end,
    a_cleared_mapping_follows_its_new_elements,
    clearing_a_failure_lets_the_run_go_on,
    clearing_tells_before_it_does,
    clearing_what_runs_restarts_it,
    clearing_a_queued_task_takes_it_back,
    a_mark_decides_and_revives_what_failed_behind,
    marking_what_runs_stops_it,
    a_run_is_marked_as_a_whole,
);

/// A selection of whole tasks.
fn tasks(ids: &[&str]) -> Selection {
    Selection { tasks: ids.iter().map(|id| ((*id).to_owned(), None)).collect(), ..Selection::default() }
}

fn all_states(pairs: &[(&str, TaskState)]) -> BTreeMap<String, TaskState> {
    pairs.iter().map(|(id, state)| ((*id).to_owned(), *state)).collect()
}

/// The states of all instances of a task, by map index.
async fn mapped(store: &Store, run_key: i64, task_id: &str) -> Vec<(i32, TaskState)> {
    let instances = store.task_instances(run_key).await.expect("a run can be read");
    instances.into_iter().filter(|ti| ti.key.task_id == task_id).map(|ti| (ti.key.map_index, ti.state)).collect()
}

fn expand(spec: &mut DagSpec, task_id: &str, over: Value) {
    let task = spec.tasks.iter_mut().find(|task| task.task_id == task_id).expect("the task is there");
    task.expand = Some(serde_json::from_value::<Expand>(over).expect("it can be expanded over"));
}

/// Reports success with a result.
async fn returns(store: &Store, task: &ClaimedTask, value: Value) {
    let report = Report { xcoms: vec![("return_value".into(), value)], ..ended(task, ReportOutcome::Success) };
    assert_eq!(send(store, &[report]).await.accepted, [true]);
}

fn follows(names: &[&str]) -> ReportOutcome {
    ReportOutcome::Branched { skips: Skips::AllExcept(names.iter().map(ToString::to_string).collect()) }
}

const FORK: [(&str, &str, &[&str]); 4] =
    [("pick", "branch", &[]), ("left", "bash", &["pick"]), ("right", "bash", &["pick"]), ("after", "bash", &["right"])];

async fn a_branch_skips_what_it_does_not_follow(store: Store) {
    sync(&store, dag("d", &FORK, |_| {})).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    end(&store, &claim_one(&store, worker).await, follows(&["left"])).await;
    use TaskState::{Queued, Skipped, Success};
    let expected = [("pick", Success), ("left", Queued), ("right", Skipped), ("after", Skipped)];
    assert_eq!(states(&store, run).await, all_states(&expected));
    succeed(&store, &claim_one(&store, worker).await).await;
    assert_eq!(run_state(&store, run).await, RunState::Success);
}

async fn skips_of_a_branch_survive_clearing(store: Store) {
    sync(&store, dag("d", &FORK, |_| {})).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    end(&store, &claim_one(&store, worker).await, follows(&["left"])).await;
    let touched = store.clear(run, &tasks(&["right"]), false, time(3)).await.expect("a task is cleared");
    assert_eq!(touched.len(), 1);
    assert_eq!(states(&store, run).await["right"], TaskState::Skipped);
    assert_eq!(run_state(&store, run).await, RunState::Running);
}

async fn a_cleared_branch_may_choose_again(store: Store) {
    sync(&store, dag("d", &FORK, |_| {})).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    end(&store, &claim_one(&store, worker).await, follows(&["left"])).await;
    succeed(&store, &claim_one(&store, worker).await).await;
    let all = Selection { downstream: true, ..tasks(&["pick"]) };
    assert_eq!(store.clear(run, &all, false, time(3)).await.expect("all is cleared").len(), 4);
    assert_eq!(run_state(&store, run).await, RunState::Queued);
    assert_eq!(store.start_queued_runs(time(4)).await.expect("runs start"), 1);
    end(&store, &claim_one(&store, worker).await, follows(&["right"])).await;
    use TaskState::{None, Queued, Skipped, Success};
    let expected = [("pick", Success), ("left", Skipped), ("right", Queued), ("after", None)];
    assert_eq!(states(&store, run).await, all_states(&expected));
}

async fn literals_expand_when_the_run_starts(store: Store) {
    let shape: [(&str, &str, &[&str]); 2] = [("m", "bash", &[]), ("end", "bash", &["m"])];
    let over = json!({"product": {"bash_command": {"values": ["a", "b", "c"]}}});
    sync(&store, dag("d", &shape, |spec| expand(spec, "m", over))).await;
    let run = manual(&store, "d").await.key;
    assert_eq!(mapped(&store, run, "m").await, [0, 1, 2].map(|i| (i, TaskState::Queued)));
    let worker = worker(&store).await;
    let claimed = claim(&store, worker, 9).await;
    let elements: Vec<Value> = claimed.iter().map(|task| json!(task.element)).collect();
    assert_eq!(elements, ["a", "b", "c"].map(|text| json!({"bash_command": text})));
    for task in &claimed[..2] {
        succeed(&store, task).await;
    }
    assert_eq!(states(&store, run).await["end"], TaskState::None, "it waits for every instance");
    succeed(&store, &claimed[2]).await;
    succeed(&store, &claim_one(&store, worker).await).await;
    assert_eq!(run_state(&store, run).await, RunState::Success);
}

const OVER_LIST: [(&str, &str, &[&str]); 3] =
    [("list", "bash", &[]), ("m", "bash", &["list"]), ("end", "bash", &["m"])];

fn over_list() -> Value {
    json!({"product": {"bash_command": {"output": {"task_id": "list"}}}})
}

async fn results_expand_when_they_are_there(store: Store) {
    sync(&store, dag("d", &OVER_LIST, |spec| expand(spec, "m", over_list()))).await;
    let run = manual(&store, "d").await.key;
    assert_eq!(mapped(&store, run, "m").await, [(-1, TaskState::None)]);
    let worker = worker(&store).await;
    returns(&store, &claim_one(&store, worker).await, json!([7, 8])).await;
    let claimed = claim(&store, worker, 9).await;
    assert_eq!(claimed.iter().map(|task| task.key.map_index).collect::<Vec<_>>(), [0, 1]);
    succeed(&store, &claimed[0]).await;
    end(&store, &claimed[1], ReportOutcome::Failed { retry: false }).await;
    assert_eq!(mapped(&store, run, "m").await, [(0, TaskState::Success), (1, TaskState::Failed)]);
    assert_eq!(states(&store, run).await["end"], TaskState::UpstreamFailed);
    assert_eq!(run_state(&store, run).await, RunState::Failed);
}

async fn nothing_to_expand_over_is_a_skip(store: Store) {
    sync(&store, dag("d", &OVER_LIST, |spec| expand(spec, "m", over_list()))).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    returns(&store, &claim_one(&store, worker).await, json!([])).await;
    assert_eq!(mapped(&store, run, "m").await, [(-1, TaskState::Skipped)]);
    assert_eq!(states(&store, run).await["end"], TaskState::Skipped);
    assert_eq!(run_state(&store, run).await, RunState::Success);
}

async fn what_cannot_be_expanded_says_why(store: Store) {
    sync(&store, dag("d", &OVER_LIST, |spec| expand(spec, "m", over_list()))).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    returns(&store, &claim_one(&store, worker).await, json!("text")).await;
    let broken = instance(&store, &key(run, "m")).await;
    assert_eq!(broken.state, TaskState::UpstreamFailed);
    assert!(broken.note.expect("it says why").contains("which is text"));
    assert_eq!(run_state(&store, run).await, RunState::Failed);
}

async fn instances_are_expanded_over_in_turn(store: Store) {
    let change = |spec: &mut DagSpec| {
        expand(spec, "m", over_list());
        expand(spec, "end", json!({"product": {"bash_command": {"output": {"task_id": "m"}}}}));
    };
    sync(&store, dag("d", &OVER_LIST, change)).await;
    manual(&store, "d").await;
    let worker = worker(&store).await;
    returns(&store, &claim_one(&store, worker).await, json!([1, 2])).await;
    let mut claimed = claim(&store, worker, 9).await;
    claimed.reverse();
    for task in &claimed {
        returns(&store, task, json!(task.key.map_index * 10)).await;
    }
    let ends: Vec<Value> = claim(&store, worker, 9).await.iter().map(|task| json!(task.element)).collect();
    assert_eq!(ends, [json!({"bash_command": 0}), json!({"bash_command": 10})]);
}

async fn ten_thousand_instances_end(store: Store) {
    let shape: [(&str, &str, &[&str]); 3] =
        [("list", "bash", &[]), ("m", "empty", &["list"]), ("end", "empty", &["m"])];
    sync(&store, dag("d", &shape, |spec| expand(spec, "m", over_list()))).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    let many: Vec<usize> = (0..10_000).collect();
    returns(&store, &claim_one(&store, worker).await, json!(many)).await;
    assert_eq!(run_state(&store, run).await, RunState::Success);
    assert_eq!(mapped(&store, run, "m").await.len(), 10_000);
    assert_eq!(instance(&store, &key(run, "end")).await.upstream.success, 10_000);
}

async fn a_cleared_mapping_follows_its_new_elements(store: Store) {
    sync(&store, dag("d", &OVER_LIST, |spec| expand(spec, "m", over_list()))).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    for (before, after) in [(json!([1, 2]), 2), (json!([5, 6, 7, 8]), 4), (json!([9]), 1)] {
        returns(&store, &claim_one(&store, worker).await, before.clone()).await;
        let claimed = claim(&store, worker, 9).await;
        let elements: Vec<Value> =
            claimed.iter().map(|task| task.element.as_ref().expect("it is mapped")["bash_command"].clone()).collect();
        assert_eq!(json!(elements), before);
        for task in &claimed {
            succeed(&store, task).await;
        }
        let states = mapped(&store, run, "m").await;
        assert_eq!(states.iter().filter(|(_, state)| *state == TaskState::Success).count(), after, "{states:?}");
        succeed(&store, &claim_one(&store, worker).await).await;
        assert_eq!(run_state(&store, run).await, RunState::Success);
        store.clear(run, &Selection::default(), false, time(3)).await.expect("all is cleared");
        assert_eq!(store.start_queued_runs(time(4)).await.expect("runs start"), 1);
    }
}

const CHAIN: [(&str, &str, &[&str]); 3] = [("a", "bash", &[]), ("b", "bash", &["a"]), ("c", "bash", &["b"])];

async fn clearing_a_failure_lets_the_run_go_on(store: Store) {
    sync(&store, dag("d", &CHAIN, |spec| spec.tasks[1].retry.retries = 1)).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    succeed(&store, &claim_one(&store, worker).await).await;
    end(&store, &claim_one(&store, worker).await, ReportOutcome::Failed { retry: false }).await;
    assert_eq!(run_state(&store, run).await, RunState::Failed);
    let failed = Selection { only_failed: true, ..Selection::default() };
    let touched = store.clear(run, &failed, false, time(3)).await.expect("failures are cleared");
    let touched: Vec<_> = touched.into_iter().map(|t| (t.key.task_id, t.state)).collect();
    assert_eq!(touched, [("b".to_owned(), TaskState::Failed), ("c".to_owned(), TaskState::UpstreamFailed)]);
    assert_eq!(store.start_queued_runs(time(4)).await.expect("runs start"), 1);
    let again = claim_one(&store, worker).await;
    assert_eq!((again.key.task_id.as_str(), again.try_number, again.max_tries), ("b", 2, 2), "its retries are new");
    succeed(&store, &again).await;
    succeed(&store, &claim_one(&store, worker).await).await;
    assert_eq!(run_state(&store, run).await, RunState::Success);
    let tries = store.tries(&key(run, "b")).await.expect("tries can be read");
    assert_eq!(
        tries.iter().map(|t| (t.try_number, t.state)).collect::<Vec<_>>(),
        [(1, TaskState::Failed), (2, TaskState::Success)]
    );
}

async fn clearing_tells_before_it_does(store: Store) {
    sync(&store, dag("d", &CHAIN, |_| {})).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    for _ in 0..3 {
        succeed(&store, &claim_one(&store, worker).await).await;
    }
    let ids = async |selection: &Selection| -> Vec<String> {
        let touched = store.clear(run, selection, true, time(3)).await.expect("it can be told");
        touched.into_iter().map(|t| t.key.task_id).collect()
    };
    assert_eq!(ids(&tasks(&["b"])).await, ["b"]);
    assert_eq!(ids(&Selection { upstream: true, ..tasks(&["b"]) }).await, ["a", "b"]);
    assert_eq!(ids(&Selection { downstream: true, ..tasks(&["b"]) }).await, ["b", "c"]);
    assert_eq!(ids(&Selection { only_failed: true, ..Selection::default() }).await, [""; 0]);
    assert_eq!(run_state(&store, run).await, RunState::Success, "nothing has changed");
    let error = store.clear(run, &tasks(&["x"]), true, time(3)).await.expect_err("there is no such task");
    assert!(error.to_string().contains("`x`"), "{error}");
}

async fn clearing_what_runs_restarts_it(store: Store) {
    sync(&store, dag("d", &CHAIN, |_| {})).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    let task = claim_one(&store, worker).await;
    store.clear(run, &tasks(&["a"]), false, time(3)).await.expect("a task is cleared");
    assert_eq!(states(&store, run).await["a"], TaskState::Restarting);
    let beat = store.heartbeat(worker, LEASE, &[(task.key.clone(), task.attempt)], time(3)).await.expect("a beat");
    assert_eq!(beat.stop.len(), 1, "its worker is told to stop it");
    end(&store, &task, ReportOutcome::Failed { retry: false }).await;
    let again = claim_one(&store, worker).await;
    assert_eq!((again.key.task_id.as_str(), again.try_number), ("a", 2));
}

async fn clearing_a_queued_task_takes_it_back(store: Store) {
    sync(&store, dag("d", &CHAIN, |_| {})).await;
    let run = manual(&store, "d").await.key;
    store.clear(run, &Selection::default(), false, time(3)).await.expect("all is cleared");
    assert_eq!(states(&store, run).await["a"], TaskState::Queued);
    let worker = worker(&store).await;
    assert_eq!(claim(&store, worker, 9).await.len(), 1, "it is there once");
}

async fn a_mark_decides_and_revives_what_failed_behind(store: Store) {
    sync(&store, dag("d", &CHAIN, |_| {})).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    end(&store, &claim_one(&store, worker).await, ReportOutcome::Failed { retry: false }).await;
    use TaskState::{Failed, None, Success, UpstreamFailed};
    let expected = [("a", Failed), ("b", UpstreamFailed), ("c", UpstreamFailed)];
    assert_eq!(states(&store, run).await, all_states(&expected));
    let touched = store.mark(run, &tasks(&["a"]), Mark::Success, false, time(3)).await.expect("it is marked");
    assert_eq!(touched.len(), 1);
    assert_eq!(states(&store, run).await, all_states(&[("a", Success), ("b", None), ("c", None)]));
    assert_eq!(store.start_queued_runs(time(4)).await.expect("runs start"), 1);
    for _ in 0..2 {
        succeed(&store, &claim_one(&store, worker).await).await;
    }
    assert_eq!(run_state(&store, run).await, RunState::Success);
    store.mark(run, &tasks(&["c"]), Mark::Failed, false, time(5)).await.expect("it is marked");
    assert_eq!(run_state(&store, run).await, RunState::Failed, "a leaf decides, also when nothing has to run");
}

async fn marking_what_runs_stops_it(store: Store) {
    sync(&store, dag("d", &CHAIN, |_| {})).await;
    let run = manual(&store, "d").await.key;
    let worker = worker(&store).await;
    let task = claim_one(&store, worker).await;
    store.mark(run, &tasks(&["a"]), Mark::Success, false, time(3)).await.expect("it is marked");
    let beat = store.heartbeat(worker, LEASE, &[(task.key.clone(), task.attempt)], time(3)).await.expect("a beat");
    assert_eq!(beat.stop.len(), 1, "its worker is told to stop it");
    assert_eq!(send(&store, &[ended(&task, ReportOutcome::Failed { retry: true })]).await.accepted, [false]);
    assert_eq!(claim_one(&store, worker).await.key.task_id, "b", "the run goes on");
}

async fn a_run_is_marked_as_a_whole(store: Store) {
    sync(&store, dag("d", &CHAIN, |_| {})).await;
    let worker = worker(&store).await;
    let (first, second) = (manual(&store, "d").await.key, manual(&store, "d").await.key);
    claim_one(&store, worker).await;
    store.mark_run(first, true, time(3)).await.expect("it is marked");
    assert_eq!(run_state(&store, first).await, RunState::Success);
    assert_eq!(count(&store, first, TaskState::Success).await, 3);
    store.mark_run(second, false, time(3)).await.expect("it is marked");
    assert_eq!(run_state(&store, second).await, RunState::Failed);
    assert_eq!(count(&store, second, TaskState::Skipped).await, 3);
    assert_eq!(claim(&store, worker, 9).await.len(), 0, "nothing runs in runs that are over");
    assert!(store.mark_run(second, false, time(4)).await.expect("it is so already").is_empty());
}
