//! What a task says while it works and when it is done.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;

use crate::error::{Error, Result};

/// Counts that passes add to.
#[derive(Debug)]
pub(crate) struct Report {
    /// Where rejected rows go.
    rejects: PathBuf,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Rows that broke each rule.
    pub(crate) rules: IndexMap<String, u64>,
    pub(crate) rejected: u64,
    files: u32,
}

impl Report {
    /// A report whose rejected rows go to the folder `rejects`, which is made when there are some.
    #[must_use]
    pub(crate) fn new(rejects: &Path) -> Self {
        Self { rejects: rejects.to_owned(), counts: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn broke(&self, rule: &str, rows: u64) {
        *self.lock().rules.entry(rule.to_owned()).or_default() += rows;
    }

    pub(crate) fn rejected(&self, rows: u64) {
        self.lock().rejected += rows;
    }

    /// The file for the rejects of one more `validate`.
    pub(crate) fn next_rejects(&self) -> Result<PathBuf> {
        std::fs::create_dir_all(&self.rejects).map_err(|error| Error::io("create", &self.rejects, &error))?;
        let mut counts = self.lock();
        counts.files += 1;
        Ok(self.rejects.join(format!("part-{:05}.parquet", counts.files - 1)))
    }

    pub(crate) fn counts(&self) -> Counts {
        self.lock().clone()
    }
}
