//! What a job tells of its work: plans before and after, and progress.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use towpath_etl::job::Job;
use towpath_etl::measure::{MeasuredPlan, Meter};

use crate::support::Kitchen;

/// Runs a job; its measured plan and its log.
fn measured(kitchen: &Kitchen, parts: Value) -> (MeasuredPlan, Vec<String>) {
    let mut job = json!({"folder": kitchen.path(), "scratch": kitchen.path().join("scratch"), "explain": true});
    job.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    let job: Job = serde_json::from_value(job).unwrap();
    let (meter, lines) = (Arc::new(Meter::default()), Mutex::new(Vec::new()));
    let log = |line: &str| lines.lock().unwrap().push(line.replace(&kitchen.path().display().to_string(), "FOLDER"));
    kitchen.wait(job.run_measured(&log, &meter)).unwrap();
    (meter.plan(), lines.into_inner().unwrap())
}

/// Depth, name and rows of each operator.
fn shape(plan: &MeasuredPlan) -> Vec<(usize, &str, u64)> {
    plan.operators.iter().map(|operator| (operator.depth, operator.name.as_str(), operator.rows_out)).collect()
}

#[test]
fn passes_and_plans_are_one_tree() {
    let kitchen = Kitchen::new();
    let text: String = (0..1_000).map(|n| format!("{},{n}\n", n % 10)).collect();
    kitchen.file("in.csv", format!("k,v\n{text}"));
    kitchen.file("names.csv", "k,name\n1,one\n2,two\n");
    let (plan, log) = measured(
        &kitchen,
        json!({"inputs": [["input", {"csv": "in.csv"}]],
            "steps": [
                {"validate": {"columns": {"v": {"type": "int64", "lt": 900}}, "on_error": "reject"}},
                {"filter": "v >= 100"},
                {"dedupe": {"subset": "k"}},
                {"join": {"with": {"csv": "names.csv"}, "on": "k"}},
            ],
            "output": {"target": {"parquet": "out"}}}),
    );
    let found = shape(&plan);
    let rows_of =
        |name: &str| found.iter().filter(|(_, found, _)| *found == name).map(|(_, _, rows)| *rows).collect::<Vec<_>>();
    assert_eq!(found[0], (0, "Write", 2));
    assert_eq!((rows_of("validate"), rows_of("Filter"), rows_of("dedupe")), (vec![900], vec![800], vec![10]));
    let mut read = rows_of("csv");
    read.sort_unstable();
    assert_eq!(read, [2, 1_000]);
    // What an operator reads from stands below it.
    let depth = |name: &str| found.iter().find(|(_, found, _)| *found == name).unwrap().0;
    assert!(depth("dedupe") < depth("Filter") && depth("Filter") < depth("validate"), "{found:?}");
    let bytes = ["in.csv", "names.csv"].map(|name| std::fs::metadata(kitchen.path().join(name)).unwrap().len());
    assert_eq!((plan.rows_in, plan.bytes_in), (1_002, bytes.iter().sum()));
    assert!(plan.seconds > 0.0 && plan.peak_memory_bytes > 0);
    let by_name = |name: &str| plan.operators.iter().find(|operator| operator.name == name).unwrap();
    assert!(by_name("dedupe").memory_bytes > 0 && by_name("validate").elapsed_ms > 0.0);
    let (before, after) = (&log[0], log.last().unwrap());
    assert!(before.starts_with("plan:\n  Write: out\n"), "{before}");
    assert!(before.contains("dedupe: k, keep first\n") && before.contains("csv: FOLDER/in.csv"), "{before}");
    assert!(after.starts_with(&format!("measured plan: 1002 rows and {} bytes in, ", plan.bytes_in)), "{after}");
    assert!(!before.contains("__step_"), "{before}");
}

#[test]
fn spills_are_measured() {
    let kitchen = Kitchen::new();
    let text: String =
        (0..600_000).map(|n| format!("key-{:09},{}\n", n * 7_919_u64 % 600_000, "x".repeat(60))).collect();
    kitchen.file("in.csv", format!("k,v\n{text}"));
    for (steps, name) in [
        (json!([{"sort": "k"}]), "Sort"),
        (json!([{"dedupe": {"subset": "k", "keep": "last"}}]), "dedupe"),
        (json!([{"validate": {"columns": {"k": {"unique": true}}}}]), "validate"),
    ] {
        let (plan, _) = measured(
            &kitchen,
            json!({"inputs": [["input", {"csv": "in.csv"}]], "steps": steps, "memory_bytes": 1, "cores": 2,
                "output": {"target": {"parquet": "out"}}}),
        );
        let operator = plan.operators.iter().find(|operator| operator.name == name).unwrap();
        assert_eq!(operator.rows_out, 600_000, "{name}");
        assert!(operator.spilled_bytes > 1_000_000, "{name}: {operator:?}");
        assert!(operator.memory_bytes > 0, "{name}: {operator:?}");
    }
}

#[test]
fn databases_files_and_rows_are_sources() {
    let kitchen = Kitchen::new();
    kitchen.file("in.csv", "k,v\na,1\nb,2\n");
    let target = json!({"target": {"parquet": "p"}});
    measured(&kitchen, json!({"inputs": [["input", {"csv": "in.csv"}]], "output": target}));
    let sqlite = json!({"db": {"conn_type": "sqlite", "host": kitchen.path().join("x.db").display().to_string()}});
    let load = json!({"inputs": [["input", {"parquet": "p"}]], "connections": sqlite,
        "output": {"target": {"table": "t", "connection": "db"}}});
    let (plan, _) = measured(&kitchen, load);
    assert_eq!(plan.operators[0].detail, "table t, connection db");
    assert_eq!((plan.operators[0].rows_out, plan.rows_in), (2, 2));
    assert!(plan.bytes_in > 0, "Parquet tells what it has read");
    let read = json!({"inputs": [["input", {"table": "t", "connection": "db"}]], "connections": sqlite,
        "output": {"target": {"csv": "out.csv"}}});
    let (plan, _) = measured(&kitchen, read);
    assert_eq!(shape(&plan), [(0, "Write", 2), (1, "database", 2)]);
    let rows = json!({"inputs": [["input", {"rows": [{"k": 1}]}]], "output": {"target": {"csv": "out.csv"}}});
    let (plan, _) = measured(&kitchen, rows);
    assert_eq!((plan.operators[0].rows_out, plan.rows_in, plan.bytes_in), (1, 1, 0));
}
