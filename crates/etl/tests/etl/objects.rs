//! Object stores, against a real server that speaks S3 (`TOWPATH_TEST_S3`).

use serde_json::{Value, json};

use crate::support::Kitchen;
use towpath_operators::object_storage::store::path::Path;
use towpath_operators::object_storage::store::{ObjectStore, ObjectStoreExt as _};
use towpath_operators::object_storage::{self, Location};

/// A bucket of its own for one test.
struct Bucket {
    kitchen: Kitchen,
    name: String,
    server: String,
}

impl Bucket {
    fn new() -> Self {
        let (server, name) = towpath_testkit::s3_bucket();
        Self { kitchen: Kitchen::new(), name, server }
    }

    fn connection(&self) -> Value {
        json!({"conn_type": "aws", "login": "id", "password": "secret",
            "extra": {"region_name": "us-east-1", "endpoint_url": self.server}})
    }

    fn url(&self, path: &str) -> String {
        format!("s3://{}/{path}", self.name)
    }

    fn store(&self) -> std::sync::Arc<dyn ObjectStore> {
        let connection = towpath_model::connection::Connection::from_json("lake", &self.connection().to_string());
        object_storage::open(&Location::parse(&self.url("")).unwrap(), Some(&connection.unwrap())).unwrap()
    }

    fn put(&self, path: &str, text: impl AsRef<[u8]>) {
        let bytes = text.as_ref().to_vec();
        self.kitchen.wait(async { self.store().put(&Path::parse(path).unwrap(), bytes.into()).await.unwrap() });
    }

    /// The names of all objects, without what makes names unique.
    fn names(&self) -> Vec<String> {
        use futures::TryStreamExt as _;
        let store = self.store();
        let listed: Vec<_> = self.kitchen.wait(async { store.list(None).try_collect().await.unwrap() });
        let mut names: Vec<String> = listed.iter().map(|meta| meta.location.as_ref().to_owned()).collect();
        names.sort();
        names
    }

    fn run(&self, parts: Value) -> Result<Value, String> {
        let mut parts = parts;
        parts["connections"] = json!({"lake": self.connection()});
        self.kitchen.run(&parts)
    }

    fn load(&self, csv: &str, target: Value) -> Result<Value, String> {
        self.kitchen.file("in.csv", csv);
        self.run(json!({"inputs": [["input", {"csv": "in.csv"}]], "output": {"target": target}, "owner": "me"}))
    }

    fn read(&self, source: Value) -> String {
        let mut source = source;
        source["connection"] = json!("lake");
        self.kitchen.csv(&json!({"inputs": [["input", source]], "connections": {"lake": self.connection()},
            "steps": [{"sort": ["k", "v"]}, {"select": ["k", "v"]}]}))
    }
}

#[test]
fn modes_mean_what_they_mean_in_folders() {
    let bucket = Bucket::new();
    let target = |mode: &str| json!({"parquet": bucket.url("lake/out"), "connection": "lake", "partition_by": "k", "mode": mode});
    let read = || bucket.read(json!({"parquet": bucket.url("lake/out")}));
    // A folder whose name only begins alike is another one.
    bucket.put("lake/outer/x.csv", "k,v\n");
    let loaded = bucket.load("k,v\na,1\nb,2\n", target("error")).unwrap();
    assert_eq!((loaded["rows"].clone(), loaded["files"].clone()), (json!(2), json!(2)));
    assert_eq!(read(), "k,v\na,1\nb,2\n");
    let error = bucket.load("k,v\nx,9\n", target("error")).unwrap_err();
    assert!(error.contains("/lake/out` is there already, and the mode is error"), "{error}");
    assert_eq!(bucket.load("k,v\nx,9\n", target("ignore")).unwrap()["ignored"], json!(true));
    bucket.load("k,v\nb,3\n,4\n", target("append")).unwrap();
    assert_eq!(read(), "k,v\na,1\nb,2\nb,3\nNULL,4\n");
    bucket.load("k,v\nb,5\nc/d %,6\n", target("overwrite_partitions")).unwrap();
    assert_eq!(read(), "k,v\na,1\nb,5\nc/d %,6\nNULL,4\n");
    bucket.load("k,v\nz,7\ny,8\n", target("overwrite")).unwrap();
    assert_eq!(read(), "k,v\ny,8\nz,7\n");
    let names = bucket.names();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn every_format_is_written_and_read() {
    for (format, path) in [
        ("parquet", "one.parquet"),
        ("csv", "one.csv"),
        ("csv", "one.csv.zst"),
        ("ndjson", "folder"),
        ("arrow", "one.arrow"),
    ] {
        let bucket = Bucket::new();
        for csv in ["k,v\nold,0\n", "k,v\nü,1\n,2\n"] {
            bucket.load(csv, json!({format: bucket.url(path), "connection": "lake"})).unwrap();
        }
        assert_eq!(bucket.read(json!({format: bucket.url(path)})), "k,v\nü,1\nNULL,2\n", "{path}");
        assert_eq!(bucket.names().len(), 1, "{path}");
    }
}

#[test]
fn large_files_go_in_parts() {
    let bucket = Bucket::new();
    let text: String = (0..2_000_000).map(|n| format!("k{n},{n}\n")).collect();
    let loaded = bucket.load(&format!("k,v\n{text}"), json!({"csv": bucket.url("big"), "connection": "lake"})).unwrap();
    assert!(loaded["bytes"].as_u64().unwrap() > 20_000_000, "{loaded}");
    let sums = json!([{"aggregate": {"columns": {"rows": "count(*)", "v": "sum(v)"}}}]);
    let job = json!({"inputs": [["input", {"csv": bucket.url("big"), "connection": "lake"}]], "steps": sums,
        "connections": {"lake": bucket.connection()}});
    assert_eq!(bucket.kitchen.csv(&job), format!("rows,v\n2000000,{}\n", 1_999_999_u64 * 1_000_000));
}

#[test]
fn globs_folders_and_what_is_not_there() {
    let bucket = Bucket::new();
    bucket.put("in/2026/01/a.csv", "k,v\na,1\n");
    bucket.put("in/2026/02/b.csv", "k,v\nb,2\n");
    bucket.put("in/_tmp/c.csv", "broken");
    bucket.put("hive/k=x%2Fy/1.csv", "v\n3\n");
    bucket.put("hive/k=__HIVE_DEFAULT_PARTITION__/1.csv", "v\n4\n");
    for (path, expected) in [
        ("in", "k,v\na,1\nb,2\n"),
        ("in/*/0[2-9]/*.csv", "k,v\nb,2\n"),
        ("in/**/a.csv", "k,v\na,1\n"),
        ("hive", "k,v\nx/y,3\nNULL,4\n"),
    ] {
        assert_eq!(bucket.read(json!({"csv": bucket.url(path)})), expected, "{path}");
    }
    let error = bucket.read(json!({"csv": bucket.url("none")}));
    assert_eq!(error, format!("error: there is no object or folder `{}`, or it has no files", bucket.url("none")));
    let error = bucket.read(json!({"csv": "s3://no-such-bucket/x.csv"}));
    assert!(error.starts_with("error: ") && error.contains("s3://no-such-bucket/x.csv"), "{error}");
    bucket.put("bad.csv", "k,v\na,1\nb,x\n");
    let error = bucket.read(json!({"csv": bucket.url("bad.csv"), "columns": {"v": "int64"}}));
    assert!(
        error.starts_with(&format!("error: {}, line 3, column `v`: `x` is not of type int64", bucket.url("bad.csv")))
    );
}

#[test]
fn a_load_that_was_killed_leaves_the_old_data_or_the_new() {
    let bucket = Bucket::new();
    let mark = |owner: &str, switched: bool| {
        json!({"owner": owner, "new": ["out/new-1.csv", "out/new-2.csv"], "old": ["out/old.csv"], "switched": switched})
            .to_string()
    };
    let read = || bucket.read(json!({"csv": bucket.url("out")}));
    let target = |mode: &str| json!({"csv": bucket.url("out"), "connection": "lake", "mode": mode});
    for (switched, seen, appended) in
        [(false, "k,v\nold,0\n", "k,v\nmore,9\nold,0\n"), (true, "k,v\nnew,1\nnew,2\n", "k,v\nmore,9\nnew,1\nnew,2\n")]
    {
        bucket.load("k,v\nx,0\n", target("overwrite")).unwrap();
        let before = bucket.names();
        // What a load leaves that is killed in the middle of its change.
        bucket.put("out/old.csv", "k,v\nold,0\n");
        bucket.put("out/new-1.csv", "k,v\nnew,1\n");
        bucket.put("out/new-2.csv", "k,v\nnew,2\n");
        bucket.kitchen.wait(async {
            for name in &before {
                bucket.store().delete(&Path::parse(name).unwrap()).await.unwrap();
            }
        });
        bucket.put("out/_towpath-commit-1.json", mark("me", switched));
        assert_eq!(read(), seen, "switched: {switched}");
        // The next try puts it in order.
        bucket.load("k,v\nmore,9\n", target("append")).unwrap();
        assert_eq!(read(), appended, "switched: {switched}");
        let names = bucket.names();
        assert!(!names.iter().any(|name| name.contains("_towpath-commit-")), "{names:?}");
    }
    // That of another task may be alive.
    bucket.put("out/_towpath-commit-2.json", mark("other", false));
    bucket.load("k,v\nz,1\n", target("append")).unwrap();
    assert!(bucket.names().iter().any(|name| name.ends_with("_towpath-commit-2.json")));
}

#[test]
fn a_load_that_fails_shows_nothing() {
    let bucket = Bucket::new();
    bucket.load("k,v\na,1\n", json!({"parquet": bucket.url("out"), "connection": "lake"})).unwrap();
    let text = format!("k,v\n{}a,x\n", "a,1\n".repeat(20_000));
    bucket.kitchen.file("in.csv", text);
    let job = json!({"inputs": [["input", {"csv": "in.csv", "columns": {"v": "int64"}}]],
        "output": {"target": {"parquet": bucket.url("out"), "connection": "lake"}}});
    let error = bucket.run(job).unwrap_err();
    assert!(error.contains("line 20002, column `v`: `x` is not of type int64"), "{error}");
    assert_eq!(bucket.read(json!({"parquet": bucket.url("out")})), "k,v\na,1\n");
    for (target, expected) in [
        (
            json!({"csv": "s3://bucket", "connection": "lake"}),
            "`s3://bucket/` is no name of an object or folder; write s3://bucket/folder",
        ),
        (
            json!({"csv": bucket.url("x.csv"), "connection": "lake", "mode": "append"}),
            "is one file, which mode append cannot add to; name a folder, without `.csv`",
        ),
    ] {
        let error = bucket.load("k,v\na,1\n", target).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
