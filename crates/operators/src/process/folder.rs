//! The folder that a task works in.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Folders that tasks left empty. To make and remove one costs the journal of the file system more
/// than a small task costs the processor, so the next task gets one of these.
static EMPTY: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
/// Most of them to keep.
const KEEP: usize = 64;

/// An empty folder for one attempt; what the attempt leaves in it is removed when this is dropped.
#[derive(Debug)]
pub struct WorkFolder(PathBuf);

impl WorkFolder {
    /// An empty folder beside or at `path`; what an attempt that was killed has left there goes first.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path) -> io::Result<Self> {
        if let Some(folder) = take_empty(path.parent()) {
            return Ok(Self(folder));
        }
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

/// A kept folder under `parent` that is still as good as new.
fn take_empty(parent: Option<&Path>) -> Option<PathBuf> {
    loop {
        let folder = {
            let mut empty = EMPTY.lock().expect("no code panics while it holds this lock");
            let at = empty.iter().position(|folder| folder.parent() == parent)?;
            empty.swap_remove(at)
        };
        if is_as_new(&folder) {
            return Some(folder);
        }
        // Its content, if it is there at all, belongs to nobody.
        remove(folder);
    }
}

/// Whether a folder is empty and has the owner and the mode of its siblings: the task that had it
/// may have changed both.
fn is_as_new(folder: &Path) -> bool {
    let same = |own: std::fs::Metadata, parent: std::fs::Metadata| {
        own.is_dir() && own.uid() == parent.uid() && own.mode() & 0o7777 == parent.mode() & 0o7777
    };
    let parent = folder.parent().and_then(|parent| std::fs::symlink_metadata(parent).ok());
    let own = std::fs::symlink_metadata(folder).ok();
    own.zip(parent).is_some_and(|(own, parent)| same(own, parent))
        && std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn remove(folder: PathBuf) {
    let remove = move || {
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %folder.display(), "a task's folder cannot be removed");
        }
    };
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(remove)),
        Err(_) => remove(),
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        let folder = std::mem::take(&mut self.0);
        if is_as_new(&folder) {
            let mut empty = EMPTY.lock().expect("no code panics while it holds this lock");
            if empty.len() < KEEP {
                empty.push(folder);
                return;
            }
        }
        remove(folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_task_leaves_or_changes_is_not_seen_by_the_next() {
        let scratch = tempfile::tempdir().expect("a folder");
        let first = WorkFolder::create(&scratch.path().join("a")).expect("a folder");
        assert!(first.path().ends_with("a"));
        // The folder's own mode has to be that of its siblings for it to be used again.
        let mode = std::fs::metadata(first.path()).expect("it is there").permissions();
        std::fs::set_permissions(scratch.path(), mode).expect("it may be changed");
        drop(first);
        let again = WorkFolder::create(&scratch.path().join("b")).expect("a folder");
        assert!(again.path().ends_with("a"), "an empty folder is used again");
        std::fs::write(again.path().join("left"), "x").expect("it can be written");
        drop(again);
        let third = WorkFolder::create(&scratch.path().join("c")).expect("a folder");
        assert!(third.path().ends_with("c"), "a folder with content is not");
        std::fs::set_permissions(third.path(), std::os::unix::fs::PermissionsExt::from_mode(0o500)).expect("changed");
        drop(third);
        let fourth = WorkFolder::create(&scratch.path().join("d")).expect("a folder");
        assert!(fourth.path().ends_with("d"), "nor one whose mode was changed");
        drop(fourth);
        std::fs::write(scratch.path().join("d/late"), "x").expect("it can be written");
        let fifth = WorkFolder::create(&scratch.path().join("e")).expect("a folder");
        assert!(fifth.path().ends_with("e"), "nor one that somebody wrote into afterwards");
    }
}
