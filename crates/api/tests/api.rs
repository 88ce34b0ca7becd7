//! The API as clients see it, on a real store of each dialect.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

mod assets;
mod fixture;
mod sets;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use fixture::{HOSTILE, World};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use towpath_api::guard::Hosts;
use towpath_api::{Options, State};
use towpath_store::ReportOutcome;

/// The API over a world.
struct Server {
    world: World,
    router: Router,
    dialect: &'static str,
}

/// A reply, read to its end.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Server {
    /// One for each dialect.
    async fn all() -> Vec<Self> {
        let mut servers = Vec::new();
        for db in towpath_testkit::databases().await {
            let dialect = db.name;
            let world = World::new(db).await;
            let state = Self::state(&world).with_data(Arc::new(fixture::sets::OneSet));
            servers.push(Self { router: towpath_api::router(state), world, dialect });
        }
        servers
    }

    /// What it is made of, without a reader of data sets.
    fn state(world: &World) -> State {
        State::new(Options {
            store: world.store.clone(),
            clock: Arc::clone(&world.clock) as _,
            dags_folder: "/srv/dags".into(),
            hosts: Hosts::of("127.0.0.1:8080".parse().unwrap(), &[]),
            stop: CancellationToken::new(),
        })
    }

    async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Reply { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn with_body(&self, method: &str, path: &str, body: &Value) -> Reply {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn trigger(&self, body: &Value) -> Reply {
        self.with_body("POST", "/api/v2/dags/etl/dagRuns", body).await
    }
}

/// Replies must not depend on the dialect: both are held against one snapshot.
async fn check_replies(paths: &[&str]) {
    for server in Server::all().await {
        for path in paths {
            let reply = server.get(path).await;
            let name = path.trim_start_matches("/api/v2/").replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            insta::with_settings!({ description => format!("GET {path}"), omit_expression => true }, {
                insta::assert_json_snapshot!(name, json!({"status": reply.status.as_u16(), "body": reply.json()}));
            });
        }
    }
}

#[tokio::test]
async fn what_is_there() {
    check_replies(&[
        "/api/v2/dags",
        "/api/v2/dags/etl",
        "/api/v2/dags/etl/dagRuns/first",
        "/api/v2/dags/~/dagRuns?state=failed&order_by=-run_after",
        "/api/v2/dags/etl/dagRuns/first/taskInstances",
        "/api/v2/dags/etl/dagRuns/first/taskInstances/check",
        "/api/v2/dags/etl/dagRuns/first/taskInstances/check/tries",
        "/api/v2/dags/etl/dagRuns/first/taskInstances/extract/logs/1",
        "/api/v2/dags/etl/dagRuns/first/taskInstances/extract/xcomEntries",
        "/api/v2/dags/etl/dagRuns/first/taskInstances/extract/xcomEntries/return_value",
        "/api/v2/dags/etl/dagRuns/first/taskInstances/extract/xcomEntries/return_value?stringify=true",
        "/api/v2/importErrors",
        "/api/v2/monitor/health",
    ])
    .await;
}

#[tokio::test]
async fn what_is_not_there() {
    check_replies(&[
        "/api/v2/nope",
        "/api/v2/dags/nope",
        "/api/v2/dags/nope/dagRuns",
        "/api/v2/dags/etl/dagRuns/nope",
        "/api/v2/dags/etl/dagRuns/first/taskInstances/nope",
        "/api/v2/dags/etl/dagRuns/first/taskInstances/extract/xcomEntries/nope",
        "/api/v2/dags/etl/dagRuns/first/taskInstances/extract/logs/2",
        "/api/v2/dags/etl/dagRuns/~/taskInstances",
    ])
    .await;
}

#[tokio::test]
async fn lists_are_filtered_or_refused() {
    for server in Server::all().await {
        let ids = async |path: &str, list: &str, key: &str| -> Vec<String> {
            let reply = server.get(path).await;
            assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text);
            let body = reply.json();
            body[list].as_array().unwrap().iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
        };
        for (query, expected) in [
            ("", vec![HOSTILE, "etl", "quiet"]),
            ("?paused=true", vec!["quiet"]),
            ("?dag_id_pattern=%25QUI%25", vec!["quiet"]),
            ("?limit=1&offset=1&order_by=dag_id", vec!["etl"]),
            ("?order_by=-dag_id&tags=flights&owners=data-team", vec!["etl"]),
            ("?tags=flights&tags=nope&tags_match_mode=all", vec![]),
            ("?last_dag_run_state=failed", vec!["etl"]),
            ("?dag_id_pattern=et%20%7C%20qui", vec!["etl", "quiet"]),
            ("?dag_run_start_date_gte=2027-01-01", vec![]),
        ] {
            assert_eq!(ids(&format!("/api/v2/dags{query}"), "dags", "dag_id").await, expected, "{query}");
        }
        let runs = "/api/v2/dags/etl/dagRuns";
        for (query, expected) in [
            ("?state=failed&state=running", 1),
            ("?state=success", 0),
            ("?run_type=manual", 1),
            ("?logical_date_gte=2026-02-02T00:00:00Z&logical_date_lte=2026-02-02T00:00:00Z", 1),
            ("?logical_date_gt=2026-02-02T00:00:00Z", 0),
            ("?logical_date_lt=2026-02-02", 0),
            ("?start_date_gte=2026-02-03&duration_gt=1.5&conf_contains=2026", 1),
            ("?run_id_pattern=FIR%25&dag_version=1&cursor=", 1),
            ("?run_id_prefix_pattern=irst", 0),
        ] {
            assert_eq!(ids(&format!("{runs}{query}"), "dag_runs", "dag_run_id").await.len(), expected, "{query}");
        }
        let tasks = "/api/v2/dags/etl/dagRuns/first/taskInstances";
        for (query, expected) in [
            ("?order_by=-task_id", vec!["load", "extract", "check"]),
            ("?state=failed&state=success&order_by=start_date", vec!["extract", "check"]),
            ("?task_id=load", vec!["load"]),
            ("?try_number=2&pool=default_pool", vec!["check"]),
        ] {
            assert_eq!(ids(&format!("{tasks}{query}"), "task_instances", "task_id").await, expected, "{query}");
        }
        for (path, status) in [
            ("/api/v2/dags?bogus=me", 422),
            ("/api/v2/dags?order_by=bogus", 400),
            ("/api/v2/dags?limit=-1", 422),
            ("/api/v2/dags?paused=perhaps", 422),
            ("/api/v2/dags/etl/dagRuns?start_date_gte=later", 422),
            ("/api/v2/dags/etl/dagRuns?order_by=bogus", 400),
            ("/api/v2/dags/etl/dagRuns?state=resting", 422),
            ("/api/v2/dags/etl/dagRuns?logical_date_gte=soon", 422),
        ] {
            let reply = server.get(path).await;
            assert_eq!(reply.status.as_u16(), status, "{path}: {}", reply.text);
        }
    }
}

#[tokio::test]
async fn triggers() {
    for server in Server::all().await {
        let reply = server
            .trigger(&json!({"logical_date": "2026-02-04T00:00:00+01:00", "dag_run_id": "second", "conf": {"day": 1}, "note": "n"}))
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
        let run = reply.json();
        for (key, expected) in [
            ("dag_run_id", json!("second")),
            ("logical_date", json!("2026-02-03T23:00:00Z")),
            ("data_interval_start", json!("2026-02-03T23:00:00Z")),
            ("data_interval_end", json!("2026-02-03T23:00:00Z")),
            ("run_type", json!("manual")),
            ("triggered_by", json!("rest_api")),
            ("conf", json!({"day": 1})),
            ("note", json!("n")),
        ] {
            assert_eq!(run[key], expected, "{}: {key}", server.dialect);
        }
        let reply = server.trigger(&json!({"logical_date": null, "conf": {"day": 1}})).await;
        let run = reply.json();
        let id = format!("manual__{}", run["run_after"].as_str().unwrap().replace('Z', "+00:00"));
        assert_eq!((&run["dag_run_id"], &run["data_interval_start"]), (&json!(id), &Value::Null));

        for (body, status, part) in [
            (json!({"logical_date": null, "dag_run_id": "second", "conf": {"day": 1}}), 409, "already has a run"),
            (
                json!({"logical_date": "2026-02-03T23:00:00Z", "dag_run_id": "x", "conf": {"day": 1}}),
                409,
                "already has a run",
            ),
            (
                json!({"logical_date": null, "conf": {"deep": "very"}}),
                400,
                "{\"detail\":\"DAG `etl`: param `day`: a value has to be given; param `deep`: \\\"very\\\" is not of type boolean\"}",
            ),
            (json!({"logical_date": null, "dag_run_id": "a/b", "conf": {"day": 1}}), 400, "dag_run_id"),
            (json!({"logical_date": null, "dag_run_id": "scheduled__x", "conf": {"day": 1}}), 400, "reserved"),
            (json!({"logical_date": null, "partition_key": "p", "conf": {"day": 1}}), 400, "partition_key"),
            (json!({"conf": {"day": 1}}), 422, "Field required"),
            (json!({"logical_date": null, "bogus": 1}), 422, "Extra inputs are not permitted"),
            (json!({"logical_date": "2026-02-04T00:00:00"}), 422, "timezone info"),
            (json!({"logical_date": null, "data_interval_start": "2026-02-04T00:00:00Z"}), 422, "together"),
        ] {
            let reply = server.trigger(&body).await;
            assert_eq!(reply.status.as_u16(), status, "{body}: {}", reply.text);
            assert!(reply.text.contains(part), "{body}: {}", reply.text);
        }
        let reply = server.with_body("POST", "/api/v2/dags/nope/dagRuns", &json!({"logical_date": null})).await;
        assert_eq!(
            (reply.status.as_u16(), reply.json()),
            (404, json!({"detail": "Dag with dag_id: 'nope' not found"}))
        );
    }
}

#[tokio::test]
async fn bodies_have_a_form_and_a_size() {
    for server in Server::all().await {
        let post = |content_type: &str, body: Vec<u8>| {
            let request = Request::post("/api/v2/dags/etl/dagRuns").header(header::CONTENT_TYPE, content_type);
            request.body(Body::from(body)).unwrap()
        };
        let good = br#"{"logical_date": null, "conf": {"day": 1}}"#.to_vec();
        for (request, status) in [
            (post("application/json", b"{".to_vec()), 422),
            (post("application/json", Vec::new()), 422),
            // What a form of another site can send without being asked.
            (post("text/plain", good.clone()), 422),
            (post("application/json", vec![b' '; 5_000_000]), 413),
            (post("application/json; charset=utf-8", good), 200),
        ] {
            let reply = server.send(request).await;
            assert_eq!(reply.status.as_u16(), status, "{}", reply.text);
        }
    }
}

#[tokio::test]
async fn pauses() {
    for server in Server::all().await {
        for (body, status, paused) in [
            (json!({"is_paused": true}), 200, true),
            (json!({"is_paused": false}), 200, false),
            (json!({}), 422, false),
            (json!({"is_paused": null}), 422, false),
            (json!({"is_paused": true, "x": 1}), 422, false),
        ] {
            let reply = server.with_body("PATCH", "/api/v2/dags/etl", &body).await;
            assert_eq!(reply.status.as_u16(), status, "{body}: {}", reply.text);
            assert_eq!(server.world.store.dag("etl").await.unwrap().unwrap().is_paused, paused, "{body}");
        }
        let reply = server.with_body("PATCH", "/api/v2/dags/nope", &json!({"is_paused": true})).await;
        assert_eq!((reply.status.as_u16(), reply.json()), (404, json!({"detail": "Dag with id: nope was not found"})));
        let reply = server.with_body("PATCH", "/api/v2/dags/etl?update_mask=tags", &json!({"is_paused": true})).await;
        assert_eq!(reply.status.as_u16(), 400, "{}", reply.text);
    }
}

#[tokio::test]
async fn explains() {
    check_replies(&[
        "/api/towpath/v1/dags/etl/explain",
        "/api/towpath/v1/dags/quiet/explain",
        "/api/towpath/v1/dags/etl/dagRuns/first/explain",
        "/api/towpath/v1/dags/etl/dagRuns/first/taskInstances/load/explain",
        "/api/towpath/v1/dags/etl/dagRuns/first/taskInstances/check/explain",
        "/api/towpath/v1/dags/nope/explain",
        "/api/towpath/v1/dags/etl/dagRuns/first/taskInstances/nope/explain",
        "/api/towpath/v1/nope",
    ])
    .await;
    for server in Server::all().await {
        server.trigger(&json!({"logical_date": null, "dag_run_id": "second", "conf": {"day": 1}})).await;
        let run = "/api/towpath/v1/dags/etl/dagRuns/second";
        let told = server.get(&format!("{run}/taskInstances/load/explain")).await.json();
        let texts: Vec<&str> =
            told["reasons"].as_array().unwrap().iter().map(|reason| reason["text"].as_str().unwrap()).collect();
        assert_eq!(
            texts,
            ["waits for upstream `check` (waits itself)", "in the end it waits for `extract` (queued, 1st try)"],
            "{told}"
        );
        let told = server.get(&format!("{run}/explain")).await.json();
        let groups: Vec<(&str, u64, &str)> = told["waiting"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| {
                let text = group["reasons"][0]["text"].as_str().unwrap();
                (group["state"].as_str().unwrap(), group["count"].as_u64().unwrap(), text)
            })
            .collect();
        assert_eq!(
            groups,
            [
                ("queued", 1, "queued since 04:06:40Z; 0 of 4 slots are busy on 1 live worker of queue `default`"),
                ("none", 1, "waits for upstream `extract` (queued, 1st try)"),
                ("none", 1, "in the end it waits for `extract` (queued, 1st try)"),
            ],
            "{told}"
        );
    }
}

#[tokio::test]
async fn deletes() {
    for server in Server::all().await {
        let delete = async |path: &str| {
            let reply = server.send(Request::delete(path).body(Body::empty()).unwrap()).await;
            (reply.status.as_u16(), reply.text)
        };
        server.trigger(&json!({"logical_date": null, "dag_run_id": "second", "conf": {"day": 1}})).await;
        let second = "/api/v2/dags/etl/dagRuns/second";
        let running = "The DagRun with dag_id: `etl` and run_id: `second` cannot be deleted in running state";
        assert_eq!(delete(second).await, (409, json!({"detail": running}).to_string()));
        let running = "Task instances of dag with id: 'etl' are still running";
        assert_eq!(delete("/api/v2/dags/etl").await, (409, json!({"detail": running}).to_string()));
        assert_eq!(delete("/api/v2/dags/etl/dagRuns/first").await, (204, String::new()));
        assert_eq!(server.get("/api/v2/dags/etl/dagRuns/first").await.status.as_u16(), 404);
        assert_eq!(delete("/api/v2/dags/etl/dagRuns/first").await.0, 404);
        let run = server.world.store.run("etl", "second").await.unwrap().unwrap();
        assert!(server.world.store.cancel_run(run.key, "no more", fixture::begin()).await.unwrap());
        assert_eq!(delete("/api/v2/dags/etl").await, (200, "null".to_owned()));
        assert_eq!(delete("/api/v2/dags/etl").await.0, 404);
        assert_eq!(server.get(second).await.status.as_u16(), 404);
    }
}

#[tokio::test]
async fn methods_and_sites() {
    for server in Server::all().await {
        let reply = server.with_body("DELETE", "/api/v2/dags", &json!({})).await;
        assert_eq!((reply.status.as_u16(), reply.json()), (405, json!({"detail": "Method Not Allowed"})));
        let request = Request::get("/api/v2/dags").header(header::HOST, "evil.example").body(Body::empty()).unwrap();
        let reply = server.send(request).await;
        assert_eq!(reply.status.as_u16(), 403);
        assert!(reply.json()["detail"].as_str().unwrap().contains("evil.example"));
        let request = Request::patch("/api/v2/dags/etl")
            .header(header::HOST, "localhost:8080")
            .header("sec-fetch-site", "cross-site")
            .header(header::CONTENT_TYPE, "application/json");
        let reply = server.send(request.body(Body::from(r#"{"is_paused": true}"#)).unwrap()).await;
        assert_eq!(reply.status.as_u16(), 403);
        assert!(!server.world.store.dag("etl").await.unwrap().unwrap().is_paused);
    }
}

#[tokio::test]
async fn waits_for_the_end_of_a_run() {
    for server in Server::all().await {
        let over = server.get("/api/v2/dags/etl/dagRuns/first/wait?interval=1&result=extract&result=load").await;
        assert_eq!(over.headers[header::CONTENT_TYPE], "application/x-ndjson");
        assert_eq!(over.json(), json!({"state": "failed", "results": {"extract": {"rows": 336}, "load": null}}));

        server.trigger(&json!({"logical_date": null, "dag_run_id": "second", "conf": {"day": 1}})).await;
        let wait = server.get("/api/v2/dags/etl/dagRuns/second/wait?interval=3600");
        let work = async {
            loop {
                let claimed = server.world.claim().await;
                let Some(task) = claimed.first() else { break };
                server.world.end(task, ReportOutcome::Success, None, vec![], &[]).await;
            }
        };
        let limit = std::time::Duration::from_secs(30);
        let (reply, ()) =
            tokio::time::timeout(limit, async { tokio::join!(wait, work) }).await.expect("the end is told at once");
        let last = reply.text.lines().last().unwrap_or_default();
        assert_eq!(last, r#"{"state":"success"}"#, "{}", reply.text);

        for (query, status) in [("", 422), ("?interval=0", 422), ("?interval=x", 422)] {
            let reply = server.get(&format!("/api/v2/dags/etl/dagRuns/first/wait{query}")).await;
            assert_eq!(reply.status.as_u16(), status, "{query}: {}", reply.text);
        }
    }
}

#[tokio::test]
async fn follows_a_log() {
    for server in Server::all().await {
        let path = "/api/v2/dags/etl/dagRuns/second/taskInstances/extract/logs/1";
        server.trigger(&json!({"logical_date": null, "dag_run_id": "second", "conf": {"day": 1}})).await;
        let [task] = server.world.claim().await.try_into().unwrap();
        let now = fixture::begin();
        server.world.store.append_logs(&[server.world.chunk(&task, 0, &["one"])], now).await.unwrap();

        // In parts: a token as long as more may come.
        let part = server.get(path).await.json();
        assert_eq!((&part["content"][0]["event"], &part["continuation_token"]), (&json!("one"), &json!("1")));
        let part = server.get(&format!("{path}?token=1")).await.json();
        assert_eq!(part, json!({"content": [], "continuation_token": "1"}));
        assert_eq!(server.get(&format!("{path}?token=secret")).await.status.as_u16(), 400);

        // As a stream: until the try has ended.
        let request = Request::get(path).header(header::ACCEPT, "application/x-ndjson").body(Body::empty()).unwrap();
        let follow = server.send(request);
        let work = async {
            server.world.store.append_logs(&[server.world.chunk(&task, 1, &["two"])], now).await.unwrap();
            server.world.end(&task, ReportOutcome::Success, None, vec![], &[]).await;
        };
        let limit = std::time::Duration::from_secs(30);
        let (reply, ()) =
            tokio::time::timeout(limit, async { tokio::join!(follow, work) }).await.expect("the stream ends");
        let events: Vec<Value> =
            reply.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone()).collect();
        assert_eq!(events, ["one", "two"], "{}", server.dialect);
        assert_eq!(server.get(&format!("{path}?token=1")).await.json()["continuation_token"], Value::Null);

        let request = Request::get(path).header(header::ACCEPT, "text/html").body(Body::empty()).unwrap();
        assert_eq!(server.send(request).await.status.as_u16(), 406);
    }
}

#[tokio::test]
async fn health_and_metrics() {
    for server in Server::all().await {
        let reply = server.get("/health").await;
        let health = reply.json();
        assert_eq!((reply.status.as_u16(), &health["status"]), (200, &json!("healthy")), "{health}");
        assert_eq!(
            (&health["database"]["dialect"], &health["workers"][0]["slots"]),
            (&json!(server.dialect), &json!(4))
        );
        let metrics = server.get("/metrics").await.text;
        for line in [
            "towpath_dags{paused=\"true\"} 1",
            "towpath_import_errors 1",
            "towpath_pool_slots{pool=\"default_pool\",state=\"open\"} 128",
            "towpath_http_requests_total{route=\"/health\",method=\"GET\",status=\"200\"} 1",
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
        }
        // A nested route is told by its pattern, and what is no route by none.
        server.get("/api/v2/dags/etl").await;
        server.get("/api/v2/nope").await;
        let metrics = server.get("/metrics").await.text;
        for label in [
            r#"route="/api/v2/dags/{dag_id}",method="GET",status="200""#,
            r#"route="unmatched",method="GET",status="404""#,
        ] {
            assert!(metrics.contains(label), "{label} is not in\n{metrics}");
        }
        // Leases run out: nothing is alive any more.
        server.world.pass(4_000);
        let reply = server.get("/health").await;
        assert_eq!((reply.status.as_u16(), &reply.json()["status"]), (200, &json!("degraded")));
        server.world.store.close().await;
        let reply = server.get("/health").await;
        assert_eq!((reply.status.as_u16(), &reply.json()["status"]), (503, &json!("unhealthy")));
        let reply = server.get("/api/v2/dags").await;
        assert!(reply.status.is_server_error() && !reply.text.contains("pool"), "{}", reply.text);
    }
}
