//! Secrets of webhooks.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::super::{Backend, DbRow, hook_sql as sql};
use super::{time, time_opt, ts};
use crate::Result;
use crate::time::Ts;
use crate::webhooks::{SealedWebhook, WebhookRecord, WebhookRows};

fn webhook(row: &DbRow) -> Result<SealedWebhook> {
    Ok(SealedWebhook {
        record: WebhookRecord {
            dag_id: row.try_get("dag_id")?,
            is_conf: row.try_get("is_conf")?,
            created_at: time(row, "created_at")?,
            created_by: row.try_get("created_by")?,
            last_used_at: time_opt(row, "last_used_at")?,
            previous_until: time_opt(row, "previous_until")?,
        },
        sealed: row.try_get("sealed")?,
        previous: row.try_get("previous_sealed")?,
    })
}

#[async_trait]
impl WebhookRows for Backend {
    async fn set_webhook(&self, webhook: &SealedWebhook) -> Result<()> {
        let WebhookRecord { dag_id, is_conf, created_at, created_by, previous_until, .. } = &webhook.record;
        sqlx::query(sql::SET_WEBHOOK)
            .bind(dag_id)
            .bind(&webhook.sealed)
            .bind(is_conf)
            .bind(Ts(*created_at))
            .bind(created_by)
            .bind(ts(*previous_until))
            .execute(&self.writers)
            .await?;
        Ok(())
    }

    async fn webhooks(&self) -> Result<Vec<SealedWebhook>> {
        let rows = sqlx::query(sql::WEBHOOKS).fetch_all(&self.readers).await?;
        rows.iter().map(webhook).collect()
    }

    async fn webhook(&self, dag_id: &str) -> Result<Option<SealedWebhook>> {
        let row = sqlx::query(sql::WEBHOOK).bind(dag_id).fetch_optional(&self.readers).await?;
        row.as_ref().map(webhook).transpose()
    }

    async fn webhook_used(&self, dag_id: &str, now: DateTime<Utc>) -> Result<()> {
        sqlx::query(sql::WEBHOOK_USED).bind(dag_id).bind(Ts(now)).execute(&self.writers).await?;
        Ok(())
    }

    async fn delete_webhook(&self, dag_id: &str) -> Result<bool> {
        Ok(sqlx::query(sql::DELETE_WEBHOOK).bind(dag_id).execute(&self.writers).await?.rows_affected() == 1)
    }
}
