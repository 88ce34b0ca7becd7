//! Sorts, groups, dedupes and joins of more rows than the memory pool has room for.

use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::Kitchen;

const ROWS: u64 = 400_000;
/// Different keys; a table of them and their texts is larger than the smallest pool of 32 MB.
const KEYS: u64 = 300_007;

fn key(row: u64) -> u64 {
    row * 7_919 % KEYS
}

/// A kitchen with rows of a key, a text of 100 characters and their number.
fn kitchen() -> Kitchen {
    let kitchen = Kitchen::new();
    let mut csv = "k,text,row\n".to_owned();
    for row in 0..ROWS {
        let k = key(row);
        writeln!(csv, "{k},{k:0>100},{row}").unwrap();
    }
    kitchen.file("in.csv", csv);
    kitchen
}

/// The lines of a result under the smallest cap there is.
fn lines(kitchen: &Kitchen, steps: &Value) -> Vec<String> {
    let found = kitchen.csv(&json!({"inputs": [["input", {"csv": "in.csv"}]], "memory_bytes": 1, "steps": steps}));
    assert!(!found.starts_with("error"), "{found}");
    found.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn a_sort_goes_to_disk() {
    let mut expected: Vec<(u64, u64)> = (0..ROWS).map(|row| (key(row), row)).collect();
    expected.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    let expected: Vec<String> = expected.into_iter().map(|(k, row)| format!("{k:0>100},{row}")).collect();
    let found = lines(&kitchen(), &json!([{"sort": ["k desc", "row"]}, {"select": ["text", "row"]}]));
    assert!(found == expected, "other rows, or another order");
}

#[test]
fn groups_go_to_disk() {
    let mut groups: HashMap<u64, (u64, u64)> = HashMap::new();
    for row in 0..ROWS {
        let group = groups.entry(key(row)).or_default();
        *group = (group.0 + 1, group.1 + row);
    }
    let mut expected: Vec<String> =
        groups.into_iter().map(|(k, (rows, total))| format!("{k:0>100},{rows},{total}")).collect();
    expected.sort_unstable();
    let steps = json!([{"aggregate": {"by": "text", "columns": {"rows": "count(*)", "total": "sum(row)"}}}]);
    let mut found = lines(&kitchen(), &steps);
    found.sort_unstable();
    assert!(found == expected, "other groups");
}

#[test]
fn a_dedupe_goes_to_disk() {
    let mut last: HashMap<u64, u64> = HashMap::new();
    for row in 0..ROWS {
        last.insert(key(row), row);
    }
    let mut expected: Vec<u64> = last.into_values().collect();
    expected.sort_unstable();
    let steps = json!([{"dedupe": {"subset": "text", "keep": "last"}}, {"select": ["row"]}]);
    let found: Vec<u64> = lines(&kitchen(), &steps).iter().map(|line| line.parse().unwrap()).collect();
    assert!(found == expected, "other rows, or another order");
}
