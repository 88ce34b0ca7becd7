//! What tasks have left as data, over the API.

use serde_json::{Value, json};

use crate::Server;
use crate::fixture::HOSTILE;

const RUN: &str = "/api/towpath/v1/dags/sets/dagRuns/first/taskInstances";

#[tokio::test]
async fn data_sets_can_be_looked_at() {
    for server in Server::all().await {
        server.world.play_sets().await;
        let get = async |path: &str| {
            let reply = server.get(&format!("{RUN}/{path}")).await;
            (reply.status.as_u16(), reply.json())
        };
        let (status, preview) = get("set/dataSet/preview?limit=2").await;
        assert_eq!(status, 200, "{preview}");
        assert_eq!(
            preview["rows"],
            json!([{"id": 1, HOSTILE: HOSTILE, "gap": null}, {"id": 2, HOSTILE: HOSTILE, "gap": null}])
        );
        assert_eq!((&preview["total_rows"], &preview["columns"][0]["sql"]), (&json!(4000), &json!("BIGINT")));
        let (_, rejects) = get("set/dataSet/rejects").await;
        assert_eq!(rejects["rules"][0], json!({"value": "gap: required", "count": 9}));
        assert_eq!(rejects["rows"], json!([{"id": "x", "_rejected_by": ["id: int64"]}]));
        let (_, schema) = get("set/dataSet/schema").await;
        assert_eq!((&schema["rows"], &schema["columns"][2]["type"]), (&json!(4000), &json!("date")));
        let (_, profile) = get("set/dataSet/profile").await;
        assert_eq!(profile["columns"][0]["mean"], json!(2000.5));
        assert_eq!(profile["columns"][1]["top"], json!([{"value": HOSTILE, "count": 3000}]));
        let (_, plan) = get("set/plan").await;
        assert_eq!(plan["operators"][1]["name"], json!("validate"));
        for (path, status, part) in [
            ("set/dataSet/preview?limit=0", 422, "greater than or equal to 1"),
            ("set/dataSet/preview?lines=1", 422, "lines"),
            ("set/dataSet/preview?map_index=3", 404, "was not found"),
            ("nope/dataSet/schema", 404, "was not found"),
            ("gone/dataSet/preview", 404, "clear task `gone`"),
            ("elsewhere/dataSet/preview", 404, "is not in the staging area of its DAG"),
            ("stored/dataSet/preview", 404, "its rows are in `table orders`"),
            ("plain/dataSet/profile", 404, "has left no data set"),
            ("waits/dataSet/preview", 409, "has left no data set yet"),
            ("gone/plan", 404, "has no measured plan"),
        ] {
            let (found, told) = get(path).await;
            assert!(found == status && told.to_string().contains(part), "{path}: {found} {told}");
        }
        // Columns and profiles stand in the manifest, and outlive the files.
        assert_eq!(get("gone/dataSet/schema").await.0, 200);
        assert_eq!(get("gone/dataSet/profile").await.0, 200);
    }
}

/// A server that reads no files tells so, and what manifests tell besides.
#[tokio::test]
async fn a_server_without_a_reader_says_so() {
    let mut server = Server::all().await.remove(0);
    server.world.play_sets().await;
    server.router = towpath_api::router(Server::state(&server.world));
    let told: Value = server.get(&format!("{RUN}/set/dataSet/preview")).await.json();
    assert!(told["detail"].as_str().unwrap().contains("reads no data sets"), "{told}");
    assert_eq!(server.get(&format!("{RUN}/set/dataSet/profile")).await.status.as_u16(), 200);
}
