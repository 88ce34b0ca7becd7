//! What is wrong in the text of a DAG file.

use axum::body::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use towpath_dagfile::{CompiledFile, Diagnostic, Limits, Severity};

use super::blocking;
use super::place::Place;
use crate::{Error, Result, State};

/// What a file would become.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Checked {
    /// Whether there are no errors; warnings alone are none.
    pub(super) is_valid: bool,
    /// The DAGs that it defines.
    dag_ids: Vec<String>,
    pub(super) diagnostics: Vec<Problem>,
}

/// One problem of a file.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Problem {
    /// Below the DAGs folder: the file itself, or the defaults of a folder.
    file: String,
    /// From 1.
    line: u32,
    /// From 1, in characters.
    column: u32,
    /// `error` or `warning`.
    severity: &'static str,
    message: String,
    /// The line, with a caret below the place.
    snippet: String,
    /// The way out.
    help: Option<String>,
}

impl Checked {
    /// Checks a text as if it stood at `place`. DAGs that another file defines are errors if `is_placed`.
    pub(super) async fn new(state: &State, place: &Place, text: Bytes, is_placed: bool) -> Result<Self> {
        let text = String::from_utf8(text.to_vec()).map_err(|error| {
            Error::BadRequest(format!(
                "byte {} of the file is not UTF-8; save it in UTF-8",
                error.utf8_error().valid_up_to()
            ))
        })?;
        let (file, root, now) = (place.file().to_owned(), place.root().to_owned(), state.clock.now());
        let compiled: CompiledFile =
            blocking(move || towpath_dagfile::load_text(text, &file, &root, now, &Limits::default())).await?;
        let mut diagnostics: Vec<Problem> =
            compiled.diagnostics.into_iter().map(|it| Problem::new(it, place)).collect();
        let dag_ids: Vec<String> = compiled.dags.iter().map(|dag| dag.id().to_owned()).collect();
        if is_placed {
            for dag_id in &dag_ids {
                let other = state.store.dag(dag_id).await?.filter(|dag| dag.is_active && dag.file != place.name());
                diagnostics.extend(other.map(|other| Problem::defined_twice(dag_id, &other.file, place)));
            }
        }
        let is_valid = diagnostics.iter().all(|problem| problem.severity != ERROR);
        Ok(Self { is_valid, dag_ids, diagnostics })
    }
}

const ERROR: &str = "error";

impl Problem {
    fn new(diagnostic: Diagnostic, place: &Place) -> Self {
        let file = diagnostic.file.as_deref().unwrap_or(place.file());
        Self {
            file: file.strip_prefix(place.root()).unwrap_or(file).display().to_string(),
            line: diagnostic.line,
            column: diagnostic.column,
            severity: match diagnostic.severity {
                Severity::Error => ERROR,
                Severity::Warning => "warning",
            },
            message: diagnostic.message,
            snippet: diagnostic.snippet,
            help: diagnostic.help,
        }
    }

    fn defined_twice(dag_id: &str, other: &str, place: &Place) -> Self {
        Self {
            file: place.name().to_owned(),
            line: 1,
            column: 1,
            severity: ERROR,
            message: format!("DAG `{dag_id}` is defined by `{other}` as well"),
            snippet: String::new(),
            help: Some("give one of them another `dag_id`, or write to that file".to_owned()),
        }
    }
}
