//! What overviews read: grids, times, what is live, and DAGs by what people know of them.

use std::time::Duration;

use chrono::TimeDelta;
use towpath_model::state::{RunState, TaskState};
use towpath_store::{
    DagQuery, GridCell, HourCount, LineOf, Report, ReportOutcome, Store, TaskDuration, Upcoming, ZoneOffset,
};

use crate::harness::{asks, both, claim_one, dag, ended, manual, sync, time, worker};

async fn a_grid_counts_instances_by_state(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[]), ("b", "bash", &["a"])], |_| {})).await;
    let (first, second) = (manual(&store, "d").await, manual(&store, "d").await);
    let worker = worker(&store).await;
    let task = claim_one(&store, worker).await;
    let done = ended(&task, ReportOutcome::Success);
    store.report(&[done], &[], &asks(worker, 0), time(2)).await.expect("a report is taken");
    let other = if task.key.run_key == first.key { &second } else { &first };

    let key = |cell: &GridCell| (cell.run_key, cell.task_id.clone(), cell.state, cell.count, cell.try_number);
    let mut cells: Vec<_> =
        store.grid(&[first.key, second.key]).await.expect("a grid is read").iter().map(key).collect();
    cells.sort_unstable_by_key(|cell| (cell.0 != task.key.run_key, cell.1.clone()));
    assert_eq!(
        cells,
        [
            (task.key.run_key, "a".to_owned(), TaskState::Success, 1, 1),
            (task.key.run_key, "b".to_owned(), TaskState::Queued, 1, 1),
            (other.key, "a".to_owned(), TaskState::Queued, 1, 1),
            (other.key, "b".to_owned(), TaskState::None, 1, 0),
        ]
    );
    let of = |line, task_id| LineOf { line, task_id };
    let lines = store.grid_of_lines(&[task.key.run_key], &[of(7, "a")]).await.expect("a grid is read");
    let [(7, cell)] = lines.as_slice() else { panic!("one cell of line 7: {lines:?}") };
    assert_eq!(key(cell), cells[0]);
    assert_eq!((cell.start_date, cell.end_date, cell.map_index), (Some(time(1)), Some(time(2)), -1));
    let both = store.grid_of_tasks(&[first.key, second.key], &["a", "c"]).await.expect("a grid is read");
    assert_eq!(both.iter().map(|cell| cell.task_id.as_str()).collect::<Vec<_>>(), ["a", "a"]);
    assert_eq!(store.grid_of_tasks(&[first.key], &[]).await.expect("nothing is asked"), []);
    let spans = store.durations_of_tasks(&[first.key, second.key], &["a", "c"]).await.expect("durations are read");
    let expected = TaskDuration { run_key: task.key.run_key, task_id: "a".into(), duration: Duration::from_secs(1) };
    assert_eq!(spans, [expected]);
    assert_eq!(store.durations_of_tasks(&[first.key], &["c"]).await.expect("durations are read"), []);
    let both = [of(0, "a"), of(0, "b"), of(1, "b")];
    let lines = store.grid_of_lines(&[other.key, task.key.run_key], &both).await.expect("a grid is read");
    let mut states: Vec<_> =
        lines.iter().map(|(line, cell)| (cell.run_key != task.key.run_key, *line, cell.state, cell.count)).collect();
    states.sort_unstable_by_key(|it| (it.0, it.1, it.2.to_string()));
    assert_eq!(
        states,
        [
            (false, 0, TaskState::Queued, 1),
            (false, 0, TaskState::Success, 1),
            (false, 1, TaskState::Queued, 1),
            (true, 0, TaskState::None, 1),
            (true, 0, TaskState::Queued, 1),
            (true, 1, TaskState::None, 1),
        ]
    );
    assert_eq!(store.grid(&[]).await.expect("nothing is asked"), []);
    assert_eq!(store.grid_of_lines(&[first.key], &[]).await.expect("nothing is asked"), []);
}

async fn runs_by_how_they_fare(store: Store) {
    sync(&store, dag("d", &[("a", "bash", &[])], |_| {})).await;
    let (failed, live) = (manual(&store, "d").await, manual(&store, "d").await);
    store.mark_run(failed.key, false, time(3_600)).await.expect("a run is marked");
    let ids = |runs: Vec<towpath_store::RunRecord>| runs.into_iter().map(|run| run.run_id).collect::<Vec<_>>();
    assert_eq!(ids(store.live_runs(10).await.expect("runs are read")), std::slice::from_ref(&live.run_id));
    assert_eq!(
        // What counts is when it ended: its `run_after` is an hour before.
        ids(store.failed_runs_since(time(1), 10).await.expect("runs are read")),
        std::slice::from_ref(&failed.run_id)
    );
    assert_eq!(ids(store.failed_runs_since(time(3_601), 10).await.expect("runs are read")), Vec::<String>::new());
    let hour = time(3_600).timestamp() / 3_600;
    let counts = async |since, until| store.ended_by_hour(time(since), time(until)).await.expect("hours are read");
    let once = [HourCount { hour, state: RunState::Failed, count: 1 }];
    assert_eq!(counts(1, 90_000).await, once);
    assert_eq!(counts(3_600, 3_600).await, once);
    assert_eq!(counts(3_601, 90_000).await, []);
    let due = async |seconds: i64, limit, covers: i64, offset| {
        let from = time(0) + TimeDelta::seconds(seconds);
        let zone = ZoneOffset { from: time(0) + TimeDelta::seconds(covers), until: time(9_999), offset };
        let due = from..from + TimeDelta::hours(1);
        let mut runs = store.run_counts("d", due, &[zone], limit).await.expect("runs are counted");
        runs.sort_by_key(|run| run.state.to_string());
        runs.into_iter().map(|run| (run.day, run.state, run.count)).collect::<Vec<_>>()
    };
    let day = Some(time(0).date_naive());
    assert_eq!(due(0, 10, 0, 0).await, [(day, RunState::Failed, 1), (day, live.state, 1)]);
    assert_eq!(due(0, 1, 0, 0).await, [(day, live.state, 1)]);
    assert_eq!(due(1, 10, 0, 0).await, []);
    // In the far west it is the day before, in the far east the next at some hour.
    let seconds = i32::try_from(time(0).timestamp().rem_euclid(86_400)).expect("a day is short");
    assert_eq!(due(0, 1, 0, -seconds).await, [(day, live.state, 1)]);
    assert_eq!(due(0, 1, 0, -seconds - 1).await, [(day.and_then(|day| day.pred_opt()), live.state, 1)]);
    assert_eq!(due(0, 1, 0, 86_400 - seconds).await, [(day.and_then(|day| day.succ_opt()), live.state, 1)]);
    // Nobody asked for that time.
    assert_eq!(due(0, 1, 1, 0).await, [(None, live.state, 1)]);
    assert_eq!(store.dag_totals().await.expect("DAGs are counted"), (1, 0));
    store.set_paused("d", true, time(9)).await.expect("a DAG is paused");
    assert_eq!(store.dag_totals().await.expect("DAGs are counted"), (1, 1));
}

async fn dags_by_what_people_know(store: Store) {
    for (id, tag, owner, description) in
        [("alpha", "daily", "ann", "Loads flights"), ("beta", "da%ly", "bob \"b\"", "Sends mail")]
    {
        let made = dag(id, &[("a", "empty", &[])], |spec| {
            spec.tags = vec![tag.to_owned()];
            spec.description = Some(description.to_owned());
            spec.tasks[0].owner = owner.to_owned();
        });
        sync(&store, made).await;
    }
    let check = async |query: DagQuery, expected: &[&str]| {
        let page = store.find_dags(&DagQuery { limit: 10, ..query.clone() }).await.expect("DAGs are read");
        let ids: Vec<&str> = page.items.iter().map(|dag| dag.dag_id.as_str()).collect();
        assert_eq!((ids.as_slice(), page.total), (expected, expected.len() as u64), "{query:?}");
    };
    let text = |text: &str| DagQuery { text: Some(text.to_owned()), ..DagQuery::default() };
    check(DagQuery::default(), &["alpha", "beta"]).await;
    check(text("ALPH"), &["alpha"]).await;
    check(text("flights"), &["alpha"]).await;
    check(text("bob"), &["beta"]).await;
    check(text("da%"), &["beta"]).await;
    check(text("_"), &[]).await;
    let tag = |tag: &str| DagQuery { tags: vec![tag.to_owned()], ..DagQuery::default() };
    check(tag("daily"), &["alpha"]).await;
    check(tag("dail"), &[]).await;
    check(tag("da%ly"), &["beta"]).await;
    check(DagQuery { owner: Some("bob \"b\"".to_owned()), ..DagQuery::default() }, &["beta"]).await;
    check(DagQuery { among: Some(vec!["beta".to_owned()]), ..DagQuery::default() }, &["beta"]).await;
    check(DagQuery { among: Some(Vec::new()), ..DagQuery::default() }, &[]).await;
    check(DagQuery { paused: Some(true), ..DagQuery::default() }, &[]).await;
    let with = |state| DagQuery { with_run: Some(state), ..DagQuery::default() };
    check(with(RunState::Success), &[]).await;
    // A run of `empty` tasks alone ends as it starts.
    let run = manual(&store, "beta").await;
    assert_eq!(store.run_by_key(run.key).await.expect("a run is read").expect("it exists").state, RunState::Success);
    check(with(RunState::Success), &["beta"]).await;
    check(with(RunState::Running), &[]).await;
    let (tags, owners) = store.labels().await.expect("labels are read");
    assert_eq!(tags, ["da%ly", "daily"]);
    assert_eq!(owners, ["ann", "bob \"b\""]);
    assert_eq!(store.upcoming(10).await.expect("what comes next is read"), Vec::<Upcoming>::new());
}

async fn parts_of_a_run(store: Store) {
    sync(&store, dag("d", &[("one", "bash", &[]), ("two", "bash", &[]), ("last", "bash", &["one", "two"])], |_| {}))
        .await;
    let run = manual(&store, "d").await;
    let worker = worker(&store).await;
    // The second to end took longer.
    for seconds in [2, 9] {
        let task = claim_one(&store, worker).await;
        let end = Report { ended_at: time(seconds), ..ended(&task, ReportOutcome::Success) };
        store.report(&[end], &[], &asks(worker, 0), time(seconds)).await.expect("a report is taken");
    }
    let states = store.states_of_run(run.key).await.expect("states are read");
    let told: Vec<_> = states.iter().map(|it| (it.task_id.as_str(), it.map_index, it.state, it.try_number)).collect();
    assert_eq!(told.len(), 3);
    assert_eq!((told[0].0, told[0].1), ("last", -1));
    assert_eq!(told[1], ("one", -1, TaskState::Success, 1));
    assert_eq!(told[2], ("two", -1, TaskState::Success, 1));
    assert_eq!(store.states_of_run(-1).await.expect("nothing is there"), []);
    let some = [("two", -1), ("gone", -1), ("one", -1), ("one", 3)];
    let found = store.some_task_instances(run.key, &some).await.expect("they are read");
    let all = store.task_instances(run.key).await.expect("they are read");
    assert_eq!(found, all[1..], "as all are read, in the same order");
    let slowest =
        async |text, limit, offset| store.slowest_tasks(run.key, text, limit, offset).await.expect("tasks are read");
    let order = slowest("", 9, 0).await;
    assert_eq!(order.len(), 3);
    assert_eq!(order[2], "last", "it has not succeeded");
    let took = |task_id: &str| {
        let instance = all.iter().find(|it| it.key.task_id == task_id).expect("it is there");
        instance.end_date.zip(instance.start_date).map(|(end, start)| end - start)
    };
    assert!(took(&order[0]) > took(&order[1]));
    assert_eq!(slowest("", 1, 1).await, order[1..2]);
    assert_eq!(slowest("w", 9, 0).await, ["two"]);
    assert_eq!(slowest("%", 9, 0).await, Vec::<String>::new());
}

both!(a_grid_counts_instances_by_state, parts_of_a_run, runs_by_how_they_fare, dags_by_what_people_know);
