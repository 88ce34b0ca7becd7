//! Databases as sources and targets of jobs.

use serde_json::{Value, json};
use towpath_testkit::TestDb;

use crate::support::Kitchen;

/// A connection as a job carries it.
fn connection(db: &TestDb) -> Value {
    let uri = db.file().map_or_else(|| db.url.clone(), |file| format!("sqlite:///{}", file.display()));
    towpath_model::connection::Connection::from_uri("db", &uri).unwrap().expose_json()
}

async fn databases() -> [TestDb; 3] {
    [towpath_testkit::sqlite(), towpath_testkit::postgres().await, towpath_testkit::mysql().await]
}

#[test]
fn rows_go_from_database_to_database() {
    let kitchen = Kitchen::new();
    let [sqlite, postgres, mysql] = tokio::runtime::Runtime::new().unwrap().block_on(databases());
    let connections = json!({"lite": connection(&sqlite), "pg": connection(&postgres), "my": connection(&mysql)});
    kitchen
        .file("flights.csv", "carrier,day,delay\nAA,2013-01-01,5\nUA,2013-01-01,\nAA,2013-01-02,-3\nZz,2013-01-02,7\n");
    let run = |source: Value, steps: Value, target: Value| {
        kitchen.run(&json!({
            "inputs": [["input", source]], "steps": steps, "output": {"target": target}, "connections": connections,
        }))
    };
    let loaded = run(
        json!({"csv": "flights.csv"}),
        json!([]),
        json!({"table": "flights", "connection": "lite", "mode": "overwrite"}),
    );
    assert_eq!(loaded.unwrap()["rows"], 4);
    let steps = json!([{"aggregate": {"by": ["carrier"], "columns": {"flights": "count(*)", "worst": "max(delay)"}}}]);
    for _ in 0..2 {
        let target = json!({"table": "carriers", "connection": "pg", "mode": "upsert", "key": ["carrier"]});
        let loaded = run(json!({"table": "flights", "connection": "lite"}), steps.clone(), target).unwrap();
        assert_eq!((&loaded["rows"], &loaded["table"]), (&json!(3), &json!("carriers")));
    }
    let query = json!({
        "query": "select carrier, flights, worst from carriers where carrier < 'Z' or worst > 0", "connection": "pg",
        "columns": {"flights": "int16"},
    });
    run(query, json!([]), json!({"table": "carriers", "connection": "my", "mode": "error"})).unwrap();
    let found = kitchen.csv(&json!({
        "inputs": [["input", {"table": "carriers", "connection": "my"}]], "connections": connections,
        "steps": [{"sort": ["carrier"]}],
    }));
    insta::assert_snapshot!(found, @"
    carrier,flights,worst
    AA,2,5
    UA,1,NULL
    Zz,1,7
    ");
    let full = run(
        json!({"csv": "flights.csv"}),
        json!([{"select": ["carrier"]}]),
        json!({"table": "carriers", "connection": "my", "mode": "error"}),
    );
    assert_eq!(
        full.unwrap_err(),
        "table `carriers` has rows already (mode `error`); use `append`, `overwrite` or `upsert`"
    );
    let missing = run(json!({"table": "none", "connection": "pg"}), json!([]), json!({"csv": "x.csv"}));
    assert_eq!(missing.unwrap_err(), "table `none`: relation \"none\" does not exist");
}
