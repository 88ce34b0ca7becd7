//! Variables. Their values are shown, but those whose name says that they are secret.

use axum::Json;
use axum::extract::{self, Path};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use towpath_model::connection::is_secret_name;
use towpath_store::VariableRecord;

use crate::body::Body;
use crate::bulk::{self, BulkReply, Entity};
use crate::query::Query;
use crate::{Error, Problem, Result, State, filter};

/// `VariableResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VariableReply {
    key: String,
    value: Option<String>,
    description: Option<String>,
    is_encrypted: bool,
    team_name: Option<String>,
}

/// `VariableCollectionResponse`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VariableList {
    variables: Vec<VariableReply>,
    total_entries: u64,
}

/// `VariableBody`.
#[derive(Debug)]
pub(crate) struct Variable {
    key: String,
    value: String,
    description: Option<String>,
}

impl From<VariableRecord> for VariableReply {
    fn from(record: VariableRecord) -> Self {
        let hidden = is_secret_name(&record.key) && !record.value.is_empty();
        let value = if hidden { "***".to_owned() } else { record.value };
        Self {
            key: record.key,
            value: Some(value),
            description: record.description,
            is_encrypted: true,
            team_name: None,
        }
    }
}

impl Entity for Variable {
    type Place = ();

    fn read(mut body: Body) -> Result<Self> {
        let key = body.required_text("key").unwrap_or_default();
        if key.is_empty() && body.as_it_came().get("key").is_some_and(Value::is_string) {
            let msg = "String should have at least 1 character";
            body.problem(Problem::new("string_too_short", "body", "key", msg, "".into()));
        }
        // The store counts bytes.
        if key.len() > 250 {
            let msg = "String should have at most 250 characters";
            body.problem(Problem::new("string_too_long", "body", "key", msg, key.clone().into()));
        }
        let value = body.any("value");
        let description = body.text("description");
        body.short_text("team_name", 50);
        body.finish()?;
        Ok(Self { key, value: text_of(value.unwrap_or(Value::Null)), description })
    }

    fn named(key: String) -> Self {
        Self { key, value: String::new(), description: None }
    }

    fn key(&self, (): &()) -> String {
        self.key.clone()
    }

    async fn exists(&self, state: &State, (): &()) -> Result<bool> {
        Ok(find(state, &self.key).await?.is_some())
    }

    async fn write(&self, state: &State, (): &(), mask: &[String]) -> Result<()> {
        let named = |name: &str| mask.is_empty() || mask.iter().any(|field| field == name);
        let before = find(state, &self.key).await?;
        let value = match before {
            Some(before) if !named("value") => before.value,
            _ => self.value.clone(),
        };
        let description = self.description.as_deref().filter(|_| named("description"));
        Ok(state.store.set_variable(&self.key, &value, description, state.clock.now()).await?)
    }

    async fn delete(&self, state: &State, (): &()) -> Result<()> {
        if state.store.delete_variable(&self.key).await? { Ok(()) } else { Err(missing(&self.key)) }
    }
}

pub(crate) async fn list(extract::State(state): extract::State<State>, mut query: Query) -> Result<Json<VariableList>> {
    let window = query.window();
    let order = query.order(&["key", "id", "_val", "description", "is_encrypted", "team_name"])?;
    let patterns = filter::patterns(&mut query, "variable_key");
    query.finish()?;
    let mut records = state.store.variables().await?;
    records.retain(|record| patterns.iter().all(|pattern| pattern.fits(&record.key)));
    if let Some((name, descends)) = order.first() {
        if *name == "description" {
            records.sort_by(|a, b| a.description.cmp(&b.description));
        }
        if *descends {
            records.reverse();
        }
    }
    let total_entries = records.len() as u64;
    Ok(Json(VariableList { variables: window.of(records).into_iter().map(Into::into).collect(), total_entries }))
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(key): Path<String>,
    query: Query,
) -> Result<Json<VariableReply>> {
    query.finish()?;
    Ok(Json(find(&state, &key).await?.ok_or_else(|| missing(&key))?.into()))
}

pub(crate) async fn post(
    extract::State(state): extract::State<State>,
    query: Query,
    body: Body,
) -> Result<(StatusCode, Json<VariableReply>)> {
    query.finish()?;
    let variable = Variable::read(body)?;
    if variable.exists(&state, &()).await? {
        return Err(Error::Conflict(format!("The Variable with key: `{}` already exists", variable.key)));
    }
    variable.write(&state, &(), &[]).await?;
    let record = find(&state, &variable.key).await?.ok_or_else(|| missing(&variable.key))?;
    Ok((StatusCode::CREATED, Json(record.into())))
}

pub(crate) async fn patch(
    extract::State(state): extract::State<State>,
    Path(key): Path<String>,
    mut query: Query,
    body: Body,
) -> Result<Json<VariableReply>> {
    let mask = query.texts("update_mask");
    query.finish()?;
    let variable = Variable::read(body)?;
    if variable.key != key {
        return Err(Error::BadRequest("Invalid body, key from request body doesn't match uri parameter".to_owned()));
    }
    if !variable.exists(&state, &()).await? {
        return Err(missing(&key));
    }
    variable.write(&state, &(), &mask).await?;
    Ok(Json(find(&state, &key).await?.ok_or_else(|| missing(&key))?.into()))
}

pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    Path(key): Path<String>,
    query: Query,
) -> Result<StatusCode> {
    query.finish()?;
    Variable::named(key).delete(&state, &()).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn bulk(
    extract::State(state): extract::State<State>,
    query: Query,
    body: Body,
) -> Result<Json<BulkReply>> {
    query.finish()?;
    Ok(Json(bulk::carry_out::<Variable>(&state, &(), body).await?))
}

/// A variable of the database: what the environment sets is not this API's to show or change.
async fn find(state: &State, key: &str) -> Result<Option<VariableRecord>> {
    Ok(state.store.variables().await?.into_iter().find(|record| record.key == key))
}

fn missing(key: &str) -> Error {
    Error::NotFound(format!("The Variable with key: `{key}` was not found"))
}

/// A value that is no text is kept as JSON, as Python would write it.
fn text_of(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => python_json(&other),
    }
}

/// JSON with a space after each comma and colon.
fn python_json(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(python_json).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let field =
                |(name, value): (&String, &Value)| format!("{}: {}", Value::from(name.as_str()), python_json(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values() {
        for (value, expected) in [
            (json!("hello"), "hello"),
            (json!({"a": 1}), "{\"a\": 1}"),
            (json!([1, null, {"b": "c"}]), "[1, null, {\"b\": \"c\"}]"),
            (json!(null), "null"),
            (json!(1.5), "1.5"),
        ] {
            assert_eq!(text_of(value), expected);
        }
    }

    #[test]
    fn secrets_are_hidden() {
        let shown = |key: &str| {
            let record = VariableRecord { key: key.into(), value: "x".into(), description: None };
            VariableReply::from(record).value
        };
        assert_eq!(shown("my_password").as_deref(), Some("***"));
        assert_eq!(shown("region").as_deref(), Some("x"));
    }
}
