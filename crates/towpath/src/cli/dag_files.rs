//! Files and folders that a command is given: which DAG files, or tests of them, they stand for.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::exit::usage;
use crate::session::Session;

/// The files that `paths` stand for, in order, as they are named in messages: of a folder those that are
/// `accepted`, and a file whatever its name. Without paths: those of the DAGs folder.
///
/// # Errors
/// For a path that is not there, and when a folder cannot be read.
pub(crate) fn find(paths: &[PathBuf], accepted: fn(&Path) -> bool, session: &Session) -> anyhow::Result<Vec<PathBuf>> {
    let cwd = &session.project_folder;
    let mut files = Vec::new();
    if paths.is_empty() {
        let folder = &session.config.dags_dir.value;
        if !folder.is_dir() {
            return Err(usage(format!(
                "there is no DAGs folder `{}`; name files or folders, or use --dags",
                folder.display()
            )));
        }
        walk(folder, accepted, &mut files)?;
        // Shorter names read better, and editors find them as well.
        return Ok(files.iter().map(|file| file.strip_prefix(cwd).unwrap_or(file).to_owned()).collect());
    }
    for path in paths {
        if path.is_dir() {
            walk(path, accepted, &mut files)?;
        } else if path.exists() {
            files.push(path.clone());
        } else {
            return Err(usage(format!("there is no file or folder `{}`", path.display())));
        }
    }
    Ok(files)
}

/// The files below `folder`, by the same rules as the scheduler's: no hidden names.
fn walk(folder: &Path, accepted: fn(&Path) -> bool, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let unreadable = || format!("cannot read the folder `{}`", folder.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        entries.push(entry.with_context(unreadable)?.path());
    }
    entries.sort();
    for path in entries {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') {
            continue;
        }
        // A link to a folder is not followed: it may lead back here.
        if path.is_dir() && !path.is_symlink() {
            walk(&path, accepted, files)?;
        } else if path.is_file() && accepted(&path) {
            files.push(path);
        }
    }
    Ok(())
}
