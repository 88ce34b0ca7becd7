//! Values of every type, what does not fit, and what is special to one database.

use super::*;

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
