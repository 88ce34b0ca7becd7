//! Users, and what lets them in (sessions, API tokens, one-time links).
//!
//! Only hashes of what is secret get here: whoever reads the database cannot log in with what stands in it. What a role
//! permits is no business of the store (see `auth`).

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::audit::{EventFilter, EventRecord, EventRow};
use crate::{Error, Result, Store};

/// Longest name of a user or a token, in bytes.
const LONGEST_NAME: usize = 64;

/// What a user may do, each as much as the one before and more. The words are Airflow's, but for `none`: nothing
/// beyond what was granted DAG by DAG.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Role {
    None,
    Viewer,
    User,
    Op,
    Admin,
}

/// What a [`Grant`] is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "target", rename_all = "snake_case")]
pub enum Scope {
    /// A DAG by its id; it need not be there yet.
    Dag(String),
    /// All DAGs with this tag.
    Tag(String),
}

/// What may be done within a [`Scope`]; who may edit may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Access {
    Read,
    Edit,
}

/// A permission that a user has beyond the role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    #[serde(flatten)]
    pub scope: Scope,
    pub access: Access,
}

impl Scope {
    fn columns(&self) -> (&'static str, &str) {
        match self {
            Self::Dag(dag_id) => ("dag", dag_id),
            Self::Tag(tag) => ("tag", tag),
        }
    }

    /// Whether a DAG with these tags is within it.
    #[must_use]
    pub fn holds(&self, dag_id: &str, tags: &[String]) -> bool {
        match self {
            Self::Dag(id) => id == dag_id,
            Self::Tag(tag) => tags.contains(tag),
        }
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, target) = self.columns();
        write!(f, "{kind}:{target}")
    }
}

/// A user.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRecord {
    pub name: String,
    pub role: Role,
    /// In PHC form; `None` for a user who has none.
    pub password_hash: Option<String>,
    /// Changes with the password: JWTs name the one that they were given out under.
    pub generation: i64,
    pub created_at: DateTime<Utc>,
    pub last_login_at: Option<DateTime<Utc>>,
    pub grants: Vec<Grant>,
}

impl std::fmt::Debug for UserRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserRecord").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// A new API token.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Of the token's text.
    pub hash: String,
    pub name: String,
    pub user: String,
    /// A ceiling below the role of its user.
    pub role: Option<Role>,
    pub expires_at: Option<DateTime<Utc>>,
}

/// An API token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    pub id: i64,
    pub name: String,
    pub user: String,
    /// A ceiling below the role of its user.
    pub role: Option<Role>,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
}

#[async_trait]
pub(crate) trait AccessRows {
    async fn accounts(&self, name: Option<&str>) -> Result<Vec<UserRecord>>;
    async fn insert_account(&self, name: &str, role: Role, hash: Option<&str>, now: DateTime<Utc>) -> Result<bool>;
    async fn delete_account(&self, name: &str) -> Result<bool>;
    /// Ends all sessions and links of the user as well.
    async fn set_password(&self, name: &str, hash: &str) -> Result<bool>;
    async fn set_role(&self, name: &str, role: Role) -> Result<bool>;
    async fn grant(&self, name: &str, columns: (&str, &str), access: Access) -> Result<()>;
    async fn revoke(&self, name: &str, columns: (&str, &str)) -> Result<bool>;
    async fn dag_tags(&self) -> Result<Vec<(String, Vec<String>)>>;
    async fn insert_session(
        &self,
        hash: &str,
        name: &str,
        address: Option<&str>,
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<()>;
    async fn session_owner(&self, hash: &str, now: DateTime<Utc>) -> Result<Option<String>>;
    async fn end_session(&self, hash: &str) -> Result<bool>;
    async fn insert_token(&self, new: &NewToken, now: DateTime<Utc>) -> Result<Option<i64>>;
    async fn tokens(&self) -> Result<Vec<TokenRecord>>;
    async fn token(&self, hash: &str, now: DateTime<Utc>) -> Result<Option<TokenRecord>>;
    async fn token_used(&self, id: i64, now: DateTime<Utc>) -> Result<()>;
    async fn revoke_token(&self, id: i64, now: DateTime<Utc>) -> Result<bool>;
    async fn insert_link(&self, hash: &str, name: &str, expires_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<()>;
    async fn take_link(&self, hash: &str, now: DateTime<Utc>) -> Result<Option<String>>;
    async fn signing_key(&self, offer: &str) -> Result<String>;
    async fn insert_events(&self, rows: &[EventRow<'_>]) -> Result<()>;
    async fn events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>>;
    async fn count_events(&self, filter: &EventFilter, most: Option<u32>) -> Result<u64>;
}

/// Names go into logs, addresses and cookies.
fn check_name(what: &str, name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.@+-".contains(c);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(fits) {
        return Err(Error::Invalid(format!(
            "`{}` is no name of a {what}: it has 1 to {LONGEST_NAME} characters out of A-Z a-z 0-9 _ . @ + -",
            name.escape_debug()
        )));
    }
    Ok(())
}

impl Store {
    /// All users, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn users(&self) -> Result<Vec<UserRecord>> {
        self.inner.backend.accounts(None).await
    }

    /// A user by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn user(&self, name: &str) -> Result<Option<UserRecord>> {
        if check_name("user", name).is_err() {
            return Ok(None);
        }
        Ok(self.inner.backend.accounts(Some(name)).await?.pop())
    }

    /// Makes a user; false where the name is taken. `password_hash` is in PHC form.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is none; when the database does not answer.
    pub async fn create_user(
        &self,
        name: &str,
        role: Role,
        password_hash: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        check_name("user", name)?;
        self.inner.backend.insert_account(name, role, password_hash, now).await
    }

    /// Deletes a user with all sessions, tokens and grants; false where there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete_user(&self, name: &str) -> Result<bool> {
        self.inner.backend.delete_account(name).await
    }

    /// Gives a user another password and ends every session, login link and JWT; false where there is no such user.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_password_hash(&self, name: &str, password_hash: &str) -> Result<bool> {
        self.inner.backend.set_password(name, password_hash).await
    }

    /// Gives a user another role, at once; false where there is no such user.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_role(&self, name: &str, role: Role) -> Result<bool> {
        self.inner.backend.set_role(name, role).await
    }

    /// Permits a user something with some DAGs; what was granted for the same scope before is replaced.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown user; when the database does not answer.
    pub async fn grant(&self, user: &str, grant: &Grant) -> Result<()> {
        if self.user(user).await?.is_none() {
            return Err(Error::NotFound { thing: "user", id: user.to_owned() });
        }
        self.inner.backend.grant(user, grant.scope.columns(), grant.access).await
    }

    /// Takes a grant back; false where there was none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revoke(&self, user: &str, scope: &Scope) -> Result<bool> {
        self.inner.backend.revoke(user, scope.columns()).await
    }

    /// The ids of the DAGs that `grants` let somebody read.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn granted_dags(&self, grants: &[Grant]) -> Result<Vec<String>> {
        if grants.is_empty() {
            return Ok(Vec::new());
        }
        let dags = self.inner.backend.dag_tags().await?;
        let is_granted =
            |(dag_id, tags): &(String, Vec<String>)| grants.iter().any(|grant| grant.scope.holds(dag_id, tags));
        Ok(dags.into_iter().filter(is_granted).map(|(dag_id, _)| dag_id).collect())
    }

    /// Begins a session of a user, who must exist, and forgets those that are over.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin_session(
        &self,
        hash: &str,
        user: &str,
        address: Option<&str>,
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        self.inner.backend.insert_session(hash, user, address, expires_at, now).await
    }

    /// Whose session it is; `None` where it is over or was none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn session_user(&self, hash: &str, now: DateTime<Utc>) -> Result<Option<UserRecord>> {
        match self.inner.backend.session_owner(hash, now).await? {
            Some(name) => self.user(&name).await,
            None => Ok(None),
        }
    }

    /// Ends a session; false where there was none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_session(&self, hash: &str) -> Result<bool> {
        self.inner.backend.end_session(hash).await
    }

    /// Makes an API token; its id, or `None` where its user has one of that name already.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is none, [`Error::NotFound`] for an unknown user.
    pub async fn create_token(&self, new: &NewToken, now: DateTime<Utc>) -> Result<Option<i64>> {
        check_name("token", &new.name)?;
        if self.user(&new.user).await?.is_none() {
            return Err(Error::NotFound { thing: "user", id: new.user.clone() });
        }
        self.inner.backend.insert_token(new, now).await
    }

    /// All API tokens, in the order in which they were made.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tokens(&self) -> Result<Vec<TokenRecord>> {
        self.inner.backend.tokens().await
    }

    /// The token of that hash with its user, unless it has expired or was revoked. Its use is noted, once a minute.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn token_user(&self, hash: &str, now: DateTime<Utc>) -> Result<Option<(TokenRecord, UserRecord)>> {
        let Some(token) = self.inner.backend.token(hash, now).await? else { return Ok(None) };
        let Some(user) = self.user(&token.user).await? else { return Ok(None) };
        if token.last_used_at.is_none_or(|at| now - at >= chrono::TimeDelta::minutes(1)) {
            self.inner.backend.token_used(token.id, now).await?;
        }
        Ok(Some((token, user)))
    }

    /// Revokes an API token; false where there is none that is not revoked yet.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revoke_token(&self, id: i64, now: DateTime<Utc>) -> Result<bool> {
        self.inner.backend.revoke_token(id, now).await
    }

    /// Keeps a link that lets a user in once, until it expires.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown user; when the database does not answer.
    pub async fn create_login_link(
        &self,
        hash: &str,
        user: &str,
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        if self.user(user).await?.is_none() {
            return Err(Error::NotFound { thing: "user", id: user.to_owned() });
        }
        self.inner.backend.insert_link(hash, user, expires_at, now).await
    }

    /// Uses up a login link: whom it lets in.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn take_login_link(&self, hash: &str, now: DateTime<Utc>) -> Result<Option<UserRecord>> {
        match self.inner.backend.take_link(hash, now).await? {
            Some(name) => self.user(&name).await,
            None => Ok(None),
        }
    }

    /// The key that signs JWTs, the same for all servers of this database; made at the first call.
    ///
    /// # Errors
    /// When the database does not answer, or the key was encrypted with another key file.
    pub async fn signing_key(&self) -> Result<String> {
        let random: [u8; 32] = rand::random();
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let sealed = self.inner.backend.signing_key(&self.inner.key.seal(&text)).await?;
        Ok(self.inner.key.open(&sealed)?)
    }
}
