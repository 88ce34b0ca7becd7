//! `list_files`: the files that globs name, as a list to map tasks over.
//!
//! A worker looks, since the store makes instances and reads no files. `expand: {x: {files: ...}}` puts such a task before the mapped one.

use std::path::Path;

use async_trait::async_trait;
use glob::MatchOptions;
use towpath_model::expand::MAX_MAP_LENGTH;

use crate::attempt::{Attempt, Failure, Operator, Outcome};
use crate::object_storage::{self, Location};
use crate::sensor::{text, texts};

/// As a shell has it; `**` stands for any number of folders.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Lists files.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListFiles;

#[async_trait]
impl Operator for ListFiles {
    async fn execute(&self, attempt: &Attempt) -> Outcome {
        match list(attempt).await {
            Ok(files) => {
                attempt.log.info(&format!("{} files", files.len()));
                Outcome::Success { value: Some(files.into()) }
            }
            Err(failure) => failure.into(),
        }
    }
}

/// Every file once, sorted by name.
async fn list(attempt: &Attempt) -> Result<Vec<String>, Failure> {
    let mut globs = texts(&attempt.args, "files");
    globs.extend(text(&attempt.args, "files").map(str::to_owned));
    if globs.is_empty() {
        return Err(Failure::lasting("`files` is empty; write a glob such as data/*.csv or s3://bucket/data/*.csv"));
    }
    let mut found = Vec::new();
    for glob in globs {
        if object_storage::is_url(&glob) {
            found.extend(objects(attempt, &glob).await?);
            continue;
        }
        let base = attempt.project_folder.clone();
        // Folders may be large, and network file systems slow.
        let files = tokio::task::spawn_blocking(move || local(&base, &glob)).await;
        found.extend(files.map_err(|error| Failure::lasting(format!("the search has ended unexpectedly: {error}")))??);
    }
    found.sort_unstable();
    found.dedup();
    if found.len() > MAX_MAP_LENGTH {
        return Err(Failure::lasting(format!(
            "there are {} files; at most {MAX_MAP_LENGTH} can be listed",
            found.len()
        )));
    }
    Ok(found)
}

/// Files of the worker, below the folder that `given` is relative to as `given` has them.
fn local(base: &Path, given: &str) -> Result<Vec<String>, Failure> {
    let base_text = base.to_string_lossy();
    let pattern = if given.starts_with('/') {
        given.to_owned()
    } else {
        format!("{}/{given}", glob::Pattern::escape(base_text.trim_end_matches('/')))
    };
    let paths = glob::glob_with(&pattern, OPTIONS)
        .map_err(|error| Failure::lasting(format!("`files`: `{given}` is not a glob: {}", error.msg)))?;
    // What may not be read is not there to see.
    let files = paths.filter_map(Result::ok).filter(|path| path.is_file());
    Ok(files
        .map(|path| match path.strip_prefix(base) {
            Ok(below) if !given.starts_with('/') => below.to_string_lossy().into_owned(),
            _ => path.to_string_lossy().into_owned(),
        })
        .collect())
}

/// Objects of a store, as URLs.
async fn objects(attempt: &Attempt, url: &str) -> Result<Vec<String>, Failure> {
    let told = |error: object_storage::Error| Failure { error: error.message, retry: error.retry };
    let location = Location::parse(url).map_err(told)?;
    let connection = match text(&attempt.args, "conn_id") {
        None => None,
        Some(conn_id) => {
            let found = crate::sql::named_connection(attempt, conn_id).await;
            Some(found.map_err(|error| Failure { error: error.message, retry: true })?)
        }
    };
    let store = object_storage::open(&location, connection.as_ref()).map_err(told)?;
    let found = object_storage::find(store.as_ref(), &location).await.map_err(told)?;
    Ok(found.into_iter().map(|found| location.url_of(found.meta.location.as_ref())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_as_globs_name_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let base = folder.path().join("a[1]");
        for file in ["in/b.csv", "in/a.csv", "in/.hidden.csv", "in/deep/c.csv", "in/x.txt"] {
            let file = base.join(file);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("created");
            std::fs::write(file, "x").expect("written");
        }
        for (given, expected) in [
            ("in/*.csv", vec!["in/a.csv", "in/b.csv"]),
            ("in/**/*.csv", vec!["in/a.csv", "in/b.csv", "in/deep/c.csv"]),
            ("in/*", vec!["in/a.csv", "in/b.csv", "in/x.txt"]),
            ("in/a.csv", vec!["in/a.csv"]),
            ("none/*", vec![]),
        ] {
            let mut found = local(&base, given).map_err(|failure| failure.error).expect("a glob");
            found.sort();
            assert_eq!(found, expected, "{given}");
        }
        let absolute = format!("{}/in/a.*", glob::Pattern::escape(&base.to_string_lossy()));
        let found = local(Path::new("/nowhere"), &absolute).map_err(|failure| failure.error);
        assert_eq!(found, Ok(vec![base.join("in/a.csv").to_string_lossy().into_owned()]));
        assert!(local(&base, "x[").is_err());
    }
}
