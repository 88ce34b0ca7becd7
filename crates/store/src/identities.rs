//! Users whom an identity provider knows: which account belongs to whom there.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::{Error, Result, Store, UserRecord};

#[async_trait]
pub(crate) trait IdentityRows {
    async fn identity(&self, issuer: &str, subject: &str) -> Result<Option<String>>;
    async fn link_identity(&self, issuer: &str, subject: &str, account: &str, now: DateTime<Utc>) -> Result<bool>;
}

impl Store {
    /// The user whom `issuer` calls `subject`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn user_of_identity(&self, issuer: &str, subject: &str) -> Result<Option<UserRecord>> {
        match self.inner.backend.identity(issuer, subject).await? {
            Some(name) => self.user(&name).await,
            None => Ok(None),
        }
    }

    /// Lets whom `issuer` calls `subject` in as `user`; false where that is somebody already.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown user; when the database does not answer.
    pub async fn link_identity(&self, issuer: &str, subject: &str, user: &str, now: DateTime<Utc>) -> Result<bool> {
        if self.user(user).await?.is_none() {
            return Err(Error::NotFound { thing: "user", id: user.to_owned() });
        }
        self.inner.backend.link_identity(issuer, subject, user, now).await
    }
}
