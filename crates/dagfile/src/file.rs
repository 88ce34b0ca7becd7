//! Files and the defaults of their folders.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::Limits;
use crate::diagnostic::{Diagnostic, Severity, snippet};
use crate::document::{CompiledFile, Origin, compile};
use crate::node::Span;

/// The names of files with the defaults of a folder.
const DEFAULTS: [&str; 2] = ["defaults.yml", "defaults.yaml"];

/// The text of a folder's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDefaults {
    pub path: PathBuf,
    pub text: String,
}

/// Whether a file may hold DAGs: its name ends in `.yaml` or `.yml`, it is not hidden, and it holds
/// neither the defaults of its folder nor tests.
#[must_use]
pub fn is_dag_file(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    is_yaml(path) && !name.starts_with('.') && !DEFAULTS.contains(&name.as_ref()) && tested_stem(path).is_none()
}

/// Whether a file holds tests of DAGs: `etl.test.yaml` or `etl_test.yaml` (or `.yml`) tests `etl.yaml`.
#[must_use]
pub fn is_test_file(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    is_yaml(path) && !hidden && tested_stem(path).is_some()
}

/// The stem of the DAG file that a test file is about; `None` for a file that is not named as one.
#[must_use]
pub fn tested_stem(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_string_lossy();
    let tested = stem.strip_suffix(".test").or_else(|| stem.strip_suffix("_test"))?;
    (!tested.is_empty()).then(|| tested.to_owned())
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
}

/// Reads and compiles a file, with the defaults of the folders from `dags_root` down to it. A file
/// that cannot be read is a diagnostic like any other.
#[must_use]
pub fn load_file(path: &Path, dags_root: &Path, now: DateTime<Utc>, limits: &Limits) -> CompiledFile {
    let text = match read(path, limits) {
        Ok(text) => text,
        Err(diagnostic) => {
            return CompiledFile { dags: Vec::new(), diagnostics: vec![*diagnostic], source: String::new() };
        }
    };
    load_text(text, path, dags_root, now, limits)
}

/// [`load_file`] with the text that the file would have.
#[must_use]
pub fn load_text(text: String, path: &Path, dags_root: &Path, now: DateTime<Utc>, limits: &Limits) -> CompiledFile {
    let folder = path.parent().unwrap_or(dags_root);
    let mut folders: Vec<&Path> = folder.ancestors().take_while(|above| above.starts_with(dags_root)).collect();
    folders.reverse();
    if folders.is_empty() {
        folders.push(folder);
    }
    let mut defaults = Vec::new();
    for name in folders.iter().flat_map(|folder| DEFAULTS.iter().map(|name| folder.join(name))) {
        if !name.is_file() {
            continue;
        }
        match read(&name, limits) {
            Ok(text) => defaults.push(FileDefaults { path: name, text }),
            Err(diagnostic) => return CompiledFile { dags: Vec::new(), diagnostics: vec![*diagnostic], source: text },
        }
    }
    compile(&text, &Origin { path, folder, defaults: &defaults, now }, limits)
}

/// Why a file gives no bytes.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("is not a regular file")]
    NotAFile,
    #[error("has {bytes} bytes; at most {most} are read")]
    TooLarge { bytes: u64, most: u64 },
}

/// The bytes of a regular file of at most `most`. What is no file (a pipe, a device) is not opened: reading it
/// might never end.
pub(crate) fn bounded(path: &Path, most: u64) -> Result<Vec<u8>, Unreadable> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(Unreadable::NotAFile);
    }
    if metadata.len() > most {
        return Err(Unreadable::TooLarge { bytes: metadata.len(), most });
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    // The file may have grown since it was measured.
    std::fs::File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(Unreadable::TooLarge { bytes: bytes.len() as u64, most });
    }
    Ok(bytes)
}

/// The text of a file, or why there is none.
pub(crate) fn read(path: &Path, limits: &Limits) -> Result<String, Box<Diagnostic>> {
    let problem = |message: String, help: Option<&str>| {
        Box::new(Diagnostic {
            severity: Severity::Error,
            message,
            file: Some(path.to_owned()),
            line: 1,
            column: 1,
            snippet: String::new(),
            help: help.map(str::to_owned),
        })
    };
    let bytes = bounded(path, limits.file_bytes).map_err(|error| {
        let help = match error {
            Unreadable::TooLarge { .. } => Some("split it into several files, or move data out of it"),
            Unreadable::Io(_) | Unreadable::NotAFile => None,
        };
        problem(format!("the file {error}"), help)
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let before = String::from_utf8_lossy(&bytes[..valid]).into_owned();
        let line = before.matches('\n').count() as u32 + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u32 + 1;
        let mut diagnostic = problem(format!("byte {valid} of the file is not UTF-8"), Some("save the file in UTF-8"));
        diagnostic.line = line;
        diagnostic.column = column;
        diagnostic.snippet = snippet(&String::from_utf8_lossy(&bytes), Span { source: 0, line, column });
        diagnostic
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_file_holds() {
        for (name, is_dag, tested) in [
            ("dags/etl.yaml", true, None),
            ("etl.test.yaml", false, Some("etl")),
            ("a/etl_test.yml", false, Some("etl")),
            ("test.yaml", true, None),
            ("_test.yaml", true, None),
            ("latest.yml", true, None),
            (".etl.test.yaml", false, Some(".etl")),
            ("defaults.yml", false, None),
            ("etl_test.py", false, Some("etl")),
        ] {
            let path = Path::new(name);
            assert_eq!((is_dag_file(path), tested_stem(path).as_deref()), (is_dag, tested), "{name}");
            let is_test = tested.is_some() && name.contains(".y") && !name.starts_with('.');
            assert_eq!(is_test_file(path), is_test, "{name}");
        }
    }
}
