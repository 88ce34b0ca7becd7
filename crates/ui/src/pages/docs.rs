//! The documentation of the API, made from its OpenAPI document: nothing is loaded from elsewhere.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract;
use axum::response::Html;
use axum::routing::get;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::html;
use crate::frame::{Crumb, Frame};
use crate::{Result, State};

/// Makes the document.
pub type Document = Arc<dyn Fn() -> std::pin::Pin<Box<dyn Future<Output = Arc<Value>> + Send>> + Send + Sync>;

/// Nested schemas are told so deep; behind that stands what they are.
const DEEPEST: usize = 4;

#[derive(Clone)]
struct Docs {
    state: State,
    document: Document,
}

/// `/docs`.
pub fn router(state: State, document: Document) -> Router {
    Router::new()
        .route("/docs", get(page))
        .layer(axum::middleware::map_response(crate::routes::protect))
        .with_state(Docs { state, document })
}

#[derive(Template)]
#[template(path = "docs.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    version: String,
    groups: Vec<Group>,
    schemas: Vec<Schema>,
}

/// The operations of a tag.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    name: String,
    /// Of its heading.
    id: String,
    operations: Vec<Operation>,
}

#[derive(Debug, PartialEq, Eq)]
struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    needs: String,
    parameters: Vec<Field>,
    body: Vec<Field>,
    body_note: String,
    replies: Vec<Reply>,
    curl: String,
}

/// A parameter, or a field of an object.
#[derive(Debug, PartialEq, Eq)]
struct Field {
    name: String,
    /// `path`, `query`, or nothing.
    place: String,
    kind: Kind,
    is_required: bool,
    about: String,
}

/// A type in words, and the schema that it leads to.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    words: String,
    /// Name of a schema.
    leads_to: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Reply {
    status: String,
    media: String,
    kind: Kind,
}

#[derive(Debug, PartialEq, Eq)]
struct Schema {
    name: String,
    about: String,
    kind: Kind,
    fields: Vec<Field>,
}

async fn page(extract::State(docs): extract::State<Docs>) -> Result<Html<String>> {
    let document = (docs.document)().await;
    let now = docs.state.clock.now();
    html(&Page {
        frame: Frame::new(&docs.state, now, vec![Crumb::here("API")], false).await.still(),
        now,
        version: text(&document["info"]["version"]),
        groups: groups(&document),
        schemas: schemas(&document),
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn groups(document: &Value) -> Vec<Group> {
    let tags = document["tags"].as_array().into_iter().flatten().map(|tag| text(&tag["name"]));
    let mut groups: Vec<Group> =
        tags.map(|name| Group { id: name.to_lowercase().replace(' ', "-"), name, operations: Vec::new() }).collect();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let tag = text(&operation["tags"][0]);
            if let Some(group) = groups.iter_mut().find(|group| group.name == tag) {
                group.operations.push(self::operation(path, method, operation));
            }
        }
    }
    groups.retain(|group| !group.operations.is_empty());
    groups
}

fn operation(path: &str, method: &str, operation: &Value) -> Operation {
    let parameters = operation["parameters"].as_array().into_iter().flatten().map(|parameter| Field {
        name: text(&parameter["name"]),
        place: text(&parameter["in"]),
        kind: kind(&parameter["schema"], 0),
        is_required: parameter["required"] == true,
        about: text(&parameter["description"]),
    });
    let content = operation["requestBody"]["content"].as_object().and_then(|content| content.iter().next());
    let body = content.map(|(_, content)| fields(&content["schema"])).unwrap_or_default();
    let mut body_note = content.map(|(media, _)| media.clone()).unwrap_or_default();
    if let Some(about) = operation["requestBody"]["description"].as_str() {
        body_note = format!("{body_note}: {about}");
    }
    let mut replies = Vec::new();
    for (status, reply) in operation["responses"].as_object().into_iter().flatten().filter(|(it, _)| *it != "default") {
        match reply["content"].as_object() {
            Some(content) => replies.extend(content.iter().map(|(media, content)| Reply {
                status: status.clone(),
                media: media.clone(),
                kind: kind(&content["schema"], 0),
            })),
            None => replies.push(Reply { status: status.clone(), media: String::new(), kind: kind(&Value::Null, 0) }),
        }
    }
    Operation {
        id: text(&operation["operationId"]),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&operation["summary"]),
        needs: text(&operation["description"]),
        curl: curl(path, method, operation, content),
        parameters: parameters.collect(),
        body,
        body_note,
        replies,
    }
}

/// A call that can be pasted into a shell, once the capitals are replaced.
fn curl(path: &str, method: &str, operation: &Value, content: Option<(&String, &Value)>) -> String {
    let mut address = path.to_owned();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = text(&parameter["name"]);
        if parameter["in"] == "path" {
            address = address.replace(&format!("{{{name}}}"), &name.to_uppercase());
        } else if parameter["required"] == true {
            let joint = if address.contains('?') { '&' } else { '?' };
            address = format!("{address}{joint}{name}={}", name.to_uppercase());
        }
    }
    let mut lines = vec![match method {
        "get" => format!("curl \"$TOWPATH{address}\""),
        _ => format!("curl -X {} \"$TOWPATH{address}\"", method.to_uppercase()),
    }];
    if operation["security"].as_array().is_none_or(|security| !security.is_empty()) {
        lines.push("-H \"Authorization: Bearer $TOKEN\"".to_owned());
    }
    if let Some((media, content)) = content {
        lines.push(format!("-H 'Content-Type: {media}'"));
        let required: serde_json::Map<String, Value> = fields(&content["schema"])
            .into_iter()
            .filter(|field| field.is_required)
            .map(|field| (field.name.clone(), example(&field.kind.words)))
            .collect();
        let is_json = media.contains("json");
        lines.push(if is_json {
            format!("-d '{}'", Value::Object(required))
        } else {
            "--data-binary @FILE".to_owned()
        });
    }
    lines.join(" \\\n  ")
}

fn example(kind: &str) -> Value {
    match kind {
        kind if kind.contains("null") => Value::Null,
        kind if kind.starts_with("true") => true.into(),
        kind if kind.contains("number") => 1.into(),
        kind if kind.starts_with("list") => Value::Array(Vec::new()),
        kind if kind.starts_with("object") => Value::Object(serde_json::Map::new()),
        _ => "...".into(),
    }
}

fn schemas(document: &Value) -> Vec<Schema> {
    let schemas = document["components"]["schemas"].as_object().into_iter().flatten();
    schemas
        .map(|(name, schema)| Schema {
            name: name.clone(),
            about: text(&schema["description"]),
            kind: kind(schema, 0),
            fields: fields(schema),
        })
        .collect()
}

/// The fields of an object; of one of several, those of all.
fn fields(schema: &Value) -> Vec<Field> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let own = schema["properties"].as_object().into_iter().flatten().map(|(name, schema)| Field {
        name: name.clone(),
        place: String::new(),
        kind: kind(schema, 0),
        is_required: required.contains(&name.as_str()),
        about: text(&schema["description"]),
    });
    own.collect()
}

/// A type in words.
fn kind(schema: &Value, depth: usize) -> Kind {
    let plain = |words: &str| Kind { words: words.to_owned(), leads_to: None };
    if let Some(name) = schema["$ref"].as_str().and_then(|to| to.rsplit('/').next()) {
        return Kind { words: name.to_owned(), leads_to: Some(name.to_owned()) };
    }
    if depth >= DEEPEST {
        return plain("...");
    }
    for several in ["anyOf", "oneOf"] {
        if let Some(kinds) = schema[several].as_array() {
            let kinds: Vec<Kind> = kinds.iter().map(|schema| kind(schema, depth + 1)).collect();
            let mut words: Vec<String> = kinds.iter().map(|kind| kind.words.clone()).collect();
            words.dedup();
            let leads_to = kinds.into_iter().find_map(|kind| kind.leads_to);
            return Kind { words: words.join(" or "), leads_to };
        }
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> =
            words.iter().map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned)).collect();
        return plain(&words.join(" | "));
    }
    if let Some(word) = schema["const"].as_str() {
        return plain(word);
    }
    let of = |name: &str| match name {
        "string" if schema["format"] == "date-time" => plain("time"),
        "string" if schema["format"].is_string() => plain(&text(&schema["format"])),
        "string" => plain("text"),
        "boolean" => plain("true or false"),
        "integer" => plain("whole number"),
        "array" => {
            let Kind { words, leads_to } = kind(&schema["items"], depth + 1);
            Kind { words: format!("list of {words}"), leads_to }
        }
        other => plain(other),
    };
    match &schema["type"] {
        Value::String(name) => of(name),
        Value::Array(names) => {
            let kinds: Vec<Kind> = names.iter().filter_map(Value::as_str).map(of).collect();
            let words: Vec<String> = kinds.iter().map(|kind| kind.words.clone()).collect();
            Kind { words: words.join(" or "), leads_to: kinds.into_iter().find_map(|kind| kind.leads_to) }
        }
        _ => plain("anything"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(schema: &Value, words: &str, leads_to: Option<&str>) {
        let expected = Kind { words: words.to_owned(), leads_to: leads_to.map(str::to_owned) };
        assert_eq!(kind(schema, 0), expected, "{schema}");
    }

    #[test]
    fn types_in_words() {
        check(&json!({"type": "string"}), "text", None);
        check(&json!({"type": ["string", "null"], "format": "date-time"}), "time or null", None);
        check(&json!({"type": "array", "items": {"$ref": "#/components/schemas/Run"}}), "list of Run", Some("Run"));
        check(&json!({"anyOf": [{"$ref": "#/x/Run"}, {"type": "null"}]}), "Run or null", Some("Run"));
        check(&json!({"enum": ["a", "b"], "type": "string"}), "a | b", None);
        check(&json!(true), "anything", None);
    }

    #[test]
    fn calls_can_be_pasted() {
        let told = json!({
            "operationId": "x", "tags": ["DAGs"], "summary": "s",
            "parameters": [{"name": "dag_id", "in": "path", "required": true}, {"name": "day", "in": "query", "required": true}],
            "requestBody": {"content": {"application/json": {"schema": {
                "properties": {"note": {"type": "string"}, "at": {"type": ["string", "null"]}}, "required": ["note", "at"]}}}},
            "responses": {"200": {}, "default": {}},
        });
        assert_eq!(
            operation("/dags/{dag_id}", "post", &told).curl,
            "curl -X POST \"$TOWPATH/dags/DAG_ID?day=DAY\" \\\n  -H \"Authorization: Bearer $TOKEN\" \\\n  \
             -H 'Content-Type: application/json' \\\n  -d '{\"note\":\"...\",\"at\":null}'"
        );
    }
}
