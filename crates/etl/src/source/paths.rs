//! From paths, globs and folders to files, with the partitions that their folders name.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use towpath_model::etl::FileSource;

use crate::error::{Error, Result};

/// How Hive writes null in the name of a folder.
pub(crate) const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// A file of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceFile {
    pub(crate) path: PathBuf,
    /// What the folders above it say: `carrier=AA`.
    pub(crate) partitions: Vec<(String, Option<String>)>,
}

/// The files of a source, in order: paths as they are written, the files of each by name.
pub(crate) fn find(source: &FileSource, folder: &Path) -> Result<Vec<SourceFile>> {
    let mut found = Vec::new();
    for path in &source.paths {
        let before = found.len();
        let full = folder.join(path);
        if full.is_dir() {
            walk(&full, &mut Vec::new(), &mut found)?;
        } else if full.is_file() {
            found.push(SourceFile { path: full, partitions: Vec::new() });
        } else if path.contains(['*', '?', '[']) {
            by_glob(path, &full, &mut found)?;
        } else {
            return Err(Error::passing(format!(
                "there is no file or folder `{}`; relative paths start at `{}`",
                path,
                folder.display()
            )));
        }
        if found.len() == before {
            return Err(Error::passing(format!("`{path}` has no files (looked in `{}`)", folder.display())));
        }
    }
    let names = |file: &SourceFile| file.partitions.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    if let Some(other) = found.iter().find(|file| names(file) != names(&found[0])) {
        return Err(Error::lasting(format!(
            "`{}` and `{}` stand in folders with different partitions; read them as two sources",
            found[0].path.display(),
            other.path.display()
        )));
    }
    Ok(found)
}

fn by_glob(path: &str, full: &Path, found: &mut Vec<SourceFile>) -> Result<()> {
    let wrong = |error: &dyn std::fmt::Display| Error::lasting(format!("`{path}` is not a glob: {error}"));
    let matches = glob::glob(&full.to_string_lossy()).map_err(|error| wrong(&error))?;
    let mut paths = matches.collect::<Result<Vec<PathBuf>, _>>().map_err(|error| wrong(&error))?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, &mut Vec::new(), found)?;
        } else if !is_hidden(&path) {
            found.push(SourceFile { path, partitions: Vec::new() });
        }
    }
    Ok(())
}

/// The files below a folder. What begins with `.` or `_` is no data, as with Hive and Spark.
fn walk(folder: &Path, partitions: &mut Vec<(String, Option<String>)>, found: &mut Vec<SourceFile>) -> Result<()> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut paths: Vec<PathBuf> = entries
        .map_err(|error| Error::io("read the folder", folder, &error))?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| !is_hidden(path))
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let partition = name.split_once('=').map(|(name, value)| {
                let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
                (percent_decode_str(name).decode_utf8_lossy().into_owned(), (value != HIVE_NULL).then_some(value))
            });
            let is_partition = partition.is_some();
            partitions.extend(partition);
            walk(&path, partitions, found)?;
            if is_partition {
                partitions.pop();
            }
        } else {
            found.push(SourceFile { path, partitions: partitions.clone() });
        }
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']))
}
