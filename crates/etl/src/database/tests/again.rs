//! Tries of one task instance find each other's work, on three databases.

use std::time::Duration;

use super::super::{Noted, write_as};
use super::*;
use crate::instance::Instance;

fn instance(name: &str, try_number: u32, settled: u32) -> Instance {
    Instance { name: name.to_owned(), mark: name.to_owned(), key: name.to_owned(), try_number, settled }
}

async fn put_as(by: &Instance, db: &TestDb, mode: Mode, rows: SendableRecordBatchStream) -> Result<Written, Error> {
    write_as(Some(by), &connection(db), Path::new(PROJECT), &target("people", mode, &[]), rows).await
}

#[tokio::test]
async fn a_load_that_nobody_was_told_of_is_not_done_again() {
    for db in &databases().await {
        let one = || data(vec![people(&[(1, Some("a")), (2, Some("b"))])]);
        let told = |written: &Written| (written.rows, written.created, written.ignored, written.noted);
        for mode in [Mode::Append, Mode::Error, Mode::Ignore] {
            sql(db, "drop table if exists people").await;
            sql(db, "drop table if exists towpath_loads").await;
            let first = put_as(&instance("me", 1, 0), db, mode, one()).await.unwrap();
            assert_eq!(told(&first), (2, true, false, Noted::Yes), "{}: {mode}", db.name);
            for again in [1, 2, 3] {
                let found = put_as(&instance("me", again, 0), db, mode, one()).await.unwrap();
                assert_eq!(told(&found), (2, true, false, Noted::Earlier), "{}: {mode}, try {again}", db.name);
            }
            assert_eq!(shown(db, ALL).await, "1 a; 2 b", "{}: {mode}", db.name);
        }
        // Others load, and so does it once its success was recorded and it was cleared, for which the rules are the same.
        put_as(&instance("other", 1, 0), db, Mode::Append, data(vec![people(&[(3, Some("c"))])])).await.unwrap();
        for again in [2, 3] {
            let rows = data(vec![people(&[(4, Some("d"))])]);
            let cleared = put_as(&instance("me", again, 1), db, Mode::Append, rows).await.unwrap();
            assert_eq!(cleared.noted, if again == 2 { Noted::Yes } else { Noted::Earlier }, "{}", db.name);
        }
        assert_eq!(shown(db, ALL).await, "1 a; 2 b; 3 c; 4 d", "{}", db.name);
        let notes = shown(db, "select task, target, try_number, loaded_rows from towpath_loads order by task").await;
        assert_eq!(notes, "me people 2 1; other people 1 1", "{}", db.name);
        // One that fails leaves no note.
        let failing = stream::iter([Ok(people(&[(5, None)])), Err(DataFusionError::External("broken".into()))]);
        let failing = Box::pin(RecordBatchStreamAdapter::new(people(&[]).schema(), failing));
        put_as(&instance("new", 1, 0), db, Mode::Append, failing).await.unwrap_err();
        let after =
            put_as(&instance("new", 2, 0), db, Mode::Append, data(vec![people(&[(5, Some("e"))])])).await.unwrap();
        assert_eq!(told(&after), (1, false, false, Noted::Yes), "{}", db.name);
    }
}

/// A try that was given up but still runs must not add its rows when the next one has. In SQLite there is one writer anyway.
#[tokio::test]
async fn of_two_tries_at_the_same_time_one_counts() {
    for db in &databases().await[1..] {
        sql(db, "create table people (id bigint, name varchar(20))").await;
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let slow = stream::once(async move {
            // It fails where nobody lets it go on.
            wait.await.map_err(|error| DataFusionError::External(error.into()))?;
            Ok(people(&[(1, Some("slow"))]))
        });
        let slow = Box::pin(RecordBatchStreamAdapter::new(people(&[]).schema(), slow));
        let by = instance("me", 1, 0);
        let first = put_as(&by, db, Mode::Append, slow);
        tokio::pin!(first);
        let ended = tokio::time::timeout(Duration::from_millis(700), &mut first).await;
        assert!(ended.is_err(), "{}", db.name);
        let rows = data(vec![people(&[(1, Some("quick"))])]);
        let second = put_as(&instance("me", 2, 0), db, Mode::Append, rows).await.unwrap();
        assert_eq!(second.noted, Noted::Yes, "{}", db.name);
        go.send(()).unwrap();
        assert_eq!(first.await.unwrap().noted, Noted::Earlier, "{}", db.name);
        assert_eq!(shown(db, ALL).await, "1 quick", "{}", db.name);
    }
}

#[tokio::test]
async fn a_role_that_may_not_make_tables_loads_all_the_same() {
    let db = towpath_testkit::postgres().await;
    let role = format!("writer_{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    sql(&db, &format!("create role {role} login")).await;
    sql(&db, "create table people (id bigint, name text)").await;
    sql(&db, &format!("grant select, insert on people to {role}")).await;
    sql(&db, "revoke create on schema public from public").await;
    let mut uri = url::Url::parse(&db.url).unwrap();
    uri.set_username(&role).unwrap();
    let limited = Connection::from_uri("db", uri.as_str()).unwrap();
    for _ in 0..2 {
        let rows = data(vec![people(&[(1, Some("a"))])]);
        let to = target("people", Mode::Append, &[]);
        let written = write_as(Some(&instance("me", 1, 0)), &limited, Path::new(PROJECT), &to, rows).await.unwrap();
        assert_eq!((written.rows, written.noted), (1, Noted::Refused));
    }
    assert_eq!(shown(&db, ALL).await, "1 a; 1 a");
    sql(&db, &format!("drop owned by {role}")).await;
    sql(&db, &format!("drop role {role}")).await;
}
