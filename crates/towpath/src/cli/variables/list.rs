//! `towpath variables list`

use serde::Serialize;
use towpath_model::connection::is_secret_name;

use crate::exit::Outcome;
use crate::output::{self, OutputArgs, Row};
use crate::session::Session;

/// What stands for a value that is not shown.
const HIDDEN: &str = "***";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show values whose names say that they are secret as well
    #[arg(long)]
    show_secrets: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Item {
    key: String,
    value: String,
    description: Option<String>,
}

impl Row for Item {
    const HEADINGS: &'static [&'static str] = &["key", "value", "description"];

    fn cells(&self) -> Vec<String> {
        vec![self.key.clone(), self.value.clone(), self.description.clone().unwrap_or_default()]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let items: Vec<Item> = store
        .variables()
        .await?
        .into_iter()
        .map(|variable| {
            let hide = !args.show_secrets && is_secret_name(&variable.key);
            let value = if hide { HIDDEN.to_owned() } else { variable.value };
            Item { key: variable.key, value, description: variable.description }
        })
        .collect();
    output::list(args.output.output, &items)?;
    Ok(Outcome::Success)
}
