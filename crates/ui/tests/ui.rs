//! The pages as browsers get them, on a real store of each dialect.

#![expect(clippy::unwrap_used, reason = "a test may end in a panic")]

#[path = "ui/data.rs"]
mod data;
#[path = "../../api/tests/fixture/mod.rs"]
mod fixture;
#[path = "ui/later.rs"]
mod later;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use fixture::{HOSTILE, World};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use towpath_api::guard::Hosts;
use towpath_model::clock::Clock;
use towpath_model::run::TriggeredBy;
use towpath_store::{DagFilter, Key, NewRun, ReportOutcome, RunFilter, Store};
use towpath_testkit::TestDb;

/// The whole server over a store.
struct Site {
    store: Store,
    router: Router,
}

struct Page {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Page {
    /// Checks that the page shows each of `parts`.
    #[track_caller]
    fn shows(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.text.contains(part), "{part:?} is not in\n{}", self.text);
        }
    }
}

impl Site {
    fn of(world: &World) -> Self {
        Self::new(world.store.clone(), Arc::clone(&world.clock) as _)
    }

    fn new(store: Store, clock: towpath_model::clock::SharedClock) -> Self {
        let api = towpath_api::State::new(towpath_api::Options {
            store: store.clone(),
            clock: Arc::clone(&clock),
            dags_folder: "/srv/dags".into(),
            hosts: Hosts::Any,
            stop: CancellationToken::new(),
        });
        let setting = towpath_ui::Setting {
            name: "database_url".to_owned(),
            value: "postgres://towpath:***@host/db".to_owned(),
            source: "default".to_owned(),
            description: "Where everything is kept".to_owned(),
        };
        let pages = towpath_ui::router(towpath_ui::State {
            store: store.clone(),
            clock,
            dags_folder: "/srv/dags".into(),
            settings: [setting].into(),
            test_connection: Some(|connection| {
                Box::pin(async move {
                    match connection.host.as_deref() {
                        Some("up") => Ok("it answers".to_owned()),
                        _ => Err("nobody listens".to_owned()),
                    }
                })
            }),
            data: Some(Arc::new(fixture::sets::OneSet)),
            graphs: towpath_ui::Graphs::default(),
        });
        Self { store, router: towpath_api::app(api, pages) }
    }

    async fn send(&self, request: Request<Body>) -> Page {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Page { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    async fn get(&self, path: &str) -> Page {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, form: &str) -> Page {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin");
        self.send(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    async fn runs(&self, dag_id: &str) -> u64 {
        let filter = RunFilter { dag_id: Some(dag_id.to_owned()), limit: 1, ..RunFilter::default() };
        self.store.runs(&filter).await.unwrap().total
    }
}

/// The address of the hostile DAG.
const HOSTILE_HREF: &str = "/dags/%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%22%27%26%E2%80%AEgad";

#[tokio::test]
async fn pages_show_what_is_there() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        world.pass(10);
        let site = Site::of(&world);
        let home = site.get("/").await;
        home.shows(&[
            "Failed runs, 24 h</span><b>1</b>",
            "0 of 4",
            "href=\"/dags/etl/runs/first\"",
            "1 file cannot be read",
            "did you mean `tasks`",
            "All well, 1 worker",
            "Nothing runs.",
            "1 failed</title>",
            "default_pool",
        ]);
        site.get("/dags").await.shows(&[
            "3 DAGs",
            "href=\"/dags/etl\"",
            "One day of flights",
            "every day at 06:00",
            "failed: first, 34s",
            "href=\"/dags?tag=flights\"",
            "action=\"/dags/quiet/unpause\"",
            "never ran",
        ]);
        site.get("/dags?q=QUI").await.shows(&["1 DAG<", "href=\"/dags/quiet\"", "value=\"QUI\""]);
        site.get("/dags?q=nope").await.shows(&["No DAG has “nope” in its name"]);
        site.get("/dags?show=paused").await.shows(&["1 DAG<"]);
        site.get("/dags?tag=flights&tag=daily&owner=data-team").await.shows(&["1 DAG<", "href=\"/dags/etl\""]);
        site.get("/dags?show=failed").await.shows(&["1 DAG<", "href=\"/dags/etl\""]);
        site.get("/dags/etl").await.shows(&[
            "every day at 06:00",
            "<code>0 6 * * *</code>",
            "data-team",
            "data-task=\"load\"",
            "<td class=\"s-upstream_failed\" title=\"upstream failed\">upstream failed</td>",
            "title=\"failed, 1.0s, try 2\"",
            "data-run=\"/dags/etl/runs/first\"",
        ]);
        let filtered = site.get("/dags/etl?task=LOAD").await;
        filtered.shows(&["data-task=\"load\""]);
        assert!(!filtered.text.contains("data-task=\"check\""));
        site.get("/dags/quiet").await.shows(&["No run yet", "no run while paused", "only when triggered"]);
        let run = "/dags/etl/runs/first";
        site.get(run).await.shows(&[
            "What failed",
            "exit code 1",
            "trigger rule all_success: upstream `check` failed, so it is upstream_failed",
            "by hand",
            "2026-02-02 00:00 UTC",
            "&#34;day&#34;: &#34;2026-02-02&#34;",
            "href=\"/dags/etl/runs/first?state=upstream_failed\"",
        ]);
        let only = site.get(&format!("{run}?state=success")).await;
        only.shows(&["tasks/extract"]);
        assert!(!only.text.contains("tasks/load"), "{}", only.text);
        let task = site.get(&format!("{run}/tasks/check")).await;
        task.shows(&[
            "Log of try 2",
            "checking",
            "try=1",
            "exit code 1",
            "alpha, process 4711",
            "./check {{ params.day }}",
        ]);
        let first = site.get(&format!("{run}/tasks/check?try=1")).await;
        first.shows(&["Log of try 1", "<span class=\"c1\">"]);
        site.get(&format!("{run}/tasks/extract")).await.shows(&["336 rows", "return_value", "&#34;rows&#34;: 336"]);
        site.get(&format!("{run}/tasks/load")).await.shows(&["It has not been tried yet", "It passed nothing on"]);
        site.get("/dags/etl/trigger").await.shows(&[
            "name=\"p.day\"",
            "required",
            "The day to load",
            "<option value=\"false\" selected>false</option>",
        ]);
    }
}

#[tokio::test]
async fn views_of_a_dag() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        world.pass(10);
        let site = Site::of(&world);
        site.get("/dags/etl/graph").await.shows(&[
            "failed: check, bash · 1.0s",
            "href=\"/dags/etl/runs/first/tasks/load\"",
            "class=\"taken\"",
        ]);
        site.get("/dags/etl/gantt").await.shows(&["2 tasks on the critical path", "failed: ran 1.0s"]);
        site.get("/dags/etl/calendar").await.shows(&["2026-02-02: 1 failed", "href=\"/dags/etl/runs?day=2026-02-02\""]);
        site.get("/dags/etl/durations").await.shows(&["failed: first, 34s", "<polyline"]);
        site.get("/dags/etl/runs?day=2026-02-02").await.shows(&["1 run ", "value=\"first\""]);
        site.get("/dags/etl/runs?state=success").await.shows(&["No run is like that"]);
        site.get("/runs").await.shows(&["href=\"/dags/etl/runs/first\""]);
        site.get("/dags/etl/code").await.shows(&["<span class=\"y-com\"># and so on</span>"]);
        site.get("/dags/etl/details").await.shows(&["all_success", "Delete the DAG"]);
        assert_eq!(site.get("/dags/etl/code?version=9").await.status.as_u16(), 404);
        assert_eq!(site.get("/dags/etl/graph?run=nope").await.status.as_u16(), 404);
        assert_eq!(site.get("/dags/etl/runs?day=soon").await.status.as_u16(), 400);
        let found = site.get("/search?q=check&dag=etl").await;
        found.shows(&["\"kind\":\"task\"", "/dags/etl/runs/first/tasks/check"]);
        site.get("/search?q=firs").await.shows(&["\"kind\":\"run\"", "\"state\":\"failed\""]);
    }
}

#[tokio::test]
async fn actions_show_first_what_they_touch() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        let site = Site::of(&world);
        let run = "/dags/etl/runs/first";
        let state = async |task: &str| {
            let tasks = site.store.task_states(world.run.key, &[task.to_owned()]).await.unwrap();
            tasks[0].1.to_string()
        };
        site.get(&format!("{run}/clear?task=check&downstream=1"))
            .await
            .shows(&["Clear 2 task instances", "upstream failed"]);
        site.get(&format!("{run}/clear?task=check")).await.shows(&["Clear 1 task instance<"]);
        assert_eq!(state("check").await, "failed");
        let page = site.post(&format!("{run}/clear"), "task=check&downstream=1").await;
        assert_eq!(page.status.as_u16(), 303, "{}", page.text);
        assert_eq!(page.headers[header::LOCATION], "/dags/etl/runs/first/tasks/check");
        site.store.start_queued_runs(world.clock.now()).await.unwrap();
        assert_eq!(state("check").await, "queued");
        site.get(&format!("{run}/mark?task=check&state=success")).await.shows(&["Mark 1 task instance as success"]);
        site.post(&format!("{run}/mark"), "task=check&state=success").await;
        assert_eq!(state("check").await, "success");
        assert_eq!(site.get(&format!("{run}/mark?task=check&state=odd")).await.status.as_u16(), 400);
        site.get(&format!("{run}/cancel")).await.shows(&["Cancel the run", "load"]);
        site.post(&format!("{run}/cancel"), "").await;
        site.get(run).await.shows(&["s-failed"]);
        let page = site.post("/dags/etl/runs", "run=first&action=delete").await;
        page.shows(&["Delete 1 run<", "name=\"sure\""]);
        assert_eq!(site.runs("etl").await, 1);
        assert_eq!(site.post("/dags/etl/runs", "run=first&action=delete&sure=1").await.status.as_u16(), 303);
        assert_eq!(site.runs("etl").await, 0);
        site.get("/dags/quiet/delete").await.shows(&["Delete the DAG and 0 runs", "it comes back"]);
        site.post("/dags/quiet/delete", "").await;
        assert_eq!(site.get("/dags/quiet").await.status.as_u16(), 404);
    }
}

#[tokio::test]
async fn backfills_are_previewed_made_and_cancelled() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        let site = Site::of(&world);
        let path = "/dags/etl/backfills";
        site.post(path, "from=2026-01-05&to=2026-01-01&max_active_runs=1").await.shows(&["the first date is after"]);
        let form = "from=2026-01-01&to=2026-01-04&max_active_runs=2&reprocess=none&conf=%7B%22day%22%3A1%7D";
        site.post(path, form).await.shows(&["Make 3 runs", "2026-01-01 06:00 UTC: a new run"]);
        assert!(site.store.backfills(Some("etl")).await.unwrap().is_empty());
        assert_eq!(site.post(path, &format!("{form}&sure=1")).await.status.as_u16(), 303);
        let id = site.store.backfills(Some("etl")).await.unwrap()[0].id;
        site.get(path).await.shows(&["under way", "0 of 3"]);
        site.post(&format!("{path}/{id}/pause"), "").await;
        site.get(path).await.shows(&["paused", "Go on"]);
        site.post(&format!("{path}/{id}/cancel"), "").await;
        site.get(path).await.shows(&["cancelled"]);
        assert_eq!(site.post(&format!("/dags/quiet/backfills/{id}/pause"), "").await.status.as_u16(), 404);
        site.get("/dags/quiet/backfills").await.shows(&["has no schedule"]);
    }
}

#[tokio::test]
async fn administration() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        let site = Site::of(&world);
        site.post("/admin/connections", "conn_id=db&conn_type=postgres&host=up&password=hunter2&port=5432").await;
        let page = site.get("/admin/connections?edit=db").await;
        page.shows(&["value=\"up\"", "empty keeps it"]);
        assert!(!page.text.contains("hunter2"));
        site.post("/admin/connections", "conn_id=db&conn_type=postgres&host=down").await;
        let kept = site.store.connection("db").await.unwrap().unwrap();
        assert_eq!((kept.password.unwrap().expose(), kept.host.as_deref()), ("hunter2", Some("down")));
        site.post("/admin/connections/db/test", "").await.shows(&["does not work: nobody listens"]);
        let page = site.post("/admin/connections", "conn_id=x&conn_type=").await;
        assert_eq!(page.status.as_u16(), 422);
        site.post("/admin/connections/db/delete", "").await;
        site.get("/admin/connections").await.shows(&["No connections yet"]);

        site.post("/admin/variables", "key=region&value=eu&description=where").await;
        site.post("/admin/variables", "key=api_token&value=hush").await;
        let page = site.get("/admin/variables").await;
        page.shows(&["region", ">eu<", "•••"]);
        assert!(!page.text.contains("hush"));
        assert!(!site.get("/admin/variables?edit=api_token").await.text.contains("hush"));
        site.post("/admin/variables/region/delete", "").await;
        assert_eq!(site.store.variable("region").await.unwrap(), None);

        site.post("/admin/pools", "name=etl&slots=3").await;
        site.get("/admin/pools").await.shows(&["etl", "action=\"/admin/pools/etl/delete\""]);
        assert_eq!(site.post("/admin/pools", "name=etl&slots=x").await.status.as_u16(), 422);
        site.post("/admin/pools/etl/delete", "").await;
        assert_eq!(site.post("/admin/pools/etl/delete", "").await.status.as_u16(), 404);
        site.get("/admin/workers").await.shows(&["worker", "alpha, process 4711", "alive"]);
        site.get("/admin/config").await.shows(&["postgres://towpath:***@host/db"]);
    }
}

#[tokio::test]
async fn nothing_hostile_gets_through() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        let site = Site::of(&world);
        let now = world.clock.now();
        let new = NewRun {
            note: Some(HOSTILE.to_owned()),
            run_id: Some(HOSTILE.to_owned()),
            ..NewRun::manual(HOSTILE, now, TriggeredBy::Cli)
        };
        world.store.create_run(new, now).await.unwrap();
        let task = world.claim().await.pop().unwrap();
        let xcoms = vec![(HOSTILE.to_owned(), HOSTILE.into())];
        let long = "<b>".repeat(4_000_000);
        world.end(&task, ReportOutcome::Failed { retry: false }, Some(HOSTILE), xcoms, &[HOSTILE, &long]).await;
        let broken = (HOSTILE.to_owned(), Some(HOSTILE.to_owned()));
        world.store.replace_import_errors(&[broken], now).await.unwrap();

        let id = HOSTILE_HREF.strip_prefix("/dags/").unwrap();
        let run = format!("{HOSTILE_HREF}/runs/{id}");
        let pages = [
            "/".to_owned(),
            format!("/dags?q={id}&tag={id}&owner={id}"),
            format!("{HOSTILE_HREF}/graph"),
            format!("{HOSTILE_HREF}/gantt"),
            format!("{HOSTILE_HREF}/calendar"),
            format!("{HOSTILE_HREF}/durations"),
            format!("{HOSTILE_HREF}/runs"),
            format!("{HOSTILE_HREF}/code"),
            format!("{HOSTILE_HREF}/details"),
            format!("{HOSTILE_HREF}/backfills"),
            format!("{HOSTILE_HREF}/delete"),
            format!("{run}/clear?task={id}"),
            "/runs".to_owned(),
            HOSTILE_HREF.to_owned(),
            format!("{HOSTILE_HREF}?task={id}"),
            format!("{HOSTILE_HREF}/trigger"),
            run.clone(),
            format!("{run}/tasks/{id}"),
            format!("{run}/tasks/{id}/log?try=1&from=0&line=1"),
            "/dags/etl/runs/first/tasks/check".to_owned(),
            format!("/{id}"),
            format!("/dags/nope{id}"),
        ];
        for path in pages {
            let page = site.get(&path).await;
            let expected = if path.starts_with(&format!("/{id}")) || path.contains("nope") { 404 } else { 200 };
            assert_eq!(page.status.as_u16(), expected, "{path}");
            assert!(page.text.len() < 200_000, "{path}: {} bytes", page.text.len());
            for bad in ["<img src=x", "<script>", "\u{202e}", "\u{1b}", " style=", " onclick=", "<b><b>"] {
                assert!(!page.text.contains(bad), "{path} has {bad:?}:\n{}", page.text);
            }
            let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(page.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(page.headers[header::X_FRAME_OPTIONS], "DENY");
        }
        // All of it is there for those who want it: as text, under a harmless name.
        let whole = site.get(&format!("{run}/tasks/{id}/log.txt?try=1")).await;
        assert_eq!(whole.headers[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        let name = whole.headers[header::CONTENT_DISPOSITION].to_str().unwrap();
        assert!(name.starts_with("attachment; filename=\"-img-src-x-onerror-alert-1--"), "{name}");
        assert!(whole.text.len() > long.len());
    }
}

#[tokio::test]
async fn pauses_and_unpauses() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        let site = Site::of(&world);
        for (path, form, to, paused) in [
            ("pause", "", "/dags/etl", true),
            ("unpause", "back=/dags?q=e", "/dags?q=e", false),
            ("pause", "back=//evil", "/dags/etl", true),
        ] {
            let page = site.post(&format!("/dags/etl/{path}"), form).await;
            assert_eq!((page.status.as_u16(), page.headers[header::LOCATION].to_str().unwrap()), (303, to));
            assert_eq!(site.store.dag("etl").await.unwrap().unwrap().is_paused, paused);
        }
        assert_eq!(site.post("/dags/nope/pause", "").await.status.as_u16(), 404);
        assert_eq!(site.get("/dags/etl/pause").await.status.as_u16(), 405);
        // A form on another site.
        let request =
            Request::post("/dags/etl/unpause").header("sec-fetch-site", "cross-site").body(Body::empty()).unwrap();
        assert_eq!(site.send(request).await.status.as_u16(), 403);
        assert!(site.store.dag("etl").await.unwrap().unwrap().is_paused);
    }
}

#[tokio::test]
async fn triggers() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        let site = Site::of(&world);
        let page = site.post("/dags/etl/trigger", "conf=%7B%22day%22%3A1%7D&note=mine&logical_date=2026-02-03").await;
        assert_eq!(page.status.as_u16(), 303, "{}", page.text);
        let to = page.headers[header::LOCATION].to_str().unwrap();
        assert!(to.starts_with("/dags/etl/runs/manual__2026-02-03T04%3A06%3A40"), "{to}");
        site.get(to).await.shows(&[
            "mine",
            "2026-02-03 00:00 UTC",
            "0 of 4 slots are busy on 1 live worker of queue `default`",
        ]);

        let page = site.post("/dags/etl/trigger", "conf=%7Bbad&note=kept&logical_date=soon").await;
        assert_eq!(page.status.as_u16(), 422);
        page.shows(&[
            "this is not JSON",
            "{bad</textarea>",
            "write a time in UTC",
            "value=\"soon\"",
            "value=\"kept\"",
            "aria-invalid",
        ]);
        let page = site.post("/dags/etl/trigger", "conf=").await;
        page.shows(&[
            "The values of these params do not fit.",
            "<strong>a value has to be given</strong> The day to load",
        ]);
        let page =
            site.post("/dags/etl/trigger", "conf=%7B%22day%22%3A1,%22deep%22%3A%22%3Cb%3E%22%7D&note=kept").await;
        assert_eq!(page.status.as_u16(), 422);
        page.shows(&["&#34;deep&#34;:&#34;&#60;b&#62;&#34;}</textarea>", "value=\"kept\""]);
        page.shows(&["<strong>&#34;&#60;b&#62;&#34; is not of type boolean</strong>"]);
        let page = site.post("/dags/etl/trigger", "p.day=7&p.deep=perhaps").await;
        assert_eq!(page.status.as_u16(), 422);
        page.shows(&["value=\"7\"", "is not of type boolean"]);
        let page = site.post("/dags/etl/trigger", "conf=%7B%22day%22%3A1%7D&logical_date=2026-02-03").await;
        assert_eq!(page.status.as_u16(), 422);
        page.shows(&["already has a run"]);
        assert_eq!(site.runs("etl").await, 2);

        // A paused DAG: its run waits, unless it is unpaused with it.
        let page = site.post("/dags/quiet/trigger", "").await;
        site.get(page.headers[header::LOCATION].to_str().unwrap())
            .await
            .shows(&["DAG `quiet` is paused: what runs goes on, nothing else starts"]);
        world.pass(1);
        site.post("/dags/quiet/trigger", "unpause=1").await;
        assert!(!site.store.dag("quiet").await.unwrap().unwrap().is_paused);
    }
}

#[tokio::test]
async fn follows_a_log() {
    for db in towpath_testkit::databases().await {
        let world = World::new(db).await;
        let site = Site::of(&world);
        site.post("/dags/etl/trigger", "conf=%7B%22day%22%3A1%7D&logical_date=2026-02-03").await;
        let path = "/dags/etl/runs/manual__2026-02-03T04%3A06%3A40%2B00%3A00/tasks/extract";
        site.get(path).await.shows(&["data-from=\"0\" data-line=\"1\" data-open", "Nothing written yet"]);
        let task = world.claim().await.pop().unwrap();
        let now = world.clock.now();
        world.store.append_logs(&[world.chunk(&task, 0, &["one", "two"])], now).await.unwrap();
        site.get(path).await.shows(&["data-from=\"1\" data-line=\"3\" data-open", "id=\"follow\"", ">two</code>"]);
        // News of the page leave the log to the other way.
        let request = Request::get(path).header("x-towpath-news", "1").body(Body::empty()).unwrap();
        assert!(!site.send(request).await.text.contains(">two</code>"));

        world.store.append_logs(&[world.chunk(&task, 1, &["three"])], now).await.unwrap();
        let part = site.get(&format!("{path}/log?map_index=-1&try=1&from=1&line=3")).await;
        part.shows(&["<li id=\"L3\"", ">three</code>"]);
        let place = |page: &Page| {
            ["x-log-next", "x-log-line", "x-log-open"].map(|name| page.headers[name].to_str().unwrap().to_owned())
        };
        assert_eq!(place(&part), ["2", "4", "true"]);
        world.end(&task, ReportOutcome::Success, None, vec![], &[]).await;
        let part = site.get(&format!("{path}/log?map_index=-1&try=1&from=2&line=4")).await;
        assert_eq!((part.text.trim(), place(&part)), ("", ["2", "4", "false"].map(str::to_owned)));
    }
}

#[tokio::test]
async fn assets_are_kept_for_ever_and_change_with_their_content() {
    let world = World::new(towpath_testkit::sqlite()).await;
    let site = Site::of(&world);
    let home = site.get("/").await.text;
    for (name, kind) in [
        ("towpath.css", "text/css"),
        ("views.css", "text/css"),
        ("towpath.js", "text/javascript"),
        ("towpath.svg", "image/svg+xml"),
    ] {
        let end = home.find(name).unwrap() + name.len();
        let start = home[..end].rfind("/assets/").unwrap();
        let asset = site.get(&home[start..end]).await;
        assert!(asset.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with(kind), "{name}");
        assert!(asset.headers[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"), "{name}");
        let old = site.get(&format!("/assets/0000/{name}")).await;
        assert_eq!((old.status.as_u16(), old.headers[header::CACHE_CONTROL].to_str().unwrap()), (200, "no-cache"));
    }
    assert_eq!(site.get("/assets/0000/nope.css").await.status.as_u16(), 404);
}

#[tokio::test]
async fn the_first_page_and_the_last() {
    for db in towpath_testkit::databases().await {
        let TestDb { url, .. } = &db;
        let options = towpath_store::Options { url: url.clone(), key: Key::random(), max_connections: 2 };
        let store = Store::connect(options).await.unwrap();
        store.migrate().await.unwrap();
        let clock = Arc::new(towpath_model::clock::ManualClock::new(fixture::begin()));
        let site = Site::new(store, clock);
        assert_eq!(site.store.dags(&DagFilter { limit: 1, ..DagFilter::default() }).await.unwrap().total, 0);
        site.get("/").await.shows(&[
            "No DAGs yet",
            "/srv/dags",
            "operator: bash",
            "No scheduler and no worker is alive: nothing runs",
        ]);
        let page = site.get("/nope").await;
        assert_eq!(page.status.as_u16(), 404);
        page.shows(&["There is no page `/nope`", "See all DAGs"]);
        // The API keeps its own form.
        assert_eq!(site.get("/api/v2/nope").await.text, r#"{"detail":"Not Found"}"#);
        site.store.close().await;
        let page = site.get("/").await;
        assert!(page.status.is_server_error());
        page.shows(&["<h1>", "See all DAGs"]);
        assert!(!page.text.contains("pool"), "{}", page.text);
    }
}
