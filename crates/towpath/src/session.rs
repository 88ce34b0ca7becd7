//! What a command works with: the settings, the clock and the way to the store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use towpath_model::clock::{SharedClock, SystemClock};
use towpath_store::{DagFilter, DagRecord, Key, Options, RunRecord, Store};

use crate::config::Config;
use crate::exit::usage;
use crate::names;

/// How often a daemon asks for a database that does not answer.
const DATABASE_RETRY: Duration = Duration::from_secs(2);
/// Names that are looked through for "did you mean".
const MOST_CANDIDATES: u32 = 10_000;

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) config: Config,
    pub(crate) clock: SharedClock,
    /// The folder that the process was started in: relative paths of DAGs start here.
    pub(crate) project_folder: PathBuf,
}

impl Session {
    pub(crate) fn new(config: Config, project_folder: PathBuf) -> Self {
        Self { config, clock: Arc::new(SystemClock), project_folder }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The address of the web UI as people reach it: what is configured, or else `url`.
    pub(crate) fn base_url(&self, url: String) -> String {
        let configured = &self.config.base_url.value;
        if configured.is_empty() { url } else { configured.clone() }
    }

    /// Makes the data folder.
    ///
    /// # Errors
    /// When it is not there and cannot be made.
    pub(crate) fn create_data_folder(&self) -> anyhow::Result<()> {
        let folder = &self.config.data_dir.value;
        std::fs::create_dir_all(folder).with_context(|| {
            format!("cannot create the data folder `{}` (set by {})", folder.display(), self.config.data_dir.source)
        })
    }

    /// The store as it is, without migrating it.
    ///
    /// # Errors
    /// When the data folder cannot be made, the key cannot be read or the database does not answer.
    pub(crate) async fn connect(&self) -> anyhow::Result<Store> {
        self.create_data_folder()?;
        let key = Key::load_or_create(&self.config.key_file())?;
        let store = Store::connect(self.options(key)).await?;
        store.keep_large_values_in(self.config.data_staging.value.clone());
        Ok(store)
    }

    /// The store, migrated.
    ///
    /// # Errors
    /// Those of [`Session::connect`], and when it cannot be migrated.
    pub(crate) async fn store(&self) -> anyhow::Result<Store> {
        let store = self.connect().await?;
        store.migrate().await?;
        Ok(store)
    }

    /// The store, migrated, for a daemon: a database that does not answer is waited for. `waiting` is
    /// called before the first wait. `None` when `stop` was cancelled meanwhile.
    ///
    /// # Errors
    /// Those of [`Session::store`]; for a database that is away only after the configured time.
    pub(crate) async fn await_store(
        &self,
        stop: &CancellationToken,
        mut waiting: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<Store>> {
        self.create_data_folder()?;
        let key = Key::load_or_create(&self.config.key_file())?;
        // A file does not come back by itself.
        let limit = if self.config.is_embedded() { Duration::ZERO } else { self.config.database_wait.value };
        let start = Instant::now();
        let mut first = true;
        loop {
            let error = match self.connect_and_migrate(key.clone()).await {
                Ok(store) => return Ok(Some(store)),
                Err(error) if error.is_transient() && start.elapsed() + DATABASE_RETRY <= limit => error,
                Err(error) if error.is_transient() && !limit.is_zero() => {
                    let waited = start.elapsed().as_secs();
                    return Err(anyhow!(error).context(format!("gave up waiting for the database after {waited} s")));
                }
                Err(error) => return Err(error.into()),
            };
            if std::mem::take(&mut first) {
                waiting()?;
            }
            tracing::warn!("{error}; trying again every {} s", DATABASE_RETRY.as_secs());
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(DATABASE_RETRY) => {}
            }
        }
    }

    async fn connect_and_migrate(&self, key: Key) -> towpath_store::Result<Store> {
        let store = Store::connect(self.options(key)).await?;
        store.keep_large_values_in(self.config.data_staging.value.clone());
        store.migrate().await?;
        Ok(store)
    }

    fn options(&self, key: Key) -> Options {
        Options {
            url: self.config.database_url.value.expose().to_owned(),
            key,
            max_connections: self.config.database_connections.value,
        }
    }
}

/// A DAG by its id.
///
/// # Errors
/// When there is none; the message then names the nearest id.
pub(crate) async fn find_dag(store: &Store, dag_id: &str) -> anyhow::Result<DagRecord> {
    if let Some(dag) = store.dag(dag_id).await? {
        return Ok(dag);
    }
    let filter = DagFilter { include_stale: true, limit: MOST_CANDIDATES, ..DagFilter::default() };
    let known = store.dags(&filter).await?.items;
    if known.is_empty() {
        return Err(usage(format!(
            "DAG `{dag_id}` does not exist: this store has none yet. `towpath up` reads the DAGs folder; \
             `towpath run FILE` runs a file"
        )));
    }
    let hint = names::hint(dag_id, known.iter().map(|dag| dag.dag_id.as_str()));
    Err(usage(format!("DAG `{dag_id}` does not exist{hint}")))
}

/// A run by the ids of its DAG and its own, or the newest of the DAG.
///
/// # Errors
/// When there is none; the message then names the nearest id.
pub(crate) async fn find_run(store: &Store, dag_id: &str, run_id: Option<&str>) -> anyhow::Result<RunRecord> {
    if let Some(run_id) = run_id
        && let Some(run) = store.run(dag_id, run_id).await?
    {
        return Ok(run);
    }
    find_dag(store, dag_id).await?;
    let most = if run_id.is_some() { 1_000 } else { 1 };
    let filter = towpath_store::RunFilter {
        dag_id: Some(dag_id.to_owned()),
        newest_first: true,
        limit: most,
        ..towpath_store::RunFilter::default()
    };
    let known = store.runs(&filter).await?.items;
    match run_id {
        None => known.into_iter().next().ok_or_else(|| usage(format!("DAG `{dag_id}` has no run yet"))),
        Some(run_id) => {
            let hint = names::hint(run_id, known.iter().map(|run| run.run_id.as_str()));
            Err(usage(format!("DAG `{dag_id}` has no run `{run_id}`{hint}")))
        }
    }
}
