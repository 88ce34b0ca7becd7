//! Databases of users, as connections name them: opened here for every operator, sensor and data task.
//!
//! PostgreSQL and MySQL (MariaDB) are spoken to through `sqlx`, SQLite through `rusqlite` on a thread that may block: its calls are a
//! thousand times shorter than a message to another thread, and a bulk load makes millions of them.
//!
//! No message holds a password: what a driver says about a connection names host and database alone.

mod mysql;
mod open;
pub mod postgres;
mod run;
mod sqlite;
pub mod statement;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::Value;
use towpath_model::connection::Connection;

pub use mysql::columns as mysql_columns;
pub use open::{
    MYSQL_PORT, POSTGRES_PORT, mysql_options, open_mysql, open_postgres, open_sqlite, postgres_options, sqlite_path,
};
pub use run::{Answer, Fetch, Orders, run};

/// The kinds of databases that Towpath speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum Kind {
    #[strum(serialize = "PostgreSQL")]
    Postgres,
    #[strum(serialize = "SQLite")]
    Sqlite,
    #[strum(serialize = "MySQL")]
    MySql,
}

impl Kind {
    /// The kind of the database that `connection` names.
    ///
    /// # Errors
    /// When its type is none of those that are known.
    pub fn of(connection: &Connection) -> Result<Self, Error> {
        match connection.conn_type.as_str() {
            "postgres" | "postgresql" => Ok(Self::Postgres),
            "sqlite" => Ok(Self::Sqlite),
            "mysql" | "mariadb" => Ok(Self::MySql),
            other => Err(Error::lasting(format!(
                "connection `{}` is of type `{other}`; databases are postgres, sqlite and mysql",
                connection.conn_id
            ))),
        }
    }

    /// `name` as an identifier of SQL, whatever it is made of.
    #[must_use]
    pub fn quote(self, name: &str) -> String {
        match self {
            Self::Postgres | Self::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::MySql => format!("`{}`", name.replace('`', "``")),
        }
    }
}

/// Why something with a database did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub message: String,
    /// Whether another try may go better: the server is away, a lock was taken. False for what only a change of the task,
    /// the connection or the data puts right.
    pub retry: bool,
}

impl Error {
    /// Something that stays wrong until somebody puts it right.
    pub fn lasting(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry: false }
    }

    /// Something that may be better soon.
    pub fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), retry: true }
    }

    /// The same with a place before it.
    #[must_use]
    pub fn at(self, place: impl std::fmt::Display) -> Self {
        Self { message: format!("{place}: {}", self.message), retry: self.retry }
    }

    /// What a driver says, with what the server adds to it.
    #[must_use]
    pub fn of_sqlx(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(error) => Self::passing(format!("the connection is lost: {error}")),
            sqlx::Error::Tls(error) => Self::passing(format!("TLS: {error}")),
            sqlx::Error::Database(error) => {
                let mut message = error.message().to_owned();
                if let Some(error) = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
                    for more in [error.detail(), error.hint()].into_iter().flatten() {
                        message.push_str("; ");
                        message.push_str(more.trim_end_matches('.'));
                    }
                }
                // Every refusal may pass: a table may come, a row may go.
                Self::passing(message)
            }
            other => Self::passing(other.to_string()),
        }
    }

    /// What SQLite says.
    #[must_use]
    pub fn of_sqlite(error: &rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(_, Some(message)) => Self::passing(message.clone()),
            other => Self::passing(other.to_string()),
        }
    }
}

/// The path of the file of a SQLite connection, where `project` is the folder of relative ones.
///
/// # Errors
/// When the connection names no file.
pub fn sqlite_file(connection: &Connection, project: &Path) -> Result<std::path::PathBuf, Error> {
    Ok(project.join(sqlite_path(connection)?))
}

/// Bytes as JSON text has them: PostgreSQL's hexadecimal form.
fn bytes_json(bytes: &[u8]) -> Value {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("\\x");
    for byte in bytes {
        write!(text, "{byte:02x}").expect("text takes what is written to it");
    }
    Value::String(text)
}

/// A decimal number as JSON: a number where every reader gets the same one, else text.
fn decimal_json(text: &str) -> Value {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    match text.parse::<i64>() {
        Ok(whole) => Value::from(whole),
        Err(_) if digits <= 15 => text.parse::<f64>().map_or_else(|_| Value::from(text), float_json),
        Err(_) => Value::from(text),
    }
}

/// A float as JSON; what JSON has no number for is text.
fn float_json(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(|| Value::from(value.to_string()), Value::Number)
}
