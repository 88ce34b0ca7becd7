//! `towpath pools set`

use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  towpath pools set warehouse 4 --description 'connections that the warehouse allows'"
)]
pub(crate) struct Args {
    /// Its name
    name: String,
    /// How many slots it has; 0 closes it
    slots: u32,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    store.set_pool(&args.name, args.slots, args.description.as_deref(), session.now()).await?;
    output::line(format!("pool `{}` has {} slots", args.name, args.slots))?;
    Ok(Outcome::Success)
}
