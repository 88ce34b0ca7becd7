//! The JSON Schema of DAG files, made from the tables that files are read by.

use serde_json::{Map, Value, json};
use towpath_model::operator::{ArgKind, OperatorSpec, SPECS};

use crate::alerts::{EVENTS, TARGETS};
use crate::keys::{self, KeyKind, KeySpec};

/// The schema, JSON Schema 2020-12. Editors use it for completion and hints; the reader itself
/// knows more (references, cycles) and says it better.
#[must_use]
pub fn json_schema() -> Value {
    let operators: Vec<Value> =
        SPECS.iter().map(|spec| json!({"$ref": format!("#/$defs/operator_{}", spec.name)})).collect();
    let mut defs = Map::new();
    for spec in SPECS {
        defs.insert(format!("operator_{}", spec.name), operator(spec));
    }
    defs.insert("task".to_owned(), json!({"type": "object", "anyOf": operators}));
    defs.insert("dag".to_owned(), object(keys::DAG, &[]));
    defs.insert("group".to_owned(), object(keys::GROUP, &[]));
    defs.insert("default_args".to_owned(), default_args());
    defs.insert(
        "duration".to_owned(),
        json!({"description": "30s, 5m, 1h30m, ISO 8601, or seconds",
               "anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}, {"type": "object", "required": ["__type__"]}]}),
    );
    defs.insert("alert".to_owned(), alert());
    defs.insert("deadline".to_owned(), deadline());
    defs.insert("asset".to_owned(), asset());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Towpath DAG file",
        "description": "One DAG, or a mapping of DAG ids to DAGs with an optional block of defaults",
        "type": "object",
        "anyOf": [
            {"allOf": [{"$ref": "#/$defs/dag"}, {"anyOf": [{"required": ["tasks"]}, {"required": ["dag_id"]}, {"required": ["schedule"]}]}]},
            {"properties": {"default": {"$ref": "#/$defs/dag"}},
             "additionalProperties": {"$ref": "#/$defs/dag"},
             "not": {"anyOf": [{"required": ["tasks"]}, {"required": ["dag_id"]}, {"required": ["schedule"]}]}}
        ],
        "$defs": Value::Object(defs),
    })
}

/// Tasks with one operator.
fn operator(spec: &OperatorSpec) -> Value {
    let names: Vec<&str> = std::iter::once(spec.name).chain(spec.aliases.iter().copied()).collect();
    let mut schema = object(keys::TASK, &["operator", "decorator"]);
    schema["description"] = json!(spec.summary);
    let properties = schema["properties"].as_object_mut().expect("an object schema has properties");
    properties.insert("operator".to_owned(), json!({"enum": names}));
    properties.insert("decorator".to_owned(), json!({"enum": names}));
    for arg in spec.args {
        for name in std::iter::once(&arg.name).chain(arg.aliases) {
            let mut value = arg_schema(arg.kind);
            if arg.templated
                && value.get("type") != Some(&json!("string"))
                && !value.as_object().is_some_and(Map::is_empty)
            {
                value = json!({"anyOf": [value, {"type": "string", "pattern": "\\{[{%]"}]});
            }
            let mut value = nullable(value);
            value["description"] = json!(arg.doc);
            properties.insert((*name).to_owned(), value);
        }
    }
    // Arguments may come from default_args, which a schema cannot see; so nothing else is required.
    schema["$comment"] = json!("required arguments may stand in default_args");
    schema["oneOf"] = json!([{"required": ["operator"]}, {"required": ["decorator"]}]);
    schema
}

/// What `default_args` hold: settings of tasks, dates of the DAG, and arguments of any operator.
fn default_args() -> Value {
    let mut schema = object(keys::TASK, keys::TASKS_OWN);
    let properties = schema["properties"].as_object_mut().expect("an object schema has properties");
    for name in keys::DEFAULT_ARGS_OF_DAG {
        properties.insert((*name).to_owned(), nullable(key_schema(KeyKind::Date)));
    }
    // Two operators may give an argument two types, so it has none here.
    for arg in SPECS.iter().flat_map(|spec| spec.args) {
        for name in std::iter::once(&arg.name).chain(arg.aliases) {
            properties.entry(*name).or_insert_with(|| json!({"description": arg.doc}));
        }
    }
    schema
}

/// An entry of `alerts`.
fn alert() -> Value {
    let event = json!({"enum": EVENTS});
    json!({
        "type": "object",
        "properties": {
            "on": {"description": "Which ends (default failure); only tasks have retries, only runs have deadlines",
                   "anyOf": [event, {"type": "array", "items": event, "minItems": 1}]},
            "email": {"description": "Addresses", "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            "webhook": {"description": "Address or connection that gets the event as JSON", "type": "string"},
            "slack": {"description": "Incoming webhook of Slack, or a connection to it", "type": "string"},
            "teams": {"description": "Webhook of a Teams workflow, or a connection to it", "type": "string"},
            "command": {"description": "Command for the shell, beside the scheduler; it reads the event as JSON from stdin",
                        "type": "string"}
        },
        "additionalProperties": false,
        "anyOf": TARGETS.iter().map(|target| json!({"required": [target]})).collect::<Vec<_>>(),
    })
}

/// An entry of `deadline`.
fn deadline() -> Value {
    let alert = alert();
    let mut properties = Map::new();
    let count = json!({"type": "integer", "minimum": 1, "maximum": 1000});
    let mut add = |name: &str, doc: &str, mut schema: Value| {
        schema["description"] = json!(doc);
        properties.insert(name.to_owned(), schema);
    };
    add("name", "What to call it", scalar());
    add(
        "reference",
        "What it counts from: logical_date, queued_at, average_runtime or a date",
        json!({"type": ["string", "object"]}),
    );
    add(
        "interval",
        "Time after the reference, before it where negative (default 0)",
        json!({"anyOf": [{"$ref": "#/$defs/duration"}, {"type": "number"}]}),
    );
    add("max_runs", "Of average_runtime: as many of the newest runs that are over (default 10)", count.clone());
    add("min_runs", "Of average_runtime: with fewer there is no deadline (default max_runs)", count);
    for target in TARGETS {
        properties.insert((*target).to_owned(), alert["properties"][*target].clone());
    }
    json!({"type": "object", "properties": properties, "required": ["reference"], "additionalProperties": false})
}

/// An asset, where it is named or described.
fn asset() -> Value {
    json!({
        "description": "Name or URI of an asset, or a description of one",
        "anyOf": [{"type": "string"}, {
            "type": "object",
            "properties": {
                "name": {"description": "Name (default: the URI)", "type": "string"},
                "uri": {"description": "Where the data is (default: the name)", "type": "string"},
                "group": {"description": "Kind of asset, for lists", "type": "string"},
                "extra": {"description": "What is worth knowing of the asset", "type": "object"},
                "event_extra": {"description": "Of an outlet: what its events say, maybe with templates that also know \
                                               `result`", "type": "object"},
                "__type__": {"type": "string"},
                "__args__": {"type": "array"}
            },
            "additionalProperties": false
        }]
    })
}

fn object(table: &[KeySpec], skip: &[&str]) -> Value {
    let mut properties = Map::new();
    for key in table.iter().filter(|key| !skip.contains(&key.name)) {
        for name in std::iter::once(&key.name).chain(key.aliases) {
            let mut schema = nullable(key_schema(key.kind));
            if !key.doc.is_empty() {
                schema["description"] = json!(key.doc);
            }
            properties.insert((*name).to_owned(), schema);
        }
    }
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// A key that is written without a value counts as not given.
fn nullable(schema: Value) -> Value {
    if schema.as_object().is_some_and(Map::is_empty) { schema } else { json!({"anyOf": [schema, {"type": "null"}]}) }
}

fn boolean() -> Value {
    json!({"anyOf": [{"type": "boolean"}, {"enum": ["yes", "no", "on", "off", "true", "false", "Yes", "No", "On", "Off", "True", "False"]}]})
}

fn scalar() -> Value {
    json!({"type": ["string", "number", "boolean"]})
}

fn key_schema(kind: KeyKind) -> Value {
    match kind {
        KeyKind::Text => scalar(),
        KeyKind::Bool => boolean(),
        KeyKind::Integer => {
            json!({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^\\s*-?[0-9]+\\s*$"}]})
        }
        KeyKind::Backoff => json!({"anyOf": [boolean(), {"type": "number", "minimum": 0}]}),
        KeyKind::Duration => json!({"$ref": "#/$defs/duration"}),
        KeyKind::Date => json!({"type": ["string", "object"]}),
        KeyKind::TextList => json!({"anyOf": [scalar(), {"type": "array", "items": scalar()}]}),
        KeyKind::Schedule => json!({"type": ["string", "number", "array", "object"]}),
        KeyKind::Params => json!({"type": "object"}),
        KeyKind::DefaultArgs => json!({"$ref": "#/$defs/default_args"}),
        KeyKind::Tasks => {
            let task = json!({"$ref": "#/$defs/task"});
            json!({"anyOf": [{"type": "array", "items": task}, {"type": "object", "additionalProperties": task}]})
        }
        KeyKind::Groups => {
            let group = nullable(json!({"$ref": "#/$defs/group"}));
            json!({"anyOf": [{"type": "array", "items": group}, {"type": "object", "additionalProperties": group}]})
        }
        KeyKind::Alerts => {
            let alert = json!({"$ref": "#/$defs/alert"});
            json!({"anyOf": [alert, {"type": "array", "items": alert}]})
        }
        KeyKind::Deadlines => {
            let deadline = json!({"$ref": "#/$defs/deadline"});
            json!({"anyOf": [deadline, {"type": "array", "items": deadline}]})
        }
        KeyKind::AssetList => {
            let asset = json!({"$ref": "#/$defs/asset"});
            json!({"anyOf": [asset, {"type": "array", "items": asset}]})
        }
        KeyKind::Assets => json!({"anyOf": [
            {"type": "array", "items": {"$ref": "#/$defs/asset"}},
            {"type": "object", "additionalProperties": nullable(json!({"$ref": "#/$defs/asset"}))}
        ]}),
        KeyKind::Choice(words) => json!({"enum": words}),
        KeyKind::Ignored | KeyKind::Any => json!({}),
        KeyKind::Unsupported => json!({"enum": [false, null, [], {}]}),
    }
}

fn arg_schema(kind: ArgKind) -> Value {
    match kind {
        ArgKind::Text | ArgKind::Path => scalar(),
        ArgKind::Bool => boolean(),
        ArgKind::Integer => json!({"type": "integer"}),
        ArgKind::Number => json!({"type": "number"}),
        ArgKind::Duration => json!({"$ref": "#/$defs/duration"}),
        ArgKind::Bytes => json!({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}),
        ArgKind::TextMap => {
            json!({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}})
        }
        ArgKind::TextList => json!({"anyOf": [scalar(), {"type": "array", "items": scalar()}]}),
        ArgKind::IntegerList => {
            json!({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]})
        }
        ArgKind::Map => json!({"type": "object"}),
        ArgKind::List => json!({"type": "array"}),
        ArgKind::Any => json!({}),
        // The reader takes any case; the schema offers the usual one and the one in lower case.
        ArgKind::Choice(words) => {
            let all: Vec<String> = words.iter().flat_map(|word| [(*word).to_owned(), word.to_lowercase()]).collect();
            json!({"enum": all})
        }
    }
}
