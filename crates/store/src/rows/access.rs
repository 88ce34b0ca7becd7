//! Users, what lets them in, and the audit log.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{QueryBuilder, Row as _};

use super::super::{Backend, Db, DbRow, access_sql as sql};
use super::{json, time, time_opt, ts, word};
use crate::Result;
use crate::access::{Access, AccessRows, NewToken, Role, TokenRecord, UserRecord};
use crate::audit::{EventColumn, EventFilter, EventRecord, EventRow, Like, NewEvent};
use crate::batch;
use crate::time::Ts;

fn account(row: &DbRow) -> Result<UserRecord> {
    Ok(UserRecord {
        name: row.try_get("name")?,
        role: word(row, "role")?,
        password_hash: row.try_get("password_hash")?,
        generation: row.try_get("generation")?,
        created_at: time(row, "created_at")?,
        last_login_at: time_opt(row, "last_login_at")?,
        grants: json(row, "grants")?,
    })
}

fn token(row: &DbRow) -> Result<TokenRecord> {
    let role: Option<String> = row.try_get("role")?;
    Ok(TokenRecord {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        user: row.try_get("account")?,
        role: role.map(|_| word(row, "role")).transpose()?,
        created_at: time(row, "created_at")?,
        expires_at: time_opt(row, "expires_at")?,
        revoked_at: time_opt(row, "revoked_at")?,
        last_used_at: time_opt(row, "last_used_at")?,
    })
}

fn event(row: &DbRow) -> Result<EventRecord> {
    Ok(EventRecord {
        id: row.try_get("id")?,
        at: time(row, "at")?,
        what: NewEvent {
            event: row.try_get("event")?,
            owner: row.try_get("owner")?,
            dag_id: row.try_get("dag_id")?,
            task_id: row.try_get("task_id")?,
            run_id: row.try_get("run_id")?,
            map_index: row.try_get("map_index")?,
            try_number: row.try_get("try_number")?,
            logical_date: time_opt(row, "logical_date")?,
            extra: row.try_get("extra")?,
        },
    })
}

/// Adds a condition that a column is among `texts`, or is not.
pub(super) fn among(query: &mut QueryBuilder<Db>, column: &str, texts: &[String]) {
    query.push(" AND ").push(column).push(" IN ").push(sql::TEXTS[0]).push_bind(batch::json(texts)).push(sql::TEXTS[1]);
}

fn narrow(query: &mut QueryBuilder<Db>, filter: &EventFilter) {
    query.push(" WHERE 1 = 1");
    if let Some(id) = filter.id {
        query.push(" AND e.id = ").push_bind(id);
    }
    if let Some(below) = filter.below {
        query.push(" AND e.id < ").push_bind(below);
    }
    let texts = [
        (" AND e.dag_id = ", &filter.dag_id),
        (" AND e.task_id = ", &filter.task_id),
        (" AND e.run_id = ", &filter.run_id),
        (" AND e.owner = ", &filter.owner),
        (" AND e.event = ", &filter.event),
    ];
    for (condition, text) in texts {
        if let Some(text) = text {
            query.push(condition).push_bind(text.clone());
        }
    }
    for (condition, number) in [(" AND e.map_index = ", filter.map_index), (" AND e.try_number = ", filter.try_number)]
    {
        if let Some(number) = number {
            query.push(condition).push_bind(number);
        }
    }
    if !filter.included.is_empty() {
        among(query, "e.event", &filter.included);
    }
    if !filter.excluded.is_empty() {
        query.push(" AND NOT (true");
        among(query, "e.event", &filter.excluded);
        query.push(")");
    }
    if let Some(before) = filter.before {
        query.push(" AND e.at < ").push_bind(Ts(before));
    }
    if let Some(after) = filter.after {
        query.push(" AND e.at > ").push_bind(Ts(after));
    }
    for (column, like) in &filter.like {
        let column: &str = column.into();
        match like {
            Like::Part(text) => {
                let text = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
                query.push(" AND lower(").push(column).push(") LIKE ").push_bind(format!("%{text}%"));
                query.push(" ESCAPE '\\'");
            }
            Like::Start(text) => {
                let length = i32::try_from(text.chars().count()).unwrap_or(i32::MAX);
                query.push(" AND substr(").push(column).push(", 1, ").push_bind(length);
                query.push(") = ").push_bind(text.clone());
            }
        }
    }
    if filter.of_dags {
        query.push(" AND e.dag_id IS NOT NULL");
    }
}

#[async_trait]
impl AccessRows for Backend {
    async fn accounts(&self, name: Option<&str>) -> Result<Vec<UserRecord>> {
        let mut query = QueryBuilder::<Db>::new(sql::SELECT_ACCOUNTS);
        if let Some(name) = name {
            query.push(" WHERE a.name = ").push_bind(name.to_owned());
        }
        query.push(" ORDER BY a.name");
        query.build().fetch_all(&self.readers).await?.iter().map(account).collect()
    }

    async fn insert_account(&self, name: &str, role: Role, hash: Option<&str>, now: DateTime<Utc>) -> Result<bool> {
        let query = sqlx::query(sql::INSERT_ACCOUNT)
            .bind(name)
            .bind(role.to_string())
            .bind(hash)
            .bind(Ts(now))
            .bind(now.timestamp_micros());
        Ok(query.execute(&self.writers).await?.rows_affected() == 1)
    }

    async fn delete_account(&self, name: &str) -> Result<bool> {
        let done = sqlx::query(sql::DELETE_ACCOUNT).bind(name).execute(&self.writers).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn set_password(&self, name: &str, hash: &str) -> Result<bool> {
        let mut tx = self.writers.begin().await?;
        let done = sqlx::query(sql::SET_PASSWORD).bind(name).bind(hash).execute(&mut *tx).await?;
        sqlx::query(sql::END_SESSIONS).bind(name).execute(&mut *tx).await?;
        sqlx::query(sql::END_LINKS).bind(name).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    async fn set_role(&self, name: &str, role: Role) -> Result<bool> {
        let done = sqlx::query(sql::SET_ROLE).bind(name).bind(role.to_string()).execute(&self.writers).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn grant(&self, name: &str, columns: (&str, &str), access: Access) -> Result<()> {
        sqlx::query(sql::GRANT)
            .bind(name)
            .bind(columns.0)
            .bind(columns.1)
            .bind(access.to_string())
            .execute(&self.writers)
            .await?;
        Ok(())
    }

    async fn revoke(&self, name: &str, columns: (&str, &str)) -> Result<bool> {
        let query = sqlx::query(sql::REVOKE).bind(name).bind(columns.0).bind(columns.1);
        Ok(query.execute(&self.writers).await?.rows_affected() == 1)
    }

    async fn dag_tags(&self) -> Result<Vec<(String, Vec<String>)>> {
        let rows = sqlx::query(sql::DAG_TAGS).fetch_all(&self.readers).await?;
        rows.iter().map(|row| Ok((row.try_get("dag_id")?, json(row, "tags")?))).collect()
    }

    async fn insert_session(
        &self,
        hash: &str,
        name: &str,
        address: Option<&str>,
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut tx = self.writers.begin().await?;
        sqlx::query(sql::END_OLD_SESSIONS).bind(Ts(now)).execute(&mut *tx).await?;
        sqlx::query(sql::LOGGED_IN).bind(name).bind(Ts(now)).execute(&mut *tx).await?;
        sqlx::query(sql::INSERT_SESSION)
            .bind(hash)
            .bind(name)
            .bind(Ts(now))
            .bind(Ts(expires_at))
            .bind(address)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn session_owner(&self, hash: &str, now: DateTime<Utc>) -> Result<Option<String>> {
        let query = sqlx::query_scalar(sql::SESSION_OWNER).bind(hash).bind(Ts(now));
        Ok(query.fetch_optional(&self.readers).await?)
    }

    async fn end_session(&self, hash: &str) -> Result<bool> {
        let done = sqlx::query(sql::END_SESSION).bind(hash).execute(&self.writers).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn insert_token(&self, new: &NewToken, now: DateTime<Utc>) -> Result<Option<i64>> {
        let query = sqlx::query_scalar(sql::INSERT_TOKEN)
            .bind(&new.hash)
            .bind(&new.name)
            .bind(&new.user)
            .bind(new.role.map(|role| role.to_string()))
            .bind(Ts(now))
            .bind(ts(new.expires_at));
        Ok(query.fetch_optional(&self.writers).await?)
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        let rows = sqlx::query(sql::TOKENS).fetch_all(&self.readers).await?;
        rows.iter().map(token).collect()
    }

    async fn token(&self, hash: &str, now: DateTime<Utc>) -> Result<Option<TokenRecord>> {
        let row = sqlx::query(sql::TOKEN).bind(hash).bind(Ts(now)).fetch_optional(&self.readers).await?;
        row.as_ref().map(token).transpose()
    }

    async fn token_used(&self, id: i64, now: DateTime<Utc>) -> Result<()> {
        sqlx::query(sql::TOKEN_USED).bind(id).bind(Ts(now)).execute(&self.writers).await?;
        Ok(())
    }

    async fn revoke_token(&self, id: i64, now: DateTime<Utc>) -> Result<bool> {
        let done = sqlx::query(sql::REVOKE_TOKEN).bind(id).bind(Ts(now)).execute(&self.writers).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn insert_link(&self, hash: &str, name: &str, expires_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<()> {
        let mut tx = self.writers.begin().await?;
        sqlx::query(sql::END_OLD_LINKS).bind(Ts(now)).execute(&mut *tx).await?;
        sqlx::query(sql::INSERT_LINK).bind(hash).bind(name).bind(Ts(expires_at)).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn take_link(&self, hash: &str, now: DateTime<Utc>) -> Result<Option<String>> {
        let query = sqlx::query_scalar(sql::TAKE_LINK).bind(hash).bind(Ts(now));
        Ok(query.fetch_optional(&self.writers).await?)
    }

    async fn signing_key(&self, offer: &str) -> Result<String> {
        if let Some(sealed) = sqlx::query_scalar(sql::SIGNING_KEY).fetch_optional(&self.readers).await? {
            return Ok(sealed);
        }
        sqlx::query(sql::OFFER_SIGNING_KEY).bind(offer).execute(&self.writers).await?;
        Ok(sqlx::query_scalar(sql::SIGNING_KEY).fetch_one(&self.writers).await?)
    }

    async fn insert_events(&self, rows: &[EventRow<'_>]) -> Result<()> {
        sqlx::query(sql::INSERT_EVENTS).bind(batch::json(rows)).execute(&self.writers).await?;
        Ok(())
    }

    async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>> {
        let mut query = QueryBuilder::<Db>::new(sql::SELECT_EVENTS);
        narrow(&mut query, filter);
        query.push(" ORDER BY ");
        let mut order = query.separated(", ");
        for (column, descends) in filter.order.iter().chain([&(EventColumn::Id, false)]) {
            order.push(<&str>::from(*column));
            order.push_unseparated(if *descends { " DESC" } else { "" });
        }
        query.push(" LIMIT ").push_bind(i64::from(filter.limit));
        query.push(" OFFSET ").push_bind(i64::from(filter.offset));
        let rows = query.build().fetch_all(&self.readers).await?;
        rows.iter().map(event).collect()
    }

    async fn count_events(&self, filter: &EventFilter, most: Option<u32>) -> Result<u64> {
        let mut query = QueryBuilder::<Db>::new("SELECT count(*) FROM (SELECT 1 FROM event_log e");
        narrow(&mut query, filter);
        if let Some(most) = most {
            query.push(" LIMIT ").push_bind(i64::from(most));
        }
        query.push(") AS counted");
        Ok(query.build_query_scalar::<i64>().fetch_one(&self.readers).await? as u64)
    }
}
