//! Variables, connections and pools.
//!
//! The environment wins over the database, so that a deployment can fix a value. Values of
//! variables, passwords and extras are encrypted before they reach a statement.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use towpath_model::connection::{Connection, Secret};

use crate::records::VariableRecord;
use crate::wake::Topic;
use crate::{Error, Result, Store};

/// A connection as its row has it: password and extra encrypted.
#[derive(Debug, Clone)]
pub(crate) struct SealedConnection {
    pub(crate) connection: Connection,
    pub(crate) password: Option<String>,
    pub(crate) extra: Option<String>,
}

#[async_trait]
pub(crate) trait SecretRows {
    async fn variables(&self) -> Result<Vec<VariableRecord>>;
    async fn variable(&self, key: &str) -> Result<Option<VariableRecord>>;
    async fn set_variable(&self, sealed: &VariableRecord, now: DateTime<Utc>) -> Result<()>;
    async fn delete_variable(&self, key: &str) -> Result<bool>;
    async fn connections(&self) -> Result<Vec<SealedConnection>>;
    async fn connection(&self, conn_id: &str) -> Result<Option<SealedConnection>>;
    async fn set_connection(&self, sealed: &SealedConnection, now: DateTime<Utc>) -> Result<()>;
    async fn delete_connection(&self, conn_id: &str) -> Result<bool>;
    async fn set_pool(&self, name: &str, slots: u32, description: Option<&str>) -> Result<()>;
    async fn delete_pool(&self, name: &str) -> Result<bool>;
}

impl Store {
    fn open_variable(&self, sealed: VariableRecord) -> Result<VariableRecord> {
        let value = self.inner.key.open(&sealed.value)?;
        Ok(VariableRecord { value, ..sealed })
    }

    fn open_connection(&self, sealed: SealedConnection) -> Result<Connection> {
        let open = |text: Option<String>| text.map(|text| self.inner.key.open(&text)).transpose();
        Ok(Connection {
            password: open(sealed.password)?.map(Secret::new),
            extra: open(sealed.extra)?,
            ..sealed.connection
        })
    }

    /// A variable's value, from the environment or the database.
    ///
    /// # Errors
    /// When the database does not answer or the value cannot be decrypted.
    pub async fn variable(&self, key: &str) -> Result<Option<String>> {
        if let Some(value) = self.inner.environment.variable(key) {
            return Ok(Some(value));
        }
        let sealed = self.inner.backend.variable(key).await?;
        Ok(sealed.map(|sealed| self.open_variable(sealed)).transpose()?.map(|record| record.value))
    }

    /// The variables of the database, by key.
    ///
    /// # Errors
    /// When the database does not answer or a value cannot be decrypted.
    pub async fn variables(&self) -> Result<Vec<VariableRecord>> {
        let sealed = self.inner.backend.variables().await?;
        sealed.into_iter().map(|sealed| self.open_variable(sealed)).collect()
    }

    /// Sets a variable. Without a description, it keeps the one it has.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty key; when the database does not answer.
    pub async fn set_variable(
        &self,
        key: &str,
        value: &str,
        description: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        if key.is_empty() || key.len() > 250 {
            return Err(Error::Invalid(format!("a variable's key has 1 to 250 bytes, `{key}` has {}", key.len())));
        }
        let sealed = VariableRecord {
            key: key.to_owned(),
            value: self.inner.key.seal(value),
            description: description.map(str::to_owned),
        };
        self.inner.backend.set_variable(&sealed, now).await
    }

    /// Deletes a variable of the database; false where there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete_variable(&self, key: &str) -> Result<bool> {
        self.inner.backend.delete_variable(key).await
    }

    /// A connection, from the environment or the database.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the environment's text is none; when the database does not answer.
    pub async fn connection(&self, conn_id: &str) -> Result<Option<Connection>> {
        if let Some(connection) = self.inner.environment.connection(conn_id)? {
            return Ok(Some(connection));
        }
        let sealed = self.inner.backend.connection(conn_id).await?;
        sealed.map(|sealed| self.open_connection(sealed)).transpose()
    }

    /// The connections of the database, by id.
    ///
    /// # Errors
    /// When the database does not answer or a password cannot be decrypted.
    pub async fn connections(&self) -> Result<Vec<Connection>> {
        let sealed = self.inner.backend.connections().await?;
        sealed.into_iter().map(|sealed| self.open_connection(sealed)).collect()
    }

    /// Sets a connection, all of it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty id; when the database does not answer.
    pub async fn set_connection(&self, connection: &Connection, now: DateTime<Utc>) -> Result<()> {
        if connection.conn_id.is_empty() || connection.conn_id.len() > 250 {
            return Err(Error::Invalid(format!("`{}` is no connection id: it has 1 to 250 bytes", connection.conn_id)));
        }
        let sealed = SealedConnection {
            connection: connection.clone(),
            password: connection.password.as_ref().map(|secret| self.inner.key.seal(secret.expose())),
            extra: connection.extra.as_ref().map(|extra| self.inner.key.seal(extra)),
        };
        self.inner.backend.set_connection(&sealed, now).await
    }

    /// Deletes a connection of the database; false where there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete_connection(&self, conn_id: &str) -> Result<bool> {
        self.inner.backend.delete_connection(conn_id).await
    }

    /// Creates or changes a pool. More slots take effect at once; fewer as tasks end.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_pool(&self, name: &str, slots: u32, description: Option<&str>, now: DateTime<Utc>) -> Result<()> {
        self.inner.backend.set_pool(name, slots, description).await?;
        self.sweep(now).await?;
        self.inner.wakes.wake(Topic::Schedule);
        Ok(())
    }

    /// Deletes a pool; false where there is none.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the default pool, which has to exist.
    pub async fn delete_pool(&self, name: &str) -> Result<bool> {
        if name == towpath_model::dag::DEFAULT_POOL {
            return Err(Error::Invalid(format!("`{name}` cannot be deleted; give it 0 slots to close it")));
        }
        self.inner.backend.delete_pool(name).await
    }
}
