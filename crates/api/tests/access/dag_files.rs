//! DAG files over the API.

use axum::http::{StatusCode, header};
use serde_json::json;

use crate::{Reply, Server};

const GOOD: &str = "made_here:\n  tasks:\n    one: {operator: bash, bash_command: echo 1}\n";
const BROKEN: &str = "made_here:\n  taks: {}\n";

struct Caller<'s> {
    server: &'s Server,
    token: String,
}

impl Caller<'_> {
    async fn send(&self, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Reply {
        let mut headers = vec![("authorization", self.token.as_str()), ("content-type", "application/yaml")];
        headers.extend(more);
        self.server.send(method, &format!("/api/towpath/v1/dagFiles{path}"), &headers, body).await
    }
}

#[tokio::test]
async fn a_file_is_checked_written_replaced_and_deleted() {
    for db in towpath_testkit::databases().await {
        let server = Server::new(db).await;
        let op = Caller { server: &server, token: server.jwt("op").await };
        let file = server.folder.path().join("team/x.yaml");

        let broken = op.send("POST", "/validate", &[], BROKEN).await;
        assert_eq!((broken.status, broken.json()["is_valid"].clone()), (StatusCode::OK, json!(false)));
        let first = &broken.json()["diagnostics"][0];
        assert_eq!(
            (&first["line"], &first["column"], &first["severity"]),
            (&json!(2), &json!(3), &json!("error")),
            "{first}"
        );
        let good = op.send("POST", "/validate", &[], GOOD).await.json();
        assert_eq!((&good["is_valid"], &good["dag_ids"]), (&json!(true), &json!(["made_here"])), "{good}");

        let refused = op.send("PUT", "/team/x.yaml", &[], BROKEN).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(!refused.json()["diagnostics"].as_array().unwrap().is_empty() && !file.exists());

        let made = op.send("PUT", "/team/x.yaml", &[("if-none-match", "*")], GOOD).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), GOOD);
        let etag = made.header(header::ETAG).to_owned();
        let again = op.send("PUT", "/team/x.yaml", &[("if-none-match", "*")], GOOD).await;
        assert_eq!(again.status, StatusCode::PRECONDITION_FAILED);

        let other = GOOD.replace("echo 1", "echo 2");
        let stale = op.send("PUT", "/team/x.yaml", &[("if-match", "\"0\"")], &other).await;
        assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
        let replaced = op.send("PUT", "/team/x.yaml", &[("if-match", &etag)], &other).await;
        assert_eq!((replaced.status, std::fs::read_to_string(&file).unwrap()), (StatusCode::OK, other.clone()));
        let read = op.send("GET", "/team/x.yaml", &[], "").await;
        assert_eq!((read.text.as_str(), read.header(header::ETAG)), (other.as_str(), replaced.header(header::ETAG)));
        assert_eq!(op.send("GET", "", &[], "").await.json()["dag_files"][0]["path"], "team/x.yaml");
        let left: Vec<_> =
            std::fs::read_dir(file.parent().unwrap()).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, ["x.yaml"], "nothing else is left behind");

        assert_eq!(
            op.send("DELETE", "/team/x.yaml", &[("if-match", &etag)], "").await.status,
            StatusCode::PRECONDITION_FAILED
        );
        assert_eq!(op.send("DELETE", "/team/x.yaml", &[], "").await.status, StatusCode::NO_CONTENT);
        assert_eq!(op.send("DELETE", "/team/x.yaml", &[], "").await.status, StatusCode::NOT_FOUND);
        assert_eq!(server.events("put_dag_file").await.len(), 2);
        assert_eq!(server.events("delete_dag_file").await.len(), 1);
    }
}

#[tokio::test]
async fn nothing_is_written_elsewhere() {
    let server = Server::sqlite().await;
    let op = Caller { server: &server, token: server.jwt("op").await };
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), server.folder.path().join("link")).unwrap();
    std::fs::write(outside.path().join("there.yaml"), GOOD).unwrap();
    for path in [
        "/../x.yaml",
        "/%2e%2e/x.yaml",
        "/..%2fx.yaml",
        "/a/..%2f..%2fx.yaml",
        "/%2fetc%2fx.yaml",
        "/link/x.yaml",
        "/link/there.yaml",
        "/.hidden.yaml",
        "/x.py",
        "/x%00.yaml",
    ] {
        for method in ["PUT", "GET", "DELETE"] {
            let reply = op.send(method, path, &[], if method == "PUT" { GOOD } else { "" }).await;
            assert!(reply.status.is_client_error(), "{method} {path}: {reply:?}");
        }
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    // A DAG that another file defines, and one's own file.
    let taken = GOOD.replace("made_here", "etl");
    assert_eq!(op.send("PUT", "/other.yaml", &[], &taken).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(op.send("PUT", "/etl.yml", &[], &taken).await.status, StatusCode::CREATED);
    assert_eq!(op.send("PUT", "/x.yaml", &[], "\u{0}").await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn what_a_schedule_will_do() {
    let server = Server::sqlite().await;
    let token = server.jwt("viewer").await;
    let get = async |query: &str| {
        let path = format!("/api/towpath/v1/dags/etl/schedule/preview{query}");
        server.send("GET", &path, &[("authorization", &token)], "").await
    };
    let preview = get("?from=2026-03-01T00:00:00Z&to=2026-03-03T00:00:00Z").await.json();
    let fires: Vec<&str> =
        preview["dags"][0]["fires"].as_array().unwrap().iter().map(|it| it["run_after"].as_str().unwrap()).collect();
    assert_eq!(fires, ["2026-03-01T06:00:00Z", "2026-03-02T06:00:00Z"]);
    for query in ["?from=2026-03-02T00:00:00Z&to=2026-03-01T00:00:00Z", "?to=2100-01-01T00:00:00Z", "?task_duration=x"]
    {
        assert_eq!(get(query).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
}
