//! The operators `sql` and `sql_branch` and the sensor, on all three databases.

use std::time::Duration;

use serde_json::{Value, json};
use towpath_model::branch::Skips;
use towpath_operators::sensor::{Sensing, SqlSensor};
use towpath_operators::sql::{Sql, SqlBranch};
use towpath_operators::{Operator, Outcome};
use towpath_testkit::{TestDb, mysql, postgres, sqlite};

use crate::support::{Fixture, at};

async fn databases() -> [TestDb; 3] {
    [sqlite(), postgres().await, mysql().await]
}

/// The address of the database as a connection has it.
fn uri(db: &TestDb) -> String {
    db.file().map_or_else(|| db.url.clone(), |file| format!("sqlite:///{}", file.display()))
}

fn fixture(db: &TestDb) -> Fixture {
    Fixture::new().connection("db", &uri(db))
}

async fn sql(db: &TestDb, mut args: Value) -> Outcome {
    args["connection"] = "db".into();
    Sql.execute(&fixture(db).attempt("sql", args)).await
}

/// The value of a success.
async fn value(db: &TestDb, args: Value) -> Value {
    match sql(db, args.clone()).await {
        Outcome::Success { value } => value.unwrap_or_default(),
        other => panic!("{}: {args}: {other:?}", db.name),
    }
}

async fn error(db: &TestDb, args: Value) -> (String, bool) {
    match sql(db, args).await {
        Outcome::Failed { error, retry } => (error, retry),
        other => panic!("{}: {other:?}", db.name),
    }
}

async fn filled() -> [TestDb; 3] {
    let databases = databases().await;
    for db in &databases {
        let text = "create table t (id int primary key, name varchar(20), day date); \
                    insert into t values (1, 'Zoë; ''1''', '2024-03-05'), (2, null, null)";
        assert_eq!(value(db, json!({"sql": text})).await, Value::Null, "{}", db.name);
    }
    databases
}

#[tokio::test]
async fn rows_become_the_xcom() {
    for db in &filled().await {
        let all = json!([[1, "Zoë; '1'", "2024-03-05"], [2, null, null]]);
        let select = "select * from t order by id";
        assert_eq!(value(db, json!({"sql": select})).await, all, "{}", db.name);
        assert_eq!(value(db, json!({"sql": [select, "select 7"]})).await, json!([[7]]), "{}", db.name);
        assert_eq!(value(db, json!({"sql": [select, "select 7"], "return_last": false})).await, json!([all, [[7]]]));
        let first = json!({"id": 1, "name": "Zoë; '1'", "day": "2024-03-05"});
        assert_eq!(value(db, json!({"sql": select, "handler": "first", "rows_as": "mappings"})).await, first);
        assert_eq!(value(db, json!({"sql": "select count(*) from t", "handler": "scalar"})).await, json!(2));
        assert_eq!(value(db, json!({"sql": select, "handler": "none"})).await, Value::Null);
        assert_eq!(value(db, json!({"sql": "select * from t where id = 9"})).await, json!([]), "{}", db.name);
        assert_eq!(value(db, json!({"sql": "delete from t where id = 9"})).await, Value::Null);
    }
}

#[tokio::test]
async fn values_are_bound() {
    for db in &filled().await {
        let hostile = "x');drop table t;--";
        let insert = "insert into t (id, name, day) values (%s, %s, %s)";
        value(db, json!({"sql": insert, "parameters": [3, hostile, "2024-01-01"]})).await;
        let by_name = "select id, name from t where name = %(name)s and day = :day and name <> '%(name)s'";
        let parameters = json!({"name": hostile, "day": "2024-01-01"});
        assert_eq!(
            value(db, json!({"sql": by_name, "parameters": parameters})).await,
            json!([[3, hostile]]),
            "{}",
            db.name
        );
        let nothing = "select count(*) from t where id > %s and name is not distinct from %s";
        if db.name == "postgres" {
            assert_eq!(value(db, json!({"sql": nothing, "parameters": [1.0, null]})).await, json!([[1]]));
            let wide = "select count(*) from t where id < %s and id < %s";
            assert_eq!(value(db, json!({"sql": wide, "parameters": [5_000_000_000_i64, 1.5]})).await, json!([[1]]));
            let any = "select id from t where id = any(%s) order by id";
            assert_eq!(value(db, json!({"sql": any, "parameters": [[1, 3]]})).await, json!([[1], [3]]));
        }
        let (message, retry) = error(db, json!({"sql": "select %s", "parameters": [1, 2]})).await;
        assert_eq!(message, "the statement has 1 markers for parameters; `parameters` has 2 values");
        assert!(!retry);
    }
}

#[tokio::test]
async fn statements_are_one_transaction_unless_told_otherwise() {
    for db in &filled().await {
        let statements = "insert into t (id) values (5); insert into t (id) values (1)";
        let (message, _) = error(db, json!({"sql": statements})).await;
        assert!(message.starts_with("statement 2 of 2: "), "{}: {message}", db.name);
        let count = json!({"sql": "select count(*) from t", "handler": "scalar"});
        assert_eq!(value(db, count.clone()).await, json!(2), "{}", db.name);
        error(db, json!({"sql": statements, "autocommit": true})).await;
        assert_eq!(value(db, count).await, json!(3), "{}", db.name);
    }
}

#[tokio::test]
async fn types_have_their_form_in_json() {
    let postgres = postgres().await;
    let select = "select true, 1::smallint, 12345678901234567890::numeric, 1.50::numeric(9,2), 0.1::real, 'NaN'::float8, \
         '\\x00ff'::bytea, '{\"a\": [1]}'::jsonb, '2024-03-05 07:08:09.5'::timestamp, '2024-03-05 07:08+02'::timestamptz, \
         '07:08'::time, 'infinity'::date, '{{1,null},{3,4}}'::int[], '1 day 2.5 seconds'::interval, \
         '6f6e3b0c-8a3c-4b62-9d6b-000000000001'::uuid, -0.00012::numeric, array[]::text[]";
    let expected = json!([
        true, 1, "12345678901234567890", 1.5, 0.1, "NaN", "\\x00ff", {"a": [1]}, "2024-03-05T07:08:09.500",
        "2024-03-05T05:08:00+00:00", "07:08:00", "infinity", [[1, null], [3, 4]], "P1DT2.500000S",
        "6f6e3b0c-8a3c-4b62-9d6b-000000000001", -0.00012, [],
    ]);
    assert_eq!(value(&postgres, json!({"sql": select, "handler": "first"})).await, expected);
    let (message, _) = error(&postgres, json!({"sql": "select '10.0.0.1'::inet as address"})).await;
    assert_eq!(
        message,
        "column `address` is of type INET, which has no form in JSON; write `address::text` in the statement"
    );
    let mysql = mysql().await;
    let select = "select 1 = 1, cast(1.5 as decimal(9,2)), cast(18446744073709551615 as unsigned), 0.5e0, \
         cast('2024-03-05 07:08:09.5' as datetime(1)), cast('-27:00:01' as time), x'00ff', date('2024-03-05')";
    let expected = json!([
        1,
        1.5,
        18_446_744_073_709_551_615_u64,
        0.5,
        "2024-03-05T07:08:09.500",
        "-27:00:01",
        "\\x00ff",
        "2024-03-05"
    ]);
    assert_eq!(value(&mysql, json!({"sql": select, "handler": "first"})).await, expected);
    let select = "select 1, 0.5, 'x', x'00ff', null";
    assert_eq!(
        value(&sqlite(), json!({"sql": select, "handler": "first"})).await,
        json!([1, 0.5, "x", "\\x00ff", null])
    );
}

#[tokio::test]
async fn a_file_is_a_template() {
    for db in &filled().await {
        let ready = fixture(db).attempt("sql", json!({"sql": "report.sql", "connection": "db", "handler": "scalar"}));
        let source =
            "-- of the day\nselect count(*) from t where day <= '{{ ds }}'; select id from t where day = '{{ ds }}'";
        std::fs::write(ready.dag_folder.join("report.sql"), source).unwrap();
        assert_eq!(Sql.execute(&ready).await, Outcome::Success { value: Some(json!(1)) }, "{}", db.name);
    }
    let (message, retry) = error(&sqlite(), json!({"sql": "missing.sql"})).await;
    assert!(message.starts_with("cannot read the SQL file") && retry, "{message}");
}

#[tokio::test]
async fn errors_name_the_thing_and_the_way_out() {
    for db in &filled().await {
        let (message, _) = error(db, json!({"sql": "select nope from t"})).await;
        assert!(message.contains("nope"), "{message}");
        let (message, retry) = error(db, json!({"sql": "select * from t", "max_rows": 1})).await;
        assert!(message.starts_with("the statement returns more than 1 rows (`max_rows`); write fewer"), "{message}");
        assert!(!retry);
        assert_eq!(error(db, json!({"sql": " -- nothing"})).await.0, "`sql` holds no statement");
    }
    let check = async |uri: &str, expected: &str| {
        let fixture = Fixture::new().connection("db", uri);
        match Sql.execute(&fixture.attempt("sql", json!({"sql": "select 1", "connection": "db"}))).await {
            Outcome::Failed { error, .. } => assert!(error.contains(expected) && !error.contains("hunter2"), "{error}"),
            other => panic!("{other:?}"),
        }
    };
    check("redis://x", "connection `db` is of type `redis`; databases are postgres, sqlite and mysql").await;
    check("postgres://me:hunter2@127.0.0.1:1/x", "connection `db`: the database at 127.0.0.1:1 does not answer").await;
    check("mysql://me:hunter2@127.0.0.1:1/x", "connection `db`: the database at 127.0.0.1:1 does not answer").await;
    check("sqlite:////dev/null/x.db", "the folder `/dev/null` cannot be made").await;
    let missing = Sql.execute(&Fixture::new().attempt("sql", json!({"sql": "select 1", "connection": "none"}))).await;
    assert!(
        matches!(missing, Outcome::Failed { error, retry: false } if error.starts_with("connection `none` does not exist"))
    );
}

#[tokio::test]
async fn a_uri_without_a_secret_stands_in_the_task_itself() {
    let run = async |uri: &str, sql: &str| {
        let args = json!({"sql": sql, "connection": uri, "handler": "scalar"});
        Sql.execute(&Fixture::new().attempt("sql", args)).await
    };
    // Its folder is made with it.
    let made = run("sqlite:///new/shop.db", "create table t as select 7 as id; select id from t").await;
    assert_eq!(made, Outcome::Success { value: Some(json!(7)) });
    for uri in ["postgres://me:hunter2@db/shop", "mysql://db/shop?api_key=hunter2"] {
        match run(uri, "select 1").await {
            Outcome::Failed { error, retry: false } => {
                assert!(error.contains("holds a secret") && !error.contains("hunter2"), "{error}");
            }
            other => panic!("{uri}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_statement_that_is_told_to_stop_ends_on_the_server() {
    for db in &databases().await {
        let long = match db.name {
            "postgres" => "select pg_sleep(600)",
            "mysql" => "select sleep(600)",
            _ => "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c",
        };
        let fixture = fixture(db);
        let stop = fixture.stop.clone();
        let ready = fixture.attempt("sql", json!({"sql": long, "connection": "db"}));
        let work = Sql.execute(&ready);
        let ended = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            stop.cancel();
        };
        let (outcome, ()) =
            tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(work, ended) }).await.unwrap();
        let error = "the statement was told to stop".to_owned();
        assert_eq!(outcome, Outcome::Failed { error, retry: true }, "{}", db.name);
        let running = match db.name {
            "postgres" => "select count(*) from pg_stat_activity where query like '%sleep(600)' and state = 'active'",
            "mysql" => "select count(*) from information_schema.processlist where info like '%sleep(600)'",
            _ => continue,
        };
        for _ in 0..100 {
            if value(db, json!({"sql": running, "handler": "scalar"})).await == json!(0) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(value(db, json!({"sql": running, "handler": "scalar"})).await, json!(0), "{}", db.name);
    }
}

#[tokio::test]
async fn a_branch_follows_the_first_cell() {
    for db in &filled().await {
        let branch = async |sql: &str| {
            let args = json!({
                "sql": sql, "connection": "db", "follow_task_ids_if_true": ["a", "b"], "follow_task_ids_if_false": ["c"],
            });
            SqlBranch.execute(&fixture(db).attempt("sql_branch", args)).await
        };
        let follows = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            Outcome::Branch { value: Some(json!(names)), skips: Skips::AllExcept(names) }
        };
        assert_eq!(branch("select count(*) > 1 from t").await, follows(&["a", "b"]), "{}", db.name);
        assert_eq!(branch("select name from t where id = 2").await, follows(&["c"]), "{}", db.name);
        assert!(matches!(branch("select 1 from t where id = 9").await, Outcome::Failed { retry: true, .. }));
        assert!(matches!(branch("select 'perhaps'").await, Outcome::Failed { retry: false, .. }));
    }
}

#[tokio::test]
async fn a_sensor_waits_for_a_cell() {
    const DONE: Outcome = Outcome::Success { value: None };
    let later = || Outcome::Reschedule { at: at("2024-03-06T12:01:00Z") };
    for db in &filled().await {
        let look = async |mut args: Value| {
            args["connection"] = "db".into();
            args["mode"] = "reschedule".into();
            Sensing(SqlSensor).execute(&fixture(db).attempt("sql_sensor", args)).await
        };
        assert_eq!(look(json!({"sql": "select count(*) from t where id = %s", "parameters": [1]})).await, DONE);
        for nothing in [
            "select 1 from t where id = 9",
            "select count(*) from t where id = 9",
            "select name from t where id = 2",
            "select '0'",
        ] {
            assert_eq!(look(json!({"sql": nothing})).await, later(), "{}: {nothing}", db.name);
        }
        assert_eq!(look(json!({"sql": "select 2, 5", "success": "cell > 1 and row[1] == 5"})).await, DONE);
        assert_eq!(look(json!({"sql": "select 2", "success": "cell > 2"})).await, later());
        let failed = look(json!({"sql": "select 2", "failure": "cell == 2"})).await;
        assert_eq!(failed, Outcome::Failed { error: "`failure` is true of the cell 2".to_owned(), retry: false });
        let empty = look(json!({"sql": "select 1 from t where id = 9", "fail_on_empty": true})).await;
        assert!(matches!(empty, Outcome::Failed { retry: false, .. }));
        let wrong = look(json!({"sql": "select * from no_such_table"})).await;
        assert!(matches!(wrong, Outcome::Failed { retry: true, .. }), "{wrong:?}");
    }
}
