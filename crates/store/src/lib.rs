//! The store: the only truth about DAGs, runs, task instances, XComs, logs and secrets.
//!
//! ```text
//!   Store (`engine/`, `dags`, ...)    what a step means: report, create a run, wake, expire
//!     | Backend, Tx (`backend`)       what a step needs of a database
//!     +-- postgres/  sql, queries     the statements of one dialect
//!     +-- sqlite/    sql, queries     the same names in the same order in the other
//!     `-- rows/                       binding and decoding, written once, compiled for each dialect
//! ```
//!
//! Invariants:
//! - A step is one transaction. Whoever dies in the middle of it leaves nothing behind.
//! - Who moves task instances of a run holds the lock on its `dag_run` row. Locks are taken in the
//!   order DAG, runs by key, pools by name, task instances, so steps that meet never deadlock.
//! - Every update of a state names the old state, and every update by a worker names its attempt.
//!   A late report therefore changes nothing and is told so.
//! - Slots in use are counted from live rows under the lock of what is limited; nothing is stored
//!   that would have to be corrected.
//! - Time is an argument of every write.
//!
//! On failure: an error of a step means that nothing of it has happened (or, where the connection
//! broke during the commit, that all of it may have; repeating it is safe, since each guard fails
//! on the second time). [`Error::is_transient`] says whether to try again.

#![expect(clippy::duplicate_mod, reason = "`rows` is compiled for each dialect on purpose")]

mod access;
mod alerts;
mod assets;
mod audit;
mod backend;
mod batch;
mod changes;
mod clean;
mod counts;
mod crypto;
mod dags;
mod data_sets;
mod deadlines;
mod engine;
mod environment;
mod error;
mod evidence;
mod explain;
mod identities;
mod jobs;
mod listing;
mod logs;
mod overview;
mod postgres;
mod reads;
mod records;
mod secrets;
mod sqlite;
mod staging;
mod time;
mod values;
mod wake;
mod webhooks;

use std::sync::Arc;

pub use access::{Access, Grant, NewToken, Role, Scope, TokenRecord, UserRecord};
pub use alerts::{AlertEnd, AlertRecord};
pub use assets::{
    AssetEventFilter, AssetEventRecord, AssetFilter, AssetOrder, AssetRecord, AssetReference, AssetRole, Awaited,
    EventSource, QueueFilter, QueuedEvents,
};
pub use audit::{EventColumn, EventFilter, EventRecord, Like, NewEvent};
pub use backend::Dialect;
pub use changes::{RunStanding, TaskStanding};
pub use clean::Cleanable;
pub use crypto::{Key, KeyError};
pub use dags::{DagUpsert, SchedulableDag, Synced};
pub use data_sets::{Left, LeftBy, Load};
pub use deadlines::DeadlineRecord;
pub use engine::backfill::{BackfillAction, BackfillDate, BackfillRecord, MAX_BACKFILL_RUNS, NewBackfill, Reprocess};
pub use engine::clear::{Mark, Selection, Touched};
pub use engine::create_run::{Created, NewRun};
pub use engine::delete::Deletion;
pub use engine::report::{Claim, Reply, Report, ReportOutcome};
pub use error::{Error, redact};
pub use evidence::{Evidence, RENDERED_RUNS, Rendered, Usage};
pub use explain::{
    AwaitedAsset, DagFacts, Explanation, Group, Holder, Other, Reason, RunFacts, RunningRun, Subject, Told,
};
pub use jobs::Heartbeat;
pub use listing::{After, COUNT_LIMIT, Compare, Datum, Listing, RunField, TaskField, Test, XComField};
pub use logs::{LogChunk, LogKey};
pub use overview::{DagQuery, GridCell, HourCount, LineOf, RunCount, TaskDuration, Upcoming, ZoneOffset};
pub use records::*;
pub use staging::RunEnd;
pub use wake::{Topic, Wakes};
pub use webhooks::{WebhookRecord, WebhookSecrets};

/// Result of a step.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A handle to one database; clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    backend: Arc<dyn backend::Backend>,
    versions: dags::VersionCache,
    runs: reads::RunCache,
    counts: counts::Counts,
    key: Key,
    environment: environment::Environment,
    wakes: Wakes,
    files: values::Files,
    triggers: engine::triggers::Triggers,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// `sqlite:///path/to/file.db`, `sqlite::memory:` or `postgres://user:password@host/database`.
    pub url: String,
    /// Encrypts variables and passwords at rest.
    pub key: Key,
    /// Most connections of this process to a PostgreSQL server.
    pub max_connections: u32,
}

impl Store {
    /// Opens the database and waits for it no longer than a few seconds. Creates the file of a
    /// SQLite database that does not exist. Does not migrate.
    ///
    /// # Errors
    /// [`Error::Url`] for an address that is none, [`Error::Unreachable`] when nothing answers.
    pub async fn connect(options: Options) -> Result<Self> {
        let wakes = Wakes::default();
        let backend: Arc<dyn backend::Backend> = if options.url.starts_with("sqlite:") {
            Arc::new(sqlite::Sqlite::connect(&options, &wakes).await?)
        } else if options.url.starts_with("postgres:") || options.url.starts_with("postgresql:") {
            Arc::new(postgres::Postgres::connect(&options, &wakes).await?)
        } else {
            return Err(Error::Url {
                url: redact(&options.url),
                reason: "it starts with neither `sqlite:` nor `postgres:`".into(),
            });
        };
        Ok(Self {
            inner: Arc::new(Inner {
                backend,
                versions: dags::VersionCache::default(),
                runs: reads::RunCache::default(),
                counts: counts::Counts::default(),
                key: options.key,
                environment: environment::Environment::of_process(),
                wakes,
                files: values::Files::default(),
                triggers: engine::triggers::Triggers::default(),
            }),
        })
    }

    /// Brings the schema up to date, under a lock, so that any number of processes may start at once.
    ///
    /// # Errors
    /// [`Error::Migration`] when a migration fails or the database is newer than this program.
    pub async fn migrate(&self) -> Result<()> {
        self.inner.backend.migrate().await
    }

    /// Names of the migrations that have not been applied yet.
    ///
    /// # Errors
    /// As [`Store::migrate`].
    pub async fn pending_migrations(&self) -> Result<Vec<String>> {
        self.inner.backend.pending_migrations().await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// The reason why it does not.
    pub async fn ping(&self) -> Result<()> {
        self.inner.backend.ping().await
    }

    /// Which database this is.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.inner.backend.dialect()
    }

    /// Tells when there may be new work, from this process or another.
    #[must_use]
    pub fn wakes(&self) -> &Wakes {
        &self.inner.wakes
    }

    /// Closes all connections; steps under way finish first.
    pub async fn close(&self) {
        self.inner.backend.close().await;
    }
}
