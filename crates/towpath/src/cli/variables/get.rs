//! `towpath variables get`

use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its key
    key: String,
    /// What to print where there is no such variable, instead of failing
    #[arg(long, value_name = "VALUE")]
    default: Option<String>,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    match store.variable(&args.key).await?.or_else(|| args.default.clone()) {
        Some(value) => output::line(value)?,
        None => return Err(super::not_found(&store, &args.key).await),
    }
    Ok(Outcome::Success)
}
