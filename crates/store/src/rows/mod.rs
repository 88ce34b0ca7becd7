//! Binding and decoding. This folder is compiled twice, as `postgres::rows` and `sqlite::rows`: the
//! parent names the database (`Db`, `DbRow`), its statements (`sql`, `queries`) and the [`Tx`].

mod access;
mod alerts;
mod assets;
mod backfill;
mod changes;
mod clean;
mod dags;
mod deadlines;
mod evidence;
mod explain;
mod flow;
mod identities;
mod jobs;
mod listing;
mod overview;
mod reads;
mod runs;
mod secrets;
mod staging;
mod tasks;
mod version;
mod webhooks;

use std::str::FromStr;

use chrono::{DateTime, Utc};
use sqlx::{ColumnIndex, Row as _};

use super::DbRow;
use crate::time::Ts;
use crate::{Error, Result};

/// Text of a column that stands for a value of an enum.
fn word<T: FromStr>(row: &DbRow, column: &str) -> Result<T>
where
    for<'a> &'a str: ColumnIndex<DbRow>,
{
    let text: String = row.try_get(column)?;
    text.parse().map_err(|_| Error::Corrupt(format!("`{text}` in column {column}")))
}

/// A time.
fn time(row: &DbRow, column: &str) -> Result<DateTime<Utc>> {
    Ok(row.try_get::<Ts, _>(column)?.0)
}

/// A time that may be missing.
fn time_opt(row: &DbRow, column: &str) -> Result<Option<DateTime<Utc>>> {
    Ok(row.try_get::<Option<Ts>, _>(column)?.map(|ts| ts.0))
}

/// A count kept in four bytes.
fn count(row: &DbRow, column: &str) -> Result<u32> {
    let value: i32 = row.try_get(column)?;
    u32::try_from(value).map_err(|_| Error::Corrupt(format!("{value} in column {column}")))
}

/// JSON kept as text.
fn json<T: serde::de::DeserializeOwned>(row: &DbRow, column: &str) -> Result<T> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|error| Error::Corrupt(format!("column {column}: {error}")))
}

fn ts(time: Option<DateTime<Utc>>) -> Option<Ts> {
    time.map(Ts)
}
