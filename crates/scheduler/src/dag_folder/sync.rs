//! From what a look has found to the store.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use towpath_store::{DagFilter, DagUpsert, Synced};

use super::ledger::{Outcome, Settled};
use super::read::{self, Read};
use super::walk::Stamp;
use super::{DagFolder, Found, SECOND_LOOK};
use crate::outage::GivenUp;

/// Files that are read and stored together.
const CHUNK: usize = 256;
/// DAGs that are recalled together.
const PAGE: u32 = 1_000;
/// Rounds of reading heirs: each may find that the file has changed again.
const MAX_ROUNDS: usize = 4;

impl DagFolder {
    /// Takes over what the store knows, so that what has gone in the meantime is noticed.
    pub(super) async fn recall(&mut self, soft: &CancellationToken) -> Result<(), GivenUp> {
        let store = &self.options.store;
        let mut offset = 0;
        loop {
            let filter = DagFilter { limit: PAGE, offset, ..DagFilter::default() };
            let page = self.outages.try_to("list the DAGs", soft, || store.dags(&filter)).await?;
            let Some(page) = page else { break };
            let count = page.items.len() as u32;
            for dag in page.items {
                self.ledger.remember_dag(&dag.file, &dag.dag_id);
            }
            offset += count;
            if count < PAGE {
                break;
            }
        }
        let errors = self.outages.try_to("list the import errors", soft, || store.import_errors()).await?;
        for error in errors.into_iter().flatten() {
            self.ledger.remember_error(&error.file, error.message);
        }
        Ok(())
    }

    /// Reads what is new and tells the store. Bad news about files that are not in `certain` is
    /// put off to a second look; `None`: everything is believed.
    pub(super) async fn apply(
        &mut self,
        found: Found,
        certain: Option<&BTreeSet<String>>,
        soft: &CancellationToken,
    ) -> Result<(), GivenUp> {
        for file in certain.into_iter().flatten() {
            self.doubts.remove(file);
        }
        for file in found.gone {
            if self.is_believed(&file, certain) {
                self.ledger.remove(&file);
            }
        }
        for (path, message) in found.problems {
            let outcome = Outcome { dags: BTreeSet::new(), error: Some(message) };
            if !self.ledger.is_bad_news(&path, &outcome) || self.is_believed(&path, certain) {
                self.ledger.read(&path, None, outcome);
            }
        }
        self.read_and_store(found.changed, certain, soft).await?;
        for _ in 0..MAX_ROUNDS {
            let settled = self.ledger.settle(|file| self.doubts.contains_key(file));
            let heirs = self.tell(settled, soft).await?;
            if heirs.is_empty() {
                break;
            }
            self.read_and_store(heirs, None, soft).await?;
        }
        Ok(())
    }

    /// Whether bad news about `file` counts now; if not, it is looked at again.
    fn is_believed(&mut self, file: &str, certain: Option<&BTreeSet<String>>) -> bool {
        let is_believed = certain.is_none_or(|certain| certain.contains(file));
        if !is_believed {
            self.doubts.entry(file.to_owned()).or_insert_with(|| Instant::now() + SECOND_LOOK);
        }
        is_believed
    }

    /// Reads in chunks; while one is stored the next is read.
    async fn read_and_store(
        &mut self,
        files: Vec<(String, Stamp)>,
        certain: Option<&BTreeSet<String>>,
        soft: &CancellationToken,
    ) -> Result<(), GivenUp> {
        let mut files = files.into_iter();
        let mut chunk: Vec<(String, Stamp)> = files.by_ref().take(CHUNK).collect();
        let mut total = Synced::default();
        let mut done = Vec::new();
        while !chunk.is_empty() || !done.is_empty() {
            let (compile, root) = (Arc::clone(&self.compile), self.root.clone());
            let now = self.options.clock.now();
            let reading = tokio::task::spawn_blocking(move || read::read(compile.as_ref(), &root, chunk, now));
            let synced = self.store(done, certain, soft).await?;
            total.created += synced.created;
            total.new_versions += synced.new_versions;
            done = match reading.await {
                Ok(read) => read,
                Err(error) => {
                    tracing::error!("DAG files could not be read: {error}");
                    Vec::new()
                }
            };
            chunk = files.by_ref().take(CHUNK).collect();
        }
        if total.new_versions > 0 {
            let Synced { created, new_versions, .. } = total;
            tracing::info!(created, new_versions, "DAGs have changed");
        }
        Ok(())
    }

    /// Enters what has been read and stores the DAGs of those files that own them.
    async fn store(
        &mut self,
        files: Vec<Read>,
        certain: Option<&BTreeSet<String>>,
        soft: &CancellationToken,
    ) -> Result<Synced, GivenUp> {
        let mut believed = Vec::with_capacity(files.len());
        for read in files {
            let outcome = read.outcome();
            if !self.ledger.is_bad_news(&read.file, &outcome) {
                self.doubts.remove(&read.file);
            } else if !self.is_believed(&read.file, certain) {
                continue;
            }
            for warning in &read.compiled.warnings {
                tracing::warn!(file = read.file, "{warning}");
            }
            self.ledger.read(&read.file, Some(read.stamp), outcome);
            believed.push(read);
        }
        let mut upserts = Vec::new();
        for read in believed {
            let owned = read.compiled.dags.into_iter().filter(|dag| self.ledger.owns(&read.file, dag.id()));
            let source = &read.compiled.source;
            upserts.extend(owned.map(|dag| DagUpsert { dag, file: read.file.clone(), source: Arc::clone(source) }));
        }
        if upserts.is_empty() {
            return Ok(Synced::default());
        }
        match self.upsert(&upserts, soft).await {
            Err(GivenUp::Refused(_)) => self.upsert_each(upserts, soft).await,
            answer => answer,
        }
    }

    async fn upsert(&mut self, upserts: &[DagUpsert], soft: &CancellationToken) -> Result<Synced, GivenUp> {
        let now = self.options.clock.now();
        let (store, paused) = (&self.options.store, self.options.paused_by_default);
        let synced = self.outages.insist(soft, || store.sync_dags(upserts, paused, now)).await?;
        for upsert in upserts {
            self.ledger.stored(upsert.dag.id(), &upsert.file);
        }
        Ok(synced)
    }

    /// One DAG that the store does not take must not keep the others out.
    async fn upsert_each(&mut self, upserts: Vec<DagUpsert>, soft: &CancellationToken) -> Result<Synced, GivenUp> {
        let mut total = Synced::default();
        for upsert in upserts {
            match self.upsert(std::slice::from_ref(&upsert), soft).await {
                Ok(synced) => {
                    total.created += synced.created;
                    total.new_versions += synced.new_versions;
                }
                Err(GivenUp::Refused(error)) => {
                    let reason = format!("DAG `{}` could not be stored: {error}", upsert.dag.id());
                    self.ledger.refuse(&upsert.file, &reason);
                }
                Err(GivenUp::Stopped) => return Err(GivenUp::Stopped),
            }
        }
        Ok(total)
    }

    /// Tells the store what follows; the files that have to be read for it.
    async fn tell(&mut self, settled: Settled, soft: &CancellationToken) -> Result<Vec<(String, Stamp)>, GivenUp> {
        let (store, now) = (&self.options.store, self.options.clock.now());
        let Settled { deactivate, reread, errors } = settled;
        if !deactivate.is_empty() {
            self.outages.try_to("deactivate DAGs", soft, || store.deactivate_dags(&deactivate, now)).await?;
            tracing::info!(dags = deactivate.len(), "DAGs have left the folder: {}", some_of(&deactivate));
        }
        if !errors.is_empty() {
            self.outages.try_to("record import errors", soft, || store.replace_import_errors(&errors, now)).await?;
            for (file, message) in &errors {
                match message {
                    Some(message) => tracing::warn!(file, "{message}"),
                    None => tracing::info!(file, "the file is in order again, or gone"),
                }
            }
        }
        let root = &self.root;
        Ok(reread.into_iter().filter_map(|file| Stamp::read(&root.join(&file)).map(|stamp| (file, stamp))).collect())
    }
}

fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}
