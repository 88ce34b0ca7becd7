//! Inputs: batches, reading again, and what cannot be read.

use super::*;

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
