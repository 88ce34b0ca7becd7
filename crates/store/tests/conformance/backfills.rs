//! Backfills: which runs they make, and when those start.

use serde_json::Map;
use towpath_model::run::RunType;
use towpath_model::state::RunState;
use towpath_model::timetable::Schedule;
use towpath_store::{BackfillAction, NewBackfill, ReportOutcome, Reprocess, RunFilter, Store};

use crate::harness::*;

both!(
    a_backfill_makes_the_runs_of_its_dates,
    a_backfill_has_its_own_limit_and_order,
    what_exists_is_left_or_runs_again,
    a_paused_backfill_starts_nothing,
    a_cancelled_backfill_gives_up_what_waits,
    what_cannot_be_made_up_for_is_refused,
);

const DAY: i64 = 86_400;

fn daily() -> Schedule {
    towpath_model::timetable::parse("@daily", chrono_tz::Tz::UTC, towpath_model::timetable::Kind::Trigger)
        .expect("it is a preset")
}

async fn daily_dag(store: &Store) {
    sync(store, dag("d", &[("a", "bash", &[])], |spec| spec.schedule = daily())).await;
}

/// Five days from the start of 2026.
fn five_days() -> NewBackfill {
    NewBackfill {
        dag_id: "d".into(),
        from: time(0),
        to: time(4 * DAY),
        reprocess: Reprocess::None,
        max_active_runs: 2,
        backwards: false,
        conf: Map::new(),
        triggering_user: None,
    }
}

const LATER: i64 = 10 * DAY;

async fn made(store: &Store, new: &NewBackfill) -> (i64, Vec<BackfillAction>) {
    let (id, dates) = store.create_backfill(new, false, time(LATER)).await.expect("a backfill is made");
    (id.expect("it has an id"), dates.into_iter().map(|date| date.action).collect())
}

/// The logical dates of the runs in `state`, as days.
async fn days(store: &Store, state: RunState) -> Vec<i64> {
    let filter = RunFilter { states: vec![state], limit: 100, ..RunFilter::default() };
    let runs = store.runs(&filter).await.expect("runs can be read").items;
    runs.iter().map(|run| (run.logical_date.expect("it has a date") - time(0)).num_days()).collect()
}

async fn a_backfill_makes_the_runs_of_its_dates(store: Store) {
    daily_dag(&store).await;
    let (none, told) = store.create_backfill(&five_days(), true, time(LATER)).await.expect("it is told");
    assert_eq!((none, told.len()), (None, 5));
    assert!(store.backfills(None).await.expect("they can be read").is_empty(), "a dry run makes nothing");
    let (id, actions) = made(&store, &five_days()).await;
    assert_eq!(actions, [BackfillAction::Create; 5]);
    let record = store.backfill(id).await.expect("it can be read").expect("it exists");
    assert_eq!((record.runs, record.queued, record.completed_at), (5, 5, None));
    let runs = store.runs(&RunFilter { limit: 9, ..RunFilter::default() }).await.expect("runs can be read").items;
    assert!(runs.iter().all(|run| run.run_type == RunType::Backfill && run.run_id.starts_with("backfill__2026-01-0")));
}

async fn a_backfill_has_its_own_limit_and_order(store: Store) {
    sync(
        &store,
        dag("d", &[("a", "bash", &[])], |spec| {
            spec.schedule = daily();
            spec.max_active_runs = 1;
        }),
    )
    .await;
    manual(&store, "d").await;
    made(&store, &NewBackfill { backwards: true, ..five_days() }).await;
    let worker = worker(&store).await;
    succeed(&store, &claim_one(&store, worker).await).await;
    for expected in [vec![3, 4], vec![1, 2], vec![0]] {
        store.start_queued_runs(time(LATER)).await.expect("runs start");
        assert_eq!(days(&store, RunState::Running).await, expected, "two at a time, the newest first");
        for task in claim(&store, worker, 9).await {
            succeed(&store, &task).await;
        }
    }
    let record = store.backfills(Some("d")).await.expect("they can be read").remove(0);
    assert_eq!((record.success, record.completed_at), (5, Some(time(2))));
}

async fn what_exists_is_left_or_runs_again(store: Store) {
    daily_dag(&store).await;
    made(&store, &NewBackfill { to: time(2 * DAY), max_active_runs: 9, ..five_days() }).await;
    store.start_queued_runs(time(LATER)).await.expect("runs start");
    let worker = worker(&store).await;
    let claimed = claim(&store, worker, 9).await;
    end(&store, &claimed[0], ReportOutcome::Failed { retry: false }).await;
    succeed(&store, &claimed[1]).await;
    use BackfillAction::{AlreadyExists, Create, InFlight, Reprocess as Again};
    let with = |reprocess| NewBackfill { reprocess, to: time(3 * DAY), ..five_days() };
    let told = async |new: NewBackfill| -> Vec<BackfillAction> {
        let (_, dates) = store.create_backfill(&new, true, time(LATER)).await.expect("it is told");
        dates.into_iter().map(|date| date.action).collect()
    };
    assert_eq!(told(with(Reprocess::None)).await, [AlreadyExists, AlreadyExists, InFlight, Create]);
    assert_eq!(told(with(Reprocess::Failed)).await, [Again, AlreadyExists, InFlight, Create]);
    assert_eq!(told(with(Reprocess::Completed)).await, [Again, Again, InFlight, Create]);
    let (id, _) = made(&store, &with(Reprocess::Failed)).await;
    succeed(&store, &claimed[2]).await;
    let record = store.backfill(id).await.expect("it can be read").expect("it exists");
    assert_eq!((record.runs, record.queued), (2, 2));
    store.start_queued_runs(time(LATER)).await.expect("runs start");
    drain(&store, 2, |_| ReportOutcome::Success).await;
    let record = store.backfill(id).await.expect("it can be read").expect("it exists");
    assert_eq!((record.success, record.failed), (2, 0));
}

async fn a_paused_backfill_starts_nothing(store: Store) {
    daily_dag(&store).await;
    let (id, _) = made(&store, &five_days()).await;
    assert!(store.pause_backfill(id, true).await.expect("it is paused"));
    assert_eq!(store.start_queued_runs(time(LATER)).await.expect("runs start"), 0);
    store.pause_backfill(id, false).await.expect("it goes on");
    assert_eq!(store.start_queued_runs(time(LATER)).await.expect("runs start"), 2);
    assert!(!store.pause_backfill(99, true).await.expect("it is answered"), "there is none");
}

async fn a_cancelled_backfill_gives_up_what_waits(store: Store) {
    daily_dag(&store).await;
    let (id, _) = made(&store, &five_days()).await;
    assert_eq!(store.start_queued_runs(time(LATER)).await.expect("runs start"), 2);
    assert_eq!(store.cancel_backfill(id, time(LATER)).await.expect("it is cancelled"), Some(3));
    assert_eq!(days(&store, RunState::Failed).await, [2, 3, 4]);
    drain(&store, 1, |_| ReportOutcome::Success).await;
    let record = store.backfill(id).await.expect("it can be read").expect("it exists");
    assert_eq!((record.success, record.failed, record.is_cancelled), (2, 3, true));
    assert!(record.completed_at.is_some());
    assert_eq!(store.cancel_backfill(99, time(LATER)).await.expect("it is answered"), None);
}

async fn what_cannot_be_made_up_for_is_refused(store: Store) {
    daily_dag(&store).await;
    sync(&store, dag("never", &[("a", "bash", &[])], |_| {})).await;
    let refusal = async |new: NewBackfill| -> String {
        store.create_backfill(&new, false, time(LATER)).await.expect_err("it is refused").to_string()
    };
    let text = refusal(NewBackfill { dag_id: "never".into(), ..five_days() }).await;
    assert!(text.contains("no schedule"), "{text}");
    let text = refusal(NewBackfill { from: time(1), to: time(2), ..five_days() }).await;
    assert!(text.contains("has no date from"), "{text}");
    let text = refusal(NewBackfill { to: time(20_000 * DAY), ..five_days() }).await;
    assert!(text.contains("more than 10000 dates"), "{text}");
    let text = refusal(NewBackfill { dag_id: "unknown".into(), ..five_days() }).await;
    assert!(text.contains("unknown"), "{text}");
}
