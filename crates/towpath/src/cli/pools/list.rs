//! `towpath pools list`

use serde::Serialize;

use crate::exit::Outcome;
use crate::output::{self, OutputArgs, Row};
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Item {
    name: String,
    slots: u32,
    used: u32,
    description: Option<String>,
}

impl Row for Item {
    const HEADINGS: &'static [&'static str] = &["name", "slots", "used", "description"];

    fn cells(&self) -> Vec<String> {
        let description = self.description.clone().unwrap_or_default();
        vec![self.name.clone(), self.slots.to_string(), self.used.to_string(), description]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let items: Vec<Item> = store
        .pools()
        .await?
        .into_iter()
        .map(|pool| Item { name: pool.name, slots: pool.slots, used: pool.used, description: pool.description })
        .collect();
    output::list(args.output.output, &items)?;
    Ok(Outcome::Success)
}
