//! Networks that break or fall silent in the middle of a transfer.

use serde_json::{Value, json};
use towpath_testkit::TestDb;

use crate::clouds::{Cloud, Kind};
use crate::proxy::{Direction, Proxy, Trouble};
use crate::support::Kitchen;

const ROWS: u64 = 300_000;
/// More than what waits in the buffers of sockets, and less than what is sent.
const MIDDLE: u64 = 1_000_000;

fn rows() -> String {
    let lines: String = (0..ROWS).map(|n| format!("{n},text of row {n}\n")).collect();
    format!("n,text\n{lines}")
}

fn counted() -> Value {
    json!([{"aggregate": {"columns": {"rows": "count(*)", "total": "sum(n)"}}}])
}

fn expected() -> String {
    format!("rows,total\n{ROWS},{}\n", ROWS * (ROWS - 1) / 2)
}

/// The transfers that end well where the first `times` connections fail, and those that do not where all of them fail.
const TIMES: [(i64, bool); 2] = [(1, true), (1_000, false)];

#[test]
fn a_read_from_a_store_goes_on_or_says_where_it_broke() {
    let config = json!({"read_timeout": 1, "connect_timeout": 1, "retries": {"max_attempts": 2}});
    for format in ["csv", "parquet"] {
        let cloud = Cloud::new(Kind::S3);
        cloud.kitchen.file("in.csv", rows());
        let all = cloud.connection(&cloud.server, &Value::Null);
        let url = cloud.url("in");
        let mut target = json!({"connection": "lake"});
        target[format] = json!(url);
        let job = json!({"inputs": [["input", {"csv": "in.csv"}]], "output": {"target": target}, "connections": {"lake": all}});
        cloud.kitchen.run(&job).unwrap();
        for trouble in [Trouble::Cut, Trouble::Stall] {
            for (times, is_well) in TIMES {
                let proxy = Proxy::of_bytes(&cloud.server, trouble, Direction::ToClient, 400_000, times);
                let mut source = json!({"connection": "lake"});
                source[format] = json!(url);
                let found = cloud.kitchen.csv(&json!({"inputs": [["input", source]], "steps": counted(),
                    "connections": {"lake": cloud.connection(&proxy.address.to_string(), &config)}}));
                let case = format!("{format}, {trouble:?}, {times} times");
                // A file is read again from where it broke, so even such a network may be good enough.
                if is_well || !found.starts_with("error") {
                    assert_eq!(found, expected(), "{case}");
                } else {
                    assert!(found.contains(&url) && found.contains("cannot be used"), "{case}: {found}");
                }
            }
        }
    }
}

#[test]
fn a_write_to_a_store_goes_on_or_leaves_what_was_there() {
    let config = json!({"read_timeout": 2, "connect_timeout": 1, "retries": {"max_attempts": 2}});
    for trouble in [Trouble::Cut, Trouble::Stall] {
        for (times, is_well) in TIMES {
            let cloud = Cloud::new(Kind::S3);
            let case = format!("{trouble:?}, {times} times");
            let load = |csv: &str, server: &str| {
                cloud.kitchen.file("in.csv", csv);
                cloud.kitchen.run(&json!({"inputs": [["input", {"csv": "in.csv"}]],
                    "output": {"target": {"csv": cloud.url("out"), "connection": "lake"}}, "owner": "me",
                    "connections": {"lake": cloud.connection(server, &config)}}))
            };
            let read = || {
                cloud.kitchen.csv(&json!({"inputs": [["input", {"csv": cloud.url("out"), "connection": "lake"}]],
                    "steps": counted(), "connections": {"lake": cloud.connection(&cloud.server, &Value::Null)}}))
            };
            load("n,text\n1,old\n", &cloud.server).unwrap();
            let proxy = Proxy::of_bytes(&cloud.server, trouble, Direction::ToServer, MIDDLE, times);
            let done = load(&rows(), &proxy.address.to_string());
            if is_well {
                done.unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(read(), expected(), "{case}");
            } else {
                let error = done.unwrap_err();
                assert!(error.contains(&cloud.url("out")) && error.contains("cannot be used"), "{case}: {error}");
                assert_eq!(read(), "rows,total\n1,1\n", "{case}");
            }
        }
    }
}

#[test]
fn a_database_that_falls_silent_is_asked_and_given_up() {
    let kitchen = Kitchen::new();
    let db: TestDb = tokio::runtime::Runtime::new().unwrap().block_on(towpath_testkit::postgres());
    let url = url::Url::parse(&db.url).unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let connection = |port: u16| {
        let mut url = url.clone();
        url.set_port(Some(port)).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        let found = towpath_model::connection::Connection::from_uri("pg", url.as_str()).unwrap();
        let mut found = found.expose_json();
        found["extra"] = json!({"keepalives_idle": 0.5, "sslmode": "disable"});
        found
    };
    let direct = json!({"pg": connection(url.port().unwrap())});
    kitchen.file("in.csv", rows());
    let load = |connections: &Value, mode: &str| {
        kitchen.run(&json!({"inputs": [["input", {"csv": "in.csv"}]], "connections": connections,
            "output": {"target": {"table": "t", "connection": "pg", "mode": mode}}}))
    };
    let read = |connections: &Value, query: &str| {
        kitchen.csv(&json!({"inputs": [["input", {"query": query, "connection": "pg"}]], "connections": connections,
            "steps": counted()}))
    };
    load(&direct, "overwrite").unwrap();
    // A query that thinks for longer than the silence that is allowed is no failure.
    assert_eq!(read(&direct, "select n, pg_sleep(2) is null as x from t where n = 7"), "rows,total\n1,7\n");
    for (trouble, said) in
        [(Trouble::Cut, "the connection is lost"), (Trouble::Stall, "the network loses what is sent")]
    {
        let proxy = Proxy::of_bytes(&server, trouble, Direction::ToClient, MIDDLE, 1);
        let broken = json!({"pg": connection(proxy.address.port())});
        let found = read(&broken, "select * from t");
        assert!(found.starts_with("error: the query: ") && found.contains(said), "{trouble:?}: {found}");
        assert_eq!(read(&broken, "select * from t"), expected(), "{trouble:?}: the next try");
        for mode in ["append", "overwrite"] {
            let proxy = Proxy::of_bytes(&server, trouble, Direction::ToServer, MIDDLE, 1);
            let broken = json!({"pg": connection(proxy.address.port())});
            let error = load(&broken, mode).unwrap_err();
            assert!(error.starts_with("table `t`") && error.contains(said), "{trouble:?}, {mode}: {error}");
            assert_eq!(read(&direct, "select * from t"), expected(), "{trouble:?}, {mode}: what was there");
        }
    }
}
