//! Whether what a connection names can be reached from here.
//!
//! HTTP hosts and object stores are asked, databases opened; of everything else it is only known whether somebody listens.
//! No message holds a password.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use towpath_model::connection::Connection;

use crate::database::{MYSQL_PORT, POSTGRES_PORT, mysql_options, postgres_options, sqlite_path};

/// Ports of kinds of systems, for connections that name none.
const PORTS: &[(&str, u16)] = &[
    ("amqp", 5672),
    ("cassandra", 9042),
    ("elasticsearch", 9200),
    ("ftp", 21),
    ("imap", 993),
    ("kafka", 9092),
    ("ldap", 389),
    ("mongo", 27017),
    ("mssql", 1433),
    ("oracle", 1521),
    ("redis", 6379),
    ("sftp", 22),
    ("smtp", 25),
    ("ssh", 22),
    ("trino", 8080),
    ("vertica", 5433),
];

/// Tries `connection` for no longer than `timeout`; what answered, in words.
///
/// # Errors
/// Why it does not work, with the place in it.
pub async fn test(connection: &Connection, timeout: Duration) -> Result<String, String> {
    let work = async {
        match connection.conn_type.as_str() {
            "http" | "https" => crate::http::probe(connection, timeout).await,
            "postgres" | "postgresql" => postgres(connection).await,
            "sqlite" => sqlite(connection).await,
            "mysql" | "mariadb" => mysql(connection).await,
            _ => match crate::object_storage::check(connection).await {
                Some(told) => told,
                None => tcp(connection).await,
            },
        }
    };
    tokio::time::timeout(timeout, work)
        .await
        .unwrap_or_else(|_| Err(format!("{} has not answered within {timeout:?}", place(connection))))
}

async fn postgres(connection: &Connection) -> Result<String, String> {
    let host = host(connection);
    let options = postgres_options(connection, "towpath connections test").map_err(|error| error.message)?;
    let place = format!("the database at {host}:{}", connection.port.unwrap_or(POSTGRES_PORT));
    let failed = |error: sqlx::Error| format!("{place} {}", reason(&error));
    let mut database = options.connect().await.map_err(failed)?;
    let answer: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut database).await.map_err(failed)?;
    let version: String = sqlx::query_scalar("SHOW server_version").fetch_one(&mut database).await.map_err(failed)?;
    // The answer has been given; how the goodbye goes does not matter.
    let _ = database.close().await;
    Ok(format!("PostgreSQL {version} at {host} answers SELECT {answer}"))
}

async fn mysql(connection: &Connection) -> Result<String, String> {
    let host = host(connection);
    let options = mysql_options(connection).map_err(|error| error.message)?;
    let place = format!("the database at {host}:{}", connection.port.unwrap_or(MYSQL_PORT));
    let failed = |error: sqlx::Error| format!("{place} {}", reason(&error));
    let mut database = options.connect().await.map_err(failed)?;
    let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut database).await.map_err(failed)?;
    let _ = database.close().await;
    Ok(format!("MySQL {version} at {host} answers SELECT VERSION()"))
}

fn host(connection: &Connection) -> &str {
    connection.host.as_deref().filter(|host| !host.is_empty()).unwrap_or("localhost")
}

async fn sqlite(connection: &Connection) -> Result<String, String> {
    let path = sqlite_path(connection).map_err(|error| error.message)?;
    if !Path::new(path).is_file() {
        return Err(format!("there is no file `{path}`"));
    }
    let failed = |error: sqlx::Error| format!("the file `{path}` {}", reason(&error));
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(false).read_only(true);
    let mut database = options.connect().await.map_err(failed)?;
    // A constant would be answered without a look at the file.
    let query = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = sqlx::query_scalar(query).fetch_one(&mut database).await.map_err(failed)?;
    let version: String =
        sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut database).await.map_err(failed)?;
    let _ = database.close().await;
    Ok(format!("SQLite {version} opens `{path}`, which has {tables} tables and indexes"))
}

async fn tcp(connection: &Connection) -> Result<String, String> {
    let kind = &connection.conn_type;
    let host = bare_host(connection)
        .ok_or_else(|| format!("a connection of type `{kind}` without a host cannot be tested"))?;
    let port = connection.port.or_else(|| PORTS.iter().find(|(name, _)| name == kind).map(|(_, port)| *port));
    let port = port.ok_or_else(|| format!("it names no port, and type `{kind}` has no usual one; set the port"))?;
    match tokio::net::TcpStream::connect((host, port)).await {
        Ok(_) => Ok(format!("{host}:{port} accepts connections (nothing else is tested for type `{kind}`)")),
        Err(error) => Err(format!("{host}:{port} does not answer: {error}")),
    }
}

/// The host without a scheme before it.
fn bare_host(connection: &Connection) -> Option<&str> {
    let host = connection.host.as_deref()?;
    let host = host.split_once("://").map_or(host, |(_, host)| host);
    let host = host.split('/').next().unwrap_or_default();
    (!host.is_empty()).then_some(host)
}

fn place(connection: &Connection) -> String {
    let host = bare_host(connection).unwrap_or("localhost");
    connection.port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) => format!("does not answer: {error}"),
        sqlx::Error::Database(error) => format!("refuses: {}", error.message()),
        other => format!("cannot be used: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const TIMEOUT: Duration = Duration::from_secs(20);

    async fn tried(uri: &str) -> Result<String, String> {
        test(&Connection::from_uri("c", uri).unwrap(), TIMEOUT).await
    }

    /// A server that gives every request the same answer; its port.
    async fn answers(reply: &'static str) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn http_hosts_are_asked() {
        for (reply, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Ok("answers 200 OK")),
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", Ok("answers 404 Not Found")),
            ("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", Err("does not take the login")),
            ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", Err("answers 503")),
        ] {
            let port = answers(reply).await;
            let found = tried(&format!("http://me:hunter2@127.0.0.1:{port}")).await;
            let text = found.as_ref().unwrap_or_else(|error| error);
            assert_eq!(found.is_ok(), expected.is_ok(), "{text}");
            assert!(text.contains(expected.unwrap_or_else(|part| part)) && !text.contains("hunter2"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_sqlite_file_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (good, bad) = (folder.path().join("good.db"), folder.path().join("bad.db"));
        let mut database = SqliteConnectOptions::new().filename(&good).create_if_missing(true).connect().await.unwrap();
        sqlx::query("CREATE TABLE t (x integer)").execute(&mut database).await.unwrap();
        database.close().await.unwrap();
        std::fs::write(&bad, "this is no database, and long enough to be looked at".repeat(20)).unwrap();
        let uri = |path: &Path| format!("sqlite:///{}", path.display());
        let found = tried(&uri(&good)).await.unwrap();
        assert!(found.contains("which has 1 tables"), "{found}");
        let error = tried(&uri(&bad)).await.unwrap_err();
        assert!(error.ends_with("refuses: file is not a database"), "{error}");
        let error = tried(&uri(&folder.path().join("none.db"))).await.unwrap_err();
        assert!(error.starts_with("there is no file"), "{error}");
    }

    #[tokio::test]
    async fn database_servers_are_asked() {
        for db in [towpath_testkit::postgres().await, towpath_testkit::mysql().await] {
            let found = tried(&db.url).await.unwrap();
            assert!(found.contains(" at 127.0.0.1 answers SELECT "), "{found}");
            let error = tried(&format!("{}_gone", db.url)).await.unwrap_err();
            assert!(error.contains(" refuses: "), "{error}");
        }
    }

    #[tokio::test]
    async fn of_others_it_is_known_whether_somebody_listens() {
        let port = answers("").await;
        let found = tried(&format!("redis://127.0.0.1:{port}")).await.unwrap();
        assert!(found.contains("accepts connections"), "{found}");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = tried(&format!("redis://127.0.0.1:{free}")).await.unwrap_err();
        assert!(error.contains("does not answer"), "{error}");
        let error = tried(&format!("postgres://me:hunter2@127.0.0.1:{free}/x")).await.unwrap_err();
        assert!(error.contains("does not answer") && !error.contains("hunter2"), "{error}");
        assert!(tried("ssh://").await.unwrap_err().contains("without a host"));
        assert!(tried("odd://host").await.unwrap_err().contains("names no port"));
    }
}
