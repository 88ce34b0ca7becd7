//! PostgreSQL, by binary `COPY` in both directions.

mod decode;
mod encode;
mod read;
mod watch;
mod write;

pub(super) use read::read;
pub(super) use write::write;

use sqlx::postgres::PgDatabaseError;
use towpath_operators::database::Error;

/// What the server says, with the table and the row of the load that it was at.
fn failed(table: &str, error: &sqlx::Error) -> Error {
    let place = database_error(error).and_then(PgDatabaseError::r#where).and_then(|place| {
        // `COPY delays, line 3, column day: "x"`
        let line: u64 = place.split("line ").nth(1)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        let column = place.split("column ").nth(1).map(|rest| rest.split(':').next().unwrap_or(rest).trim());
        Some(column.map_or_else(|| format!(", row {line}"), |column| format!(", column `{column}`, row {line}")))
    });
    Error::of_sqlx(error).at(format!("table `{table}`{}", place.unwrap_or_default()))
}

fn database_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>())
}
