//! `towpath connections get`

use super::Shown;
use crate::exit::Outcome;
use crate::output::{self, Detail, OutputArgs};
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its id
    conn_id: String,
    /// Show the password and secret extras as well
    #[arg(long)]
    show_secrets: bool,
    #[command(flatten)]
    output: OutputArgs,
}

impl Detail for Shown {
    fn fields(&self) -> Vec<(&'static str, String)> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        vec![
            ("conn_id", self.conn_id.clone()),
            ("conn_type", self.conn_type.clone()),
            ("host", text(&self.host)),
            ("port", self.port.map(|port| port.to_string()).unwrap_or_default()),
            ("schema", text(&self.schema)),
            ("login", text(&self.login)),
            ("password", text(&self.password)),
            ("extra", text(&self.extra)),
            ("description", text(&self.description)),
        ]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    match store.connection(&args.conn_id).await? {
        Some(connection) => output::detail(args.output.output, &Shown::new(connection, args.show_secrets))?,
        None => return Err(super::not_found(&store, &args.conn_id).await),
    }
    Ok(Outcome::Success)
}
