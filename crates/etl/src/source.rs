//! Opens sources as tables.

mod csv;
mod files;
mod infer;
mod paths;
mod records;
mod rows;

use std::path::Path;

use datafusion::prelude::{DataFrame, SessionContext};
use towpath_model::etl::{FileFormat, Source};

use crate::database;
use crate::error::{Error, Result};
use crate::remote::Remotes;

/// How a source is to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// Where relative paths start.
    pub(crate) folder: &'a Path,
    /// Columns that `validate` looks at next: where no type is declared for one it stays text, so that what does not fit is
    /// a matter of that step.
    pub(crate) as_text: &'a [String],
}

/// The rows of a source.
pub(crate) async fn open(session: &SessionContext, source: &Source, reading: Reading<'_>) -> Result<DataFrame> {
    match source {
        Source::Rows(source) => rows::open(session, source).await,
        Source::File(source) => {
            let files = paths::find(source, reading.folder, &Remotes::of(session)).await?;
            match source.format {
                FileFormat::Csv => csv::open(session, source, &files, reading.as_text).await,
                _ => files::open(session, source, &files).await,
            }
        }
        Source::Table(source) => {
            let input = database::Input::Table(source.table.clone());
            database::task::open(session, &source.connection, reading.folder, input, &source.columns).await
        }
        Source::Query(source) => {
            let input = database::Input::Query(source.query.clone());
            database::task::open(session, &source.connection, reading.folder, input, &source.columns).await
        }
    }
}

/// Files for people: the first one, and how many there are.
fn shown(files: &[paths::SourceFile]) -> String {
    match files {
        [one] => one.shown(),
        _ => format!("{} and {} more", files[0].shown(), files.len() - 1),
    }
}

/// The name that a wrong one is probably meant to be, as the end of a message.
pub(crate) fn did_you_mean<'a>(wrong: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let near =
        known.clone().map(|name| (strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase()), name));
    match near.min().filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1)) {
        Some((_, name)) => format!("; did you mean `{name}`?"),
        None => {
            let names: Vec<&str> = known.take(20).collect();
            format!("; there are {}", names.join(", "))
        }
    }
}

/// A column that is not there.
pub(crate) fn no_column<'a>(wrong: &str, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    Error::lasting(format!("there is no column `{wrong}`{}", did_you_mean(wrong, known)))
}
