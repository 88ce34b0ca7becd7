//! Loads to object stores of three kinds, over networks that fail.
//!
//! S3 is moto, Azure is Azurite. Google's store is moto as well: its XML interface, which is all that loads use, is that of S3.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::support::Kitchen;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    S3,
    Google,
    Azure,
}

const KINDS: [Kind; 3] = [Kind::S3, Kind::Google, Kind::Azure];

/// A place of its own in a store, for one test.
pub(crate) struct Cloud {
    pub(crate) kitchen: Kitchen,
    kind: Kind,
    /// `host:port`.
    pub(crate) server: String,
    /// What stands before Google's store, all the time.
    _front: Option<Proxy>,
    /// What stands before the names of objects.
    base: String,
}

impl Cloud {
    pub(crate) fn new(kind: Kind) -> Self {
        let kitchen = Kitchen::new();
        let (url, base) = match kind {
            Kind::S3 | Kind::Google => {
                let (server, bucket) = towpath_testkit::s3_bucket();
                let scheme = if kind == Kind::S3 { "s3" } else { "gs" };
                (server, format!("{scheme}://{bucket}"))
            }
            Kind::Azure => (towpath_testkit::azure(), format!("az://towpath/{:032x}", rand::random::<u128>())),
        };
        let server = url.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let front = (kind == Kind::Google).then(|| Proxy::of_requests(&server, None, None));
        let server = front.as_ref().map_or(server, |front| front.address.to_string());
        Self { kitchen, kind, server, _front: front, base }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// A connection by way of `server`, whose requests are not repeated.
    pub(crate) fn connection(&self, server: &str, config: &Value) -> Value {
        match self.kind {
            Kind::S3 => json!({"conn_type": "aws", "login": "id", "password": "secret", "extra": {
                "region_name": "us-east-1", "endpoint_url": format!("http://{server}"), "config_kwargs": config}}),
            Kind::Google => json!({"conn_type": "google_cloud_platform", "extra": {
                "endpoint_url": format!("http://{server}"), "config_kwargs": config,
                "keyfile_dict": {"private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": true}}}),
            Kind::Azure => json!({"conn_type": "wasb", "host": format!("http://{server}/towpath"), "login": "towpath",
                "password": towpath_testkit::AZURE_KEY, "extra": {"config_kwargs": config}}),
        }
    }

    /// Loads `csv` as try `number` of a task, by way of `server`.
    fn load(&self, server: &str, number: u32, csv: &str, target: &Value) -> Result<Value, String> {
        self.kitchen.file("in.csv", csv);
        // Other modes write the same again, whoever did so before.
        let counts = matches!(target["mode"].as_str(), Some("append" | "error" | "ignore"));
        let instance = json!({"name": "me", "mark": "00000000feed", "key": "me", "try_number": number, "settled": 0});
        let mut target = target.clone();
        target["connection"] = json!("lake");
        self.kitchen.run(&json!({"inputs": [["input", {"csv": "in.csv"}]], "output": {"target": target}, "owner": "me",
            "instance": if counts { instance } else { Value::Null },
            "connections": {"lake": self.connection(server, &json!({"retries": {"max_attempts": 0}}))}}))
    }

    fn read(&self, path: &str) -> String {
        self.kitchen.csv(&json!({"inputs": [["input", {"csv": self.url(path), "connection": "lake"}]],
            "connections": {"lake": self.connection(&self.server, &Value::Null)},
            "steps": [{"select": ["k", "v"]}, {"sort": ["k", "v"]}]}))
    }
}

#[test]
fn modes_mean_the_same_in_all_stores() {
    for kind in KINDS {
        let cloud = Cloud::new(kind);
        let load = |csv: &str, mode: &str| {
            let target = json!({"csv": cloud.url("lake/out"), "partition_by": "k", "mode": mode});
            // As somebody else: nobody's earlier try.
            cloud.kitchen.file("in.csv", csv);
            let mut target = target;
            target["connection"] = json!("lake");
            cloud
                .kitchen
                .run(&json!({"inputs": [["input", {"csv": "in.csv"}]], "output": {"target": target}, "owner": "me",
                "connections": {"lake": cloud.connection(&cloud.server, &Value::Null)}}))
        };
        let read = || cloud.read("lake/out");
        assert_eq!(load("k,v\na,1\nb,2\n", "error").unwrap()["files"], json!(2), "{kind:?}");
        assert_eq!(read(), "k,v\na,1\nb,2\n", "{kind:?}");
        let error = load("k,v\nx,9\n", "error").unwrap_err();
        assert!(error.contains("/lake/out` is there already, and the mode is error"), "{kind:?}: {error}");
        assert_eq!(load("k,v\nx,9\n", "ignore").unwrap()["ignored"], json!(true), "{kind:?}");
        load("k,v\nb,3\n,4\n", "append").unwrap();
        assert_eq!(read(), "k,v\na,1\nb,2\nb,3\nNULL,4\n", "{kind:?}");
        load("k,v\nb,5\nc/d %=ü,6\n", "overwrite_partitions").unwrap();
        assert_eq!(read(), "k,v\na,1\nb,5\nc/d %=ü,6\nNULL,4\n", "{kind:?}");
        load("k,v\nz,7\ny,8\n", "overwrite").unwrap();
        assert_eq!(read(), "k,v\ny,8\nz,7\n", "{kind:?}");
        // Larger than what goes in one request.
        let text: String = (0..1_200_000).map(|n| format!("k{n},{n}\n")).collect();
        cloud
            .load(&cloud.server, 1, &format!("k,v\n{text}"), &json!({"csv": cloud.url("big"), "mode": "append"}))
            .unwrap();
        let sums = json!([{"aggregate": {"columns": {"rows": "count(*)", "v": "sum(v)"}}}]);
        let job = json!({"inputs": [["input", {"csv": cloud.url("big"), "connection": "lake"}]], "steps": sums,
            "connections": {"lake": cloud.connection(&cloud.server, &Value::Null)}});
        assert_eq!(cloud.kitchen.csv(&job), format!("rows,v\n1200000,{}\n", 1_199_999_u64 * 600_000), "{kind:?}");
    }
}

/// What is there before and after one load of `NEW`, whatever happened to the first try of it.
const OLD: &str = "k,v\na,1\nb,2\n";
const NEW: &str = "k,v\nb,3\nc,4\n";

fn expected(mode: &str) -> &'static str {
    match mode {
        "append" => "k,v\na,1\nb,2\nb,3\nc,4\n",
        "overwrite_partitions" => "k,v\na,1\nb,3\nc,4\n",
        _ => "k,v\nb,3\nc,4\n",
    }
}

/// Begins a load over a network that fails as told, looks, and repeats it over one that does not. False when nothing has failed.
fn one_load(kind: Kind, mode: &str, lost: Option<i64>, dead: Option<i64>) -> bool {
    let cloud = Cloud::new(kind);
    let case = format!("{kind:?}, {mode}, the answer to request {lost:?} is lost, none gets through from {dead:?} on");
    let has_old = !matches!(mode, "error" | "ignore");
    if has_old {
        let target = json!({"csv": cloud.url("out"), "partition_by": "k", "mode": "overwrite"});
        cloud.load(&cloud.server, 1, OLD, &target).unwrap();
    }
    let target = json!({"csv": cloud.url("out"), "partition_by": "k", "mode": mode});
    let failed = {
        let proxy = Proxy::of_requests(&cloud.server, lost, dead);
        match cloud.load(&proxy.address.to_string(), 1, NEW, &target) {
            Ok(_) => false,
            Err(error) => {
                assert!(error.contains(&cloud.url("out")), "{case}: no place: {error}");
                assert!(!error.contains("secret") && !error.contains(towpath_testkit::AZURE_KEY), "{case}: {error}");
                true
            }
        }
    };
    let seen = cloud.read("out");
    let is_empty = seen.contains("there is no object or folder");
    let is_whole = seen == expected(mode) || if has_old { seen == OLD } else { is_empty };
    assert!(is_whole, "{case}: a reader sees {seen}");
    // What did not fail is not tried again; its report may have been lost all the same.
    cloud.load(&cloud.server, 2, NEW, &target).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(cloud.read("out"), expected(mode), "{case}: after the next try");
    failed
}

#[test]
fn a_load_is_one_load_wherever_the_network_dies() {
    for kind in KINDS {
        for mode in ["append", "overwrite", "overwrite_partitions", "error", "ignore"] {
            let mut requests = 0;
            while one_load(kind, mode, None, Some(requests)) {
                requests += 1;
            }
            assert!(requests >= 6, "{kind:?}, {mode}: only {requests} requests");
        }
    }
}

#[test]
fn a_load_is_one_load_whichever_answer_is_lost() {
    for mode in ["append", "overwrite"] {
        for lost in 0..16 {
            one_load(Kind::S3, mode, Some(lost), None);
            // And then the network dies while the load takes back what it has done.
            for more in [1, 3] {
                one_load(Kind::S3, mode, Some(lost), Some(lost + more));
            }
        }
    }
    for kind in [Kind::Google, Kind::Azure] {
        for lost in 0..16 {
            one_load(kind, "append", Some(lost), None);
        }
    }
}

#[test]
fn a_reader_beside_loads_sees_whole_versions() {
    for kind in KINDS {
        let cloud = Cloud::new(kind);
        let version = |v: u32| format!("k,v\n{}", ["a", "b", "c", "d"].map(|k| format!("{k},{v}\n")).concat());
        let target = json!({"csv": cloud.url("out"), "partition_by": "k", "mode": "overwrite"});
        cloud.load(&cloud.server, 1, &version(0), &target).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let reader = Cloud {
                    kitchen: Kitchen::new(),
                    kind,
                    server: cloud.server.clone(),
                    _front: None,
                    base: cloud.base.clone(),
                };
                let mut whole = 0;
                // At least one more look after the last load.
                loop {
                    let last = is_over.load(Ordering::SeqCst);
                    let seen = reader.read("out");
                    if seen.starts_with("error") {
                        assert!(seen.contains("does not exist"), "{kind:?}: {seen}");
                    } else {
                        let v = seen.lines().nth(1).and_then(|line| line.split(',').nth(1)?.parse().ok());
                        assert_eq!(Some(&seen), v.map(version).as_ref(), "{kind:?}: half of a version");
                        whole += 1;
                    }
                    if last {
                        return whole;
                    }
                }
            });
            for v in 1..12 {
                cloud.load(&cloud.server, 1, &version(v), &target).unwrap();
            }
            is_over.store(true, Ordering::SeqCst);
            assert!(reader.join().unwrap() > 1, "{kind:?}: nothing was read");
        });
    }
}
