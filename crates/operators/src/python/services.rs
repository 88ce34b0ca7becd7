//! Answers to what a task asks for while it runs.

use serde_json::Value;

use super::protocol::{Query, Reply};
use crate::assets::AssetEvent;
use crate::attempt::{Attempt, ServiceError};

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
                attempt.log.secrets().add_variable(&key, &text);
                Value::String(text)
            }
            None => Value::Null,
        },
        Query::SetVariable { key, value } => {
            if let Some(text) = &value {
                attempt.log.secrets().add_variable(&key, text);
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
