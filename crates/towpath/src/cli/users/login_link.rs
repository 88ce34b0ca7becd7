//! `towpath users login-link`

use chrono::TimeDelta;
use towpath_auth::Minted;

use crate::exit::Outcome;
use crate::http;
use crate::output;
use crate::session::Session;

/// How long the link can be used.
const LIFE: TimeDelta = TimeDelta::minutes(15);

#[derive(Debug, clap::Args)]
#[command(after_help = "The address is `base_url`, or else the one that `towpath up` listens on (`listen`).")]
pub(crate) struct Args {
    /// Name of the user
    name: String,
    /// Address that the server listens on, where it is not the configured one
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let user = super::find(&store, &args.name).await?;
    let link = Minted::new("");
    let now = session.now();
    store.create_login_link(&link.hash, &user.name, now + LIFE, now).await?;
    let config = &session.config;
    let url = match &args.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => session.base_url(http::url(config.listen.value, !config.tls_cert.value.is_empty())),
    };
    output::line(format!("{url}/login/link?token={}", link.text))?;
    Ok(Outcome::Success)
}
