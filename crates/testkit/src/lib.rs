//! What tests share: databases of both dialects.
//!
//! Every test runs on both. PostgreSQL is the server that `TOWPATH_TEST_POSTGRES` names
//! (`scripts/test` starts one); without it a test fails, it is never skipped.

pub mod history;

use std::path::PathBuf;

use sqlx::{Connection as _, Executor as _, MySqlConnection, PgConnection};

/// The environment variable with the address of a PostgreSQL server on which tests may create databases.
pub const POSTGRES: &str = "TOWPATH_TEST_POSTGRES";

/// The environment variable with the address of a MySQL or MariaDB server, for tests of users' databases.
pub const MYSQL: &str = "TOWPATH_TEST_MYSQL";

/// The environment variable with the URL of a server that speaks S3 and takes any credentials.
pub const S3: &str = "TOWPATH_TEST_S3";

/// The environment variable with the URL of a server that speaks Azure's blobs: its path is the name of the account, whose key is
/// [`AZURE_KEY`], and it has a container `towpath`.
pub const AZURE: &str = "TOWPATH_TEST_AZURE";

/// The key of the account on that server.
pub const AZURE_KEY: &str = "dG93cGF0aA==";

/// The URL of the server that speaks Azure's blobs.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn azure() -> String {
    std::env::var(AZURE)
        .unwrap_or_else(|_| panic!("{AZURE} names no server: run the tests with `scripts/test`, which starts one"))
}

/// A new bucket on the S3 server: the server's URL and the bucket's name.
///
/// # Panics
/// When there is no server or it refuses.
#[must_use]
pub fn s3_bucket() -> (String, String) {
    use std::io::{Read as _, Write as _};
    let server = std::env::var(S3)
        .unwrap_or_else(|_| panic!("{S3} names no server: run the tests with `scripts/test`, which starts one"));
    // Letters and digits only: clients of Google's store encode all others, which the server does not undo.
    let name = format!("towpath{:032x}", rand::random::<u128>());
    let host = server.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = std::net::TcpStream::connect(host).expect("the test server answers");
    let request = format!("PUT /{name} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).expect("the test server takes requests");
    stream.read_to_string(&mut answer).expect("the test server answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "the test server makes no bucket: {answer}");
    (server, name)
}

/// An empty database that is removed when this value is dropped.
#[derive(Debug)]
pub struct TestDb {
    /// `sqlite`, `postgres` or `mysql`.
    pub name: &'static str,
    /// Its address.
    pub url: String,
    guard: Guard,
}

#[derive(Debug)]
enum Guard {
    Folder(tempfile::TempDir),
    Database { server: String, name: String },
}

/// One empty database of each dialect.
pub async fn databases() -> Vec<TestDb> {
    vec![sqlite(), postgres().await]
}

/// An empty SQLite database in a folder of its own.
///
/// # Panics
/// When no folder can be made.
#[must_use]
pub fn sqlite() -> TestDb {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let url = format!("sqlite://{}", folder.path().join("towpath.db").display());
    TestDb { name: "sqlite", url, guard: Guard::Folder(folder) }
}

/// An empty PostgreSQL database.
///
/// # Panics
/// When there is no server or it refuses.
pub async fn postgres() -> TestDb {
    let server = std::env::var(POSTGRES)
        .unwrap_or_else(|_| panic!("{POSTGRES} names no server: run the tests with `scripts/test`, which starts one"));
    let name = format!("towpath_test_{:032x}", rand::random::<u128>());
    let mut connection = PgConnection::connect(&server).await.expect("the test server answers");
    let create = format!("CREATE DATABASE {name} TEMPLATE template0");
    connection.execute(sqlx::AssertSqlSafe(create)).await.expect("the test server takes a new database");
    let mut url = url::Url::parse(&server).expect("the test server's address is a URL");
    url.set_path(&name);
    TestDb { name: "postgres", url: url.to_string(), guard: Guard::Database { server, name } }
}

/// An empty MySQL database: no place for Towpath's own data, but one that tasks read and write.
///
/// # Panics
/// When there is no server or it refuses.
pub async fn mysql() -> TestDb {
    let server = std::env::var(MYSQL)
        .unwrap_or_else(|_| panic!("{MYSQL} names no server: run the tests with `scripts/test`, which starts one"));
    let name = format!("towpath_test_{:032x}", rand::random::<u128>());
    let mut connection = MySqlConnection::connect(&server).await.expect("the test server answers");
    let create = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4");
    connection.execute(sqlx::AssertSqlSafe(create)).await.expect("the test server takes a new database");
    let mut url = url::Url::parse(&server).expect("the test server's address is a URL");
    url.set_path(&name);
    TestDb { name: "mysql", url: url.to_string(), guard: Guard::Database { server, name } }
}

impl TestDb {
    /// The file of a SQLite database.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        match &self.guard {
            Guard::Folder(folder) => Some(folder.path().join("towpath.db")),
            Guard::Database { .. } => None,
        }
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let Guard::Database { server, name } = &self.guard else { return };
        let is_mysql = self.name == "mysql";
        let force = if is_mysql { "" } else { " WITH (FORCE)" };
        let (server, drop) = (server.clone(), format!("DROP DATABASE IF EXISTS {name}{force}"));
        // A runtime of its own: the test's may be shutting down.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let Ok(runtime) = runtime {
                runtime.block_on(async {
                    if is_mysql {
                        if let Ok(mut connection) = MySqlConnection::connect(&server).await {
                            let _ = connection.execute(sqlx::AssertSqlSafe(drop)).await;
                        }
                        return;
                    }
                    if let Ok(mut connection) = PgConnection::connect(&server).await {
                        // The server is thrown away after the tests, so a database that stays costs little.
                        let _ = connection.execute(sqlx::AssertSqlSafe(drop)).await;
                    }
                });
            }
        });
        let _ = thread.join();
    }
}
