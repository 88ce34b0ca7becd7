//! Values that are too large for a row: files in the staging area, which go when their run's data goes.
//!
//! Such a row holds, in place of JSON, a mark and the path of the file. No JSON begins so, and all that others write into that
//! column is JSON, so nobody can make the store read a file.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use towpath_model::staging;

use crate::engine::report::Report;
use crate::records::TaskKey;
use crate::{Error, Result, Store};

/// A value with more JSON than this goes to a file.
const LARGE_BYTES: usize = 1024 * 1024;
/// Begins the text that stands for a file.
const MARK: char = '@';
/// Begins the names of these files, by which they are told from data sets.
const PREFIX: &str = "xcom-";

/// Where the files are.
#[derive(Debug, Default)]
pub(crate) struct Files(OnceLock<PathBuf>);

/// The texts of XComs that were written to files, by task, attempt and key.
#[derive(Debug, Default)]
pub(crate) struct Aside(HashMap<(TaskKey, i64, String), String>);

impl Aside {
    pub(crate) fn text(&self, report: &Report, key: &str) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&(report.key.clone(), report.attempt, key.to_owned())).cloned()
    }
}

/// The file that a row names, if it holds no JSON.
pub(crate) fn file(text: &str) -> Option<&str> {
    text.strip_prefix(MARK)
}

impl Store {
    /// From now on XComs of more than a mebibyte are kept in files of the staging area, which all processes with this
    /// store see under the same path. Without it they are rows as any other.
    pub fn keep_large_values_in(&self, staging: PathBuf) {
        // Who sets it twice has the same folder both times.
        let _ = self.inner.files.0.set(staging);
    }

    /// Writes the large XComs of reports to files. What the step then does not take is removed with the run's data.
    pub(crate) async fn put_aside(&self, reports: &[Report]) -> Result<Aside> {
        let mut aside = Aside::default();
        let Some(root) = self.inner.files.0.get() else { return Ok(aside) };
        for report in reports {
            for (key, value) in &report.xcoms {
                if !is_large(value) {
                    continue;
                }
                let Some(run) = self.run_by_key(report.key.run_key).await? else { continue };
                let text = serde_json::to_vec(value).expect("a JSON value is JSON");
                let TaskKey { task_id, map_index, .. } = &report.key;
                let folder = staging::task_folder(root, &run.dag_id, &run.run_id, task_id, *map_index);
                let path = folder.join(format!("{PREFIX}{}.json", uuid::Uuid::new_v4().simple()));
                let relative = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                match blocking(move || write(&path, &text)).await {
                    Ok(()) => {
                        let row = (report.key.clone(), report.attempt, key.clone());
                        aside.0.insert(row, format!("{MARK}{relative}"));
                    }
                    // The end of an attempt must not be lost for want of a disk.
                    Err(error) => tracing::warn!("{error}; it is kept in the database"),
                }
            }
        }
        Ok(aside)
    }

    /// The value that a text of the column stands for, if it names a file.
    pub(crate) async fn read_aside(&self, text: &str) -> Result<Option<Value>> {
        match file(text) {
            Some(file) => self.read_file(file).await.map(Some),
            None => Ok(None),
        }
    }

    pub(crate) async fn read_file(&self, file: &str) -> Result<Value> {
        let file = PathBuf::from(file);
        let Some(root) = self.inner.files.0.get() else {
            return Err(Error::Invalid("a large XCom is in the staging area, which this process does not know".into()));
        };
        if !file.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(Error::Corrupt(format!("an XCom is in the file `{}`", file.display())));
        }
        let path = root.join(file);
        blocking(move || read(&path)).await
    }
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| {
        Error::Invalid(format!("a large XCom cannot be written to `{}`: {error}", path.display()))
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = std::fs::File::create(path).map_err(failed)?;
    file.write_all(text).and_then(|()| file.sync_all()).map_err(failed)
}

fn read(path: &Path) -> Result<Value> {
    match std::fs::read(path) {
        Ok(text) => {
            serde_json::from_slice(&text).map_err(|error| Error::Corrupt(format!("{}: {error}", path.display())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::Invalid(format!(
            "a large XCom is not there any more (`{}`): staging is cleaned some time after the end of a run (`data_keep`); \
             clear the task that had pushed it, so that it runs again",
            path.display()
        ))),
        Err(error) => Err(Error::Invalid(format!("a large XCom cannot be read from `{}`: {error}", path.display()))),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::Invalid(format!("the work on a large XCom has ended: {error}"))),
    }
}

/// Whether a value has more JSON than a row should, without making it.
fn is_large(value: &Value) -> bool {
    struct Room(usize);
    impl std::io::Write for Room {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::FileTooLarge)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Room(LARGE_BYTES), value).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_is_what_has_more_than_a_mebibyte() {
        for (value, expected) in [
            (Value::Null, false),
            (Value::from("x".repeat(LARGE_BYTES - 2)), false),
            (Value::from("x".repeat(LARGE_BYTES - 1)), true),
            (Value::from(vec![0; LARGE_BYTES]), true),
        ] {
            assert_eq!(is_large(&value), expected);
        }
    }

    #[test]
    fn no_json_names_a_file() {
        for value in [Value::from("@a"), Value::Null, serde_json::json!({"@": 1}), serde_json::json!([1])] {
            assert_eq!(file(&value.to_string()), None);
        }
        assert_eq!(file("@d/r/t/xcom-1.json"), Some("d/r/t/xcom-1.json"));
    }
}
