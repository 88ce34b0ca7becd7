//! Secrets of webhooks, users of identity providers, and how runs and tasks stand.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

use towpath_model::state::{RunState, TaskState};
use towpath_store::{Role, Store};

use crate::harness::{both, manual, sync, time, wide};

async fn secrets_are_replaced_and_taken_away(store: Store) {
    assert!(store.set_webhook("etl", "first", false, None, None, time(0)).await.is_err(), "there is no such DAG");
    sync(&store, wide("etl", 1, |_| {})).await;
    assert!(store.webhook("etl", time(0)).await.unwrap().is_none());
    let good = async |at| store.webhook("etl", time(at)).await.unwrap().unwrap().secrets;

    store.set_webhook("etl", "first", false, Some("ada"), None, time(1)).await.unwrap();
    assert_eq!(good(1).await, ["first"]);
    store.webhook_used("etl", time(2)).await.unwrap();
    let [record] = store.webhooks().await.unwrap().try_into().unwrap();
    assert_eq!((record.created_by.as_deref(), record.created_at, record.is_conf), (Some("ada"), time(1), false));
    assert_eq!((record.last_used_at, record.previous_until), (Some(time(2)), None));

    // The one before stays good for a while, and no longer; one before that not at all.
    store.set_webhook("etl", "second", true, None, Some(time(20)), time(10)).await.unwrap();
    assert_eq!(good(19).await, ["second", "first"]);
    assert_eq!(good(20).await, ["second"]);
    store.set_webhook("etl", "third", true, None, Some(time(30)), time(11)).await.unwrap();
    assert_eq!(good(12).await, ["third", "second"]);
    store.set_webhook("etl", "fourth", true, None, None, time(12)).await.unwrap();
    assert_eq!(good(12).await, ["fourth"]);
    let [record] = store.webhooks().await.unwrap().try_into().unwrap();
    assert_eq!((record.is_conf, record.last_used_at), (true, None), "this secret was never used");

    assert!(store.delete_webhook("etl").await.unwrap());
    assert!(!store.delete_webhook("etl").await.unwrap());
    // It goes with its DAG.
    store.set_webhook("etl", "fifth", false, None, None, time(13)).await.unwrap();
    store.delete_dag("etl", time(14)).await.unwrap();
    assert!(store.webhooks().await.unwrap().is_empty());
}

async fn identities_belong_to_one_user(store: Store) {
    for name in ["ada", "bob"] {
        assert!(store.create_user(name, Role::User, None, time(0)).await.unwrap());
    }
    let whose = async |issuer, subject| store.user_of_identity(issuer, subject).await.unwrap().map(|user| user.name);
    assert_eq!(whose("https://a", "7").await, None);
    assert!(store.link_identity("https://a", "7", "ada", time(1)).await.unwrap());
    assert!(!store.link_identity("https://a", "7", "bob", time(2)).await.unwrap(), "that is ada");
    assert!(store.link_identity("https://b", "7", "bob", time(2)).await.unwrap(), "another provider's 7");
    assert!(store.link_identity("https://a", "8", "nobody", time(2)).await.is_err());
    assert_eq!(whose("https://a", "7").await.as_deref(), Some("ada"));
    assert_eq!(whose("https://b", "7").await.as_deref(), Some("bob"));
    store.delete_user("ada").await.unwrap();
    assert_eq!(whose("https://a", "7").await, None);
}

async fn standings_are_of_what_goes_on(store: Store) {
    sync(&store, wide("two", 2, |_| {})).await;
    let run = manual(&store, "two").await;
    let [standing] = store.run_standings(time(0), 10).await.unwrap().try_into().unwrap();
    assert_eq!((standing.key, standing.run_id, standing.dag_id), (run.key, run.run_id.clone(), "two".to_owned()));
    let tasks = store.task_standings(&[run.key], 10).await.unwrap();
    assert_eq!(tasks.iter().map(|it| (it.state, it.map_index)).collect::<Vec<_>>(), [(TaskState::Queued, -1); 2]);
    assert_eq!(store.task_standings(&[run.key], 1).await.unwrap().len(), 1);
    assert_eq!(store.task_standings(&[], 10).await.unwrap(), []);

    store.mark_run(run.key, false, time(5)).await.unwrap();
    let [ended] = store.run_standings(time(5), 10).await.unwrap().try_into().unwrap();
    assert_eq!(ended.state, RunState::Failed);
    assert_eq!(store.run_standings(time(6), 10).await.unwrap(), [], "that was before");
    for _ in 0..3 {
        manual(&store, "two").await;
    }
    assert_eq!(store.run_standings(time(6), 2).await.unwrap().len(), 2);
}

both!(secrets_are_replaced_and_taken_away, identities_belong_to_one_user, standings_are_of_what_goes_on);
