//! What attempts may ask of the store.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use towpath_model::clock::SharedClock;
use towpath_model::connection::{Connection, is_secret_name};
use towpath_operators::log::Secrets;
use towpath_operators::{ServiceError, Services, XComQuery};
use towpath_store::{RunRecord, Store};

/// The services of one attempt. Every secret that it hands out is masked in the attempt's log.
#[derive(Debug)]
pub(crate) struct StoreServices {
    pub(crate) store: Store,
    pub(crate) clock: SharedClock,
    pub(crate) run: Arc<RunRecord>,
    pub(crate) secrets: Arc<Secrets>,
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes by value")]
fn away(error: towpath_store::Error) -> ServiceError {
    ServiceError(error.to_string())
}

#[async_trait]
impl Services for StoreServices {
    async fn xcoms(&self, query: &XComQuery) -> Result<Vec<Value>, ServiceError> {
        let dag_id = query.dag_id.as_deref().unwrap_or(&self.run.dag_id);
        let run_id = query.run_id.as_deref().unwrap_or(&self.run.run_id);
        let run_key = if dag_id == self.run.dag_id && run_id == self.run.run_id {
            self.run.key
        } else {
            match self.store.run(dag_id, run_id).await.map_err(away)? {
                Some(run) => run.key,
                None => return Ok(Vec::new()),
            }
        };
        let found = self.store.xcoms(run_key, &query.task_id, &query.key, query.map_index).await.map_err(away)?;
        Ok(found.into_iter().map(|xcom| xcom.value).collect())
    }

    async fn variable(&self, key: &str) -> Result<Option<String>, ServiceError> {
        let value = self.store.variable(key).await.map_err(away)?;
        if let Some(value) = &value
            && is_secret_name(key)
        {
            self.secrets.add(value);
        }
        Ok(value)
    }

    async fn set_variable(&self, key: &str, value: Option<&str>) -> Result<(), ServiceError> {
        match value {
            Some(value) => self.store.set_variable(key, value, None, self.clock.now()).await.map_err(away),
            None => self.store.delete_variable(key).await.map(|_| ()).map_err(away),
        }
    }

    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, ServiceError> {
        let connection = self.store.connection(conn_id).await.map_err(away)?;
        if let Some(connection) = &connection {
            for secret in connection.secrets() {
                self.secrets.add(&secret);
            }
        }
        Ok(connection)
    }
}
