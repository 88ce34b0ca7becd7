//! The document is what the router serves, and its replies are what the document says.

use std::collections::BTreeSet;

use axum::http::{StatusCode, header};
use serde_json::{Value, json};

use crate::Server;
use crate::matrix::routes;

/// A path without the names of what it holds; a list that is asked for by a body stands in the place of an id.
fn shape(method: &str, path: &str) -> String {
    let parts: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect();
    let mut shape = parts.join("/");
    if method == "POST" && (shape.ends_with("/dagRuns/{}") || shape.ends_with("/taskInstances/{}")) {
        shape = format!("{}/list", shape.trim_end_matches("/{}"));
    }
    format!("{method} {shape}")
}

/// Pages are for people.
fn is_api(path: &str) -> bool {
    path.starts_with("/api/") || path.starts_with("/auth/") || ["/health", "/metrics", "/openapi.json"].contains(&path)
}

async fn document(server: &Server) -> Value {
    server.send("GET", "/openapi.json", &[], "").await.json()
}

#[tokio::test]
async fn every_route_is_in_the_document_and_no_other() {
    let server = Server::sqlite().await;
    let document = document(&server).await;
    let served: BTreeSet<String> = routes(&server.router)
        .iter()
        .filter(|(_, path)| is_api(path))
        .map(|(method, path)| shape(method, path))
        .collect();
    let mut told = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            told.insert(shape(&method.to_uppercase(), path));
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
        }
    }
    assert_eq!(told, served);
}

/// The document by the rules of OpenAPI 3.1 that a schema can hold, and each of its schemas by those of JSON Schema.
#[tokio::test]
async fn the_document_is_one() {
    let server = Server::sqlite().await;
    let document = document(&server).await;
    let schema = json!({
        "type": "object",
        "required": ["openapi", "info", "paths", "components"],
        "properties": {
            "openapi": {"pattern": "^3\\.1\\.\\d+$"},
            "info": {"required": ["title", "version"]},
            "paths": {"patternProperties": {"^/": {
                "propertyNames": {"enum": ["get", "put", "post", "delete", "patch"]},
                "additionalProperties": {"$ref": "#/$defs/operation"},
            }}, "additionalProperties": false},
        },
        "$defs": {
            "operation": {
                "type": "object",
                "required": ["operationId", "tags", "summary", "responses"],
                "properties": {
                    "summary": {"type": "string", "minLength": 5},
                    "parameters": {"type": "array", "items": {
                        "type": "object",
                        "required": ["name", "in", "schema"],
                        "properties": {"name": {"type": "string"}, "in": {"enum": ["path", "query"]}},
                        "if": {"properties": {"in": {"const": "path"}}},
                        "then": {"required": ["required"], "properties": {"required": {"const": true}}},
                    }},
                    "requestBody": {"required": ["content"], "properties": {"content": {"minProperties": 1}}},
                    "responses": {
                        "minProperties": 1,
                        "propertyNames": {"pattern": "^([1-5]\\d\\d|default)$"},
                        "additionalProperties": {"anyOf": [{"required": ["$ref"]}, {"required": ["description"]}]},
                    },
                },
                "additionalProperties": {"not": false},
            },
        },
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> =
        validator.iter_errors(&document).map(|it| format!("{}: {it}", it.instance_path())).collect();
    assert!(problems.is_empty(), "{problems:#?}");
    for (path, item) in document["paths"].as_object().unwrap() {
        let named: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        for operation in item.as_object().unwrap().values() {
            let parameters = operation["parameters"].as_array().unwrap();
            let told = parameters.iter().filter(|it| it["in"] == "path").map(|it| it["name"].as_str().unwrap());
            assert_eq!(named, told.collect(), "{path}");
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::meta::is_valid(schema), "{name}");
    }
    // Every reference leads to something.
    let text = document.to_string();
    for (at, _) in text.match_indices("\"$ref\":\"#") {
        let pointer = text[at + "\"$ref\":\"#".len()..].split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[tokio::test]
async fn replies_are_as_the_document_says() {
    for db in towpath_testkit::databases().await {
        let server = Server::new(db).await;
        let document = document(&server).await;
        let token = server.jwt("admin").await;
        let mut checked = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            let told = &item["get"]["responses"]["200"]["content"]["application/json"]["schema"];
            if told.is_null() || path == "/openapi.json" {
                continue;
            }
            let address = path
                .replace("{dag_id}", "etl")
                .replace("{run_id}", "first")
                .replace("{task_id}", "check")
                .replace("{event_log_id}", "1")
                .replace("{pool_name}", "default_pool")
                .replace("{key}", "return_value")
                .split('/')
                .map(|part| if part.starts_with('{') { "1" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let query = if path.ends_with("/backfills") { "?dag_id=etl" } else { "" };
            let reply = server.send("GET", &format!("{address}{query}"), &[("authorization", &token)], "").await;
            if reply.status != StatusCode::OK {
                assert_eq!(reply.status, StatusCode::NOT_FOUND, "{address}: {reply:?}");
                continue;
            }
            let mut schema = told.clone();
            if schema.is_object() {
                schema["components"] = document["components"].clone();
            }
            let validator = jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("{path}: {error}"));
            let body = reply.json();
            let problems: Vec<String> =
                validator.iter_errors(&body).map(|it| format!("{}: {it}", it.instance_path())).collect();
            assert!(problems.is_empty(), "{path}: {problems:#?}");
            checked += 1;
        }
        assert!(checked > 40, "{checked} replies were held against the document");
    }
}

#[tokio::test]
async fn the_document_says_what_handlers_read() {
    let server = Server::sqlite().await;
    let document = document(&server).await;
    let trigger = &document["paths"]["/api/v2/dags/{dag_id}/dagRuns"]["post"];
    let body = &trigger["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["required"], json!(["logical_date"]));
    assert_eq!(body["properties"]["logical_date"], json!({"type": ["string", "null"], "format": "date-time"}));
    assert_eq!(body["properties"]["conf"]["type"], json!(["object", "null"]));
    let list = &document["paths"]["/api/v2/dags/{dag_id}/dagRuns"]["get"]["parameters"];
    let state = list.as_array().unwrap().iter().find(|it| it["name"] == "state").unwrap();
    assert_eq!(state["schema"]["items"]["enum"], json!(["queued", "running", "success", "failed"]));
    assert!(trigger["description"].as_str().unwrap().contains("`edit` of the DAG"), "{trigger}");
    assert_eq!(document["paths"]["/health"]["get"]["security"], json!([]));
}

#[tokio::test]
async fn the_page_shows_all_of_it() {
    let server = Server::sqlite().await;
    let token = server.jwt("viewer").await;
    let page = server.send("GET", "/docs", &[("authorization", &token)], "").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.header(header::CONTENT_SECURITY_POLICY).contains("default-src 'none'"));
    let document = document(&server).await;
    let operations: usize =
        document["paths"].as_object().unwrap().values().map(|item| item.as_object().unwrap().len()).sum();
    let shown = page.text.matches("class=\"method\"").count();
    assert_eq!(shown, operations);
    for wanted in ["/api/v2/dags/{dag_id}/dagRuns", "curl -X POST", "logical_date", "schema-RunReply"] {
        assert!(page.text.contains(wanted), "{wanted}");
    }
    assert!(
        !page.text.contains("http://") || page.text.contains("http://localhost:8080"),
        "nothing comes from elsewhere"
    );
}
