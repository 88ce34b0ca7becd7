//! Webhooks: runs that others start.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use towpath_model::clock::Clock;

use crate::{Reply, Server};

fn hmac(key: &[u8], parts: &[&str]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part.as_bytes()));
    mac.finalize().into_bytes().to_vec()
}

/// Sends as Standard Webhooks do.
async fn deliver(server: &Server, dag_id: &str, secret: &str, id: &str, body: &str) -> Reply {
    let time = server.world.clock.now().timestamp().to_string();
    let key = BASE64_STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
    let signature = format!("v1,{}", BASE64_STANDARD.encode(hmac(&key, &[id, ".", &time, ".", body])));
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", id),
        ("webhook-timestamp", &time),
        ("webhook-signature", &signature),
    ];
    server.send("POST", &format!("/api/towpath/v1/hooks/{dag_id}"), &headers, body).await
}

/// Sends as GitHub does.
async fn github(server: &Server, secret: &str, body: &str, media: &str) -> Reply {
    let hex: String = hmac(secret.as_bytes(), &[body]).iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = format!("sha256={hex}");
    let headers = [("content-type", media), ("x-github-event", "push"), ("x-hub-signature-256", signature.as_str())];
    server.send("POST", "/api/towpath/v1/hooks/quiet", &headers, body).await
}

async fn make(server: &Server, dag_id: &str, order: &Value) -> String {
    let token = server.jwt("user").await;
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    let path = format!("/api/towpath/v1/dags/{dag_id}/webhook");
    let made = server.send("PUT", &path, &headers, &order.to_string()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let shown = server.send("GET", &path, &headers, "").await.json();
    assert_eq!((&shown["created_by"], shown.get("secret")), (&json!("user"), None), "{shown}");
    made.json()["secret"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_signed_request_starts_a_run_once() {
    for db in towpath_testkit::databases().await {
        let server = Server::new(db).await;
        let secret = make(&server, "quiet", &json!({})).await;
        let first = deliver(&server, "quiet", &secret, "d1", r#"{"day": 1}"#).await;
        assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
        let again = deliver(&server, "quiet", &secret, "d1", r#"{"day": 1}"#).await;
        assert_eq!((again.status, &again.json()["is_repeated"]), (StatusCode::OK, &json!(true)));
        assert_eq!(again.json()["dag_run_id"], first.json()["dag_run_id"]);
        let other = deliver(&server, "quiet", &secret, "d2", r#"{"day": 1}"#).await;
        assert_ne!(other.json()["dag_run_id"], first.json()["dag_run_id"]);
        let run = server.world.store.run("quiet", first.json()["dag_run_id"].as_str().unwrap()).await.unwrap().unwrap();
        assert_eq!(Value::from(run.conf), json!({"webhook": {"body": {"day": 1}, "delivery": "d1", "event": null}}));
        assert_eq!(run.triggering_user.as_deref(), Some("webhook"));
        let told = server.events("trigger_dag_run").await;
        assert!(
            told.iter()
                .any(|it| it.what.owner.as_deref() == Some("webhook") && it.what.run_id == Some(run.run_id.clone()))
        );

        // GitHub signs the body alone: the same body is the same delivery.
        let body = r#"{"ref": "main"}"#;
        let pushed = github(&server, &secret, body, "application/json").await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{pushed:?}");
        assert_eq!(github(&server, &secret, body, "application/json").await.status, StatusCode::OK);
        let form = github(&server, &secret, "payload=1", "application/x-www-form-urlencoded").await;
        assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
}

#[tokio::test]
async fn secrets_are_replaced_and_revoked() {
    for db in towpath_testkit::databases().await {
        let server = Server::new(db).await;
        let old = make(&server, "quiet", &json!({})).await;
        let new = make(&server, "quiet", &json!({"previous_seconds": 60})).await;
        assert_eq!(deliver(&server, "quiet", &old, "a", "{}").await.status, StatusCode::CREATED);
        assert_eq!(deliver(&server, "quiet", &new, "b", "{}").await.status, StatusCode::CREATED);
        server.world.pass(60);
        assert_eq!(deliver(&server, "quiet", &old, "c", "{}").await.status, StatusCode::UNAUTHORIZED);
        let newest = make(&server, "quiet", &json!({})).await;
        assert_eq!(deliver(&server, "quiet", &new, "d", "{}").await.status, StatusCode::UNAUTHORIZED);
        let token = server.jwt("user").await;
        let path = "/api/towpath/v1/dags/quiet/webhook";
        let headers = [("authorization", token.as_str())];
        assert_eq!(server.send("DELETE", path, &headers, "").await.status, StatusCode::NO_CONTENT);
        assert_eq!(server.send("DELETE", path, &headers, "").await.status, StatusCode::NOT_FOUND);
        let gone = deliver(&server, "quiet", &newest, "e", "{}").await;
        // In the same words as for a DAG that was never there.
        let never = deliver(&server, "nowhere", &newest, "e", "{}").await;
        assert_eq!((gone.status, &gone.text), (StatusCode::UNAUTHORIZED, &never.text));
        assert_eq!(server.events("set_webhook").await.len(), 3);
        assert!(!server.events("set_webhook").await.iter().any(|it| format!("{it:?}").contains("whsec_")));
    }
}

#[tokio::test]
async fn the_body_can_be_the_conf() {
    let server = Server::sqlite().await;
    let secret = make(&server, "etl", &json!({"body_is_conf": true})).await;
    let made = deliver(&server, "etl", &secret, "a", r#"{"deep": true, "day": "x"}"#).await;
    let run = server.world.store.run("etl", made.json()["dag_run_id"].as_str().unwrap()).await.unwrap().unwrap();
    assert_eq!(Value::from(run.conf), json!({"deep": true, "day": "x"}));
    for (body, status) in
        [("[1]", 400), ("{", 400), (r#"{"deep": 7, "day": "x"}"#, 400), (r#"{"a": "\u0000", "day": "x"}"#, 400)]
    {
        assert_eq!(deliver(&server, "etl", &secret, body, body).await.status.as_u16(), status, "{body}");
    }
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(1024 * 1024));
    assert_eq!(deliver(&server, "etl", &secret, "long", &long).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}
