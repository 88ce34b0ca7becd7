//! Loads that are stopped or killed leave neither half nor double.

use super::*;

/// A stream that gives its rows and then waits for ever, and says so.
fn stuck(rows: RecordBatch, reached: tokio::sync::oneshot::Sender<()>) -> SendableRecordBatchStream {
    let schema = rows.schema();
    let wait = stream::once(async move {
        let _ = reached.send(());
        std::future::pending().await
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter([Ok(rows)]).chain(wait)))
}

#[tokio::test]
async fn a_load_that_ends_early_leaves_neither_half_nor_double() {
    for db in &databases().await {
        sql(db, "create table people (id int primary key, name varchar(20)); insert into people values (1, 'old')")
            .await;
        let given = || people(&(2..5_000).map(|id| (id, Some("new"))).collect::<Vec<_>>());
        for mode in [Mode::Append, Mode::Overwrite, Mode::Upsert] {
            let target = target("people", mode, &["id"]);
            let rows = stream::iter([Ok(given()), Err(DataFusionError::Execution("the source is gone".to_owned()))]);
            let broken = Box::pin(RecordBatchStreamAdapter::new(given().schema(), rows));
            let error = write(&connection(db), Path::new(PROJECT), &target, broken).await.unwrap_err();
            assert!(error.message.contains("the source is gone"), "{error}");
            assert_eq!(shown(db, ALL).await, "1 old", "{}: {mode}", db.name);

            let (reached, wait) = tokio::sync::oneshot::channel();
            let (connection, target) = (connection(db), target.clone());
            let work =
                tokio::spawn(
                    async move { write(&connection, Path::new(PROJECT), &target, stuck(given(), reached)).await },
                );
            wait.await.unwrap();
            work.abort();
            assert!(work.await.unwrap_err().is_cancelled());
            assert_eq!(shown(db, ALL).await, "1 old", "{}: {mode}", db.name);
        }
        let all = target("people", Mode::Upsert, &["id"]);
        put(db, &all, vec![given()]).await.unwrap();
        let count = "select count(*) as n, count(distinct id) as d from people";
        assert_eq!(shown(db, count).await, "4999 4999", "{}", db.name);
    }
}

/// Where a process that this test starts writes to: an address, and a file that it makes when its first rows are there.
const CHILD: &str = "TOWPATH_TEST_LOAD_CHILD";

#[tokio::test]
async fn a_killed_process_leaves_the_old_rows() {
    let given = || people(&(1..20_000).map(|id| (id, Some("new"))).collect::<Vec<_>>());
    let target = target("people", Mode::Overwrite, &["id"]);
    if let Ok(place) = std::env::var(CHILD) {
        let (uri, marker) = place.split_once('|').unwrap();
        let (reached, wait) = tokio::sync::oneshot::channel();
        let connection = Connection::from_uri("db", uri).unwrap();
        let load = write(&connection, Path::new(PROJECT), &target, stuck(given(), reached));
        let mark = async {
            wait.await.unwrap();
            std::fs::write(marker, "").unwrap();
            std::future::pending::<()>().await;
        };
        tokio::join!(load, mark).0.unwrap();
        return;
    }
    for db in &databases().await {
        sql(db, "create table people (id int primary key, name varchar(20)); insert into people values (1, 'old')")
            .await;
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("reached");
        let uri = db.file().map_or_else(|| db.url.clone(), |file| format!("sqlite:///{}", file.display()));
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "database::tests::ends::a_killed_process_leaves_the_old_rows"])
            .env(CHILD, format!("{uri}|{}", marker.display()))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..600 {
            if marker.exists() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(marker.exists(), "{}: the load has not come so far", db.name);
        assert_eq!(shown(db, ALL).await, "1 old", "{}", db.name);
        put(db, &target, vec![given()]).await.unwrap();
        let count = "select count(*) as n, count(distinct id) as d, min(name) as name from people";
        assert_eq!(shown(db, count).await, "19999 19999 new", "{}", db.name);
    }
}
