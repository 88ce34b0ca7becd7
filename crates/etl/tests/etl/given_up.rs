//! A plan that is given up lets go of what it has taken.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;

use crate::support::Kitchen;

/// Rows of each side of a join; their texts are larger than the smallest pool of 32 MB.
const ROWS: u64 = 400_000;

/// The name of the columns that are joined.
const KEY: &str = "k";

fn side(text: &str) -> String {
    let mut csv = format!("{KEY},{text}\n");
    for k in 0..ROWS {
        writeln!(csv, "{k},{k:0>100}").unwrap();
    }
    csv
}

/// The files of the kitchen that this process holds open.
fn open_files(kitchen: &Kitchen) -> Vec<PathBuf> {
    let handles = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let files = handles.filter_map(|handle| std::fs::read_link(handle.path()).ok());
    files.filter(|path| path.starts_with(kitchen.path())).collect()
}

#[test]
fn a_join_that_was_given_up_has_ended_when_the_next_one_begins() {
    let kitchen = Kitchen::new();
    kitchen.file("one.csv", side("one"));
    kitchen.file("other.csv", side("other"));
    let join = |how: &str| json!({"join": {"with": {"csv": "other.csv"}, "on": KEY, "how": how}});
    let count = json!({"aggregate": {"columns": {"rows": "count(*)", "most": "max(one)", "least": "min(other)"}}});
    let all = format!("{ROWS}");
    for (steps, expected) in [
        (json!([join("inner"), count]), &all),
        (json!([join("left"), count]), &all),
        (json!([join("full"), count]), &all),
        // Passes of the engine above and below of joins.
        (
            json!([{"dedupe": {"subset": "k"}}, join("inner"), {"validate": {"columns": {"one": {"required": true}}}}, count]),
            &all,
        ),
        (json!([join("inner"), {"rename": {"other": "x"}}, join("inner"), {"dedupe": {"subset": "k"}}, count]), &all),
        (json!([join("inner"), {"sort": ["k desc"]}, {"limit": 1_000}, count]), &"1000".to_owned()),
    ] {
        let lines = Mutex::new(Vec::new());
        let seen = Mutex::new(None);
        let log = |line: &str| {
            lines.lock().unwrap().push(line.to_owned());
            // This is said when the plan of the second try is known, and not begun.
            if line.starts_with("plan:") {
                *seen.lock().unwrap() = Some(open_files(&kitchen));
            }
        };
        let job = json!({"inputs": [["input", {"csv": "one.csv"}]], "memory_bytes": 1, "steps": steps, "explain": true,
            "output": {"target": {"csv": "result.csv"}}});
        let result = kitchen.run_logged(&job, &log);
        let lines = lines.into_inner().unwrap();
        result.unwrap_or_else(|error| panic!("{steps}: {error}"));
        let found = std::fs::read_to_string(kitchen.path().join("result.csv")).unwrap();
        assert!(found.lines().nth(1).unwrap().starts_with(expected), "{steps}: {found}");
        let has = |part: &str| lines.iter().any(|line| line.contains(part));
        assert!(has("the task begins anew"), "{steps}: nothing was given up: {lines:?}");
        assert!(!has("still at work"), "{steps}: {lines:?}");
        assert_eq!(seen.into_inner().unwrap(), Some(Vec::new()), "{steps}: files that the first plan has opened");
    }
    kitchen.ends_within(Duration::from_secs(30));
}
