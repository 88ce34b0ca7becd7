//! Sorts, groups, dedupes and joins of more rows than the memory pool has room for.

use std::collections::{HashMap, HashSet};
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

#[test]
fn different_values_are_counted_on_disk() {
    // Nearly as many values as rows: in two groups, and in so many that each has one or two.
    let mut expected: HashMap<u64, (HashSet<u64>, u64, u64)> = HashMap::new();
    for row in 0..ROWS {
        let group = expected.entry(row % 2).or_default();
        group.0.insert(key(row));
        group.1 += 1;
        group.2 += row;
    }
    let aggregate = |by: Value| {
        json!([{"aggregate": {"by": by, "columns": {
            "texts": "count(distinct text)", "rows": "count(*)", "mean": "avg(row)", "keys": "count(distinct k)"}}}])
    };
    let mut expected: Vec<String> = expected
        .into_iter()
        .map(|(group, (keys, rows, total))| {
            format!("{group},{0},{rows},{1:?},{0}", keys.len(), total as f64 / rows as f64)
        })
        .collect();
    expected.sort_unstable();
    let kitchen = kitchen();
    let mut found = lines(&kitchen, &aggregate(json!({"half": "row % 2"})));
    found.sort_unstable();
    assert_eq!(found, expected);
    let mut expected: HashMap<u64, (u64, u64)> = HashMap::new();
    for row in 0..ROWS {
        let group = expected.entry(key(row)).or_default();
        *group = (group.0 + 1, group.1 + row);
    }
    let mut expected: Vec<String> = expected
        .into_iter()
        .map(|(k, (rows, total))| format!("{k:0>100},1,{rows},{:?},1", total as f64 / rows as f64))
        .collect();
    expected.sort_unstable();
    let mut found = lines(&kitchen, &aggregate(json!("text")));
    found.sort_unstable();
    assert!(found == expected, "other groups");
}

/// Both sides have a text of 100 characters for each of their keys, and neither fits into the pool.
#[test]
fn joins_go_to_disk() {
    let kitchen = kitchen();
    // The other side has each third key up to beyond the last one, once.
    let others = || (0..KEYS + 30_000).step_by(3);
    let mut csv = "k,name\n".to_owned();
    for k in others() {
        writeln!(csv, "{k},{:0>150}", k * 2).unwrap();
    }
    kitchen.file("other.csv", csv);
    let has_other = |k: u64| k.is_multiple_of(3);
    let name = |k: u64| if has_other(k) { format!("{:0>150}", k * 2) } else { "NULL".to_owned() };
    let left = |rows: &mut dyn Iterator<Item = u64>| -> Vec<String> {
        rows.map(|row| format!("{},{row},{}", key(row), name(key(row)))).collect()
    };
    let alone: Vec<String> = {
        let met: HashSet<u64> = (0..ROWS).map(key).collect();
        others().filter(|k| !met.contains(k)).map(|k| format!("{k},NULL,{}", name(k))).collect()
    };
    for how in ["inner", "left", "right", "full", "semi", "anti"] {
        let matched = |wanted: bool| (0..ROWS).filter(move |row| has_other(key(*row)) == wanted);
        let mut expected = match how {
            "inner" => left(&mut matched(true)),
            "left" => left(&mut (0..ROWS)),
            "right" => [left(&mut matched(true)), alone.clone()].concat(),
            "full" => [left(&mut (0..ROWS)), alone.clone()].concat(),
            semi_or_anti => {
                matched(semi_or_anti == "semi").map(|row| format!("{},{row},{:0>100}", key(row), key(row))).collect()
            }
        };
        let select =
            if matches!(how, "semi" | "anti") { json!(["k", "row", "text"]) } else { json!(["k", "row", "name"]) };
        let steps = json!([{"join": {"with": {"csv": "other.csv"}, "on": "k", "how": how}}, {"select": select}]);
        let mut found = lines(&kitchen, &steps);
        expected.sort_unstable();
        found.sort_unstable();
        assert!(found == expected, "{how}: {} rows instead of {}", found.len(), expected.len());
    }
}
