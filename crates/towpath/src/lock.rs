//! One daemon for each embedded data folder.
//!
//! The kernel holds the lock for as long as the process lives, so a process that was killed leaves
//! nothing behind that would have to be cleaned up. The file tells the next one who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, bail};

/// The lock's file in the data folder.
const FILE: &str = "towpath.lock";

/// The data folder belongs to this process until this is dropped.
#[derive(Debug)]
pub(crate) struct DataFolderLock {
    _file: File,
}

impl DataFolderLock {
    /// Takes the lock of `folder`, which must exist.
    ///
    /// # Errors
    /// When another process holds it, which the message names, or the folder cannot be written to.
    pub(crate) fn acquire(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot write to the data folder `{}`", folder.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).unwrap_or_default();
                let holder = match pid.trim() {
                    "" => "another process".to_owned(),
                    pid => format!("process {pid}"),
                };
                bail!(
                    "the data folder `{}` is in use by {holder}; stop that one, or give this one a folder of its own with --data-dir",
                    folder.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock `{}`", path.display()));
            }
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("cannot write to `{}`", path.display()))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataFolderLock::acquire(folder.path()).unwrap();
        let error = DataFolderLock::acquire(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        DataFolderLock::acquire(folder.path()).unwrap();
    }
}
