//! Lists with conditions, and what is edited by hand.

use serde_json::json;
use towpath_model::state::{RunState, TaskState};
use towpath_store::{After, Compare, Datum, Listing, Page, RunField, RunRecord, Store, TaskField, Test, XComField};

use crate::harness::*;

both!(
    runs_are_chosen_by_what_they_are,
    pages_of_runs_follow_each_other,
    task_instances_are_chosen_across_runs,
    xcoms_are_written_and_listed,
    task_instances_are_deleted_when_their_run_is_over,
);

async fn runs(store: &Store, listing: Listing<RunField>) -> Page<RunRecord> {
    store.list_runs(&listing, false).await.expect("runs can be listed")
}

async fn runs_are_chosen_by_what_they_are(store: Store) {
    sync(&store, wide("alpha", 1, |_| {})).await;
    sync(&store, wide("beta_%", 1, |_| {})).await;
    let first = manual(&store, "alpha").await;
    let second = manual(&store, "beta_%").await;
    assert!(store.mark_run(first.key, true, time(9)).await.is_ok());
    assert!(store.set_run_note(second.key, Some("told"), time(9)).await.expect("it exists"));
    let chosen = async |field, test| {
        let page = runs(&store, Listing { tests: vec![(field, test)], ..Listing::default() }).await;
        assert_eq!(page.total, page.items.len() as u64);
        page.items.into_iter().map(|run| run.dag_id).collect::<Vec<_>>()
    };
    let (both, alpha, beta) = (vec!["alpha", "beta_%"], vec!["alpha"], vec!["beta_%"]);
    let text = |text: &str| Datum::Text(text.to_owned());
    let bound = |compare, seconds| Test::Bound(compare, Datum::Time(time(seconds)));
    for (field, test, expected) in [
        (RunField::DagId, Test::Among(vec![text("alpha"), text("nope")]), &alpha),
        (RunField::DagId, Test::Among(vec![]), &vec![]),
        (RunField::DagId, Test::Like(vec!["%LPH%".into()]), &alpha),
        (RunField::DagId, Test::Like(vec!["%\\".into()]), &vec![]),
        (RunField::DagId, Test::Prefix(vec!["beta_%".into()]), &beta),
        (RunField::DagId, Test::Prefix(vec!["%".into()]), &vec![]),
        (RunField::DagId, Test::Prefix(vec![String::new()]), &both),
        (RunField::State, Test::Among(vec![Datum::Word(RunState::Success.into())]), &alpha),
        (RunField::EndDate, bound(Compare::AtLeast, 9), &alpha),
        (RunField::EndDate, bound(Compare::Above, 9), &vec![]),
        (RunField::Duration, Test::Bound(Compare::AtLeast, Datum::Seconds(0.5)), &alpha),
        (RunField::Duration, Test::Bound(Compare::Above, Datum::Seconds(1e6)), &vec![]),
        (RunField::VersionNumber, Test::Among(vec![Datum::Number(1)]), &both),
        (RunField::Note, Test::Among(vec![text("told")]), &beta),
        (RunField::Conf, Test::Like(vec!["%{%".into()]), &both),
    ] {
        assert_eq!(chosen(field, test.clone()).await, *expected, "{field:?} {test:?}");
    }
    let counts = store.run_states(&["alpha".into(), "nope".into()]).await.expect("counted");
    assert_eq!(counts, [("alpha".to_owned(), "success".to_owned(), 1)]);
}

async fn pages_of_runs_follow_each_other(store: Store) {
    sync(&store, wide("d", 1, |_| {})).await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(manual(&store, "d").await.key);
    }
    for (field, descends) in [(RunField::Key, false), (RunField::Key, true), (RunField::RunAfter, true)] {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let listing = Listing { order: vec![(field, descends)], after, limit: 2, ..Listing::default() };
            let page = runs(&store, listing).await;
            assert_eq!(page.total, 5);
            let Some(last) = page.items.last() else { break };
            after = Some(After::Run { key: last.key, run_after: last.run_after });
            found.extend(page.items.iter().map(|run| run.key));
        }
        let mut expected = all.clone();
        if descends {
            expected.reverse();
        }
        assert_eq!(found, expected, "{field:?} {descends}");
    }
}

async fn task_instances_are_chosen_across_runs(store: Store) {
    sync(&store, wide("d", 3, |_| {})).await;
    let first = manual(&store, "d").await;
    manual(&store, "d").await;
    let worker = worker(&store).await;
    let task = claim_one(&store, worker).await;
    succeed(&store, &task).await;
    let mut listing = Listing::<TaskField> { limit: 4, ..Listing::default() };
    let page = store.list_tasks(&listing, false).await.expect("listed");
    assert_eq!((page.items.len(), page.total), (4, 6));
    listing.after = page.items.last().map(|last| After::Task(last.key.clone()));
    let rest = store.list_tasks(&listing, true).await.expect("listed");
    assert_eq!(rest.items.len(), 2);
    assert!(rest.items.iter().all(|it| page.items.iter().all(|before| before.key != it.key)));
    let mut done = Listing::<TaskField>::default();
    done.among(TaskField::State, vec![Datum::Word(TaskState::Success.into())]);
    done.is(TaskField::DagId, "d");
    done.is(TaskField::RunId, first.run_id.as_str());
    done.tests.push((TaskField::MapIndex, Test::Among(vec![Datum::Number(-1)])));
    done.order = vec![(TaskField::Duration, true), (TaskField::TaskId, false)];
    let page = store.list_tasks(&done, false).await.expect("listed");
    assert_eq!(page.items.iter().map(|it| &it.key).collect::<Vec<_>>(), [&task.key]);
    assert!(store.set_task_note(&task.key, Some("seen"), time(9)).await.expect("it exists"));
    assert_eq!(instance(&store, &task.key).await.note.as_deref(), Some("seen"));
}

async fn xcoms_are_written_and_listed(store: Store) {
    sync(&store, wide("d", 2, |_| {})).await;
    let run = manual(&store, "d").await;
    let task = key(run.key, "t0001");
    for (value, new, expected) in
        [(json!(1), false, false), (json!(2), true, true), (json!(3), true, false), (json!(4), false, true)]
    {
        let done = store.put_xcom(&task, "k", &value, new, time(5)).await.expect("the database answers");
        assert_eq!(done, expected, "{value}");
    }
    assert_eq!(store.task_xcoms(&task).await.expect("read")[0].value, json!(4));
    let mut listing = Listing::<XComField>::default();
    listing.is(XComField::DagId, "d");
    let page = store.list_xcoms(&listing).await.expect("listed");
    assert_eq!((page.total, page.items[0].0, page.items[0].1.key.as_str()), (1, run.key, "k"));
    assert!(store.delete_xcom(&task, "k", time(6)).await.expect("deleted"));
    assert!(!store.delete_xcom(&task, "k", time(6)).await.expect("asked"));
}

async fn task_instances_are_deleted_when_their_run_is_over(store: Store) {
    sync(&store, wide("d", 2, |_| {})).await;
    let run = manual(&store, "d").await;
    let task = key(run.key, "t0000");
    assert!(!store.delete_task_instance(&task, time(5)).await.expect("asked"));
    store.mark_run(run.key, false, time(6)).await.expect("marked");
    assert!(store.put_xcom(&task, "k", &json!(1), true, time(7)).await.expect("written"));
    assert!(store.delete_task_instance(&task, time(8)).await.expect("deleted"));
    assert!(store.task_instance(&task).await.expect("read").is_none());
    assert!(store.task_xcoms(&task).await.expect("read").is_empty());
    assert_eq!(store.task_instances(run.key).await.expect("read").len(), 1);
}
