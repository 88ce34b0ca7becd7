//! Tables and queries of users' databases as streams of record batches, and streams as tables.
//!
//! [`read`] holds a few batches at a time, whatever the table's size: a reader that is slow slows the database down. [`write`] is one
//! transaction: a load that fails, is dropped or is killed leaves the table as it was, and the same load afterwards is not doubled.
//! A load whose end nobody was told of is found by the next try in a table beside the target's ([`ledger`]).
//! Neither reads or writes a password anywhere but in the connection.
//!
//! How a table is written:
//! - PostgreSQL: binary `COPY`. An upsert copies into a temporary table first and merges it from there.
//! - SQLite: a prepared insert on a thread of its own. An upsert without a unique index goes through a temporary table.
//! - MySQL: inserts of many rows. The same for an upsert.
//!
//! Every database gets the same rules: all columns of the data must be in the table, a value must fit its column without loss, and of
//! rows that an upsert gets with the same key the last one stays.

mod fit;
mod ledger;
mod mysql;
mod name;
mod postgres;
mod reader;
mod sqlite;
pub(crate) mod task;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Instant;

use datafusion::arrow::datatypes::Schema;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use ledger::Ledger;
pub(crate) use name::quoted;
pub use reader::Reader;
use serde::{Deserialize, Serialize};
pub use task::Connections;
use towpath_model::connection::Connection;
pub use towpath_operators::database::{Error, Kind};

use crate::instance::Instance;

/// Batches that may wait for a reader that is slower than the database.
const BATCHES_AHEAD: usize = 2;

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A table or a view, as `table` or `schema.table`.
    Table(String),
    /// The text of a query.
    Query(String),
}

/// What a load does with what the table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Mode {
    /// It stays, and the data comes after it.
    Append,
    /// It goes. The table itself stays, with its indexes and rights.
    Overwrite,
    /// Rows with the key of a row of the data take that row's values, others are added.
    Upsert,
    /// A table with rows is an error.
    #[default]
    Error,
    /// A table with rows stays as it is, and the data is not read.
    Ignore,
}

/// Where a load goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableTarget {
    /// `table` or `schema.table`; made from the data's schema where it does not exist.
    pub table: String,
    #[serde(default)]
    pub mode: Mode,
    /// The columns that tell rows apart; needed by `upsert`, and the primary key of a table that is made.
    #[serde(default)]
    pub key: Vec<String>,
}

/// What a load has done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Written {
    /// Rows of the data.
    pub rows: u64,
    /// From the first statement to the commit.
    pub seconds: f64,
    /// Whether the table was made by it.
    pub created: bool,
    /// Whether nothing was written, since mode `ignore` has found rows.
    pub ignored: bool,
    /// What the database has noted of the load.
    pub noted: Noted,
}

/// What becomes of a load in the table `towpath_loads`, by which tries know of each other's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Noted {
    /// Nobody tries again.
    #[default]
    No,
    Yes,
    /// It says that an earlier try has loaded these rows, so they were not loaded again.
    Earlier,
    /// It cannot be made or written to.
    Refused,
}

/// What a load has done, as the modules of the databases tell it.
#[derive(Debug, Clone, Copy)]
struct Done {
    rows: u64,
    created: bool,
    noted: Noted,
}

/// The rows of `input` with a schema from the database's types, in batches of about `batch_rows`. Relative SQLite files start at
/// `project`.
///
/// # Errors
/// Here, when the database cannot be reached or does not know the table; in the stream, with the row, when a value does not
/// fit the type that the database gives for its column.
pub async fn read(
    connection: &Connection,
    project: &Path,
    input: &Input,
    batch_rows: usize,
) -> Result<SendableRecordBatchStream, Error> {
    match Kind::of(connection)? {
        Kind::Postgres => postgres::read(connection, input, batch_rows).await,
        Kind::Sqlite => {
            let path = towpath_operators::database::sqlite_file(connection, project)?;
            sqlite::read(path, input, batch_rows).await
        }
        Kind::MySql => mysql::read(connection, input, batch_rows).await,
    }
}

/// Writes `data` into a table, in one transaction.
///
/// # Errors
/// When the table does not take the data, with column and row where they are known; when `data` ends with an error; when the database
/// cannot be reached. The table is then as it was.
pub async fn write(
    connection: &Connection,
    project: &Path,
    target: &TableTarget,
    data: SendableRecordBatchStream,
) -> Result<Written, Error> {
    write_as(None, connection, project, target, data).await
}

/// The same for a task instance, unless an earlier try of it has done it.
///
/// # Errors
/// Those of [`write`].
pub async fn write_as(
    instance: Option<&Instance>,
    connection: &Connection,
    project: &Path,
    target: &TableTarget,
    data: SendableRecordBatchStream,
) -> Result<Written, Error> {
    let start = Instant::now();
    let kind = Kind::of(connection)?;
    check(target, &data.schema())?;
    let ledger = instance.map(|instance| Ledger::new(kind, instance, &target.table)).transpose()?;
    let Done { rows, created, noted } = match kind {
        Kind::Postgres => postgres::write(connection, target, ledger, data).await?,
        Kind::Sqlite => {
            let path = towpath_operators::database::sqlite_file(connection, project)?;
            sqlite::write(path, target.clone(), ledger, data).await?
        }
        Kind::MySql => mysql::write(connection, target, ledger, data).await?,
    };
    let ignored = target.mode == Mode::Ignore && rows == 0 && !created && noted != Noted::Earlier;
    Ok(Written { rows, seconds: start.elapsed().as_secs_f64(), created, ignored, noted })
}

/// What a load does about the rows that a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    Keep,
    Delete,
    /// There may be none.
    Refuse,
    /// Where there are any, there is nothing to do.
    Skip,
}

impl Mode {
    fn rows(self) -> Rows {
        match self {
            Self::Append | Self::Upsert => Rows::Keep,
            Self::Overwrite => Rows::Delete,
            Self::Error => Rows::Refuse,
            Self::Ignore => Rows::Skip,
        }
    }

    /// Whether the load goes on where the table has rows, or has none.
    fn goes_on(self, table: &str, has_rows: bool) -> Result<bool, Error> {
        match self.rows() {
            Rows::Refuse if has_rows => {
                let error =
                    format!("table `{table}` has rows already (mode `error`); use `append`, `overwrite` or `upsert`");
                Err(Error::lasting(error))
            }
            Rows::Skip => Ok(!has_rows),
            Rows::Keep | Rows::Delete | Rows::Refuse => Ok(true),
        }
    }
}

/// What can be said without a look at the database.
fn check(target: &TableTarget, schema: &Schema) -> Result<(), Error> {
    let table = &target.table;
    if schema.fields().is_empty() {
        return Err(Error::lasting(format!("table `{table}`: the data has no columns")));
    }
    for (position, field) in schema.fields().iter().enumerate() {
        if schema.fields()[..position].iter().any(|other| other.name() == field.name()) {
            let name = field.name();
            return Err(Error::lasting(format!("table `{table}`: the data has two columns `{name}`; rename one")));
        }
    }
    if target.mode == Mode::Upsert && target.key.is_empty() {
        let error = format!("table `{table}`: mode `upsert` needs a `key`, the columns that tell rows apart");
        return Err(Error::lasting(error));
    }
    for key in &target.key {
        if schema.field_with_name(key).is_err() {
            let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let error =
                format!("table `{table}`: the data has no column `{key}` of the key; it has {}", names.join(", "));
            return Err(Error::lasting(error));
        }
    }
    Ok(())
}

/// An error of this module as one of a stream.
fn outer(error: Error) -> DataFusionError {
    crate::error::Error::from(error).into()
}

/// An error of the data that is being loaded.
fn of_data(error: DataFusionError) -> Error {
    let crate::error::Error { message, retry } = error.into();
    Error { message, retry }
}
