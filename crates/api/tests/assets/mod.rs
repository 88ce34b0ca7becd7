//! Assets as clients see them.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use towpath_model::asset::{Asset, Condition, Outlet};
use towpath_model::dag::{Dag, DagSpec, Task};
use towpath_store::DagUpsert;

use crate::Server;

/// `maker` updates `orders`, `user` waits for `orders` and `leads`.
async fn prepare(server: &Server) {
    let store = &server.world.store;
    let orders = Asset { uri: "s3://orders".into(), group: "crm".into(), ..Asset::named("orders") };
    let mut maker = DagSpec::new("maker");
    let mut task = Task::new("make", "bash");
    task.outlets = vec![Outlet::of(orders.clone())];
    maker.tasks.push(task);
    let mut user = DagSpec::new("user");
    user.asset_schedule = Some(Condition::All(vec![Condition::Asset(orders), Condition::Asset(Asset::named("leads"))]));
    user.tasks.push(Task { inlets: vec![Asset::named("orders")], ..Task::new("use", "bash") });
    let upserts: Vec<DagUpsert> = [maker, user]
        .into_iter()
        .map(|spec| DagUpsert { dag: Arc::new(Dag::build(spec).unwrap()), file: "a.yml".into(), source: "".into() })
        .collect();
    store.sync_dags(&upserts, false, crate::fixture::begin()).await.unwrap();
}

async fn id(server: &Server, name: &str) -> i64 {
    server.world.store.asset_named(name).await.unwrap().unwrap().id
}

async fn delete(server: &Server, path: &str) -> u16 {
    server.send(Request::delete(path).body(Body::empty()).unwrap()).await.status.as_u16()
}

#[tokio::test]
async fn dags_say_what_they_wait_for() {
    for server in Server::all().await {
        prepare(&server).await;
        for (asked, expected) in [("true", true), ("false", false)] {
            let found = server.get(&format!("/api/v2/dags?has_asset_schedule={asked}&limit=100")).await.json();
            let found = found["dags"].as_array().unwrap();
            assert!(found.iter().any(|dag| dag["dag_id"] == "user") == expected, "{asked}: {found:?}");
            assert!(found.iter().any(|dag| dag["dag_id"] == "maker") != expected, "{asked}: {found:?}");
        }
        let details = async |dag_id: &str| server.get(&format!("/api/v2/dags/{dag_id}/details")).await.json();
        assert_eq!(
            details("user").await["asset_expression"],
            json!({"all": [
                {"asset": {"uri": "s3://orders", "name": "orders", "group": "crm"}},
                {"asset": {"uri": "leads", "name": "leads", "group": "asset"}},
            ]})
        );
        assert_eq!(details("maker").await["asset_expression"], Value::Null);
    }
}

#[tokio::test]
async fn from_the_list_to_the_run() {
    for server in Server::all().await {
        prepare(&server).await;
        let (orders, leads) = (id(&server, "orders").await, id(&server, "leads").await);
        let list = server.get("/api/v2/assets?order_by=-name").await.json();
        let names: Vec<&str> = list["assets"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
        assert_eq!((names, &list["total_entries"]), (vec!["orders", "leads"], &json!(2)));
        let now = "2026-02-03T04:05:06Z";
        assert_eq!(
            server.get(&format!("/api/v2/assets/{orders}")).await.json(),
            json!({
                "id": orders, "name": "orders", "uri": "s3://orders", "group": "crm", "extra": {}, "created_at": now,
                "updated_at": now, "scheduled_dags": [{"dag_id": "user", "created_at": now, "updated_at": now}],
                "producing_tasks": [{"dag_id": "maker", "task_id": "make", "created_at": now, "updated_at": now}],
                "consuming_tasks": [{"dag_id": "user", "task_id": "use", "created_at": now, "updated_at": now}],
                "aliases": [], "watchers": [], "last_asset_event": null,
            })
        );
        let body = json!({"asset_id": orders, "extra": {"rows": 3}});
        let event = server.with_body("POST", "/api/v2/assets/events", &body).await.json();
        assert_eq!(event["extra"], json!({"rows": 3, "from_rest_api": true}));
        assert_eq!((&event["source_dag_id"], &event["created_dagruns"]), (&Value::Null, &json!([])));
        let queue = format!("/api/v2/dags/user/assets/{orders}/queuedEvents");
        let queued = server.get(&queue).await.json();
        assert_eq!((&queued["dag_id"], &queued["asset_id"]), (&json!("user"), &json!(orders)), "{queued}");
        assert_eq!(server.get("/api/v2/dags/user/assets/queuedEvents").await.json()["total_entries"], 1);
        assert_eq!(server.get(&format!("/api/v2/assets/{orders}/queuedEvents")).await.json()["total_entries"], 1);
        // Forgotten, told again, and with the other one it is enough.
        assert_eq!((delete(&server, &queue).await, delete(&server, &queue).await), (204, 404));
        for asset_id in [orders, leads] {
            let told = server.with_body("POST", "/api/v2/assets/events", &json!({"asset_id": asset_id})).await;
            assert_eq!(told.status.as_u16(), 200, "{}", told.text);
        }
        let store = &server.world.store;
        let now = towpath_model::clock::Clock::now(&*server.world.clock);
        assert_eq!(store.asset_runs_due(9).await.unwrap(), ["user"]);
        assert!(store.start_asset_run("user", now).await.unwrap());
        let runs = server.get("/api/v2/dags/user/dagRuns").await.json();
        let run = &runs["dag_runs"][0];
        assert_eq!(
            (&run["run_type"], &run["triggered_by"], &run["logical_date"]),
            (&json!("asset_triggered"), &json!("asset"), &Value::Null)
        );
        let run_id = run["dag_run_id"].as_str().unwrap().replace('+', "%2B");
        let upstream = server.get(&format!("/api/v2/dags/user/dagRuns/{run_id}/upstreamAssetEvents")).await.json();
        let told: Vec<_> = upstream["asset_events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| {
                (event["name"].as_str().unwrap(), event["created_dagruns"][0]["triggering"].as_bool().unwrap())
            })
            .collect();
        assert_eq!(told, [("orders", false), ("leads", true)]);
        let events =
            server.get("/api/v2/assets/events?order_by=-timestamp&limit=1&name_pattern=%25orders%25").await.json();
        assert_eq!((&events["total_entries"], events["asset_events"].as_array().unwrap().len()), (&json!(2), 1));
        let made =
            server.with_body("POST", &format!("/api/v2/assets/{orders}/materialize"), &json!({"note": "n"})).await;
        assert_eq!((&made.json()["dag_id"], &made.json()["note"]), (&json!("maker"), &json!("n")), "{}", made.text);
        let dag = server.get("/api/v2/dags/user").await.json();
        assert_eq!(
            (&dag["timetable_summary"], &dag["timetable_description"]),
            (&json!("Asset"), &json!("when orders and leads are updated"))
        );
    }
}

#[tokio::test]
async fn mistakes_are_told() {
    for server in Server::all().await {
        prepare(&server).await;
        let (leads, dialect) = (id(&server, "leads").await, server.dialect);
        for (path, status) in [
            ("/api/v2/assets/999".to_owned(), 404),
            ("/api/v2/assets/x".to_owned(), 422),
            ("/api/v2/assets?order_by=extra".to_owned(), 400),
            ("/api/v2/assets?bogus=1".to_owned(), 422),
            ("/api/v2/assets/events?timestamp_gte=soon".to_owned(), 422),
            (format!("/api/v2/assets/{leads}/queuedEvents"), 404),
            ("/api/v2/dags/user/assets/queuedEvents".to_owned(), 404),
            ("/api/v2/dags/user/dagRuns/nope/upstreamAssetEvents".to_owned(), 404),
        ] {
            assert_eq!(server.get(&path).await.status.as_u16(), status, "{path} {dialect}");
        }
        for (path, body, status) in [
            ("/api/v2/assets/events".to_owned(), json!({}), 422),
            ("/api/v2/assets/events".to_owned(), json!({"asset_id": "x"}), 422),
            ("/api/v2/assets/events".to_owned(), json!({"asset_id": leads, "bogus": 1}), 422),
            ("/api/v2/assets/events".to_owned(), json!({"asset_id": 999}), 404),
            ("/api/v2/assets/events".to_owned(), json!({"asset_id": leads, "partition_key": "p"}), 422),
            // Nobody updates it.
            (format!("/api/v2/assets/{leads}/materialize"), json!({}), 404),
            ("/api/v2/assets/999/materialize".to_owned(), json!({}), 404),
        ] {
            let reply = server.with_body("POST", &path, &body).await;
            assert_eq!(reply.status.as_u16(), status, "{path} {body}: {}", reply.text);
        }
    }
}
