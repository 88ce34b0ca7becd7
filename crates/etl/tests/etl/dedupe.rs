//! `dedupe` and `aggregate` against a naive reference, in memory and beyond it.

use std::collections::HashMap;
use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::json;

use crate::support::{Kitchen, through};

#[test]
fn keeps_the_first_the_last_or_none_in_the_order_of_the_input() {
    let csv = "k,v\na,1\nb,2\na,3\n,4\nc,5\n,6\nb,7\n";
    for (spec, expected) in [
        (json!({"subset": "k"}), "k,v\na,1\nb,2\nNULL,4\nc,5\n"),
        (json!({"subset": ["k"], "keep": "last"}), "k,v\na,3\nc,5\nNULL,6\nb,7\n"),
        (json!({"subset": "k", "keep": "none"}), "k,v\nc,5\n"),
        (json!({}), "k,v\na,1\nb,2\na,3\nNULL,4\nc,5\nNULL,6\nb,7\n"),
        (
            json!({"subset": "k", "keep": "last", "flag": "again"}),
            "k,v,again\na,1,true\nb,2,true\na,3,false\nNULL,4,true\nc,5,false\nNULL,6,false\nb,7,false\n",
        ),
        (
            json!({"subset": "k", "keep": "none", "flag": "again"}),
            "k,v,again\na,1,true\nb,2,true\na,3,true\nNULL,4,true\nc,5,false\nNULL,6,true\nb,7,true\n",
        ),
        (json!({"subset": "K"}), "error: step 1 (dedupe): there is no column `K`; did you mean `k`?"),
        (json!({"flag": "v"}), "error: step 1 (dedupe): `flag: v`: there is a column of that name already"),
    ] {
        assert_eq!(through(csv, &json!([{"dedupe": spec}])), expected, "{spec}");
    }
}

/// What `drop_duplicates` would keep.
fn reference(rows: &[(Option<i64>, Option<String>)], keep: &str) -> Vec<usize> {
    let mut seen: HashMap<&(Option<i64>, Option<String>), Vec<usize>> = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        seen.entry(row).or_default().push(index);
    }
    let mut kept: Vec<usize> = seen
        .values()
        .filter_map(|places| match keep {
            "first" => places.first().copied(),
            "last" => places.last().copied(),
            _ => (places.len() == 1).then(|| places[0]),
        })
        .collect();
    kept.sort_unstable();
    kept
}

fn check(rows: &[(Option<i64>, Option<String>)], memory: Option<u64>) {
    let kitchen = Kitchen::new();
    let mut csv = "a,b,row\n".to_owned();
    for (index, (a, b)) in rows.iter().enumerate() {
        let a = a.map(|a| a.to_string()).unwrap_or_default();
        writeln!(csv, "{a},{},{index}", b.as_deref().unwrap_or_default()).unwrap();
    }
    kitchen.file("in.csv", csv);
    let source = json!({"csv": "in.csv", "columns": {"a": "int64", "b": "string"}});
    for keep in ["first", "last", "none"] {
        let job = json!({"inputs": [["input", source]], "memory_bytes": memory,
            "steps": [{"dedupe": {"subset": ["a", "b"], "keep": keep}}, {"select": ["row"]}]});
        let found = kitchen.csv(&job);
        let found: Vec<usize> = found.lines().skip(1).map(|line| line.parse().expect(line)).collect();
        assert_eq!(found, reference(rows, keep), "{keep}");
    }
    let job = json!({"inputs": [["input", source]], "steps": [
        {"aggregate": {"by": ["a"], "columns": {"rows": "count(*)", "known": "count(b)", "last": "max(row)"}}},
        {"sort": ["a nulls first"]}]});
    let mut groups: std::collections::BTreeMap<Option<i64>, (u64, u64, usize)> = Default::default();
    for (index, (a, b)) in rows.iter().enumerate() {
        let group = groups.entry(*a).or_default();
        *group = (group.0 + 1, group.1 + u64::from(b.is_some()), index);
    }
    let mut expected = "a,rows,known,last\n".to_owned();
    for (a, (count, known, last)) in groups {
        let a = a.map_or("NULL".to_owned(), |a| a.to_string());
        writeln!(expected, "{a},{count},{known},{last}").unwrap();
    }
    if !rows.is_empty() {
        assert_eq!(kitchen.csv(&job), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn agree_with_a_naive_reference(
        rows in proptest::collection::vec((proptest::option::of(-3..3_i64), proptest::option::of("[a-cü]{1,2}")), 0..200)
    ) {
        check(&rows, None);
    }
}

#[test]
fn keys_and_rows_that_do_not_fit_go_to_disk() {
    // More keys than a pool of 32 MB has room for, and enough pieces of the file to be parsed in parallel.
    let rows: Vec<(Option<i64>, Option<String>)> =
        (0..500_000_i64).map(|n| (Some(n.wrapping_mul(7_919) % 430_001), Some(format!("text {}", n % 3)))).collect();
    check(&rows, Some(1));
}
