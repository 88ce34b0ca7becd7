//! Users, what lets them in (sessions, API tokens, one-time links), and the audit log.
//!
//! Only hashes of what is secret get here: whoever reads the database cannot log in with what stands in it. What a role
//! permits is no business of the store (see `auth`).

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::records::Page;
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

/// Something that was done, to be kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NewEvent {
    /// What was done, in the words of Airflow's API: `trigger_dag_run`.
    pub event: String,
    /// By whom.
    pub owner: Option<String>,
    pub dag_id: Option<String>,
    pub task_id: Option<String>,
    pub run_id: Option<String>,
    pub map_index: Option<i32>,
    pub try_number: Option<i32>,
    #[serde(serialize_with = "in_micros")]
    pub logical_date: Option<DateTime<Utc>>,
    /// Details, as JSON.
    pub extra: Option<String>,
}

impl NewEvent {
    /// PostgreSQL's text cannot hold a zero byte, and what people send can hold anything.
    fn storable(mut self) -> Self {
        let texts = [&mut self.owner, &mut self.dag_id, &mut self.task_id, &mut self.run_id, &mut self.extra];
        for text in texts.into_iter().flatten().filter(|text| text.contains('\0')) {
            *text = text.replace('\0', "\u{fffd}");
        }
        self
    }
}

fn in_micros<S: serde::Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    crate::time::micros(*time).serialize(serializer)
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub what: NewEvent,
}

/// Which events to list; every `Some` or non-empty field narrows it.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only entries with a smaller id: those before one that is known.
    pub below: Option<i64>,
    pub id: Option<i64>,
    pub dag_id: Option<String>,
    pub task_id: Option<String>,
    pub run_id: Option<String>,
    pub map_index: Option<i32>,
    pub try_number: Option<i32>,
    pub owner: Option<String>,
    pub event: Option<String>,
    pub included: Vec<String>,
    pub excluded: Vec<String>,
    pub before: Option<DateTime<Utc>>,
    pub after: Option<DateTime<Utc>>,
    pub like: Vec<(EventColumn, Like)>,
    /// Only events that are about a DAG.
    pub of_dags: bool,
    pub order: Vec<(EventColumn, bool)>,
    pub limit: u32,
    pub offset: u32,
}

/// A part of a text to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Like {
    /// Anywhere in it, in capitals or not.
    Part(String),
    /// At its beginning, as it is.
    Start(String),
}

/// A column of the audit log that can be sorted and searched by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
pub enum EventColumn {
    #[strum(serialize = "e.id")]
    Id,
    #[strum(serialize = "e.at")]
    At,
    #[strum(serialize = "e.event")]
    Event,
    #[strum(serialize = "e.owner")]
    Owner,
    #[strum(serialize = "e.dag_id")]
    DagId,
    #[strum(serialize = "e.task_id")]
    TaskId,
    #[strum(serialize = "e.run_id")]
    RunId,
    #[strum(serialize = "e.logical_date")]
    LogicalDate,
    #[strum(serialize = "e.extra")]
    Extra,
}

/// An event with its time, as batches have it.
#[derive(Debug, Serialize)]
pub(crate) struct EventRow<'a> {
    pub(crate) at: i64,
    #[serde(flatten)]
    pub(crate) event: &'a NewEvent,
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

    /// Adds to the audit log, all of it or nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn record_events(&self, events: &[(DateTime<Utc>, NewEvent)]) -> Result<()> {
        let events: Vec<(i64, NewEvent)> =
            events.iter().map(|(at, event)| (at.timestamp_micros(), event.clone().storable())).collect();
        let rows: Vec<EventRow<'_>> = events.iter().map(|(at, event)| EventRow { at: *at, event }).collect();
        if rows.is_empty() { Ok(()) } else { self.inner.backend.insert_events(&rows).await }
    }

    /// Entries of the audit log, without a count of all.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn some_events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>> {
        self.inner.backend.events(filter).await
    }

    /// Entries of the audit log.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn events(&self, filter: &EventFilter) -> Result<Page<EventRecord>> {
        let items = self.inner.backend.events(filter).await?;
        // The page tells how many there are where it is the last one.
        let is_last = items.len() < filter.limit as usize && (filter.offset == 0 || !items.is_empty());
        let total = if is_last {
            u64::from(filter.offset) + items.len() as u64
        } else {
            let counted = EventFilter { order: Vec::new(), limit: 0, offset: 0, ..filter.clone() };
            self.count(crate::counts::Counted::Events(Box::new(counted))).await?
        };
        Ok(Page { items, total })
    }
}
