//! What can go wrong in a step.

/// Why a step did not happen. Nothing of it has happened then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{url}` is not a database address: {reason}")]
    Url { url: String, reason: String },
    #[error("the database at {url} does not answer: {reason}")]
    Unreachable { url: String, reason: String },
    #[error("{thing} `{id}` does not exist")]
    NotFound { thing: &'static str, id: String },
    #[error("DAG `{dag_id}` already has a run {what}")]
    RunExists { dag_id: String, what: String },
    /// A run was asked for with params that it may not have.
    #[error("DAG `{dag_id}`: {}", towpath_model::params::listed(errors))]
    Params { dag_id: String, errors: Vec<towpath_model::params::ParamError> },
    /// A compare-and-set was lost: somebody else has changed the row since it was read.
    #[error("{0} has changed in the meantime")]
    Stale(String),
    #[error("{0}")]
    Invalid(String),
    #[error("the database could not be migrated: {0}")]
    Migration(String),
    #[error("a stored value cannot be read: {0}")]
    Corrupt(String),
    #[error("a secret cannot be decrypted: {0}")]
    Secret(#[from] crate::crypto::KeyError),
    #[error("the database refused a step: {0}")]
    Database(#[source] sqlx::Error),
}

impl Error {
    /// Whether the same step may succeed later: the connection failed, not the step.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Database(error) => is_transient(error),
            Self::Url { .. }
            | Self::NotFound { .. }
            | Self::RunExists { .. }
            | Self::Params { .. }
            | Self::Stale(_)
            | Self::Invalid(_)
            | Self::Migration(_)
            | Self::Corrupt(_)
            | Self::Secret(_) => false,
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::Tls(_)
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::Protocol(_) => true,
        // What the statement itself is to blame for will fail again: wrong data (22), a violated
        // constraint (23), a wrong statement (42). Everything else is the server's state.
        sqlx::Error::Database(db) => match db.code().as_deref() {
            Some(code) if code.len() == 5 => !["22", "23", "42"].iter().any(|class| code.starts_with(class)),
            // SQLite: extended codes carry the primary one in the low byte. 1 error, 19 constraint, 20 mismatch, 25 range.
            Some(code) => code.parse::<i64>().is_ok_and(|code| !matches!(code & 0xff, 1 | 19 | 20 | 25)),
            None => false,
        },
        _ => false,
    }
}

/// A database address without its password.
#[must_use]
pub fn redact(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => {
            // Setting a password only fails for addresses that cannot have one.
            let _ = parsed.set_password(Some("***"));
            parsed.to_string()
        }
        _ => url.to_owned(),
    }
}
