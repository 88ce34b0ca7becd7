//! The same behaviour on three databases, and what is special to one.

mod again;

use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt, stream};
use towpath_model::connection::Connection;
use towpath_operators::database::statement::Parameters;
use towpath_operators::database::{Fetch, Orders, run};
use towpath_testkit::TestDb;

use super::{Error, Input, Mode, Reader, TableTarget, Written, read, write};

/// Paths of test databases are absolute.
const PROJECT: &str = "/";

async fn databases() -> [TestDb; 3] {
    let databases = [towpath_testkit::sqlite(), towpath_testkit::postgres().await, towpath_testkit::mysql().await];
    // A file is there before it is read.
    sql(&databases[0], "create table made (x int)").await;
    databases
}

fn connection(db: &TestDb) -> Connection {
    let uri = db.file().map_or_else(|| db.url.clone(), |file| format!("sqlite:///{}", file.display()));
    Connection::from_uri("db", &uri).unwrap()
}

async fn sql(db: &TestDb, text: &str) {
    let kind = super::Kind::of(&connection(db)).unwrap();
    let statements = towpath_operators::database::statement::split(text, kind);
    let statements = statements.into_iter().map(|sql| (sql.to_owned(), Parameters::None, Fetch::None)).collect();
    let orders = Orders { statements, autocommit: true, max_rows: 0 };
    let stop = tokio_util::sync::CancellationToken::new();
    run(&connection(db), Path::new(PROJECT), orders, &stop, |_, _| {}).await.unwrap();
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn data(batches: Vec<RecordBatch>) -> SendableRecordBatchStream {
    let schema = batches[0].schema();
    Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(batches.into_iter().map(Ok))))
}

fn target(table: &str, mode: Mode, key: &[&str]) -> TableTarget {
    TableTarget { table: table.to_owned(), mode, key: key.iter().map(ToString::to_string).collect() }
}

async fn put(db: &TestDb, target: &TableTarget, batches: Vec<RecordBatch>) -> Result<Written, Error> {
    write(&connection(db), Path::new(PROJECT), target, data(batches)).await
}

async fn get(db: &TestDb, query: &str) -> Result<RecordBatch, DataFusionError> {
    let input = Input::Query(query.to_owned());
    let found = read(&connection(db), Path::new(PROJECT), &input, 1_000).await;
    let rows = found.map_err(super::outer)?;
    let schema = rows.schema();
    let batches: Vec<RecordBatch> = rows.try_collect().await?;
    Ok(concat_batches(&schema, &batches)?)
}

async fn shown(db: &TestDb, query: &str) -> String {
    let found = get(db, query).await.unwrap();
    let text = pretty_format_batches(&[found]).unwrap().to_string();
    let rows = text.lines().skip(3).filter(|line| line.starts_with('|'));
    let rows = rows.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" "));
    rows.collect::<Vec<_>>().join("; ")
}

fn people(rows: &[(i64, Option<&str>)]) -> RecordBatch {
    batch(vec![
        ("id", Arc::new(rows.iter().map(|(id, _)| *id).collect::<Int64Array>())),
        ("name", Arc::new(rows.iter().map(|(_, name)| *name).collect::<StringArray>())),
    ])
}

const ALL: &str = "select id, name from people order by id, name";

fn message(error: DataFusionError) -> String {
    super::of_data(error).message
}

/// A column of every type, with a null each.
fn every_type() -> RecordBatch {
    let micros = 1_709_622_489_123_456;
    batch(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("small", Arc::new(Int16Array::from(vec![Some(i16::MIN), Some(i16::MAX), None]))),
        ("medium", Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None]))),
        ("large", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None]))),
        ("single", Arc::new(Float32Array::from(vec![Some(0.5), Some(-1.25), None]))),
        ("double", Arc::new(Float64Array::from(vec![Some(0.1), Some(-1e300), None]))),
        (
            "price",
            Arc::new(
                Decimal128Array::from(vec![Some(-123_456_789_012_345), Some(5), None])
                    .with_precision_and_scale(18, 2)
                    .unwrap(),
            ),
        ),
        ("name", Arc::new(StringArray::from(vec![Some("Zoë 'x' \"y\"\n\t\\ 漢字 🚢"), Some(""), None]))),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(&b"\0\xff\n"[..]), Some(&b""[..]), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(19_787), Some(-1), None]))),
        ("clock", Arc::new(Time64MicrosecondArray::from(vec![Some(86_399_999_999), Some(0), None]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(micros), Some(-1_000_000), None]))),
        ("utc", Arc::new(TimestampMicrosecondArray::from(vec![Some(micros), Some(0), None]).with_timezone("UTC"))),
    ])
}

#[tokio::test]
async fn every_type_comes_back() {
    for db in &databases().await {
        let given = every_type();
        let written = put(db, &target("every", Mode::Error, &["id"]), vec![given.clone()]).await.unwrap();
        assert_eq!((written.rows, written.created), (3, true), "{}", db.name);
        let input = Input::Table("every".to_owned());
        let rows = read(&connection(db), Path::new(PROJECT), &input, 2).await.unwrap();
        let schema = rows.schema();
        let batches: Vec<RecordBatch> = rows.try_collect().await.unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [2, 1], "{}", db.name);
        let found = concat_batches(&schema, &batches).unwrap();
        for (at, field) in given.schema().fields().iter().enumerate() {
            let name = field.name();
            // SQLite has one size of numbers, MySQL no zone that outlasts 2038.
            let found = datafusion::arrow::compute::cast(found.column(at), field.data_type()).unwrap();
            assert_eq!(&found, given.column(at), "{}, {name}", db.name);
        }
        if db.name == "postgres" {
            assert_eq!(schema, given.schema());
        }
    }
}

#[tokio::test]
async fn modes_do_what_they_say() {
    for db in &databases().await {
        let one = || vec![people(&[(1, Some("a")), (2, None)])];
        let two = || vec![people(&[(2, Some("b"))]), people(&[(3, Some("c"))])];
        for (mode, expected) in [
            (Mode::Append, "1 a; 2; 2 b; 3 c"),
            (Mode::Overwrite, "2 b; 3 c"),
            (Mode::Error, "1 a; 2"),
            (Mode::Ignore, "1 a; 2"),
        ] {
            sql(db, "drop table if exists people").await;
            put(db, &target("people", mode, &[]), one()).await.unwrap();
            let second = put(db, &target("people", mode, &[]), two()).await;
            match second {
                Ok(written) => {
                    let rows = if mode == Mode::Ignore { 0 } else { 2 };
                    assert_eq!((written.rows, written.created), (rows, false));
                }
                Err(error) => {
                    assert_eq!(mode, Mode::Error, "{error}");
                    let text = "table `people` has rows already (mode `error`); use `append`, `overwrite` or `upsert`";
                    assert_eq!((error.message.as_str(), error.retry), (text, false));
                }
            }
            let mut found: Vec<String> = shown(db, ALL).await.split("; ").map(|row| row.trim().to_owned()).collect();
            found.sort();
            assert_eq!(found.join("; "), expected, "{}: {mode}", db.name);
        }
        sql(db, "delete from people").await;
        put(db, &target("people", Mode::Error, &[]), two()).await.unwrap();
        assert_eq!(shown(db, ALL).await, "2 b; 3 c", "an empty table is no error");
    }
}

#[tokio::test]
async fn an_upsert_works_with_a_unique_index_and_without() {
    for db in &databases().await {
        for ddl in [
            "drop table if exists people",
            "create table people (id int not null, name varchar(20), other int default 7)",
            "create table people (other int default 7, name varchar(20), id int not null primary key)",
        ] {
            sql(db, &format!("drop table if exists people; {ddl}")).await;
            let upsert = target("people", Mode::Upsert, &["id"]);
            put(db, &upsert, vec![people(&[(1, Some("a")), (2, Some("b"))])]).await.unwrap();
            let again = vec![people(&[(2, Some("x")), (3, Some("c"))]), people(&[(2, Some("y")), (3, None)])];
            put(db, &upsert, again.clone()).await.unwrap();
            let expected = "1 a; 2 y; 3";
            assert_eq!(shown(db, ALL).await.trim(), expected, "{}: {ddl}", db.name);
            put(db, &upsert, again).await.unwrap();
            assert_eq!(shown(db, ALL).await.trim(), expected, "{}: twice is once", db.name);
            let error = put(
                db,
                &upsert,
                vec![batch(vec![
                    ("id", Arc::new(Int64Array::from(vec![Some(5), None]))),
                    ("name", Arc::new(StringArray::from(vec!["x", "y"]))),
                ])],
            );
            let error = error.await.unwrap_err();
            assert_eq!(
                error.message,
                "table `people`, column `id`, row 2: the value is null, which the column does not take"
            );
        }
        // Keys of several columns, and nothing but keys.
        sql(db, "drop table if exists people; create table people (id int, name varchar(20))").await;
        let both = target("people", Mode::Upsert, &["name", "id"]);
        for _ in 0..2 {
            put(db, &both, vec![people(&[(1, Some("a")), (1, Some("b")), (1, Some("a"))])]).await.unwrap();
        }
        assert_eq!(shown(db, ALL).await, "1 a; 1 b", "{}", db.name);
    }
}

#[tokio::test]
async fn what_does_not_fit_is_named_and_changes_nothing() {
    for db in &databases().await {
        sql(db, "create table people (id smallint not null primary key, name varchar(3) not null, day date)").await;
        sql(db, "insert into people (id, name) values (1, 'old')").await;
        let check = async |mode: Mode, given: RecordBatch, expected: &str| {
            // The row is counted through all batches.
            let first = batch(
                given
                    .schema()
                    .fields()
                    .iter()
                    .map(|field| {
                        let array: ArrayRef = match field.name().as_str() {
                            "id" => {
                                datafusion::arrow::compute::cast(&Int64Array::from(vec![100, 101]), field.data_type())
                                    .unwrap()
                            }
                            _ => datafusion::arrow::compute::cast(
                                &StringArray::from(vec!["2024-03-05"; 2]),
                                field.data_type(),
                            )
                            .unwrap(),
                        };
                        let array: ArrayRef =
                            if field.name() == "name" { Arc::new(StringArray::from(vec!["x", "y"])) } else { array };
                        (field.name().as_str(), array)
                    })
                    .collect(),
            );
            let error = put(db, &target("people", mode, &["id"]), vec![first, given]).await.unwrap_err();
            assert!(error.message.contains(expected), "{}: {error}\ninstead of {expected}", db.name);
            assert_eq!(shown(db, ALL).await, "1 old", "{}: {error}", db.name);
        };
        let text = |values: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let numbers = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
        for mode in [Mode::Append, Mode::Overwrite, Mode::Upsert] {
            let large = batch(vec![("id", numbers(vec![4, 70_000])), ("name", text(vec![Some("a"), Some("b")]))]);
            let expected = match db.name {
                "postgres" => "table `people`, column `id`, row 4: `70000` does not fit type smallint",
                "mysql" => "table `people`, row 4: Out of range value for column 'id'",
                _ => "",
            };
            if db.name != "sqlite" {
                check(mode, large, expected).await;
            }
            let null = batch(vec![("id", numbers(vec![4, 5])), ("name", text(vec![Some("a"), None]))]);
            check(
                mode,
                null,
                "table `people`, column `name`, row 4: the value is null, which the column does not take",
            )
            .await;
            let odd =
                batch(vec![("id", text(vec![Some("4"), Some("five")])), ("name", text(vec![Some("a"), Some("b")]))]);
            check(mode, odd, "table `people`, column `id`, row 4: `five` does not fit type").await;
            let fraction: ArrayRef = Arc::new(Float64Array::from(vec![4.0, 5.5]));
            let fraction = batch(vec![("id", fraction), ("name", text(vec![Some("a"), Some("b")]))]);
            check(mode, fraction, "table `people`, column `id`, row 4: `5.5` does not fit type").await;
            let day = batch(vec![
                ("id", numbers(vec![4, 5])),
                ("name", text(vec![Some("a"), Some("b")])),
                ("day", text(vec![Some("2024-02-29"), Some("2023-02-29")])),
            ]);
            check(mode, day, "table `people`, column `day`, row 4: `2023-02-29` does not fit type").await;
            let strange = batch(vec![("id", numbers(vec![4])), ("Name", text(vec![Some("a")]))]);
            let hint = "table `people` has no column `Name`; did you mean `name`? (it has id, name, day)";
            check(mode, strange, hint).await;
            let lacking = batch(vec![("id", numbers(vec![4]))]);
            check(mode, lacking, "column `name` is NOT NULL without a default, and the data has no such column").await;
        }
        let twice = batch(vec![("id", numbers(vec![4, 1])), ("name", text(vec![Some("a"), Some("b")]))]);
        let expected = match db.name {
            "postgres" => {
                "row 4: duplicate key value violates unique constraint \"people_pkey\"; Key (id)=(1) already exists"
            }
            "mysql" => "Duplicate entry '1' for key 'PRIMARY'",
            _ => "row 4: UNIQUE constraint failed: people.id",
        };
        check(Mode::Append, twice, expected).await;
        let long = batch(vec![("id", numbers(vec![4, 5])), ("name", text(vec![Some("a"), Some("long")]))]);
        match db.name {
            "postgres" => check(Mode::Append, long, "row 4: value too long for type character varying(3)").await,
            "mysql" => check(Mode::Append, long, "row 4: Data too long for column 'name'").await,
            _ => {}
        }
        let none = put(db, &target("people", Mode::Upsert, &[]), vec![people(&[])]).await.unwrap_err();
        assert!(none.message.contains("mode `upsert` needs a `key`"), "{none}");
    }
}

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
            .args(["--exact", "database::tests::a_killed_process_leaves_the_old_rows"])
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

#[tokio::test]
async fn no_rows_are_a_load_as_well() {
    for db in &databases().await {
        let written = put(db, &target("people", Mode::Overwrite, &["id"]), vec![people(&[])]).await.unwrap();
        assert_eq!((written.rows, written.created), (0, true));
        let found = get(db, ALL).await.unwrap();
        assert_eq!(found.num_rows(), 0);
        assert_eq!(found.schema().field(0).data_type(), &DataType::Int64);
    }
}

#[tokio::test]
async fn many_rows_stream_in_batches() {
    for db in &databases().await {
        let batches = (0..30).map(|part| {
            let ids: Int64Array = (part * 1_000..(part + 1) * 1_000).collect();
            let names: StringArray = (0..1_000).map(|row| (row % 7 != 0).then(|| format!("name {row}"))).collect();
            batch(vec![("id", Arc::new(ids)), ("name", Arc::new(names))])
        });
        let written = put(db, &target("people", Mode::Append, &[]), batches.collect()).await.unwrap();
        assert_eq!(written.rows, 30_000);
        let input = Input::Query("select id, name from people order by id".to_owned());
        let mut rows = read(&connection(db), Path::new(PROJECT), &input, 8_192).await.unwrap();
        let (mut next, mut nulls, mut batches) = (0, 0, 0);
        while let Some(batch) = rows.try_next().await.unwrap() {
            for id in batch.column(0).as_primitive::<Int64Type>().values() {
                assert_eq!(*id, next);
                next += 1;
            }
            nulls += batch.column(1).null_count();
            batches += 1;
        }
        assert_eq!((next, nulls, batches), (30_000, 30 * 143, 4), "{}", db.name);
        // A reader that has enough ends the query.
        let mut rows = read(&connection(db), Path::new(PROJECT), &input, 10).await.unwrap();
        assert_eq!(rows.try_next().await.unwrap().unwrap().num_rows(), 10);
        drop(rows);
        put(db, &target("people", Mode::Overwrite, &[]), vec![people(&[(1, None)])]).await.unwrap();
        assert_eq!(shown(db, ALL).await.trim(), "1", "{}", db.name);
    }
}

#[tokio::test]
async fn inputs_that_cannot_be_read_are_named() {
    for db in &databases().await {
        let check =
            async |input: Input, expected: &str| match read(&connection(db), Path::new(PROJECT), &input, 10).await {
                Ok(_) => panic!("{}: {input:?}", db.name),
                Err(error) => assert!(error.message.contains(expected), "{}: {error}\ninstead of {expected}", db.name),
            };
        check(Input::Table("no_such".into()), "no_such").await;
        check(Input::Table("a..b".into()), "`a..b` names no table; write `table` or `schema.table`").await;
        check(Input::Query("select 1 as a; select 2".into()), "`query` must be one statement; it holds 2").await;
        check(Input::Query(" -- none".into()), "`query` holds no statement").await;
        check(Input::Query("select 1 as a, 2 as a".into()), "two columns are named `a`; give one of them an alias")
            .await;
        assert_eq!(shown(db, "select 1 as \"a\" -- with a comment\n;").await, "1");
    }
    let missing = Connection::from_uri("db", "sqlite:////no/such.db").unwrap();
    let error = read(&missing, Path::new(PROJECT), &Input::Table("t".into()), 10).await.err().unwrap();
    assert_eq!(error.message, "there is no SQLite file `/no/such.db`");
}

#[tokio::test]
async fn postgres_types_have_their_place() {
    let db = &towpath_testkit::postgres().await;
    sql(db, "create type mood as enum ('sad', 'happy'); create domain cents as numeric(9, 2); \
        create table t (id int primary key, m mood, c cents, n numeric, big numeric(30, 10), j jsonb, u uuid, i interval, a inet, \
                        l int[], s text[], o timestamptz, w varchar(5) default 'd')")
    .await;
    sql(db, "insert into t values \
        (1, 'happy', 12.345, 12345678901234567890123456789012345678901.5, 0.0000000001, '{\"a\": [1, null]}', \
         '6f6e3b0c-8a3c-4b62-9d6b-000000000001', '1 day 02:00', '10.0.0.1', '{1,null,3}', '{}', '2024-03-05 07:08+02'), \
        (2)".replace("(2)", "(2, null, null, null, null, null, null, null, null, null, null, null)").as_str())
    .await;
    let found = get(db, "select * from t order by id").await.unwrap();
    let kinds: Vec<String> = found.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(
        kinds[..10],
        [
            "Int32",
            "Utf8",
            "Decimal128(9, 2)",
            "Utf8",
            "Decimal128(30, 10)",
            "Utf8",
            "Utf8",
            "Utf8",
            "Utf8",
            "List(Int32)",
        ]
    );
    assert_eq!(found.column(2).as_primitive::<datafusion::arrow::datatypes::Decimal128Type>().value(0), 1_235);
    let text = |column: usize| found.column(column).as_string::<i32>().value(0);
    assert_eq!(text(3), "12345678901234567890123456789012345678901.5");
    assert_eq!((text(1), text(5), text(7), text(8)), ("happy", "{\"a\": [1, null]}", "1 day 02:00:00", "10.0.0.1/32"));
    let list = found.column(9).as_list::<i32>().value(0);
    assert_eq!(list.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(1), None, Some(3)]);
    assert_eq!(found.column(10).as_list::<i32>().value(0).len(), 0);

    // The same rows go back, also the types that have no binary form here.
    for (mode, key) in [(Mode::Append, vec![]), (Mode::Upsert, vec!["id"]), (Mode::Overwrite, vec![])] {
        sql(db, "drop table if exists copy; create table copy (like t including all)").await;
        for _ in 0..if mode == Mode::Append { 1 } else { 2 } {
            put(db, &target("copy", mode, &key), vec![found.clone()]).await.unwrap();
        }
        assert_eq!(get(db, "select * from copy order by id").await.unwrap(), found, "{mode}");
    }
    // A column that is not in the data has its default.
    let few = batch(vec![("id", Arc::new(Int64Array::from(vec![9])))]);
    put(db, &target("copy", Mode::Append, &[]), vec![few]).await.unwrap();
    assert_eq!(shown(db, "select w from copy where id = 9").await, "d");

    let check = async |query: &str, expected: &str| {
        assert_eq!(message(get(db, query).await.unwrap_err()), expected);
    };
    check(
        "select g as id, case when g = 3 then date 'infinity' else date '2024-01-01' end as day from generate_series(1, 4) g",
        "the query, column `day`, row 3: the time is infinite, which Arrow has no value for; use `nullif(column, 'infinity')` in a query",
    )
    .await;
    check(
        "select array[[1,2],[3,4]] as l",
        "the query, column `l`, row 1: an array of 2 dimensions; cast it to text in a query",
    )
    .await;
    check("select 1 / (3 - g) as x from generate_series(1, 4) g", "the query: division by zero").await;
    let wrong = batch(vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("u", Arc::new(StringArray::from(vec![None, Some("x")]))),
    ]);
    let error = put(db, &target("copy", Mode::Append, &[]), vec![wrong]).await.unwrap_err();
    assert_eq!(error.message, "table `copy`, column `u`, row 2: `x` is no UUID");
}

#[tokio::test]
async fn lists_become_arrays() {
    let db = &towpath_testkit::postgres().await;
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let given = batch(vec![("l", Arc::new(lists))]);
    put(db, &target("\"Odd name.x\"", Mode::Error, &[]), vec![given.clone()]).await.unwrap();
    assert_eq!(get(db, "select * from \"Odd name.x\"").await.unwrap(), given);
    for db in [towpath_testkit::sqlite(), towpath_testkit::mysql().await] {
        let error = put(&db, &target("t", Mode::Error, &[]), vec![given.clone()]).await.unwrap_err();
        assert!(error.message.contains("column `l`") && error.message.contains("has no type for List"), "{error}");
    }
}

#[tokio::test]
async fn sqlite_values_are_held_to_their_declaration() {
    let [db, ..] = &databases().await;
    sql(db, "create table t (a integer, b decimal(9,2), c datetime, d, e boolean); \
             insert into t values (1, 12.5, '2024-03-05 07:08:09.5', 'x', 1), (2, '3', '2024-03-05', 5, 0), ('three', 1, null, null, null)")
    .await;
    assert_eq!(
        message(get(db, "select * from t").await.unwrap_err()),
        "the query, column `a`, row 3: a value of type text where the column has Int64; write `cast(\"a\" as text)` in a query"
    );
    let found = get(db, "select b, c, d, e, b + 1 as f, count(*) over () as n from t").await.unwrap();
    let kinds: Vec<&DataType> = found.schema_ref().fields().iter().map(|field| field.data_type()).collect();
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    assert_eq!(
        kinds,
        [
            &DataType::Decimal128(9, 2),
            &micros,
            &DataType::Utf8,
            &DataType::Boolean,
            &DataType::Float64,
            &DataType::Int64
        ]
    );
    assert_eq!(
        shown(db, "select b, c, d, e from t limit 2").await,
        "12.50 2024-03-05T07:08:09.500 x true; 3.00 2024-03-05T00:00:00 5 false"
    );
    sql(db, "insert into t (c) values ('yesterday')").await;
    let error = message(get(db, "select c from t").await.unwrap_err());
    assert_eq!(error, "the query, column `c`, row 4: `yesterday` does not fit type Timestamp(µs)");
}

#[tokio::test]
async fn mysql_types_have_their_place() {
    let db = &towpath_testkit::mysql().await;
    sql(db, "create table t (a tinyint unsigned, b bigint unsigned, c decimal(12, 3), d enum('x', 'y'), e json, f year, g timestamp null, \
                             h tinyint(1), i time, j varchar(9) collate utf8mb4_bin); \
             insert into t values (255, 18446744073709551615, -1.25, 'y', '{\"a\": 1}', 2024, '2024-03-05 07:08:09', 1, '23:59:59', 'ü')")
    .await;
    let found = get(db, "select * from t").await.unwrap();
    let kinds: Vec<String> = found.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(kinds[..6], ["UInt8", "UInt64", "Decimal128(12, 3)", "Utf8", "Utf8", "UInt16"]);
    assert_eq!(
        shown(db, "select * from t").await,
        "255 18446744073709551615 -1.250 y {\"a\": 1} 2024 2024-03-05T07:08:09Z true 23:59:59 ü"
    );
    sql(db, "create table copy like t").await;
    put(db, &target("copy", Mode::Append, &[]), vec![found.clone()]).await.unwrap();
    assert_eq!(get(db, "select * from copy").await.unwrap(), found);
    sql(db, "insert into t (h) values (2); insert into t (i) values ('25:00:00')").await;
    let error = message(get(db, "select h from t").await.unwrap_err());
    assert!(error.starts_with("the query, column `h`, row 2: 2 is neither 0 nor 1"), "{error}");
    let error = message(get(db, "select i from t").await.unwrap_err());
    assert!(error.starts_with("the query, column `i`, row 3: the time 25:00:00 is no time of a day"), "{error}");
}

#[tokio::test]
async fn two_loads_of_one_table_do_not_mix() {
    for db in &databases().await {
        let load = |name: &'static str| async move {
            let rows: Vec<(i64, Option<&str>)> = (0..2_000).map(|id| (id, Some(name))).collect();
            put(db, &target("people", Mode::Overwrite, &[]), vec![people(&rows)]).await
        };
        put(db, &target("people", Mode::Overwrite, &[]), vec![people(&[])]).await.unwrap();
        let (one, other) = tokio::join!(load("a"), load("b"));
        one.unwrap();
        other.unwrap();
        let count = "select count(*) as n, count(distinct name) as names from people";
        assert_eq!(shown(db, count).await, "2000 1", "{}", db.name);
    }
}

#[tokio::test]
async fn a_reader_can_be_read_again() {
    for db in &databases().await {
        put(db, &target("people", Mode::Append, &[]), vec![people(&[(1, Some("a")), (2, None)])]).await.unwrap();
        let input = Input::Table("people".to_owned());
        let reader = Reader::open(connection(db), PROJECT.into(), input, 100).await.unwrap();
        for _ in 0..3 {
            let rows: Vec<RecordBatch> = reader.stream().try_collect().await.unwrap();
            assert_eq!(concat_batches(&reader.schema(), &rows).unwrap().num_rows(), 2, "{}", db.name);
        }
        let types = [("id".to_owned(), DataType::Utf8)];
        let texts = reader.with_types(&types).unwrap();
        assert_eq!(texts.schema().field(0).data_type(), &DataType::Utf8);
        let rows: Vec<RecordBatch> = texts.stream().try_collect().await.unwrap();
        assert_eq!(rows[0].schema(), texts.schema());
        let open = async || {
            let input = Input::Query("select 7 as n union all select 300".to_owned());
            Reader::open(connection(db), PROJECT.into(), input, 100).await.unwrap()
        };
        let small = open().await.with_types(&[("n".to_owned(), DataType::Int8)]).unwrap();
        let error = small.stream().try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(message(error), "the query, column `n`, row 2: `300` does not fit type Int8", "{}", db.name);
        let unknown = open().await.with_types(&[("m".to_owned(), DataType::Int8)]).unwrap_err();
        assert_eq!(unknown.message, "the query has no column `m`; it has n");
    }
}

#[test]
fn names_have_parts() {
    let check = |given: &str, expected: &[&str]| assert_eq!(super::name::parts(given).unwrap(), expected);
    check("t", &["t"]);
    check("s.t", &["s", "t"]);
    check("\"a.b\".`c d`", &["a.b", "c d"]);
    for wrong in ["", ".", "a.", "\"a", "\"a\"b"] {
        assert!(super::name::parts(wrong).is_err(), "{wrong}");
    }
}
