//! `towpath db check`

use std::time::Instant;

use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit code 1 when it does not answer, or when migrations are pending.")]
pub(crate) struct Args {}

pub(crate) async fn run(_: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let url = towpath_store::redact(session.config.database_url.value.expose());
    let store = session.connect().await?;
    let start = Instant::now();
    store.ping().await?;
    let latency_ms = start.elapsed().as_micros() as f64 / 1e3;
    output::line(format!("{url} answers in {latency_ms:.1} ms ({})", store.dialect()))?;
    let pending = store.pending_migrations().await?;
    if pending.is_empty() {
        output::line("its schema is up to date")?;
        return Ok(Outcome::Success);
    }
    output::line(format!("pending migrations: {}; `towpath db migrate` applies them", pending.join(", ")))?;
    Ok(Outcome::Failure)
}
