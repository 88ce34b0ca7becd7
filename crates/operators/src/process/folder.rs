//! The folder that a task works in.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A fresh folder that is removed when this is dropped.
#[derive(Debug)]
pub struct WorkFolder(PathBuf);

impl WorkFolder {
    /// Creates `path`; what an attempt that was killed has left there goes first.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        // As a rule its parent is there and it is not: one call.
        let result = match std::fs::create_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => std::fs::create_dir_all(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                std::fs::remove_dir_all(path).and_then(|()| std::fs::create_dir(path))
            }
            result => result,
        };
        result.map(|()| Self(path.to_owned()))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // Most tasks leave nothing in it.
        if let Err(error) = std::fs::remove_dir(&self.0)
            && error.kind() != ErrorKind::NotFound
        {
            let path = std::mem::take(&mut self.0);
            let remove = move || {
                if let Err(error) = std::fs::remove_dir_all(&path) {
                    tracing::warn!(%error, path = %path.display(), "a task's folder cannot be removed");
                }
            };
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(remove)),
                Err(_) => remove(),
            }
        }
    }
}
