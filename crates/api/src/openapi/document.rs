//! The document itself, and `GET /openapi.json`.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract;
use axum::http::{Request, header};
use axum::response::{IntoResponse, Response};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use tower::ServiceExt;
use towpath_auth::rules::{self, Rule};

use super::recording::{Field, Recorder, Recording};
use super::routing::{Answer, Operation, Router};
use super::words::{MEDIA, RAW_BODIES, SUMMARIES, TAGS};
use crate::State;

/// `GET /openapi.json`.
pub(crate) async fn get(extract::State(state): extract::State<State>) -> Response {
    let document = state.openapi().await;
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    (headers, document.to_string()).into_response()
}

impl State {
    /// The API as an OpenAPI 3.1 document. It is made at the first call.
    pub async fn openapi(&self) -> Arc<Value> {
        let document = self.document.get_or_init(async || Arc::new(document(self, crate::routes::described()).await));
        Arc::clone(document.await)
    }
}

/// The document of what `routes` serves.
async fn document(state: &State, routes: Router) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let operations = routes.operations().to_vec();
    let router = routes.with_state(state.clone());
    let mut paths: Map<String, Value> = Map::new();
    let mut add = |path: &str, method: &str, operation: Value| {
        let item = paths.entry(path.to_owned()).or_insert_with(|| json!({}));
        item[method.to_lowercase()] = operation;
    };
    for operation in &operations {
        let recording = if operation.reads { record(&router, operation).await } else { Recording::default() };
        add(&shown_path(operation), operation.method, describe(operation, &recording, &mut generator));
    }
    for (path, method, operation) in logins() {
        add(path, method, operation);
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Towpath",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Airflow's REST API v2, and what Towpath adds to it",
            "description": "Below `/api/v2` stands Airflow's public API: its clients work unchanged. Below \
                `/api/towpath/v1` stands what Airflow has no call for. A filter that cannot be applied is refused, \
                never ignored.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags(),
        "security": [{"bearer": []}, {"basic": []}, {"session": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token of `/auth/token`, or an API token"},
                "basic": {"type": "http", "scheme": "basic", "description": "Name and password, or name and API token"},
                "session": {"type": "apiKey", "in": "cookie", "name": "towpath_<port>",
                            "description": "The cookie of a browser that has logged in"},
            },
            "responses": {
                "Refused": {
                    "description": "`detail` says why: a sentence, or with 422 a list of what is wrong with the request",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                },
            },
            "schemas": schemas,
        },
    })
}

fn tags() -> Vec<Value> {
    let mut seen = BTreeSet::new();
    TAGS.iter().filter(|(_, name)| seen.insert(*name)).map(|(_, name)| json!({"name": name})).collect()
}

fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["detail"],
        "properties": {"detail": {"oneOf": [
            {"type": "string"},
            {"type": "array", "items": {
                "type": "object",
                "required": ["type", "loc", "msg", "input"],
                "properties": {
                    "type": {"type": "string"},
                    "loc": {"type": "array", "items": {"type": "string"}},
                    "msg": {"type": "string"},
                    "input": {},
                    "ctx": {"type": "object"},
                },
            }},
        ]}},
    })
}

/// Whether it is a list that is asked for by a body: `list` stands in the place of an id.
fn is_batch(operation: &Operation) -> bool {
    operation.handler.ends_with("::batch")
}

/// The path as people write it.
fn shown_path(operation: &Operation) -> String {
    let path = operation.path.replace("{*", "{");
    match path.rsplit_once('/') {
        Some((before, _)) if is_batch(operation) => format!("{before}/list"),
        _ => path,
    }
}

/// Lets the handler tell what it reads.
async fn record(router: &axum::Router, operation: &Operation) -> Recording {
    let example = if is_batch(operation) { "~" } else { "1" };
    let path = shown_path(operation);
    let parts: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { example } else { part }).collect();
    let recorder = Recorder::default();
    let request = Request::builder().method(operation.method).uri(parts.join("/")).extension(recorder.clone());
    let request = request.body(Body::empty()).expect("a path of letters and digits is an address");
    // What it answers says nothing.
    let _ = router.clone().oneshot(request).await;
    let recording = recorder.recording();
    if !recording.is_over {
        tracing::error!(handler = operation.handler, "a handler did something before it had read its request");
    }
    recording
}

fn describe(operation: &Operation, recording: &Recording, generator: &mut SchemaGenerator) -> Value {
    let module = operation.handler.split("::").next().unwrap_or_default();
    let tag = TAGS.iter().find(|(name, _)| *name == module).map_or("Other", |(_, tag)| *tag);
    let summary = SUMMARIES.iter().find(|(handler, _)| *handler == operation.handler).map(|(_, text)| *text);
    let path = shown_path(operation);
    let mut parameters: Vec<Value> = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    parameters.extend(recording.query.iter().map(query_parameter));
    let mut told = json!({
        "operationId": format!("{}_{}", operation.method.to_lowercase(), operation.handler.replace("::", "_")),
        "tags": [tag],
        "summary": summary.unwrap_or(operation.handler),
        "parameters": parameters,
        "responses": responses(operation, generator),
    });
    if let Some(body) = body(operation, recording) {
        told["requestBody"] = body;
    }
    permission(operation, &mut told);
    told
}

fn query_parameter(field: &Field) -> Value {
    let mut parameter =
        json!({"name": field.name, "in": "query", "required": field.is_required, "schema": field.schema});
    if field.schema["type"] == "array" {
        parameter["description"] = "May be repeated".into();
        parameter["explode"] = true.into();
    }
    parameter
}

fn body(operation: &Operation, recording: &Recording) -> Option<Value> {
    if let Some((_, media, holds)) = RAW_BODIES.iter().find(|(handler, ..)| *handler == operation.handler) {
        let schema = if *media == "application/json" { json!({}) } else { json!({"type": "string"}) };
        return Some(json!({"required": true, "description": holds, "content": {*media: {"schema": schema}}}));
    }
    let fields = recording.body.as_ref()?;
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.clone(), field.schema.clone())).collect();
    let required: Vec<&str> =
        fields.iter().filter(|field| field.is_required).map(|field| field.name.as_str()).collect();
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    Some(json!({"required": !recording.body_is_optional, "content": {"application/json": {"schema": schema}}}))
}

fn responses(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let Answer { status, content, by_hand } = (operation.answer)(generator);
    let phrase = status.canonical_reason().unwrap_or_default();
    let mut success = json!({"description": phrase});
    if let Some((media, schema)) = content {
        success["content"] = json!({media: {"schema": schema}});
    }
    if by_hand {
        let media = MEDIA.iter().find(|(handler, _)| *handler == operation.handler).map_or(&["*/*"][..], |(_, it)| *it);
        let content: Map<String, Value> = media.iter().map(|media| ((*media).to_owned(), json!({}))).collect();
        success["content"] = content.into();
    }
    // The one that says by its status how things are.
    let is_health = operation.handler == "monitor::health::own";
    let mut responses = Map::new();
    if is_health {
        responses.insert("200".to_owned(), success.clone());
        responses.insert("503".to_owned(), success);
    } else {
        responses.insert(status.as_str().to_owned(), success);
    }
    responses.insert("default".to_owned(), json!({"$ref": "#/components/responses/Refused"}));
    responses.into()
}

/// Who may.
fn permission(operation: &Operation, told: &mut Value) {
    let Ok(found) = rules::find(operation.method, &operation.path) else { return };
    let needs = match found.rule {
        Rule::Open => "Needs no login.".to_owned(),
        Rule::Signature => "Needs no login, but a signature.".to_owned(),
        Rule::Metrics => "Needs no login on a loopback address, and the role `viewer` elsewhere.".to_owned(),
        Rule::SignedIn => "Needs a login.".to_owned(),
        Rule::Listed => "Needs a login; shows the DAGs that the caller may see.".to_owned(),
        Rule::Dag(access) => format!("Needs `{access}` of the DAG, by role or grant."),
        Rule::DagOrListed(access) => {
            format!(
                "Needs `{access}` of the DAG, by role or grant; with `~` it shows the DAGs that the caller may see."
            )
        }
        Rule::AtLeast(role) => format!("Needs the role `{role}`."),
    };
    told["description"] = needs.into();
    if matches!(found.rule, Rule::Open | Rule::Signature) {
        told["security"] = json!([]);
    }
}

/// The calls of `towpath_auth` that programs log in by.
fn logins() -> Vec<(&'static str, &'static str, Value)> {
    let token = json!({
        "type": "object",
        "required": ["access_token"],
        "properties": {"access_token": {"type": "string"}},
    });
    let credentials = json!({
        "type": "object",
        "required": ["username", "password"],
        "properties": {"username": {"type": "string"}, "password": {"type": "string", "format": "password"}},
        "additionalProperties": false,
    });
    let operation = |id: &str, summary: &str, status: &str, content: Value| {
        let mut success = json!({"description": if status == "307" { "Temporary Redirect" } else { "Created" }});
        if !content.is_null() {
            success["content"] = json!({"application/json": {"schema": content}});
        }
        json!({
            "operationId": id, "tags": ["Log in"], "summary": summary, "description": "Needs no login.", "security": [],
            "parameters": [],
            "responses": {status: success, "default": {"$ref": "#/components/responses/Refused"}},
        })
    };
    let with_body = |mut operation: Value| {
        operation["requestBody"] = json!({"required": true, "content": {
            "application/json": {"schema": credentials},
            "application/x-www-form-urlencoded": {"schema": credentials},
        }});
        operation
    };
    let create = operation("post_auth_token", "Get a token for a name and a password", "201", token.clone());
    let cli = operation("post_auth_token_cli", "Get a token for a command-line client", "201", token.clone());
    let all = operation("get_auth_token", "Get a token where nobody is asked to log in", "201", token);
    let login = operation("get_auth_token_login", "Log a browser in where nobody is asked to", "307", Value::Null);
    vec![
        ("/auth/token", "POST", with_body(create)),
        ("/auth/token", "GET", all),
        ("/auth/token/cli", "POST", with_body(cli)),
        ("/auth/token/login", "GET", login),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_handler_has_its_words() {
        let routes = crate::routes::described();
        let served: BTreeSet<&str> = routes.operations().iter().map(|operation| operation.handler).collect();
        let told: BTreeSet<&str> = SUMMARIES.iter().map(|(handler, _)| *handler).collect();
        assert_eq!(served, told);
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let by_hand: BTreeSet<&str> = routes
            .operations()
            .iter()
            .filter(|operation| (operation.answer)(&mut generator).by_hand)
            .map(|operation| operation.handler)
            .collect();
        assert_eq!(by_hand, MEDIA.iter().map(|(handler, _)| *handler).collect());
        for module in served.iter().filter_map(|handler| handler.split("::").next()) {
            assert!(TAGS.iter().any(|(name, _)| *name == module), "{module} has no tag");
        }
        assert!(RAW_BODIES.iter().all(|(handler, ..)| served.contains(handler)));
    }
}
