//! `towpath pools get`

use serde::Serialize;

use crate::exit::Outcome;
use crate::output::{self, Detail, OutputArgs};
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name
    name: String,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    slots: u32,
    used: u32,
    open: u32,
    description: Option<String>,
}

impl Detail for Shown {
    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("slots", self.slots.to_string()),
            ("used", self.used.to_string()),
            ("open", self.open.to_string()),
            ("description", self.description.clone().unwrap_or_default()),
        ]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let pools = session.store().await?.pools().await?;
    let Some(pool) = pools.iter().find(|pool| pool.name == args.name) else {
        return Err(super::not_found(&args.name, &pools));
    };
    let shown = Shown {
        name: pool.name.clone(),
        slots: pool.slots,
        used: pool.used,
        open: pool.slots.saturating_sub(pool.used),
        description: pool.description.clone(),
    };
    output::detail(args.output.output, &shown)?;
    Ok(Outcome::Success)
}
