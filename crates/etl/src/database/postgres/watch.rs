//! Waits for a server that says nothing for a long time: at work, or out of reach?
//!
//! A query may think for an hour before its first row, so silence alone is no failure. A network may swallow what is sent, for ever, and
//! nobody is told. So after some silence a second connection asks the server what it is doing for the first one. It is at work: all is well. It
//! waits for this side, which waits for it, or it is not there: what was sent is lost.

use std::time::Duration;

use serde_json::Value;
use sqlx::PgConnection;
use towpath_model::connection::Connection;
use towpath_operators::database::{Error, open_postgres};

/// Silence after which the server is asked, unless the connection says otherwise (`keepalives_idle`, in seconds).
const SILENCE: Duration = Duration::from_secs(30);
/// Longest time for the answer.
const ANSWER: Duration = Duration::from_secs(10);
/// So often in a row it must be found out of reach: between two steps it waits for a moment as well.
const STRIKES: u32 = 2;

/// Knows which process of the server works for a connection.
pub(super) struct Watch {
    connection: Connection,
    pid: i32,
    silence: Duration,
}

/// What the server does for the connection that is waited for.
enum Found {
    /// It works, or nobody can tell.
    AtWork,
    OutOfReach(&'static str),
}

impl Watch {
    /// For `database`, which is one of `connection`.
    pub(super) async fn of(database: &mut PgConnection, connection: &Connection) -> Result<Self, sqlx::Error> {
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()").persistent(false).fetch_one(database).await?;
        let extra = connection.extra_dejson().unwrap_or_default();
        let seconds = extra.get("keepalives_idle").and_then(Value::as_f64).filter(|seconds| *seconds > 0.0);
        let silence = seconds.and_then(towpath_model::duration::from_seconds).unwrap_or(SILENCE);
        Ok(Self { connection: connection.clone(), pid, silence })
    }

    /// Does `work`, which waits for the server and for nothing else.
    pub(super) async fn wait<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
        lost: impl FnOnce(Error) -> E,
    ) -> Result<T, E> {
        let mut work = std::pin::pin!(work);
        // Most of the time there is something already.
        if let std::task::Poll::Ready(done) = futures::poll!(&mut work) {
            return done;
        }
        let mut strikes = 0;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(self.silence) => {}
            }
            // The first connection is not looked at meanwhile, which costs nothing: it has been silent for long.
            match self.ask().await {
                Found::AtWork => strikes = 0,
                Found::OutOfReach(why) => {
                    strikes += 1;
                    if strikes >= STRIKES {
                        return Err(lost(self.lost(why)));
                    }
                }
            }
        }
    }

    fn lost(&self, why: &str) -> Error {
        Error::passing(format!(
            "connection `{}` has been silent for {:?}, and {why}; the next try connects anew",
            self.connection.conn_id,
            self.silence * STRIKES
        ))
    }

    async fn ask(&self) -> Found {
        let asking = async {
            let mut database = open_postgres(&self.connection).await.ok()?;
            let query = "SELECT state, wait_event_type FROM pg_stat_activity WHERE pid = $1";
            let found = sqlx::query_as::<_, (Option<String>, Option<String>)>(query).persistent(false).bind(self.pid);
            found.fetch_optional(&mut database).await.ok()
        };
        match tokio::time::timeout(ANSWER, asking).await {
            Err(_) | Ok(None) => Found::OutOfReach("its server does not answer a second one either"),
            Ok(Some(None)) => Found::OutOfReach("its server does not know it any more"),
            // Behind a pool the process may work for somebody else by now.
            Ok(Some(Some((state, waits)))) => match (state.as_deref(), waits.as_deref()) {
                (Some("idle") | None, _) => Found::AtWork,
                (_, Some("Client")) => {
                    Found::OutOfReach("its server waits for this side: the network loses what is sent")
                }
                _ => Found::AtWork,
            },
        }
    }
}
