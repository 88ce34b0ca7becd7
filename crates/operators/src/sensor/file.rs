//! `file_sensor`: waits for a file.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use glob::{MatchOptions, Pattern, PatternError};
use serde_json::Value;
use towpath_model::run::iso_time;

use super::{Error, Poke, Sensor, flag, text};
use crate::attempt::Attempt;
use crate::object_storage::{self, Location};

/// As a shell and Python's `glob` have it: `*` neither crosses folders nor stands for names that begin with a dot.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Waits for a path of the worker's file system, or a URL of an object store.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileSensor;

#[async_trait]
impl Sensor for FileSensor {
    fn awaits(&self, attempt: &Attempt) -> Result<String, Error> {
        Ok(format!("a file at `{}`", given(attempt)?))
    }

    async fn poke(&self, attempt: &Attempt) -> Result<Poke, Error> {
        if object_storage::is_url(given(attempt)?) {
            return poke_store(attempt).await;
        }
        let base = base(attempt).await?;
        let recursive = flag(&attempt.args, "recursive");
        let given = given(attempt)?.to_owned();
        // Folders may be large, and network file systems slow.
        let found = tokio::task::spawn_blocking(move || find(&base, &given, recursive)).await;
        let found = found.map_err(|error| Error::Passing(format!("the search has ended unexpectedly: {error}")))??;
        Ok(match found {
            Some(path) => {
                attempt.log.info(&describe(&path));
                Poke::Done(None)
            }
            None => Poke::NotYet,
        })
    }
}

/// Looks into the object store that the path is a URL of.
async fn poke_store(attempt: &Attempt) -> Result<Poke, Error> {
    let location = Location::parse(given(attempt)?).map_err(|error| Error::Wrong(error.message))?;
    let found = super::object::look(attempt, &location, text(&attempt.args, "fs_conn_id")).await?;
    Ok(match found {
        Some(told) => {
            attempt.log.info(&told);
            Poke::Done(None)
        }
        None => Poke::NotYet,
    })
}

fn given(attempt: &Attempt) -> Result<&str, Error> {
    let path = text(&attempt.args, "filepath");
    path.ok_or_else(|| Error::Wrong("`filepath` is empty; write the file, folder or glob to wait for".to_owned()))
}

/// The folder that relative paths start in: the project's, or the one that the connection names.
async fn base(attempt: &Attempt) -> Result<PathBuf, Error> {
    let Some(conn_id) = text(&attempt.args, "fs_conn_id") else { return Ok(attempt.project_folder.clone()) };
    let connection = attempt.services.connection(conn_id).await?;
    let connection = connection.ok_or_else(|| {
        Error::Passing(format!(
            "connection `{conn_id}` does not exist; create it with `towpath connections add {conn_id}`, or leave `fs_conn_id` out to start from the project folder"
        ))
    })?;
    let extra = connection.extra_dejson().map_err(|error| Error::Passing(error.to_string()))?;
    let path = extra.get("path").and_then(Value::as_str).unwrap_or_default();
    Ok(attempt.project_folder.join(path))
}

/// The first file that fits.
fn find(base: &Path, given: &str, recursive: bool) -> Result<Option<PathBuf>, Error> {
    let start = if given.starts_with('/') { Path::new("/") } else { base };
    let parts = given.split('/').filter(|part| !part.is_empty());
    let parts = parts.map(|part| Part::read(part, recursive)).collect::<Result<Vec<_>, _>>();
    let parts = parts.map_err(|error| Error::Wrong(format!("`filepath`: `{given}` is not a glob: {}", error.msg)))?;
    Ok(walk(start, &parts))
}

/// One name of a path.
enum Part {
    Plain(String),
    Glob(Pattern),
    /// `**`: any number of folders.
    Folders,
}

impl Part {
    fn read(part: &str, recursive: bool) -> Result<Self, PatternError> {
        if recursive && part == "**" {
            return Ok(Self::Folders);
        }
        if !part.contains(['*', '?', '[']) {
            return Ok(Self::Plain(part.to_owned()));
        }
        // Stars in a row mean no more than one, save for `**` alone.
        let mut text = part.to_owned();
        while text.contains("**") {
            text = text.replace("**", "*");
        }
        Pattern::new(&text).map(Self::Glob)
    }
}

/// The first file below `path` that fits. A folder that may not be read holds nothing to see.
fn walk(path: &Path, parts: &[Part]) -> Option<PathBuf> {
    let Some((first, rest)) = parts.split_first() else { return file_in(path) };
    let entries = || std::fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    match first {
        Part::Plain(name) => walk(&path.join(name), rest),
        Part::Glob(pattern) => entries()
            .filter(|entry| pattern.matches_with(&entry.file_name().to_string_lossy(), OPTIONS))
            .find_map(|entry| walk(&entry.path(), rest)),
        Part::Folders => walk(path, rest).or_else(|| {
            // Links to folders are not followed: they may lead in circles.
            let folders = entries().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            let seen = folders.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
            seen.map(|entry| entry.path()).find_map(|folder| walk(&folder, parts))
        }),
    }
}

/// The path itself if it is a file; of a folder the first file in it, at any depth.
fn file_in(path: &Path) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path.to_owned());
    }
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                // Links to folders are not followed: they may lead in circles.
                Ok(kind) if kind.is_symlink() && entry.path().is_dir() => {}
                Ok(_) => return Some(entry.path()),
                Err(_) => {}
            }
        }
    }
    None
}

fn describe(path: &Path) -> String {
    let modified = path.metadata().and_then(|data| data.modified()).ok().map(DateTime::<Utc>::from);
    let modified = modified.map_or_else(String::new, |at| format!(", last modified {}", iso_time(at)));
    format!("Found `{}`{modified}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_folders_and_globs() {
        let folder = tempfile::tempdir().expect("a folder");
        let base = folder.path().join("a[1]");
        for file in ["in/2026/01/x.csv", "dots/.hidden.csv", "dots/.d/x.csv", "top.csv", "odd/one*two"] {
            let file = base.join(file);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("created");
            std::fs::write(file, "x").expect("written");
        }
        std::fs::create_dir_all(base.join("empty/inner")).expect("created");
        for (given, recursive, expected) in [
            ("top.csv", false, Some("top.csv")),
            ("none.csv", false, None),
            ("*.csv", false, Some("top.csv")),
            ("t?p.[a-c]sv", false, Some("top.csv")),
            ("in/*.csv", false, None),
            ("dots/*.csv", false, None),
            ("dots/.*.csv", false, Some("dots/.hidden.csv")),
            ("dots/**/x.csv", true, None),
            ("in/*/*/x.csv", false, Some("in/2026/01/x.csv")),
            ("in/**/x.csv", false, None),
            ("in/**/x.csv", true, Some("in/2026/01/x.csv")),
            ("in/2026**/*/x.csv", true, Some("in/2026/01/x.csv")),
            ("in/2026", false, Some("in/2026/01/x.csv")),
            ("in/20*", false, Some("in/2026/01/x.csv")),
            ("empty", false, None),
            ("emp*", true, None),
            ("odd/one[*]two", false, Some("odd/one*two")),
            ("in/**", true, Some("in/2026/01/x.csv")),
            ("**/top.csv", true, Some("top.csv")),
            ("in/../top.*", false, Some("in/../top.csv")),
        ] {
            let found = find(&base, given, recursive).expect("a pattern");
            assert_eq!(found, expected.map(|path| base.join(path)), "{given} {recursive}");
        }
        let absolute = base.join("top.csv");
        assert_eq!(
            find(Path::new("/nowhere"), &Pattern::escape(&absolute.to_string_lossy()), false),
            Ok(Some(absolute))
        );
        let error = Error::Wrong("`filepath`: `x[` is not a glob: invalid range pattern".to_owned());
        assert_eq!(find(&base, "x[", false), Err(error));
    }
}
