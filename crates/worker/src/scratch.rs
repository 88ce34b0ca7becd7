//! The folder in which this process makes the working folders of its tasks.

use std::io;
use std::path::{Path, PathBuf};

/// A folder of this process below the scratch folder; removed, with what tasks left, when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes it, and removes those of processes of this host that were killed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn create(scratch_folder: &Path, hostname: &str) -> io::Result<Self> {
        let folder = scratch_folder.join(format!("{hostname}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        for abandoned in abandoned(scratch_folder, hostname)? {
            if let Err(error) = std::fs::remove_dir_all(&abandoned) {
                tracing::warn!("what a killed worker left in `{}` cannot be removed: {error}", abandoned.display());
            }
        }
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!("the scratch folder `{}` stays: {error}", self.0.display());
        }
    }
}

/// Folders of processes that do not exist any more. Another host's, on a shared file system, are its own business.
fn abandoned(scratch_folder: &Path, hostname: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(scratch_folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(hostname)?.strip_prefix('-'));
        let pid = pid.and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_workers_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        // No process has the highest number that the kernel could give.
        for name in ["here-4194305/left", "here-1/left", "other/left", "there-4194305/left"] {
            std::fs::create_dir_all(folder.path().join(name)).expect("a folder");
        }
        let own = Scratch::create(folder.path(), "here").expect("a folder");
        let path = own.path().to_owned();
        assert!(path.is_dir());
        let left = |name: &str| folder.path().join(name).exists();
        assert_eq!(
            (left("here-4194305"), left("here-1"), left("other"), left("there-4194305")),
            (false, true, true, true)
        );
        drop(own);
        assert!(!path.exists());
    }
}
