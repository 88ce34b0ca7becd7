//! Every kind of step on tables without rows, of one column, of nulls alone, in Unicode, with long texts and many columns.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::through;

/// Steps that leave the columns `k` and `n`, and the rows of a table of one row.
fn steps() -> Vec<Value> {
    vec![
        json!({"filter": "true"}),
        json!({"select": ["k", "n"]}),
        json!({"derive": {"n": "n"}}),
        json!({"rename": {"n": "n"}}),
        json!({"cast": {"k": "string"}}),
        json!({"fill_null": {"k": "none"}}),
        json!({"dedupe": {}}),
        json!({"dedupe": {"keep": "last"}}),
        json!({"sort": "k"}),
        json!({"limit": 10}),
        json!({"validate": {"columns": {"k": {"length": [1, 9]}}, "on_error": "reject"}}),
        json!({"aggregate": {"by": ["k"], "columns": {"n": "max(n)"}}}),
        json!({"sample": {"fraction": 1.0}}),
    ]
}

#[test]
fn a_table_without_rows_stays_one_with_columns() {
    for step in steps() {
        assert_eq!(through("k,n\n", &json!([step])), "k,n\n", "{step}");
    }
}

#[test]
fn one_row_in_unicode_comes_through() {
    for step in steps() {
        assert_eq!(through("k,n\nÄß→😀,1\n", &json!([step])), "k,n\nÄß→😀,1\n", "{step}");
    }
}

#[test]
fn nulls_alone_come_through() {
    for step in steps() {
        let expected = if step.get("fill_null").is_some() { "k,n\nnone,NULL\n" } else { "k,n\nNULL,NULL\n" };
        assert_eq!(through("k,n\n,\n", &json!([step])), expected, "{step}");
    }
}

#[test]
fn one_column_is_a_table() {
    for (step, expected) in [
        (json!({"dedupe": {}}), "x\n2\n1\n"),
        (json!({"sort": "x"}), "x\n1\n2\n2\n"),
        (json!({"aggregate": {"columns": {"x": "sum(x)"}}}), "x\n5\n"),
        (json!({"validate": {"columns": {"x": {"unique": true}}, "on_error": "reject"}}), "x\n2\n1\n"),
    ] {
        assert_eq!(through("x\n2\n1\n2\n", &json!([step])), expected, "{step}");
    }
}

#[test]
fn wide_tables_and_long_texts_come_through() {
    let names: Vec<String> = (0..1_000).map(|n| format!("c{n}")).collect();
    let values: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    let wide = format!("{}\n{}\n", names.join(","), values.join(","));
    assert_eq!(through(&wide, &json!([{"dedupe": {}}, {"filter": "c999 = 999"}])), wide);
    assert_eq!(through(&wide, &json!([{"select": ["c998", "c1"]}])), "c998,c1\n998,1\n");
    let long = "ü".repeat(2_000_000);
    let text = format!("k,n\na,{long}\nb,\"{long}\"\n");
    let mut expected = "k,n\n".to_owned();
    writeln!(expected, "b,{long}\na,{long}").unwrap();
    assert!(through(&text, &json!([{"sort": "k desc"}])) == expected, "another text");
}

#[test]
fn only_the_columns_that_are_read_are_looked_at() {
    // The last value of `n` is no number, which matters to those alone who read it.
    let mut text = "k,n\n".to_owned();
    (0..20_000).for_each(|n| writeln!(text, "k{},{n}", n % 2).unwrap());
    text.push_str("k1,x\n");
    let by = json!({"aggregate": {"by": ["k"], "columns": {"rows": "count(*)"}}});
    assert_eq!(through(&text, &json!([by, {"sort": "k"}])), "k,rows\nk0,10000\nk1,10001\n");
    assert_eq!(through(&text, &json!([{"aggregate": {"columns": {"rows": "count(*)"}}}])), "rows\n20001\n");
    let error = through(&text, &json!([{"filter": "n > 5"}]));
    assert!(error.contains("line 20002, column `n`: `x` is not of type int64"), "{error}");
}

#[test]
fn pieces_with_quotes_and_without_are_one_table() {
    let mut text = "k,n\n".to_owned();
    let mut expected = 0_u64;
    for n in 0..150_000_u64 {
        expected += n;
        match n {
            70_000 => writeln!(text, "\"a, b\",\"{n}\"\r").unwrap(),
            _ => writeln!(text, "text {n},{n}").unwrap(),
        }
    }
    let step = json!({"aggregate": {"columns": {"rows": "count(*)", "kinds": "count(distinct k)", "total": "sum(n)"}}});
    assert_eq!(through(&text, &json!([step])), format!("rows,kinds,total\n150000,150000,{expected}\n"));
    assert_eq!(through(&text, &json!([{"filter": "n = 70000"}])), "k,n\n\"a, b\",70000\n");
}
