//! `towpath connections ...`

mod add;
mod delete;
mod get;
mod list;
mod test;

use serde::Serialize;
use serde_json::Value;
use towpath_model::connection::{Connection, is_secret_name};

use crate::exit::Outcome;
use crate::session::Session;

/// A connection says how to reach another system: tasks name it by its id. One in the environment
/// (TOWPATH_CONN_ID or AIRFLOW_CONN_ID, a URI or JSON) wins over the one in the store.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the connections of the store
    List(list::Args),
    /// Show a connection
    Get(get::Args),
    /// Add a connection, or replace one
    Add(add::Args),
    /// Delete a connection
    Delete(delete::Args),
    /// Try whether what a connection names answers
    Test(test::Args),
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::List(args) => list::run(&args, session).await,
        Command::Get(args) => get::run(&args, session).await,
        Command::Add(args) => add::run(&args, session).await,
        Command::Delete(args) => delete::run(&args, session).await,
        Command::Test(args) => test::run(&args, session).await,
    }
}

/// The error for a connection that is not there.
async fn not_found(store: &towpath_store::Store, conn_id: &str) -> anyhow::Error {
    let known = store.connections().await.unwrap_or_default();
    let hint = crate::names::hint(conn_id, known.iter().map(|connection| connection.conn_id.as_str()));
    anyhow::anyhow!("connection `{conn_id}` does not exist{hint}")
}

/// A connection as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    conn_id: String,
    conn_type: String,
    host: Option<String>,
    port: Option<u16>,
    schema: Option<String>,
    login: Option<String>,
    password: Option<String>,
    extra: Option<String>,
    description: Option<String>,
}

impl Shown {
    /// The connection, with secrets only where they are asked for.
    fn new(connection: Connection, secrets: bool) -> Self {
        let hide = |text: String| if secrets { text } else { "***".to_owned() };
        let extra = connection.extra.map(|extra| if secrets { extra } else { without_secrets(&extra) });
        Self {
            conn_id: connection.conn_id,
            conn_type: connection.conn_type,
            host: connection.host,
            port: connection.port,
            schema: connection.schema,
            login: connection.login,
            password: connection.password.map(|password| hide(password.expose().to_owned())),
            extra,
            description: connection.description,
        }
    }
}

/// Extras with the values under secret names hidden; extras that cannot be told apart are hidden as a whole.
fn without_secrets(extra: &str) -> String {
    fn hide(value: &mut Value) {
        match value {
            Value::Object(map) => map
                .iter_mut()
                .for_each(|(name, value)| if is_secret_name(name) { *value = Value::from("***") } else { hide(value) }),
            Value::Array(items) => items.iter_mut().for_each(hide),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    match serde_json::from_str::<Value>(extra) {
        Ok(mut value) if value.is_object() => {
            hide(&mut value);
            value.to_string()
        }
        _ => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden() {
        let uri = "http://me:hunter2@example.com/?api_key=abc&region=eu";
        let connection = Connection::from_uri("c", uri).unwrap();
        let shown = Shown::new(connection.clone(), false);
        assert_eq!(shown.password.as_deref(), Some("***"));
        assert_eq!(shown.extra.as_deref(), Some(r#"{"api_key":"***","region":"eu"}"#));
        assert_eq!(Shown::new(connection, true).password.as_deref(), Some("hunter2"));
        assert_eq!(without_secrets("token"), "***");
    }
}
