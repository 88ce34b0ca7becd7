//! Who gets in and who does not, through the whole router: API, pages and login.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

mod dag_files;
mod documented;
#[path = "../fixture/mod.rs"]
mod fixture;
mod follow;
mod hooks;
mod logins;
mod matrix;
mod sso;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use fixture::World;
use serde_json::{Value, json};
use strum::IntoEnumIterator;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use towpath_api::guard::Hosts;
use towpath_auth::{API_TOKEN_PREFIX, Auth, Minted, Mode, Options, hash, password};
use towpath_model::clock::Clock;
use towpath_store::{Access, EventFilter, Grant, NewToken, Role, Scope};
use towpath_testkit::TestDb;

const PASSWORD: &str = "correct horse";

struct Server {
    world: World,
    auth: Auth,
    /// Of DAG files.
    folder: tempfile::TempDir,
    router: Router,
}

#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    /// Over a world with a user for each role: `viewer` has the role viewer, and so on; and `nobody`.
    async fn new(db: TestDb) -> Self {
        let world = World::new(db).await;
        let clock: towpath_model::clock::SharedClock = Arc::clone(&world.clock) as _;
        let kept = password::hash(PASSWORD).await.unwrap();
        for role in Role::iter() {
            let now = clock.now();
            assert!(world.store.create_user(&role.to_string(), role, Some(&kept), now).await.unwrap());
        }
        let folder = tempfile::tempdir().unwrap();
        let auth = Auth::new(Options {
            store: world.store.clone(),
            clock: Arc::clone(&clock),
            mode: Mode::Users,
            port: 8080,
            is_https: false,
            metrics_are_open: false,
            page: |status, reason| (status, reason.to_owned()).into_response(),
        });
        let state = towpath_api::State::new(towpath_api::Options {
            store: world.store.clone(),
            clock: Arc::clone(&clock),
            dags_folder: folder.path().to_owned(),
            hosts: Hosts::Any,
            stop: CancellationToken::new(),
        });
        let state = state.with_auth(auth.clone()).with_origins(&["https://app.example.org".to_owned()]);
        let state = state.with_dag_files(true).with_https(true);
        let state = state.with_data(Arc::new(fixture::sets::OneSet));
        let ui = towpath_ui::State {
            store: world.store.clone(),
            clock,
            dags_folder: "/srv/dags".into(),
            settings: [].into(),
            test_connection: None,
            data: Some(Arc::new(fixture::sets::OneSet)),
            graphs: towpath_ui::Graphs::default(),
        };
        let described = state.clone();
        let document: towpath_ui::Document = Arc::new(move || {
            let state = described.clone();
            Box::pin(async move { state.openapi().await })
        });
        let pages = towpath_ui::router(ui.clone()).merge(towpath_ui::docs(ui, document));
        let pages = pages.merge(towpath_ui::access(auth.clone(), world.store.clone(), Arc::clone(&world.clock) as _));
        Self { folder, router: towpath_api::app(state, pages), auth, world }
    }

    async fn sqlite() -> Self {
        Self::new(towpath_testkit::sqlite()).await
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_LENGTH, body.len());
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Reply { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    /// The status of a reply that goes on.
    async fn head(&self, path: &str, headers: &[(&str, &str)]) -> StatusCode {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
    }

    /// A JWT of a user.
    async fn jwt(&self, name: &str) -> String {
        let user = self.world.store.user(name).await.unwrap().unwrap();
        format!("Bearer {}", self.auth.issue_jwt(&user).await.unwrap())
    }

    async fn log_in(&self, name: &str, password: &str) -> Reply {
        let body = json!({"username": name, "password": password}).to_string();
        self.send("POST", "/auth/token", &[("content-type", "application/json")], &body).await
    }

    /// The cookie of a session of a user, by the form.
    async fn session(&self, name: &str) -> String {
        let form = [("content-type", "application/x-www-form-urlencoded"), ("sec-fetch-site", "same-origin")];
        let body = format!("username={name}&password={}&next=%2Fdags%2Fetl", PASSWORD.replace(' ', "+"));
        let reply = self.send("POST", "/login", &form, &body).await;
        assert_eq!((reply.status, reply.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/dags/etl"));
        let cookie = reply.header(header::SET_COOKIE);
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        cookie.split(';').next().unwrap().to_owned()
    }

    async fn events(&self, event: &str) -> Vec<towpath_store::EventRecord> {
        let filter = EventFilter { event: Some(event.to_owned()), limit: 100, ..EventFilter::default() };
        self.world.store.events(&filter).await.unwrap().items
    }
}

#[tokio::test]
async fn other_sites_may_call_with_a_token_where_they_are_listed() {
    let server = Server::sqlite().await;
    let token = server.jwt("user").await;
    let body = json!({"logical_date": null, "conf": {"day": "x"}}).to_string();
    for (origin, status) in [("https://app.example.org", 200), ("https://evil.example", 403)] {
        let asks = [("origin", origin), ("access-control-request-method", "POST")];
        let asked = server.send("OPTIONS", "/api/v2/dags/etl/dagRuns", &asks, "").await;
        let allowed = asked.headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(allowed.is_some(), status == 200, "{origin}: {asked:?}");
        assert!(!asked.headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        let headers = [
            ("origin", origin),
            ("sec-fetch-site", "cross-site"),
            ("host", "towpath.test"),
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
        ];
        let reply = server.send("POST", "/api/v2/dags/etl/dagRuns", &headers, &body).await;
        assert_eq!(reply.status.as_u16(), status, "{origin}: {reply:?}");
    }
}

#[tokio::test]
async fn api_tokens_have_a_name_a_ceiling_and_an_end() {
    let server = Server::sqlite().await;
    let token = Minted::new(API_TOKEN_PREFIX);
    let new = NewToken {
        hash: hash(&token.text),
        name: "ci".to_owned(),
        user: "op".to_owned(),
        role: Some(Role::Viewer),
        expires_at: Some(server.world.clock.now() + chrono::TimeDelta::hours(1)),
    };
    let id = server.world.store.create_token(&new, server.world.clock.now()).await.unwrap().unwrap();
    let bearer = format!("Bearer {}", token.text);
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("op:{}", token.text)));
    let stranger = format!("Basic {}", BASE64_STANDARD.encode(format!("admin:{}", token.text)));
    for (value, status) in [(&bearer, 200), (&basic, 200), (&stranger, 403)] {
        let reply = server.send("GET", "/api/v2/dags", &[("authorization", value)], "").await;
        assert_eq!(reply.status.as_u16(), status, "{value}");
    }
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let reply = server
        .send("POST", "/api/v2/dags/etl/dagRuns", &headers, r#"{"logical_date": null, "conf": {"day": "x"}}"#)
        .await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN, "its user may, the token may not: {reply:?}");
    assert_eq!(
        reply.json()["detail"],
        "`op/ci` has the role `viewer`; this needs `user`, or `edit` granted for DAG `etl`"
    );
    server.world.store.revoke_token(id, server.world.clock.now()).await.unwrap();
    let reply = server.send("GET", "/api/v2/dags", &[("authorization", &bearer)], "").await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn who_may_see_some_dags_sees_those_alone() {
    for db in towpath_testkit::databases().await {
        let server = Server::new(db).await;
        let token = server.jwt("none").await;
        let ask = async |method: &str, path: &str, body: &str| {
            let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
            server.send(method, path, &headers, body).await
        };
        let grant =
            async |scope: Scope, access| server.world.store.grant("none", &Grant { scope, access }).await.unwrap();
        assert_eq!(ask("GET", "/api/v2/dags", "").await.json()["total_entries"], 0);
        grant(Scope::Tag("flights".to_owned()), Access::Read).await;
        let dags = ask("GET", "/api/v2/dags", "").await.json();
        assert_eq!((&dags["total_entries"], &dags["dags"][0]["dag_id"]), (&json!(1), &json!("etl")));
        assert_eq!(ask("GET", "/api/v2/dags/~/dagRuns", "").await.json()["total_entries"], 1);
        let list = ask("GET", "/dags", "").await.text;
        assert!(list.contains("1 DAG<"), "{list}");
        for path in ["/", "/dags", "/runs", "/search?q=", "/search?q=nothing&dag=quiet", "/search?q=quiet%20nothing"] {
            let page = ask("GET", path, "").await.text;
            assert!(!page.contains("/dags/quiet") && !page.contains("cannot be read"), "{path}: {page}");
        }
        for (path, status) in [
            ("/api/v2/dags/etl", 200),
            ("/api/v2/dags/etl/dagRuns/first", 200),
            ("/dags/etl", 200),
            ("/api/v2/dags/quiet", 403),
            ("/api/v2/dags/nope", 403), // and so it is not told what there is
            ("/dags/quiet", 403),
            ("/api/v2/dags/~/dagRuns/first", 403),
            ("/api/v2/dags/%7E/dagRuns/first", 403),
            ("/api/v2/dags/etl%2F..%2Fquiet", 403),
            ("/api/v2/dags/etl/../quiet", 404),
            ("/api/v2//dags/quiet", 404),
            ("/api/v2", 404),
            ("/api/v2/dags/quiet/", 404),
            ("/API/v2/dags/quiet", 404),
            ("/api/v2/dags/qu%69et", 403),
            ("/api/v2/dags/et%6C", 200),
            ("/api/v2/dags/etl%00", 404),
            ("/api/v2/importErrors", 403),
            ("/api/v2/eventLogs", 403),
        ] {
            let reply = ask("GET", path, "").await;
            assert_eq!(reply.status.as_u16(), status, "{path}: {reply:?}");
        }
        let trigger = r#"{"logical_date": null, "conf": {"day": "x"}}"#;
        assert_eq!(ask("POST", "/api/v2/dags/etl/dagRuns", trigger).await.status, StatusCode::FORBIDDEN);
        grant(Scope::Tag("flights".to_owned()), Access::Edit).await;
        // The body of a bulk change cannot reach beyond the path that was judged.
        for path in ["/api/v2/dags/etl/dagRuns", "/api/v2/dags/etl/dagRuns/first/taskInstances"] {
            let entity = json!({"dag_id": "quiet", "dag_run_id": "x", "task_id": "x", "note": "gotcha"});
            let entity = match path.ends_with("dagRuns") {
                true => json!({"dag_id": "quiet", "dag_run_id": "x", "note": "gotcha"}),
                false => entity,
            };
            let body = json!({"actions": [{"action": "update", "entities": [entity]}]}).to_string();
            let reply = ask("PATCH", path, &body).await.json();
            assert_eq!(reply["update"]["errors"][0]["status_code"], 400, "{path}: {reply}");
        }
        let run = ask("POST", "/api/v2/dags/etl/dagRuns", trigger).await;
        assert_eq!((run.status, &run.json()["triggering_user_name"]), (StatusCode::OK, &json!("none")));
        assert_eq!(ask("POST", "/api/v2/dags/quiet/dagRuns", trigger).await.status, StatusCode::FORBIDDEN);
        // A grant adds to a role.
        server.world.store.set_role("none", Role::Viewer).await.unwrap();
        assert_eq!(ask("GET", "/api/v2/dags/quiet", "").await.status, StatusCode::OK);
        assert_eq!(ask("POST", "/api/v2/dags/quiet/dagRuns", trigger).await.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn changes_are_written_down() {
    for db in towpath_testkit::databases().await {
        let server = Server::new(db).await;
        let token = server.jwt("user").await;
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        let body = r#"{"logical_date": "2026-02-03T00:00:00Z", "dag_run_id": "mine", "conf": {"api_token": "hunter2", "day": "x"}}"#;
        assert_eq!(server.send("POST", "/api/v2/dags/etl/dagRuns", &headers, body).await.status, StatusCode::OK);
        // What was refused is no change.
        assert_eq!(server.send("POST", "/api/v2/dags/etl/dagRuns", &headers, body).await.status, StatusCode::CONFLICT);
        let viewer = server.jwt("viewer").await;
        let refused = [("authorization", viewer.as_str()), ("content-type", "application/json")];
        assert_eq!(server.send("DELETE", "/api/v2/dags/etl", &refused, "").await.status, StatusCode::FORBIDDEN);
        let reply = server.send("GET", "/api/v2/eventLogs?dag_id=etl&order_by=-when", &refused[..1], "").await;
        let list = reply.json();
        assert_eq!(list["total_entries"], 1, "{list}");
        let entry = &list["event_logs"][0];
        let told = ["event", "owner", "dag_id", "run_id", "task_id", "logical_date"].map(|key| &entry[key]);
        let expected = [
            json!("trigger_dag_run"),
            json!("user"),
            json!("etl"),
            json!("mine"),
            Value::Null,
            json!("2026-02-03T00:00:00Z"),
        ];
        assert_eq!(told, expected.each_ref());
        let extra: Value = serde_json::from_str(entry["extra"].as_str().unwrap()).unwrap();
        assert_eq!(extra["body"]["conf"], json!({"api_token": "***", "day": "x"}));
        assert_eq!((&extra["via"], &extra["status"]), (&json!("jwt"), &json!(200)));
        let one = server.send("GET", &format!("/api/v2/eventLogs/{}", entry["event_log_id"]), &refused[..1], "").await;
        assert_eq!(&one.json(), entry);
        for (path, status) in
            [("/api/v2/eventLogs/999999", 404), ("/api/v2/eventLogs/x", 422), ("/api/v2/eventLogs?order_by=no", 400)]
        {
            assert_eq!(server.send("GET", path, &refused[..1], "").await.status.as_u16(), status, "{path}");
        }
        // Logins are for administrators to see.
        assert_eq!(server.log_in("user", PASSWORD).await.status, StatusCode::CREATED);
        assert_eq!(server.log_in("user", "wrong").await.status, StatusCode::UNAUTHORIZED);
        let admin = server.jwt("admin").await;
        let all = async |token: &str| {
            let reply = server.send("GET", "/api/v2/eventLogs", &[("authorization", token)], "").await;
            reply.json()["total_entries"].as_u64().unwrap()
        };
        assert_eq!((all(&viewer).await, all(&admin).await), (1, 2));
    }
}

#[tokio::test]
async fn the_same_key_gives_the_same_run() {
    for db in towpath_testkit::databases().await {
        let server = Server::new(db).await;
        let token = server.jwt("user").await;
        let trigger = async |key: &str, body: &str| {
            let headers =
                [("authorization", token.as_str()), ("content-type", "application/json"), ("idempotency-key", key)];
            server.send("POST", "/api/v2/dags/etl/dagRuns", &headers, body).await
        };
        let body = r#"{"logical_date": null, "conf": {"day": "x"}}"#;
        let (one, other) = tokio::join!(trigger("k1", body), trigger("k1", body));
        assert_eq!((one.status, other.status), (StatusCode::OK, StatusCode::OK), "{one:?} {other:?}");
        let id = |reply: &Reply| reply.json()["dag_run_id"].as_str().unwrap().to_owned();
        assert_eq!(id(&one), id(&other));
        assert_eq!(id(&trigger("k1", body).await), id(&one));
        assert_ne!(id(&trigger("k2", body).await), id(&one));
        let reused = trigger("k1", r#"{"logical_date": null, "conf": {"day": "y"}}"#).await;
        assert_eq!(reused.status, StatusCode::CONFLICT, "{reused:?}");
        assert_eq!(trigger("", body).await.status, StatusCode::BAD_REQUEST);
    }
}

/// As with XComs: who may see a DAG sees its data, and nobody else does.
#[tokio::test]
async fn data_sets_are_for_those_who_may_see_the_dag() {
    for db in towpath_testkit::databases().await {
        let server = Server::new(db).await;
        server.world.play_sets().await;
        let of_task = "dags/sets/dagRuns/first/taskInstances/set";
        for path in [
            format!("/api/towpath/v1/{of_task}/dataSet/preview"),
            format!("/api/towpath/v1/{of_task}/dataSet/rejects"),
            format!("/api/towpath/v1/{of_task}/dataSet/schema"),
            format!("/api/towpath/v1/{of_task}/dataSet/profile"),
            format!("/api/towpath/v1/{of_task}/plan"),
            "/dags/sets/data".to_owned(),
        ] {
            for (name, sees) in [("viewer", true), ("admin", true), ("none", false)] {
                let token = server.jwt(name).await;
                let reply = server.send("GET", &path, &[("authorization", &token)], "").await;
                assert_eq!(reply.status == StatusCode::OK, sees, "{path} {name}: {reply:?}");
                assert!(sees || !reply.text.contains("orders.csv"), "{path} {name}: {reply:?}");
            }
            let reply = server.send("GET", &path, &[], "").await;
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{path}: {reply:?}");
        }
    }
}
