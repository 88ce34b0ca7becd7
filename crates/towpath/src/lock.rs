//! One daemon for each embedded data folder.
//!
//! The kernel holds the lock for as long as the process lives, so a process that was killed leaves
//! nothing behind that would have to be cleaned up. The file tells the next one who holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use towpath_scheduler::process_identity;

/// The lock's file in the data folder.
const FILE: &str = "towpath.lock";
/// How long a lock is waited for whose holder has ended. A process that was killed while it
/// started another one leaves the lock to its copy, which drops it as soon as it becomes a program.
const INHERITED: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

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
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&mut file);
                    if holder.is_some_and(process_identity::has_ended) && start.elapsed() < INHERITED {
                        std::thread::sleep(POLL);
                        continue;
                    }
                    let holder = holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
                    bail!(
                        "the data folder `{}` is in use by {holder}; stop that one, or give this one a folder of its own with --data-dir",
                        folder.display()
                    );
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock `{}`", path.display()));
                }
            }
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("cannot write to `{}`", path.display()))?;
        Ok(Self { _file: file })
    }
}

/// The process that took the lock last, as it wrote into the file.
fn holder(file: &mut File) -> Option<u32> {
    let mut pid = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut pid)).ok()?;
    pid.trim().parse().ok()
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

    #[test]
    fn a_copy_of_a_killed_process_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut killed = std::process::Command::new("true").spawn().unwrap();
        killed.wait().unwrap();
        let copy = DataFolderLock::acquire(folder.path()).unwrap();
        std::fs::write(folder.path().join(FILE), format!("{}\n", killed.id())).unwrap();
        let copy = std::thread::spawn(move || {
            std::thread::sleep(POLL * 20);
            drop(copy);
        });
        DataFolderLock::acquire(folder.path()).unwrap();
        copy.join().unwrap();
    }
}
