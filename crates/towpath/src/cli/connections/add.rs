//! `towpath connections add`

use std::io::Read;

use anyhow::Context;
use towpath_model::connection::{Connection, Secret};

use crate::exit::{Outcome, usage};
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  towpath connections add warehouse --uri 'postgres://etl:secret@db.example.com:5432/warehouse'
  towpath connections add api --conn-type http --host https://api.example.com --extra '{\"timeout\": 10}'
  towpath connections add warehouse --uri - < uri.txt       keeps the password out of the shell's history")]
pub(crate) struct Args {
    /// Its id
    conn_id: String,
    /// All of it as a URI or as JSON, as in AIRFLOW_CONN_*; `-` reads it from stdin
    #[arg(long, value_name = "URI", conflicts_with_all = ["conn_type", "host", "port", "schema", "login", "password", "extra"])]
    uri: Option<String>,
    /// What kind of system: postgres, http, aws, ...
    #[arg(long, value_name = "TYPE", required_unless_present = "uri")]
    conn_type: Option<String>,
    /// Host, perhaps with a scheme before it
    #[arg(long)]
    host: Option<String>,
    /// Port
    #[arg(long)]
    port: Option<u16>,
    /// Database, or for HTTP the scheme
    #[arg(long)]
    schema: Option<String>,
    /// User name
    #[arg(long)]
    login: Option<String>,
    /// Password; `-` reads it from stdin
    #[arg(long)]
    password: Option<String>,
    /// Further settings, a JSON object
    #[arg(long, value_name = "JSON")]
    extra: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let connection = connection(args)?;
    let store = session.store().await?;
    let replaced = store.connections().await?.iter().any(|known| known.conn_id == args.conn_id);
    store.set_connection(&connection, session.now()).await?;
    output::line(format!("connection `{}` is {}", args.conn_id, if replaced { "replaced" } else { "added" }))?;
    Ok(Outcome::Success)
}

fn connection(args: &Args) -> anyhow::Result<Connection> {
    let mut connection = match &args.uri {
        Some(uri) => {
            Connection::parse(&args.conn_id, &text_or_stdin(uri)?).map_err(|error| usage(error.to_string()))?
        }
        None => Connection {
            conn_id: args.conn_id.clone(),
            conn_type: args.conn_type.clone().unwrap_or_default(),
            host: args.host.clone(),
            port: args.port,
            schema: args.schema.clone(),
            login: args.login.clone(),
            password: args.password.as_deref().map(text_or_stdin).transpose()?.map(Secret::new),
            extra: args.extra.clone(),
            description: None,
        },
    };
    connection.extra_dejson().map_err(|error| usage(error.to_string()))?;
    if args.description.is_some() {
        connection.description.clone_from(&args.description);
    }
    Ok(connection)
}

fn text_or_stdin(text: &str) -> anyhow::Result<String> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut read = String::new();
    std::io::stdin().read_to_string(&mut read).context("cannot read stdin")?;
    Ok(read.trim_end_matches(['\r', '\n']).to_owned())
}
