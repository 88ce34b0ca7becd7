//! Data sets that tasks leave which are not data tasks: who publishes them.
//!
//! The engine that reads and describes data is another crate, so it is known here by a trait only.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;

use crate::attempt::{Attempt, Outcome};

/// Where an attempt may write what is to become a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// A folder that nobody reads; it is not there until something is written.
    pub folder: PathBuf,
    /// Where the data set will be.
    pub location: PathBuf,
}

/// What an attempt has left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Parquet files in the folder of its draft.
    Draft,
    /// Files and folders of its own, absolute, in a format as sources name it.
    Files { paths: Vec<String>, format: String },
}

/// Publishes data sets.
#[async_trait]
pub trait DataSets: Send + Sync + std::fmt::Debug {
    /// A draft for this attempt. Each call gives another one.
    fn draft(&self, attempt: &Attempt) -> Draft;

    /// Makes what was left a data set that other tasks can read, all at once; the value of a success is its manifest.
    async fn publish(&self, attempt: &Attempt, draft: &Draft, left: Left) -> Outcome;
}

impl Draft {
    /// Removes what is in the folder. Once published, nothing is.
    pub async fn discard(self) {
        match tokio::fs::remove_dir_all(&self.folder).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, path = %self.folder.display(), "what a task has left cannot be removed");
            }
        }
    }
}
