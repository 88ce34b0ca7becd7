//! Variables, connections and pools.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row as _;
use towpath_model::connection::Connection;

use super::super::{Backend, DbRow, queries};
use crate::records::VariableRecord;
use crate::secrets::{SealedConnection, SecretRows};
use crate::time::Ts;
use crate::{Error, Result};

fn variable(row: &DbRow) -> Result<VariableRecord> {
    Ok(VariableRecord {
        key: row.try_get("key")?,
        value: row.try_get("value")?,
        description: row.try_get("description")?,
    })
}

fn connection(row: &DbRow) -> Result<SealedConnection> {
    let port: Option<i32> = row.try_get("port")?;
    let port = port.map(u16::try_from).transpose();
    Ok(SealedConnection {
        connection: Connection {
            conn_id: row.try_get("conn_id")?,
            conn_type: row.try_get("conn_type")?,
            description: row.try_get("description")?,
            host: row.try_get("host")?,
            login: row.try_get("login")?,
            password: None,
            schema: row.try_get("schema")?,
            port: port.map_err(|error| Error::Corrupt(format!("port of a connection: {error}")))?,
            extra: None,
        },
        password: row.try_get("password")?,
        extra: row.try_get("extra")?,
    })
}

#[async_trait]
impl SecretRows for Backend {
    async fn variables(&self) -> Result<Vec<VariableRecord>> {
        let rows = sqlx::query(queries::VARIABLES).fetch_all(&self.readers).await?;
        rows.iter().map(variable).collect()
    }

    async fn variable(&self, key: &str) -> Result<Option<VariableRecord>> {
        let row = sqlx::query(queries::VARIABLE).bind(key).fetch_optional(&self.readers).await?;
        row.as_ref().map(variable).transpose()
    }

    async fn set_variable(&self, sealed: &VariableRecord, now: DateTime<Utc>) -> Result<()> {
        sqlx::query(queries::SET_VARIABLE)
            .bind(&sealed.key)
            .bind(&sealed.value)
            .bind(&sealed.description)
            .bind(Ts(now))
            .execute(&self.writers)
            .await?;
        Ok(())
    }

    async fn delete_variable(&self, key: &str) -> Result<bool> {
        let done = sqlx::query(queries::DELETE_VARIABLE).bind(key).execute(&self.writers).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn connections(&self) -> Result<Vec<SealedConnection>> {
        let rows = sqlx::query(queries::CONNECTIONS).fetch_all(&self.readers).await?;
        rows.iter().map(connection).collect()
    }

    async fn connection(&self, conn_id: &str) -> Result<Option<SealedConnection>> {
        let row = sqlx::query(queries::CONNECTION).bind(conn_id).fetch_optional(&self.readers).await?;
        row.as_ref().map(connection).transpose()
    }

    async fn set_connection(&self, sealed: &SealedConnection, now: DateTime<Utc>) -> Result<()> {
        let plain = &sealed.connection;
        sqlx::query(queries::SET_CONNECTION)
            .bind(&plain.conn_id)
            .bind(&plain.conn_type)
            .bind(&plain.description)
            .bind(&plain.host)
            .bind(&plain.login)
            .bind(&sealed.password)
            .bind(&plain.schema)
            .bind(plain.port.map(i32::from))
            .bind(&sealed.extra)
            .bind(Ts(now))
            .execute(&self.writers)
            .await?;
        Ok(())
    }

    async fn delete_connection(&self, conn_id: &str) -> Result<bool> {
        let done = sqlx::query(queries::DELETE_CONNECTION).bind(conn_id).execute(&self.writers).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn set_pool(&self, name: &str, slots: u32, description: Option<&str>) -> Result<()> {
        sqlx::query(queries::SET_POOL)
            .bind(name)
            .bind(i32::try_from(slots).unwrap_or(i32::MAX))
            .bind(description)
            .execute(&self.writers)
            .await?;
        Ok(())
    }

    async fn delete_pool(&self, name: &str) -> Result<bool> {
        let done = sqlx::query(queries::DELETE_POOL).bind(name).execute(&self.writers).await?;
        Ok(done.rows_affected() == 1)
    }
}
