//! Server-sent events.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio_stream::StreamExt;
use tower::ServiceExt;
use towpath_model::clock::Clock;
use towpath_model::run::TriggeredBy;
use towpath_store::NewRun;
use towpath_store::ReportOutcome;

use crate::Server;

/// How long anything may take before it counts as stuck.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq)]
struct Event {
    kind: String,
    id: String,
    data: String,
}

impl Event {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

/// Reads events as an `EventSource` does.
struct Source {
    body: BodyDataStream,
    text: String,
}

impl Source {
    async fn open(server: &Server, path: &str, user: &str, last: Option<&str>) -> Self {
        let token = server.jwt(user).await;
        let mut request = Request::get(path).header("authorization", token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let reply = server.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK, "{path}");
        assert_eq!(reply.headers()["content-type"], "text/event-stream");
        Self { body: reply.into_body().into_data_stream(), text: String::new() }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let lines: Vec<&str> = event.lines().collect();
                let field = |name: &str| {
                    let values: Vec<&str> =
                        lines.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect();
                    values.join("\n")
                };
                let event = Event { kind: field("event"), id: field("id"), data: field("data") };
                self.text = rest.to_owned();
                if !event.kind.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let chunk = tokio::time::timeout(LIMIT, self.body.next()).await.expect("an event comes in time")?;
            self.text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    /// The next event of this kind about this.
    async fn until(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.kind == kind && fits(&event.json()) {
                return event;
            }
        }
    }
}

async fn trigger(server: &Server, run_id: &str) {
    let now = server.world.clock.now();
    let conf = serde_json::Map::from_iter([("day".to_owned(), "x".into())]);
    let new = NewRun { run_id: Some(run_id.to_owned()), conf, ..NewRun::manual("etl", now, TriggeredBy::Cli) };
    server.world.store.create_run(new, now).await.unwrap();
}

#[tokio::test]
async fn states_are_told_and_told_again_to_those_who_come_back() {
    for db in towpath_testkit::databases().await {
        let server = Server::new(db).await;
        let mut all = Source::open(&server, "/api/towpath/v1/events", "viewer", None).await;
        let hello = all.next().await.unwrap();
        assert_eq!(hello.kind, "hello");
        let mut quiet = Source::open(&server, "/api/towpath/v1/events?dag_id=quiet", "viewer", None).await;
        let mut nothing = Source::open(&server, "/api/towpath/v1/events", "none", None).await;
        trigger(&server, "second").await;
        let started = all.until("dag_run", |it| it["dag_run_id"] == "second").await;
        assert_eq!(started.json()["dag_id"], "etl");
        let [extract] = server.world.claim().await.try_into().unwrap();
        all.until("task_instance", |it| it["task_id"] == "extract" && it["state"] == "running").await;
        server.world.end(&extract, ReportOutcome::Success, None, vec![], &[]).await;
        let ended = all.until("task_instance", |it| it["task_id"] == "extract" && it["state"] == "success").await;

        // Who comes back gets what was missed, and nothing twice.
        let mut back = Source::open(&server, "/api/towpath/v1/events?run_id=second", "viewer", Some(&started.id)).await;
        assert_eq!(back.next().await.unwrap().json()["task_id"], "extract");
        back.until("task_instance", |it| it["state"] == "success").await;
        let mut lost = Source::open(&server, "/api/towpath/v1/events", "viewer", Some("00000000-7")).await;
        assert_eq!(lost.next().await.unwrap().kind, "reset");
        assert!(ended.id > started.id);

        // The others have heard of their own DAGs alone.
        let now = server.world.clock.now();
        server.world.store.set_paused("quiet", false, now).await.unwrap();
        let new = NewRun { run_id: Some("q".to_owned()), ..NewRun::manual("quiet", now, TriggeredBy::Cli) };
        server.world.store.create_run(new, now).await.unwrap();
        assert_eq!(quiet.next().await.unwrap().kind, "hello");
        assert_eq!(quiet.next().await.unwrap().json()["dag_id"], "quiet");
        all.until("dag_run", |it| it["dag_id"] == "quiet").await;
        assert_eq!(nothing.next().await.unwrap().kind, "hello");
        assert!(tokio::time::timeout(Duration::from_millis(1), nothing.next()).await.is_err());
    }
}

#[tokio::test]
async fn what_somebody_may_not_see_is_not_there() {
    let server = Server::sqlite().await;
    let token = server.jwt("none").await;
    let send = async |path: &str| server.send("GET", path, &[("authorization", &token)], "").await.status;
    assert_eq!(send("/api/towpath/v1/events?dag_id=etl").await, StatusCode::NOT_FOUND);
    assert_eq!(send("/api/towpath/v1/events?dag_id=nowhere").await, StatusCode::NOT_FOUND);
    assert_eq!(send("/api/towpath/v1/events?task=x").await, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_log_is_followed_to_its_end() {
    for db in towpath_testkit::databases().await {
        let server = Server::new(db).await;
        trigger(&server, "second").await;
        let [extract] = server.world.claim().await.try_into().unwrap();
        let path = "/api/towpath/v1/dags/etl/dagRuns/second/taskInstances/extract/logs/1/stream";
        server
            .world
            .store
            .append_logs(&[server.world.chunk(&extract, 0, &["one", "two"])], server.world.clock.now())
            .await
            .unwrap();
        let mut log = Source::open(&server, path, "viewer", None).await;
        let first = log.next().await.unwrap();
        let lines: Vec<Value> = first.data.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.iter().map(|line| &line["event"]).collect::<Vec<_>>(), [&json!("one"), &json!("two")]);
        server
            .world
            .store
            .append_logs(&[server.world.chunk(&extract, 1, &["three"])], server.world.clock.now())
            .await
            .unwrap();
        assert!(log.next().await.unwrap().data.contains("three"));
        server.world.end(&extract, ReportOutcome::Success, None, vec![], &[]).await;
        assert_eq!(log.next().await.unwrap().kind, "end");
        assert_eq!(log.next().await, None);
        let mut back = Source::open(&server, path, "viewer", Some(&first.id)).await;
        assert!(back.next().await.unwrap().data.contains("three"));
        assert_eq!(back.next().await.unwrap().kind, "end");
    }
}
