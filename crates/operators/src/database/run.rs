//! Statements run one by one, with their values bound, and their rows as JSON.

use std::path::Path;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use towpath_model::connection::Connection;

use super::statement::{Bound, Parameters, bind};
use super::{Error, Kind, mysql, postgres, sqlite};

/// So much JSON text of one answer is kept, bytes. What an XCom may hold is less; this guards the worker's memory.
const ANSWER_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Which rows of a statement are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    None,
    First,
    All,
}

/// What is to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Orders {
    /// With the values of each.
    pub statements: Vec<(String, Parameters, Fetch)>,
    /// Each statement is a transaction of its own; otherwise all are one.
    pub autocommit: bool,
    /// Most rows of one answer.
    pub max_rows: usize,
}

/// What a statement has answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The names of its columns; none where the statement returns no rows, or none were wanted.
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
    /// Rows that it has changed, as the database counts.
    pub affected: u64,
}

/// Runs the statements in order on a connection of their own, and says what each has answered. `done` hears of each one's end.
///
/// Without `autocommit` an error leaves nothing behind (MySQL commits by itself around statements that define tables). The statement
/// that runs when `stop` is cancelled is ended on the server as well. Relative SQLite files start at `project`.
///
/// # Errors
/// The first error, with the number of the statement where there are several.
pub async fn run(
    connection: &Connection,
    project: &Path,
    orders: Orders,
    stop: &CancellationToken,
    done: impl Fn(usize, &Answer) + Send + 'static,
) -> Result<Vec<Answer>, Error> {
    let kind = Kind::of(connection)?;
    let count = orders.statements.len();
    let mut statements = Vec::with_capacity(count);
    for (position, (sql, parameters, fetch)) in orders.statements.into_iter().enumerate() {
        let bound = bind(&sql, kind, &parameters);
        let bound = bound.map_err(|error| in_statement(position, count, Error::lasting(error)))?;
        statements.push((bound, fetch));
    }
    let session = Session {
        statements,
        // A single statement is all or nothing by itself, and some want to be outside of a transaction.
        transaction: !orders.autocommit && count > 1,
        max_rows: orders.max_rows,
        done,
    };
    match kind {
        Kind::Postgres => postgres::session(connection, session, stop).await,
        Kind::MySql => mysql::session(connection, session, stop).await,
        Kind::Sqlite => sqlite::session(super::sqlite_file(connection, project)?, session, stop).await,
    }
}

/// What a dialect is to do.
pub(super) struct Session<F> {
    pub(super) statements: Vec<(Bound, Fetch)>,
    pub(super) transaction: bool,
    pub(super) max_rows: usize,
    pub(super) done: F,
}

impl<F: Fn(usize, &Answer)> Session<F> {
    /// An error of the statement at `position`, with its number and a way out.
    pub(super) fn failed(&self, position: usize, mut error: Error) -> Error {
        if self.transaction && error.message.to_ascii_lowercase().contains("transaction") {
            error.message.push_str(" (with `autocommit: true` each statement stands by itself)");
        }
        in_statement(position, self.statements.len(), error)
    }
}

fn in_statement(position: usize, count: usize, error: Error) -> Error {
    if count > 1 { error.at(format!("statement {} of {count}", position + 1)) } else { error }
}

pub(super) fn stopped() -> Error {
    Error::passing("the statement was told to stop")
}

/// Collects rows up to the ceilings.
#[derive(Debug)]
pub(super) struct Collector {
    fetch: Fetch,
    max_rows: usize,
    bytes: usize,
    pub(super) rows: Vec<Vec<Value>>,
}

impl Collector {
    pub(super) fn new(fetch: Fetch, max_rows: usize) -> Self {
        Self { fetch, max_rows, bytes: 0, rows: Vec::new() }
    }

    /// Whether the next row is wanted.
    pub(super) fn wants(&self) -> bool {
        match self.fetch {
            Fetch::None => false,
            Fetch::First => self.rows.is_empty(),
            Fetch::All => true,
        }
    }

    pub(super) fn push(&mut self, row: Vec<Value>) -> Result<(), Error> {
        self.bytes += row.iter().map(size).sum::<usize>();
        self.rows.push(row);
        let way_out = "write fewer into the XCom with `limit` in the statement, fetch none with `handler: none`, or take a data set \
                       of them with the operator `extract`";
        if self.rows.len() > self.max_rows {
            return Err(Error::lasting(format!(
                "the statement returns more than {} rows (`max_rows`); {way_out}",
                self.max_rows
            )));
        }
        if self.bytes > ANSWER_LIMIT_BYTES {
            let rows = self.rows.len();
            let error =
                format!("the first {rows} rows of the statement have more than {ANSWER_LIMIT_BYTES} bytes; {way_out}");
            return Err(Error::lasting(error));
        }
        Ok(())
    }
}

/// About so many bytes as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        Value::String(text) => text.len() + 3,
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 2,
        Value::Object(map) => map.iter().map(|(key, value)| key.len() + 4 + size(value)).sum::<usize>() + 2,
    }
}
