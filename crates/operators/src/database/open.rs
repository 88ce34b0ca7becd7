//! Connections of Towpath as options of the drivers.

use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use rusqlite::OpenFlags;
use serde_json::{Map, Value};
use sqlx::ConnectOptions as _;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use towpath_model::connection::{Connection, Secret};

use super::Error;

/// Where PostgreSQL listens unless told otherwise.
pub const POSTGRES_PORT: u16 = 5432;
/// Where MySQL listens unless told otherwise.
pub const MYSQL_PORT: u16 = 3306;
/// Longest time to wait for a server to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time to wait for another writer of a SQLite file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);
/// Where MySQL's sockets look for a host that is not named.
const LOCALHOST: &str = "localhost";

fn present(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn host(connection: &Connection) -> &str {
    present(&connection.host).unwrap_or(LOCALHOST)
}

/// The extras, and one of them as text.
fn extras(connection: &Connection) -> Result<Map<String, Value>, Error> {
    connection.extra_dejson().map_err(|error| Error::lasting(error.to_string()))
}

fn text<'a>(extra: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    extra.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// How to reach the PostgreSQL server of `connection`. Of its extras `sslmode`, `sslrootcert`, `sslcert`, `sslkey`,
/// `application_name` and `options` (`-c name=value ...`) count.
///
/// # Errors
/// When an extra is wrong.
pub fn postgres_options(connection: &Connection, application: &str) -> Result<PgConnectOptions, Error> {
    let extra = extras(connection)?;
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(host(connection))
        .port(connection.port.unwrap_or(POSTGRES_PORT))
        .application_name(text(&extra, "application_name").unwrap_or(application));
    if let Some(login) = &connection.login {
        options = options.username(login);
    }
    if let Some(password) = connection.password.as_ref().map(Secret::expose) {
        options = options.password(password);
    }
    if let Some(database) = present(&connection.schema) {
        options = options.database(database);
    }
    if let Some(mode) = text(&extra, "sslmode") {
        let mode = PgSslMode::from_str(mode);
        options = options.ssl_mode(mode.map_err(|_| unknown(connection, "sslmode", &extra))?);
    }
    if let Some(path) = text(&extra, "sslrootcert") {
        options = options.ssl_root_cert(path);
    }
    if let Some(path) = text(&extra, "sslcert") {
        options = options.ssl_client_cert(path);
    }
    if let Some(path) = text(&extra, "sslkey") {
        options = options.ssl_client_key(path);
    }
    if let Some(settings) = text(&extra, "options") {
        let pairs = settings.split("-c").map(str::trim).filter(|pair| !pair.is_empty());
        let pairs: Option<Vec<_>> = pairs.map(|pair| pair.split_once('=')).collect();
        options = options.options(pairs.ok_or_else(|| unknown(connection, "options", &extra))?);
    }
    Ok(options)
}

/// How to reach the MySQL server of `connection`. Of its extras `charset`, `ssl_mode`, `ssl_ca` and `unix_socket` count.
///
/// # Errors
/// When an extra is wrong.
pub fn mysql_options(connection: &Connection) -> Result<MySqlConnectOptions, Error> {
    let extra = extras(connection)?;
    // Statements mean what they mean in every other client: `||` is the server's business.
    let mut options = MySqlConnectOptions::new()
        .host(host(connection))
        .port(connection.port.unwrap_or(MYSQL_PORT))
        .charset(text(&extra, "charset").unwrap_or("utf8mb4"))
        .pipes_as_concat(false)
        .no_engine_substitution(false);
    if let Some(login) = &connection.login {
        options = options.username(login);
    }
    if let Some(password) = connection.password.as_ref().map(Secret::expose) {
        options = options.password(password);
    }
    if let Some(database) = present(&connection.schema) {
        options = options.database(database);
    }
    if let Some(mode) = text(&extra, "ssl_mode") {
        let mode = MySqlSslMode::from_str(mode);
        options = options.ssl_mode(mode.map_err(|_| unknown(connection, "ssl_mode", &extra))?);
    }
    if let Some(path) = text(&extra, "ssl_ca") {
        options = options.ssl_ca(path);
    }
    if let Some(path) = text(&extra, "unix_socket") {
        options = options.socket(path);
    }
    Ok(options)
}

fn unknown(connection: &Connection, name: &str, extra: &Map<String, Value>) -> Error {
    let value = text(extra, name).unwrap_or_default();
    Error::lasting(format!("connection `{}`: its extra has an unknown {name} `{value}`", connection.conn_id))
}

/// What a SQLite connection names as its file, as it stands there: the host, or what follows the host in a URI.
///
/// # Errors
/// When it names none.
pub fn sqlite_path(connection: &Connection) -> Result<&str, Error> {
    // The URI `sqlite:////data/x.db` puts the path where other systems have their database.
    let path = [&connection.host, &connection.schema].into_iter().find_map(present);
    path.ok_or_else(|| Error::lasting("it names no file; set the host to the path of the database"))
}

/// A connection of its own to a PostgreSQL server.
///
/// # Errors
/// When the connection is wrong or the server does not answer.
pub async fn open_postgres(connection: &Connection) -> Result<PgConnection, Error> {
    let options = postgres_options(connection, "towpath")?;
    let place = place(connection, POSTGRES_PORT);
    waited(place, options.connect()).await
}

/// A connection of its own to a MySQL server.
///
/// # Errors
/// When the connection is wrong or the server does not answer.
pub async fn open_mysql(connection: &Connection) -> Result<MySqlConnection, Error> {
    let options = mysql_options(connection)?;
    let place = place(connection, MYSQL_PORT);
    waited(place, options.connect()).await
}

fn place(connection: &Connection, port: u16) -> String {
    let (id, host) = (&connection.conn_id, host(connection));
    format!("connection `{id}`: the database at {host}:{}", connection.port.unwrap_or(port))
}

async fn waited<T>(place: String, opening: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(CONNECT_TIMEOUT, opening).await {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(sqlx::Error::Io(error))) => Err(Error::passing(format!("{place} does not answer: {error}"))),
        Ok(Err(sqlx::Error::Database(error))) => Err(Error::passing(format!("{place} refuses: {}", error.message()))),
        Ok(Err(error)) => Err(Error::passing(format!("{place} cannot be used: {error}"))),
        Err(_) => Err(Error::passing(format!("{place} has not answered within {CONNECT_TIMEOUT:?}"))),
    }
}

/// Opens a SQLite file; to be called where blocking is allowed. With `create` one that is missing is made, and its
/// folder.
///
/// # Errors
/// When there is no such file, its folder cannot be made, or it is no database.
pub fn open_sqlite(path: &Path, create: bool) -> Result<rusqlite::Connection, Error> {
    let shown = path.display();
    if !create && !path.is_file() {
        return Err(Error::passing(format!("there is no SQLite file `{shown}`")));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        std::fs::create_dir_all(folder).map_err(|error| {
            let folder = folder.display();
            Error::passing(format!("the SQLite file `{shown}`: the folder `{folder}` cannot be made: {error}"))
        })?;
    }
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
    let failed =
        |error: rusqlite::Error| Error::of_sqlite(&error).at(format!("the SQLite file `{shown}` cannot be used"));
    let database = rusqlite::Connection::open_with_flags(path, flags).map_err(failed)?;
    database.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    // Nothing is read before the first statement, so a file that is none would be blamed on that.
    database.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(())).map_err(failed)?;
    Ok(database)
}
