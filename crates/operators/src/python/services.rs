//! Answers to what a task asks for while it runs.

use serde_json::Value;
use towpath_model::connection::is_secret_name;

use super::protocol::{Query, Reply};
use crate::assets::AssetEvent;
use crate::attempt::{Attempt, ServiceError};
use crate::log::Secrets;

/// The answer to `query`. What is secret in it is masked in the log from now on.
pub(super) async fn answer(attempt: &Attempt, query: Query) -> Reply {
    match ask(attempt, query).await {
        Ok(value) => Reply::Ok(value),
        Err(error) => Reply::Error(error.to_string()),
    }
}

async fn ask(attempt: &Attempt, query: Query) -> Result<Value, ServiceError> {
    Ok(match query {
        Query::Xcoms(query) => Value::Array(attempt.pull_xcoms(&query).await?),
        Query::Variable { key } => match attempt.services.variable(&key).await? {
            Some(text) => {
                mask_variable(attempt.log.secrets(), &key, &text);
                Value::String(text)
            }
            None => Value::Null,
        },
        Query::SetVariable { key, value } => {
            if let Some(text) = &value {
                mask_variable(attempt.log.secrets(), &key, text);
            }
            attempt.services.set_variable(&key, value.as_deref()).await?;
            Value::Null
        }
        Query::TriggeringAssetEvents => events(&attempt.services.triggering_asset_events().await?)?,
        Query::AssetEvents { asset } => events(&attempt.services.asset_events(&asset).await?)?,
        Query::Connection { conn_id } => match attempt.services.connection(&conn_id).await? {
            Some(connection) => {
                connection.secrets().iter().for_each(|secret| attempt.log.secrets().add(secret));
                connection.expose_json()
            }
            None => Value::Null,
        },
    })
}

fn events(events: &[AssetEvent]) -> Result<Value, ServiceError> {
    serde_json::to_value(events).map_err(|error| ServiceError(error.to_string()))
}

/// Masks a variable whose name says that it is secret, and what stands under such names in one that is JSON.
fn mask_variable(secrets: &Secrets, key: &str, text: &str) {
    let secret = is_secret_name(key);
    if secret {
        secrets.add(text);
    }
    if let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
        mask_below(secrets, secret, &value);
    }
}

fn mask_below(secrets: &Secrets, secret: bool, value: &Value) {
    match value {
        Value::String(text) if secret => secrets.add(text),
        Value::Array(items) => items.iter().for_each(|item| mask_below(secrets, secret, item)),
        Value::Object(map) => {
            map.iter().for_each(|(name, item)| mask_below(secrets, secret || is_secret_name(name), item));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_variables_are_masked() {
        for (key, text, printed, expected) in [
            ("color", "green-ish", "green-ish", "green-ish"),
            ("api_key", "k-12345", "it is k-12345", "it is ***"),
            ("settings", r#"{"user": "ann-bee", "password": "hunter2"}"#, "ann-bee hunter2", "ann-bee ***"),
            ("secret_list", r#"["first-one", {"x": "second-one"}]"#, "first-one second-one", "*** ***"),
        ] {
            let secrets = Secrets::new();
            mask_variable(&secrets, key, text);
            assert_eq!(secrets.mask(printed), expected, "{key}");
        }
    }
}
