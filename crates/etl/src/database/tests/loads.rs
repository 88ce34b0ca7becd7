//! Modes of a load, keys, and loads beside each other.

use super::*;

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
