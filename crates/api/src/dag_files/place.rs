//! Where a DAG file stands, or would: always within the DAGs folder.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

use chrono::{DateTime, Utc};
use towpath_dagfile::is_dag_file;

use super::{FileReply, io};
use crate::{Error, Result, State};

/// Folders above a file, and the file.
const DEEPEST: usize = 16;
/// Bytes of a path.
const LONGEST: usize = 1_024;

/// A path that stays within the DAGs folder.
#[derive(Debug, Clone)]
pub(super) struct Place {
    root: PathBuf,
    file: PathBuf,
    name: String,
}

impl Place {
    /// # Errors
    /// 400 for a path that leads elsewhere, or names what is no DAG file.
    pub(super) fn new(state: &State, path: &str) -> Result<Self> {
        Self::within(&state.dags_folder, path)
    }

    fn within(root: &Path, path: &str) -> Result<Self> {
        let refused = |reason: &str| {
            let shown: String = path.chars().take(100).collect();
            Err(Error::BadRequest(format!("`{}` {reason}", shown.escape_debug())))
        };
        if path.is_empty() || path.len() > LONGEST || path.contains(['\\', ':']) || path.chars().any(char::is_control) {
            return refused(
                "is no path of a DAG file: it has 1 to 1024 bytes, without `\\`, `:` and control characters",
            );
        }
        let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.') && part.len() <= 255;
        let parts: Vec<&str> = path.split('/').collect();
        let stays = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if !stays || parts.len() > DEEPEST || !parts.iter().all(|part| is_plain(part)) {
            return refused("does not lead to a file in the DAGs folder: no `..`, no hidden names, at most 15 folders");
        }
        if !is_dag_file(Path::new(path)) {
            return refused(
                "is not the name of a DAG file: it ends in .yaml or .yml, and is neither defaults nor a test",
            );
        }
        Ok(Self { root: root.to_owned(), file: root.join(path), name: path.to_owned() })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Below the DAGs folder.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The folders between the DAGs folder and the file, from above.
    fn folders(&self) -> Vec<PathBuf> {
        let mut folder = self.root.clone();
        let mut folders = Vec::new();
        if let Some(below) = Path::new(&self.name).parent() {
            for part in below.components() {
                folder.push(part);
                folders.push(folder.clone());
            }
        }
        folders
    }

    /// Refuses what leads through a link: it may lead out of the folder.
    fn no_links(&self) -> Result<()> {
        for path in self.folders().iter().chain([&self.file]) {
            match fs::symlink_metadata(path) {
                Ok(found) if found.is_symlink() => {
                    return Err(Error::BadRequest(format!(
                        "`{}` leads through a link; change it where it is",
                        self.name
                    )));
                }
                Ok(found) if path == &self.file && !found.is_file() => {
                    return Err(Error::Conflict(format!("`{}` is there and is not a file", self.name)));
                }
                Ok(found) if path != &self.file && !found.is_dir() => {
                    return Err(Error::Conflict(format!("a part of `{}` is there and is not a folder", self.name)));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(io("read", path, &error)),
            }
        }
        Ok(())
    }

    /// The file, if there is one.
    pub(super) fn read(&self) -> Result<Option<Vec<u8>>> {
        self.no_links()?;
        match fs::read(&self.file) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io("read", &self.file, &error)),
        }
    }

    /// Puts `text` there: whoever reads sees all of it or what was there before.
    pub(super) fn write(&self, text: &[u8]) -> Result<()> {
        self.no_links()?;
        let failed = |error: &std::io::Error| io("written", &self.file, error);
        let folder = self.file.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        // Hidden files are none of the scheduler's.
        let aside = folder.join(format!(".upload-{}.tmp", uuid::Uuid::new_v4()));
        let write = || -> std::io::Result<()> {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&aside)?;
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&aside, &self.file)?;
            fs::File::open(folder)?.sync_all()
        };
        write().map_err(|error| {
            // What could not be moved is of no use; it may not even be there.
            let _ = fs::remove_file(&aside);
            failed(&error)
        })
    }

    pub(super) fn remove(&self) -> Result<()> {
        self.no_links()?;
        fs::remove_file(&self.file).map_err(|error| io("deleted", &self.file, &error))
    }
}

/// The DAG files below a folder, by path.
pub(super) fn list(root: &Path, most: usize) -> Result<Vec<FileReply>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // It may have gone in the meantime.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(io("listed", &folder, &error)),
        };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if name.to_string_lossy().starts_with('.') {
                continue;
            }
            let Ok(found) = fs::symlink_metadata(&path) else { continue };
            if found.is_dir() {
                folders.push(path);
            } else if found.is_file() && is_dag_file(&path) && files.len() < most {
                let below = path.strip_prefix(root).unwrap_or(&path);
                files.push(FileReply {
                    path: below.display().to_string(),
                    size_bytes: found.len(),
                    modified_at: found.modified().ok().map(DateTime::<Utc>::from),
                });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_within_the_folder() {
        let long = format!("{}.yaml", "x".repeat(255));
        let deep = "a/".repeat(16) + "x.yaml";
        for (path, expected) in [
            ("etl.yaml", true),
            ("team/a b/etl.yml", true),
            ("\u{fc}/etl.yml", true),
            ("", false),
            ("/etc/x.yaml", false),
            ("../x.yaml", false),
            ("a/../../x.yaml", false),
            ("a/./x.yaml", false),
            ("a//x.yaml", false),
            ("a/x.yaml/", false),
            (".git/x.yaml", false),
            (".x.yaml", false),
            ("a\\..\\x.yaml", false),
            ("C:x.yaml", false),
            ("a\0.yaml", false),
            ("a\n.yaml", false),
            ("x.py", false),
            ("x", false),
            ("defaults.yaml", false),
            ("x.test.yaml", false),
            (&long, false),
            (&deep, false),
        ] {
            assert_eq!(Place::within(Path::new("/srv/dags"), path).is_ok(), expected, "{path:?}");
        }
    }
}
