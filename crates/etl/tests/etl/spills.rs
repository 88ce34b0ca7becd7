//! Plans that have no way to the disk of their own: they finish all the same, with the rows that they have with memory enough, or an
//! error says what to do.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::Kitchen;

const ROWS: u64 = 400_000;
/// Different keys; their texts are larger than the smallest pool of 32 MB.
const KEYS: u64 = 300_007;

fn kitchen() -> Kitchen {
    let kitchen = Kitchen::new();
    let mut csv = "k,text,row\n".to_owned();
    for row in 0..ROWS {
        let k = row * 7_919 % KEYS;
        writeln!(csv, "{k},{k:0>100},{row}").unwrap();
    }
    kitchen.file("in.csv", csv);
    kitchen
}

fn result(kitchen: &Kitchen, sql: &str, memory_bytes: Value) -> String {
    kitchen.csv(&json!({"inputs": [["t", {"csv": "in.csv"}]], "memory_bytes": memory_bytes, "sql": sql}))
}

#[test]
fn scarce_memory_changes_no_result() {
    let kitchen = kitchen();
    for sql in [
        "select count(*) as n, sum(c) as c, sum(m) as m from \
         (select text, count(distinct k) as c, avg(cast(row as decimal(20, 2))) as m from t group by text)",
        "select count(*) as n, sum(m) as m from (select text, median(row) as m from t group by text)",
        "select count(*) as n, sum(c) as c, max(t) as t, sum(s) as s from \
         (select text, count(*) as c, sum(row) as s, avg(row), max(text) as t, stddev(row) from t group by text)",
        "select count(*) as n, sum(length(m)) as m from (select text, string_agg(text, ',') as m from t group by text)",
        // Joins by other conditions than equality, and by none.
        "select count(*) as n, max(a.text) as m, max(b.text) as l from t a join (select * from t where row < 20) b on a.row < b.row",
        "select count(*) as n, max(a.text) as m, max(b.text) as l from (select * from t where row < 20) a join t b on a.row < b.row",
        "select count(*) as n, max(a.text) as m, max(b.text) as l from t a cross join (select * from t where row < 20) b",
        // Nulls on either side of `not in`.
        "select count(*) as n, max(text) as m from t where text not in (select text from t where row > 100)",
        "select count(*) as n, max(text) as m from t where text not in (select text || 'x' from t)",
        "select count(*) as n, max(text) as m from t where text not in (select nullif(row, 7)::text || text from t)",
        "select count(*) as n, max(row) as m from t where nullif(text, '0') not in (select text from t where row > 300000)",
        "select count(*) as n, max(row) as m from (select nullif(k, 5)::text || text as x, row, text from t) \
         where x not in (select text from t where row > 10)",
        "select count(*) as n, max(text) as m from t a where not exists (select 1 from t b where b.text = a.text and b.row > a.row)",
        "select count(*) as n, max(r) as m from (select text, row_number() over (partition by text order by row) as r from t)",
        "select count(*) as n, max(r) as m, max(text) as l from (select text, sum(row) over (order by row) as r from t)",
        "select count(*) as n, max(r) as m, max(text) as l from (select text, sum(row) over () as r from t)",
        "select count(*) as n, max(r) as m from (select lag(text) over (partition by row % 2 order by row) as r from t)",
        "select count(*) as n from (select text from t union select text || 'x' from t)",
        "select count(*) as n from (select text, row from t except select text, row from t where row > 10)",
    ] {
        let expected = result(&kitchen, sql, json!(4_u64 << 30));
        assert!(!expected.starts_with("error"), "{sql}: {expected}");
        assert_eq!(result(&kitchen, sql, json!(1)), expected, "{sql}");
    }
}

/// With no rows in the subquery a null is not in it either.
#[test]
fn not_in_means_the_same_on_disk() {
    let kitchen = kitchen();
    let sql = |subquery: &str| {
        format!(
            "select count(*) as n, count(x) as x from (select case when row < 1000 then null else text end as x, text from t) \
             where x not in ({subquery})"
        )
    };
    let big = "select text from t where row > 200000";
    for (subquery, expected) in [
        (format!("{big} and row < 0"), "n,x\n400000,399000\n"),
        (format!("select nullif(text, '{:0>100}') from ({big})", 5), "n,x\n0,0\n"),
    ] {
        for memory in [json!(1), json!(4_u64 << 30)] {
            assert_eq!(result(&kitchen, &sql(&subquery), memory), expected, "{subquery}");
        }
    }
}

#[test]
fn what_cannot_go_to_disk_says_what_to_do() {
    let kitchen = kitchen();
    let text = "`array_agg`, `median`, `string_agg`";
    for column in ["array_agg(text)", "count(distinct text) + median(row)"] {
        let steps =
            json!([{"filter": "row >= 0"}, {"aggregate": {"by": {"half": "row % 2"}, "columns": {"x": column}}}]);
        let job = json!({"inputs": [["input", {"csv": "in.csv"}]], "memory_bytes": 1, "steps": steps});
        let found = kitchen.csv(&job);
        assert!(
            found.starts_with("error: step 2 (aggregate): the task needs more memory than it may have: "),
            "{found}"
        );
        assert!(found.contains("raise `memory`, or aggregate in several steps") && found.contains(text), "{found}");
    }
}
