//! `towpath pools delete`

use anyhow::bail;

use crate::exit::Outcome;
use crate::session::Session;
use crate::{names, output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name
    name: String,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    if !store.delete_pool(&args.name).await? {
        let known = store.pools().await?;
        bail!(
            "pool `{}` does not exist{}",
            args.name,
            names::hint(&args.name, known.iter().map(|pool| pool.name.as_str()))
        );
    }
    output::line(format!("pool `{}` is deleted", args.name))?;
    Ok(Outcome::Success)
}
