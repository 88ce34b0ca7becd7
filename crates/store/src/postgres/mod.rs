//! PostgreSQL.

mod access_sql;
mod asset_sql;
mod change_sql;
mod clean_sql;
mod deadline_sql;
mod evidence_sql;
mod flow_sql;
mod hook_sql;
mod instances;
mod listing_sql;
mod overview_sql;
mod queries;
#[path = "../rows/mod.rs"]
mod rows;
mod sql;
mod staging_sql;

use std::str::FromStr as _;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions, PgRow};
use sqlx::{Postgres as Db, Transaction};

use self::Postgres as Backend;
use crate::backend::{self, Dialect};
use crate::wake::{Topic, Wakes};
use crate::{Error, Options, Result, redact};

type DbRow = PgRow;

/// The channel of wake-ups; the payload is a [`Topic`].
const CHANNEL: &str = "towpath_wake";
static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/postgres");

/// A PostgreSQL database.
#[derive(Debug)]
pub(crate) struct Postgres {
    /// Connections for steps. Every statement of the engine is made for an index; a plan that was
    /// cached while tables were small must not read them whole when they have grown.
    writers: PgPool,
    readers: PgPool,
    wakes: Wakes,
    listener: tokio::task::JoinHandle<()>,
}

/// A step.
#[derive(Debug)]
pub(crate) struct Tx {
    conn: Transaction<'static, Db>,
    wakes: Wakes,
}

impl Postgres {
    pub(crate) async fn connect(options: &Options, wakes: &Wakes) -> Result<Self> {
        let url = redact(&options.url);
        let connect = PgConnectOptions::from_str(&options.url)
            .map_err(|error| Error::Url { url: url.clone(), reason: error.to_string() })?
            .application_name("towpath");
        let unreachable = |error: sqlx::Error| Error::Unreachable { url: url.clone(), reason: reason(&error) };
        let pool =
            || PgPoolOptions::new().acquire_timeout(Duration::from_secs(5)).idle_timeout(Duration::from_secs(300));
        let step = connect.clone().options([
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("enable_material", "off"),
            ("jit", "off"),
        ]);
        let writers = pool().max_connections(options.max_connections).connect_with(step).await.map_err(unreachable)?;
        // Compiling a statement takes longer than any of ours may run.
        let read = connect.options([("jit", "off")]);
        let readers = pool().max_connections(options.max_connections).connect_lazy_with(read);
        let listener = tokio::spawn(listen(readers.clone(), wakes.clone()));
        Ok(Self { writers, readers, wakes: wakes.clone(), listener })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Forwards wake-ups of other processes. Whoever was deaf for a while is woken for everything.
async fn listen(pool: PgPool, wakes: Wakes) {
    loop {
        if let Ok(mut listener) = PgListener::connect_with(&pool).await
            && listener.listen(CHANNEL).await.is_ok()
        {
            for topic in <Topic as strum::IntoEnumIterator>::iter() {
                wakes.wake(topic);
            }
            while let Ok(Some(notification)) = listener.try_recv().await {
                if let Ok(topic) = notification.payload().parse() {
                    wakes.wake(topic);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::PoolTimedOut => "no connection within 5 seconds".to_owned(),
        other => other.to_string(),
    }
}

#[async_trait]
impl backend::Backend for Postgres {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    async fn migrate(&self) -> Result<()> {
        MIGRATOR.run(&self.writers).await.map_err(|error| Error::Migration(error.to_string()))
    }

    async fn pending_migrations(&self) -> Result<Vec<String>> {
        backend::pending(&MIGRATOR, sqlx::query_scalar(backend::APPLIED).fetch_all(&self.writers).await)
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }

    async fn close(&self) {
        self.listener.abort();
        self.readers.close().await;
        self.writers.close().await;
    }

    async fn begin(&self) -> Result<Box<dyn backend::Tx>> {
        Ok(Box::new(Tx { conn: self.writers.begin().await?, wakes: self.wakes.clone() }))
    }
}

#[async_trait]
impl backend::Tx for Tx {
    async fn commit(mut self: Box<Self>, topics: &[Topic]) -> Result<()> {
        // A notification costs the commit a lock on the whole cluster of databases, so only what
        // another process may be waiting for is sent; views in a browser look again by themselves.
        let remote: Vec<String> = topics.iter().filter(|t| **t != Topic::Progress).map(ToString::to_string).collect();
        if !remote.is_empty() {
            sqlx::query("SELECT pg_notify($1, topic) FROM jsonb_array_elements_text($2::jsonb) AS topic")
                .bind(CHANNEL)
                .bind(crate::batch::json(&remote))
                .execute(&mut *self.conn)
                .await?;
        }
        self.conn.commit().await?;
        for topic in topics {
            self.wakes.wake(*topic);
        }
        Ok(())
    }
}
