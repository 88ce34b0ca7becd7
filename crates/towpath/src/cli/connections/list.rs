//! `towpath connections list`

use super::Shown;
use crate::exit::Outcome;
use crate::output::{self, OutputArgs, Row};
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: OutputArgs,
}

impl Row for Shown {
    const HEADINGS: &'static [&'static str] =
        &["conn_id", "conn_type", "host", "port", "schema", "login", "description"];

    fn cells(&self) -> Vec<String> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        vec![
            self.conn_id.clone(),
            self.conn_type.clone(),
            text(&self.host),
            self.port.map(|port| port.to_string()).unwrap_or_default(),
            text(&self.schema),
            text(&self.login),
            text(&self.description),
        ]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let shown: Vec<Shown> =
        store.connections().await?.into_iter().map(|connection| Shown::new(connection, false)).collect();
    output::list(args.output.output, &shown)?;
    Ok(Outcome::Success)
}
