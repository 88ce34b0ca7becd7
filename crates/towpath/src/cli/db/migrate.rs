//! `towpath db migrate`

use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.connect().await?;
    let pending = store.pending_migrations().await?;
    store.migrate().await?;
    let url = towpath_store::redact(session.config.database_url.value.expose());
    for name in &pending {
        output::line(format!("applied {name}"))?;
    }
    output::line(format!("{url} is up to date"))?;
    Ok(Outcome::Success)
}
