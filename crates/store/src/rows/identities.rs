//! Users of identity providers.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::super::{Backend, hook_sql as sql};
use crate::Result;
use crate::identities::IdentityRows;
use crate::time::Ts;

#[async_trait]
impl IdentityRows for Backend {
    async fn identity(&self, issuer: &str, subject: &str) -> Result<Option<String>> {
        let query = sqlx::query_scalar(sql::IDENTITY).bind(issuer).bind(subject);
        Ok(query.fetch_optional(&self.readers).await?)
    }

    async fn link_identity(&self, issuer: &str, subject: &str, account: &str, now: DateTime<Utc>) -> Result<bool> {
        let query = sqlx::query(sql::LINK_IDENTITY).bind(issuer).bind(subject).bind(account).bind(Ts(now));
        Ok(query.execute(&self.writers).await?.rows_affected() == 1)
    }
}
