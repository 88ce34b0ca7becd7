//! SQLite: a file of its own, or a database in memory.
//!
//! One connection writes, so that nobody ever sees "database is locked" from within the process;
//! other processes on the same file wait for `busy_timeout`. Readers have connections of their own
//! and see the last commit (WAL).

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

use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Connection as _, Sqlite as Db, Transaction};

use self::Sqlite as Backend;
use crate::backend::{self, Dialect};
use crate::wake::{Topic, Wakes};
use crate::{Error, Options, Result};

type DbRow = SqliteRow;

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/sqlite");
/// How long a step waits for another process that writes.
const BUSY: Duration = Duration::from_secs(20);
/// How often the file is asked whether another process has written: a read of shared memory.
const WATCH: Duration = Duration::from_millis(50);
/// Every so many looks ask, whatever the file's time stamp says.
const UNASKED: u32 = 20;

/// Pages that a connection keeps, in KiB (negative is SQLite's word for that). The system has the file in
/// memory as well: readers need little, and there are several of them.
const WRITER_CACHE: &str = "-2048";
const READER_CACHE: &str = "-1024";

/// How often a migration that met another process's is tried again, 20 ms apart.
const MIGRATION_TRIES: u32 = 50;

/// A SQLite database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    writers: SqlitePool,
    readers: SqlitePool,
    wakes: Wakes,
    watcher: Option<tokio::task::JoinHandle<()>>,
}

/// A step.
#[derive(Debug)]
pub(crate) struct Tx {
    conn: Transaction<'static, Db>,
    wakes: Wakes,
}

impl Sqlite {
    pub(crate) async fn connect(options: &Options, wakes: &Wakes) -> Result<Self> {
        let unreachable = |reason: String| Error::Unreachable { url: options.url.clone(), reason };
        let in_memory = options.url.contains(":memory:");
        let connect = SqliteConnectOptions::from_str(&options.url)
            .map_err(|error| Error::Url { url: options.url.clone(), reason: error.to_string() })?
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit is on the disk when it returns.
            .synchronous(SqliteSynchronous::Full)
            .pragma("temp_store", "memory");
        let pool = |size| {
            let options = SqlitePoolOptions::new().max_connections(size).min_connections(1);
            options.idle_timeout(None).max_lifetime(None).before_acquire(|conn, _| {
                // A step that met a full disk was rolled back by SQLite itself, and the connection
                // goes on believing that it is inside of it: a new one takes its place.
                let is_clean = !conn.is_in_transaction();
                Box::pin(async move { Ok(is_clean) })
            })
        };
        let writers = pool(1)
            .acquire_timeout(Duration::from_secs(60))
            .connect_with(connect.clone().pragma("cache_size", WRITER_CACHE))
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        if in_memory {
            // Another connection would be another database.
            return Ok(Self { readers: writers.clone(), writers, wakes: wakes.clone(), watcher: None });
        }
        let mut wal = connect.get_filename().as_os_str().to_owned();
        wal.push("-wal");
        let wal = PathBuf::from(wal);
        let readers = pool(4)
            .connect_with(connect.pragma("cache_size", READER_CACHE).pragma("query_only", "on"))
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        // Read before anybody can register: from here on no commit of another process is missed.
        let version = data_version(&writers).await.map_err(|error| unreachable(error.to_string()))?;
        let watcher = tokio::spawn(watch(writers.clone(), wal, wakes.clone(), version));
        Ok(Self { writers, readers, wakes: wakes.clone(), watcher: Some(watcher) })
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        if let Some(watcher) = &self.watcher {
            watcher.abort();
        }
    }
}

/// Wakes everybody when another process has committed. Asked on the connection that writes:
/// `data_version` does not change for what a connection commits itself, and the others only read.
/// A look at the write-ahead log's file tells first whether anybody has written at all; since its
/// time stamp is coarse, the question is asked now and then without that.
async fn watch(writers: SqlitePool, wal: PathBuf, wakes: Wakes, mut last: i64) {
    let mut seen = None;
    for tick in 0_u32.. {
        tokio::time::sleep(WATCH).await;
        let stamp = std::fs::metadata(&wal).and_then(|file| Ok((file.len(), file.modified()?))).ok();
        if stamp == seen && tick % UNASKED != 0 {
            continue;
        }
        seen = stamp;
        let Ok(version) = data_version(&writers).await else { continue };
        if last != version {
            for topic in <Topic as strum::IntoEnumIterator>::iter() {
                wakes.wake(topic);
            }
        }
        last = version;
    }
}

async fn data_version(writers: &SqlitePool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(writers).await
}

#[async_trait]
impl backend::Backend for Sqlite {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    async fn migrate(&self) -> Result<()> {
        // SQLite has no lock that outlives a migration's transaction: of several processes that
        // start at once, one may meet what another has just made, once for each migration and each
        // of the others, and finds it applied on a later look. What is truly broken stays so.
        let mut tries = 0;
        loop {
            match MIGRATOR.run(&self.writers).await {
                Ok(()) => return Ok(()),
                Err(error) if tries == MIGRATION_TRIES => return Err(Error::Migration(error.to_string())),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn pending_migrations(&self) -> Result<Vec<String>> {
        backend::pending(&MIGRATOR, sqlx::query_scalar(backend::APPLIED).fetch_all(&self.writers).await)
    }

    async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }

    async fn close(&self) {
        if let Some(watcher) = &self.watcher {
            watcher.abort();
        }
        self.readers.close().await;
        self.writers.close().await;
    }

    async fn begin(&self) -> Result<Box<dyn backend::Tx>> {
        let conn = self.writers.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Box::new(Tx { conn, wakes: self.wakes.clone() }))
    }
}

#[async_trait]
impl backend::Tx for Tx {
    async fn commit(mut self: Box<Self>, topics: &[Topic]) -> Result<()> {
        self.conn.commit().await?;
        for topic in topics {
            self.wakes.wake(*topic);
        }
        Ok(())
    }
}
