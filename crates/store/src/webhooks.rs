//! Secrets of webhooks: what signs the requests that start runs of a DAG from outside.
//!
//! A signature can only be checked with the secret itself, so it is kept encrypted, as passwords of connections are.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{Error, Result, Store};

/// What is known of the webhook of a DAG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookRecord {
    pub dag_id: String,
    /// Whether the body of a request is the whole conf of the run.
    pub is_conf: bool,
    pub created_at: DateTime<Utc>,
    /// Who made the secret.
    pub created_by: Option<String>,
    pub last_used_at: Option<DateTime<Utc>>,
    /// Until when the secret before this one is good as well.
    pub previous_until: Option<DateTime<Utc>>,
}

/// The secrets that are good for a DAG, the newest first.
#[derive(Clone)]
pub struct WebhookSecrets {
    pub record: WebhookRecord,
    pub secrets: Vec<String>,
}

impl std::fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookSecrets").field("record", &self.record).finish_non_exhaustive()
    }
}

/// A row: secrets encrypted.
#[derive(Debug)]
pub(crate) struct SealedWebhook {
    pub(crate) record: WebhookRecord,
    pub(crate) sealed: String,
    pub(crate) previous: Option<String>,
}

#[async_trait]
pub(crate) trait WebhookRows {
    async fn set_webhook(&self, webhook: &SealedWebhook) -> Result<()>;
    async fn webhooks(&self) -> Result<Vec<SealedWebhook>>;
    async fn webhook(&self, dag_id: &str) -> Result<Option<SealedWebhook>>;
    async fn webhook_used(&self, dag_id: &str, now: DateTime<Utc>) -> Result<()>;
    async fn delete_webhook(&self, dag_id: &str) -> Result<bool>;
}

impl Store {
    /// Gives a DAG a webhook, or another secret; the one before is good until `previous_until`, or no more.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown DAG; when the database does not answer.
    pub async fn set_webhook(
        &self,
        dag_id: &str,
        secret: &str,
        is_conf: bool,
        created_by: Option<&str>,
        previous_until: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        if self.dag(dag_id).await?.is_none() {
            return Err(Error::NotFound { thing: "DAG", id: dag_id.to_owned() });
        }
        let record = WebhookRecord {
            dag_id: dag_id.to_owned(),
            is_conf,
            created_at: now,
            created_by: created_by.map(str::to_owned),
            last_used_at: None,
            previous_until,
        };
        let sealed = self.inner.key.seal(secret);
        self.inner.backend.set_webhook(&SealedWebhook { record, sealed, previous: None }).await
    }

    /// What is known of all webhooks, by DAG.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn webhooks(&self) -> Result<Vec<WebhookRecord>> {
        Ok(self.inner.backend.webhooks().await?.into_iter().map(|sealed| sealed.record).collect())
    }

    /// The webhook of a DAG with the secrets that are good at `now`.
    ///
    /// # Errors
    /// When the database does not answer, or a secret was encrypted with another key file.
    pub async fn webhook(&self, dag_id: &str, now: DateTime<Utc>) -> Result<Option<WebhookSecrets>> {
        let Some(sealed) = self.inner.backend.webhook(dag_id).await? else { return Ok(None) };
        let mut secrets = vec![self.inner.key.open(&sealed.sealed)?];
        if let Some(previous) = &sealed.previous
            && sealed.record.previous_until.is_some_and(|until| now < until)
        {
            secrets.push(self.inner.key.open(previous)?);
        }
        Ok(Some(WebhookSecrets { record: sealed.record, secrets }))
    }

    /// Notes that a webhook was used.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn webhook_used(&self, dag_id: &str, now: DateTime<Utc>) -> Result<()> {
        self.inner.backend.webhook_used(dag_id, now).await
    }

    /// Takes the webhook of a DAG away; false where there was none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete_webhook(&self, dag_id: &str) -> Result<bool> {
        self.inner.backend.delete_webhook(dag_id).await
    }
}
