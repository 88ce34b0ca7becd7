//! Loads: modes, partitions, and what a reader sees.

use serde_json::{Value, json};

use crate::support::Kitchen;

fn load(kitchen: &Kitchen, csv: &str, target: Value) -> Result<Value, String> {
    kitchen.file("in.csv", csv);
    kitchen.run(&json!({"inputs": [["input", {"csv": "in.csv"}]], "output": {"target": target}}))
}

fn rows(kitchen: &Kitchen, source: Value) -> String {
    kitchen.steps(&source, &json!([{"sort": ["k", "v"]}, {"select": ["k", "v"]}]))
}

#[test]
fn modes_mean_what_they_mean_in_spark() {
    let kitchen = Kitchen::new();
    let target = |mode: &str| json!({"parquet": "out", "partition_by": "k", "mode": mode});
    let read = || rows(&kitchen, json!({"parquet": "out"}));
    let loaded = load(&kitchen, "k,v\na,1\nb,2\n", target("error")).unwrap();
    assert_eq!((loaded["rows"].clone(), loaded["files"].clone()), (json!(2), json!(2)));
    assert_eq!(read(), "k,v\na,1\nb,2\n");
    let error = load(&kitchen, "k,v\nx,9\n", target("error")).unwrap_err();
    assert!(error.contains("is there already, and the mode is error"), "{error}");
    assert_eq!(load(&kitchen, "k,v\nx,9\n", target("ignore")).unwrap()["ignored"], json!(true));
    assert_eq!(read(), "k,v\na,1\nb,2\n");
    load(&kitchen, "k,v\nb,3\n,4\n", target("append")).unwrap();
    assert_eq!(read(), "k,v\na,1\nb,2\nb,3\nNULL,4\n");
    load(&kitchen, "k,v\nb,5\nc/d,6\n", target("overwrite_partitions")).unwrap();
    assert_eq!(read(), "k,v\na,1\nb,5\nc/d,6\nNULL,4\n");
    load(&kitchen, "k,v\nz,7\n", target("overwrite")).unwrap();
    assert_eq!(read(), "k,v\nz,7\n");
    let left: Vec<String> = std::fs::read_dir(kitchen.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".towpath-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn formats_can_be_read_again() {
    for (format, mode) in [("parquet", "overwrite"), ("csv", "overwrite"), ("ndjson", "append"), ("arrow", "append")] {
        let kitchen = Kitchen::new();
        load(&kitchen, "k,v\nü,1\n,2\n", json!({format: "out", "mode": mode})).unwrap();
        assert_eq!(rows(&kitchen, json!({format: "out"})), "k,v\nü,1\nNULL,2\n", "{format}");
        load(&kitchen, "k,v\n", json!({format: format!("out.{format}")})).unwrap();
        assert!(kitchen.path().join(format!("out.{format}")).is_file());
    }
}

#[test]
fn text_is_packed() {
    let kitchen = Kitchen::new();
    let text = format!("k,v\n{}", "abc,1\n".repeat(5_000));
    for (target, path) in [
        (json!({"csv": "a.csv.gz"}), "a.csv.gz"),
        (json!({"csv": "a.csv.bz2"}), "a.csv.bz2"),
        (json!({"ndjson": "a.ndjson.zst"}), "a.ndjson.zst"),
        (json!({"csv": "folder", "compression": "gzip"}), "folder"),
        (json!({"ndjson": "parts", "compression": "zstd", "partition_by": "k"}), "parts/k=abc"),
    ] {
        let loaded = load(&kitchen, &text, target.clone()).unwrap();
        assert!(loaded["bytes"].as_u64().unwrap() < 2_000, "{target}: {loaded}");
        let format = if target.get("csv").is_some() { "csv" } else { "ndjson" };
        let found = kitchen
            .steps(&json!({format: path}), &json!([{"aggregate": {"columns": {"n": "count(*)", "v": "sum(v)"}}}]));
        assert_eq!(found, "n,v\n5000,5000\n", "{target}");
    }
    let names: Vec<String> = std::fs::read_dir(kitchen.path().join("folder"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| name.ends_with(".csv.gz")), "{names:?}");
    // An empty table has its header, packed as well.
    load(&kitchen, "k,v\n", json!({"csv": "empty.csv.gz"})).unwrap();
    assert_eq!(kitchen.steps(&json!({"csv": "empty.csv.gz"}), &json!([])), "k,v\n");
}

#[test]
fn a_load_that_fails_or_was_killed_leaves_the_old_data() {
    let kitchen = Kitchen::new();
    load(&kitchen, "k,v\na,1\n", json!({"parquet": "out"})).unwrap();
    let text = format!("k,v\n{}", "a,1\n".repeat(20_000));
    let job = json!({"inputs": [["input", {"csv": "in.csv", "columns": {"v": "int64"}}]], "output": {"target": {"parquet": "out"}}});
    kitchen.file("in.csv", format!("{text}a,x\n"));
    assert!(kitchen.run(&job).unwrap_err().contains("line 20002, column `v`: `x` is not of type int64"));
    assert_eq!(rows(&kitchen, json!({"parquet": "out"})), "k,v\na,1\n");
    // What a killed load leaves: a hidden folder, whose lock nobody holds.
    kitchen.file(".out.towpath-0123/_lock", "");
    kitchen.file(".out.towpath-0123/data/part.parquet", "half");
    // And what one leaves that was killed before it had a lock.
    kitchen.file(".out.towpath-4567/data/part.parquet", "half");
    load(&kitchen, "k,v\nb,2\n", json!({"parquet": "out"})).unwrap();
    assert!(!kitchen.path().join(".out.towpath-0123").exists() && !kitchen.path().join(".out.towpath-4567").exists());
    assert_eq!(rows(&kitchen, json!({"parquet": "out"})), "k,v\nb,2\n");
}

#[test]
fn a_data_set_has_a_manifest() {
    let kitchen = Kitchen::new();
    kitchen.file("in.csv", "k,v\na,1\nb,x\na,3\n");
    let location = kitchen.path().join("staging/one");
    let job = json!({"inputs": [["input", {"csv": "in.csv"}]], "output": {"data_set": location},
        "steps": [{"validate": {"columns": {"v": {"type": "int64", "gt": 1}}, "on_error": "reject"}}]});
    let manifest = kitchen.run(&job).unwrap();
    assert_eq!(manifest["rows"], json!(1));
    assert_eq!(manifest["schema"], json!([{"name": "k", "type": "string"}, {"name": "v", "type": "int64"}]));
    assert_eq!(
        manifest["profile"]["v"],
        json!({"nulls": 0, "distinct": 1, "min": 3, "max": 3, "mean": 3.0, "top": [["3", 1]]})
    );
    assert_eq!(manifest["rules"], json!({"v: type int64": 1, "v: gt 1": 1}));
    assert_eq!(manifest["rejects"]["rows"], json!(2));
    let rejects = kitchen.steps(
        &json!({"parquet": manifest["rejects"]["location"]}),
        &json!([{"derive": {"_rejected_by": "array_to_string(_rejected_by, '|')"}}]),
    );
    assert_eq!(rejects, "k,v,_rejected_by\na,1,v: gt 1\nb,x,v: type int64\n");
}
