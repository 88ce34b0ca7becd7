//! Pages beside the DAGs: audit, assets, users, the panel, what attempts left behind.

use std::sync::Arc;

use serde_json::json;
use towpath_model::asset::{Asset, Condition, Outlet};
use towpath_model::clock::Clock;
use towpath_model::dag::{Dag, DagSpec, Task};
use towpath_model::run::TriggeredBy;
use towpath_store::{
    Claim, DagUpsert, Evidence, LogChunk, LogKey, NewEvent, NewRun, NewToken, Report, ReportOutcome, Role, Usage,
};

use crate::Site;
use crate::fixture::{HOSTILE, World};

#[tokio::test]
async fn who_changed_what() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        let site = Site::of(&world);
        site.get("/admin/audit").await.shows(&["Nobody has changed anything yet"]);
        let event = |event: &str, owner: &str, dag_id: Option<&str>| NewEvent {
            event: event.to_owned(),
            owner: Some(owner.to_owned()),
            dag_id: dag_id.map(str::to_owned),
            run_id: dag_id.map(|_| "first".to_owned()),
            extra: Some(json!({"path": HOSTILE}).to_string()),
            ..NewEvent::default()
        };
        let now = world.clock.now();
        let mut events = vec![(now, event("clear_dag_run", "ada", Some("etl"))), (now, event("login", HOSTILE, None))];
        events.extend((0..60).map(|_| (now, event("pause_dag", "bob", Some("quiet")))));
        world.store.record_events(&events).await.unwrap();
        let first = site.get("/admin/audit").await;
        first.shows(&["pause_dag", "rel=\"next\"", "href=\"/dags/quiet/runs/first\""]);
        assert!(!first.text.contains("clear_dag_run"));
        let older = first.text.split("href=\"").find(|part| part.starts_with("/admin/audit?before=")).unwrap();
        let older = site.get(older.split('"').next().unwrap()).await;
        older.shows(&["clear_dag_run", "Newest", "href=\"/dags/etl/runs/first\""]);
        assert!(!older.text.contains("<img src=x"), "{}", older.text);
        site.get("/admin/audit?owner=ada&event=clear_dag_run").await.shows(&["clear_dag_run"]);
        site.get("/admin/audit?owner=nobody").await.shows(&["No entry is like that"]);
        let of_dag = site.get("/dags/etl/audit").await;
        of_dag.shows(&["clear_dag_run", "ada"]);
        assert!(!of_dag.text.contains("pause_dag<"));
    }
}

fn upsert(spec: DagSpec) -> DagUpsert {
    let file = format!("{}.yml", spec.dag_id);
    DagUpsert { dag: Arc::new(Dag::build(spec).unwrap()), file, source: "dag_id: x\n".into() }
}

#[tokio::test]
async fn assets_are_shown_updated_and_run() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        let site = Site::of(&world);
        site.get("/assets").await.shows(&["No assets yet", "outlets: [orders]"]);
        let asset = |name: &str| Asset {
            name: name.to_owned(),
            uri: format!("s3://lake/{name}"),
            group: "asset".to_owned(),
            extra: Default::default(),
        };
        let mut load = DagSpec::new("load");
        let mut task = Task::new("write", "bash");
        task.outlets = vec![Outlet { asset: asset("orders"), event_extra: Default::default() }];
        load.tasks.push(task);
        let mut report = DagSpec::new("report");
        report.tasks.push(Task::new("read", "bash"));
        report.asset_schedule =
            Some(Condition::All(vec![Condition::Asset(asset("orders")), Condition::Asset(asset("prices"))]));
        world.store.sync_dags(&[upsert(load), upsert(report)], false, world.clock.now()).await.unwrap();
        let id = world.store.asset_named("orders").await.unwrap().unwrap().id;
        site.get("/assets").await.shows(&[
            "2 assets",
            &format!("href=\"/asset/{id}\""),
            "s3://lake/orders",
            "class=\"awaited\"",
        ]);
        site.get("/assets?q=pri").await.shows(&["1 asset<", "prices"]);
        let page = format!("/asset/{id}");
        site.get(&page).await.shows(&["It has not been updated yet", "Updated by", "Runs of", "Run what updates it"]);
        let refused = site.post(&format!("{page}/events"), "extra=%5B1%5D").await;
        assert_eq!(refused.status.as_u16(), 422);
        refused.shows(&["a JSON object is needed", "[1]"]);
        let hostile = "extra=%7B%22why%22%3A%22%3Cimg%20src%3Dx%3E%22%7D";
        assert_eq!(site.post(&format!("{page}/events"), hostile).await.status.as_u16(), 303);
        let told = site.get(&page).await;
        told.shows(&["1 event<", "by hand", "has 1 event of it", "Forget what waits"]);
        assert!(!told.text.contains("<img src=x"));
        site.post(&format!("{page}/clear"), "").await;
        assert!(!site.get(&page).await.text.contains("Forget what waits"));
        let run = site.post(&format!("{page}/materialize"), "").await;
        assert_eq!(run.status.as_u16(), 303);
        assert_eq!(site.runs("load").await, 1);
        assert_eq!(site.get("/asset/999").await.status.as_u16(), 404);
        let prices = world.store.asset_named("prices").await.unwrap().unwrap().id;
        assert_eq!(site.post(&format!("/asset/{prices}/materialize"), "").await.status.as_u16(), 404);
    }
}

#[tokio::test]
async fn users_and_tokens() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        let site = Site::of(&world);
        let (store, now) = (&world.store, world.clock.now());
        site.get("/admin/users").await.shows(&["Nobody has an account"]);
        let create = async |form: &str| site.post("/admin/users", form).await;
        assert_eq!(create("name=ada&role=admin&password=long%20enough").await.status.as_u16(), 303);
        create("name=ada&role=viewer").await.shows(&["there is a user `ada` already"]);
        create("name=a%20b&role=viewer").await.shows(&["is no name of a user"]);
        create("name=bob&role=viewer&password=short").await.shows(&["a password has 8 to"]);
        create("name=bob&role=king").await.shows(&["role: choose one"]);
        assert_eq!(create("name=bob&role=viewer").await.status.as_u16(), 303);
        let role = async |name: &str| store.user(name).await.unwrap().unwrap().role;
        site.get("/admin/users").await.shows(&["the only one", "link or token only", "password</td>"]);
        let demoted = site.post("/admin/users/ada/role", "role=user").await;
        assert_eq!((demoted.status.as_u16(), role("ada").await), (400, Role::Admin));
        assert_eq!(site.post("/admin/users/ada/delete", "").await.status.as_u16(), 400);
        site.post("/admin/users/bob/role", "role=admin").await;
        site.post("/admin/users/ada/role", "role=op").await;
        assert_eq!((role("ada").await, role("bob").await), (Role::Op, Role::Admin));

        site.post("/admin/users/ada/grant", "kind=tag&target=flights&access=edit").await;
        site.get("/admin/users").await.shows(&["edit tag:flights"]);
        assert_eq!(site.post("/admin/users/ada/grant", "kind=dag&target=&access=edit").await.status.as_u16(), 400);
        site.post("/admin/users/ada/revoke", "kind=tag&target=flights").await;
        assert!(store.user("ada").await.unwrap().unwrap().grants.is_empty());

        let link = site.post("/admin/users/ada/link", "").await;
        link.shows(&["/login/link?token=", "shown this once"]);
        let token = link.text.split("token=").nth(1).unwrap().split('&').next().unwrap();
        let user = store.take_login_link(&towpath_auth::hash(token), now).await.unwrap();
        assert_eq!(user.unwrap().name, "ada");

        let new = NewToken {
            hash: "h".to_owned(),
            name: "ci".to_owned(),
            user: "ada".to_owned(),
            role: Some(Role::Viewer),
            expires_at: None,
        };
        let id = store.create_token(&new, now).await.unwrap().unwrap();
        site.get("/admin/users").await.shows(&["Revoke ci of ada", "until it is revoked"]);
        site.post(&format!("/admin/tokens/{id}/revoke"), "").await;
        site.get("/admin/users").await.shows(&["revoked"]);
        assert_eq!(site.post(&format!("/admin/tokens/{id}/revoke"), "").await.status.as_u16(), 404);
        site.post("/admin/users/ada/delete", "").await;
        assert_eq!(site.post("/admin/users/ada/delete", "").await.status.as_u16(), 404);
    }
}

#[tokio::test]
async fn what_an_attempt_left_behind() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        let site = Site::of(&world);
        let now = world.clock.now();
        let new = NewRun { run_id: Some("second".to_owned()), ..NewRun::manual(HOSTILE, now, TriggeredBy::Cli) };
        world.store.create_run(new, now).await.unwrap();
        let task = world.claim().await.pop().unwrap();
        let rendered = json!({"bash_command": format!("echo {HOSTILE}"), "env": {"A": "1"}});
        let evidence = Evidence {
            rendered: rendered.as_object().cloned(),
            usage: Some(Usage { cpu_ms: 1_250, peak_bytes: 64_000_000 }),
            ..Evidence::default()
        };
        let report = Report {
            key: task.key.clone(),
            attempt: task.attempt,
            outcome: ReportOutcome::Failed { retry: false },
            note: Some("exit code 3".to_owned()),
            xcoms: Vec::new(),
            asset_extra: Default::default(),
            evidence,
            ended_at: now,
        };
        let line = |number: u32| {
            let level = if number == 90 { "error" } else { "info" };
            let event = format!("line {number} <b> \"quoted\"");
            format!("{}\n", json!({"timestamp": now, "level": level, "logger": "task.stdout", "event": event}))
        };
        let log = LogKey { task: task.key.clone(), try_number: 1 };
        let chunk = |seq: u32| LogChunk {
            key: log.clone(),
            seq,
            lines: 10,
            text: (seq * 10 + 1..=seq * 10 + 10).map(line).collect(),
        };
        let chunks: Vec<LogChunk> = (0..10).map(chunk).collect();
        let claim = Claim { worker: 0, slots: 0, queues: Vec::new(), hostname: String::new(), pid: 0 };
        assert_eq!(world.store.report(&[report], &chunks, &claim, now).await.unwrap().accepted, [true]);

        let href = page_of(HOSTILE);
        let page = site.get(&href).await;
        page.shows(&["as try 1 got them", "Processor time", "1.2s", "64.0 MB", "exit code 3"]);
        assert!(!page.text.contains("<img src=x"));
        let panel = site.get(&format!("{href}/panel")).await;
        panel.shows(&["id=\"instance\"", "60 earlier lines", "line 100", "first error", "exit code 3", "data-inside"]);
        assert!(!panel.text.contains("line 60 ") && !panel.text.contains("data-busy"), "{}", panel.text);
        site.get("/dags/etl/runs/first/tasks/check/panel").await.shows(&["Try 1", "Try 2", "Its log"]);
        assert_eq!(site.get("/dags/etl/runs/first/tasks/nope/panel").await.status.as_u16(), 404);

        let find = async |text: &str| site.get(&format!("{href}/log/find?map_index=-1&try=1&q={text}")).await.text;
        assert_eq!(
            find("LINE%209").await,
            r#"{"total":11,"lines":[[9,0,1],[90,8,81],[91,9,91],[92,9,91],[93,9,91],[94,9,91],[95,9,91],[96,9,91],[97,9,91],[98,9,91],[99,9,91]]}"#
        );
        assert!(find("%22quoted%22").await.starts_with(r#"{"total":100,"#));
        assert_eq!(find("task.stdout").await, r#"{"total":0,"lines":[]}"#);
        assert_eq!(find("").await, r#"{"total":0,"lines":[]}"#);
    }
}

/// The page of the only task of the DAG of that name.
fn page_of(name: &str) -> String {
    let part: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("/dags/{part}/runs/second/tasks/{part}")
}

#[tokio::test]
async fn runs_are_paged_by_the_run_beside() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        let site = Site::of(&world);
        let now = world.clock.now();
        for number in 0..120 {
            let at = now + chrono::TimeDelta::seconds(number);
            let new =
                NewRun { run_id: Some(format!("run-{number:03}-")), ..NewRun::manual("quiet", at, TriggeredBy::Cli) };
            world.store.create_run(new, now).await.unwrap();
        }
        let link = |text: &str, rel: &str| {
            let at = text.find(&format!("rel=\"{rel}\""))?;
            let href = text[..at].rsplit("href=\"").next()?.split('"').next()?;
            Some(href.replace("&#38;", "&"))
        };
        let mut path = "/dags/quiet/runs".to_owned();
        let mut seen = Vec::new();
        let mut last = String::new();
        for _ in 0..3 {
            let page = site.get(&path).await;
            page.shows(&["120 runs"]);
            let rows = page.text.matches("name=\"run\"").count();
            seen.push((rows, link(&page.text, "prev").is_some(), link(&page.text, "next").is_some()));
            last.clone_from(&path);
            path = link(&page.text, "next").unwrap_or_default();
        }
        assert_eq!(seen, [(50, false, true), (50, true, true), (20, true, false)]);
        let back = link(&site.get(&last).await.text, "prev").unwrap();
        let page = site.get(&back).await;
        page.shows(&["run-069-", "run-020-"]);
        assert!(!page.text.contains("run-070-") && !page.text.contains("run-019-"));
        assert_eq!(site.get("/runs?before=odd").await.status.as_u16(), 400);
    }
}
