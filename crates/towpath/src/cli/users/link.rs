//! `towpath users link`

use crate::exit::{Outcome, usage};
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the user
    name: String,
    /// What the identity provider calls them (`sub`), as the refused login says
    subject: String,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let issuer = &session.config.oidc_issuer.value;
    if issuer.is_empty() {
        return Err(usage("there is no identity provider; set `oidc_issuer`"));
    }
    let store = session.store().await?;
    super::find(&store, &args.name).await?;
    if !store.link_identity(issuer, &args.subject, &args.name, session.now()).await? {
        let other = store.user_of_identity(issuer, &args.subject).await?.map(|user| user.name).unwrap_or_default();
        return Err(usage(format!("`{}` of {issuer} is user `{other}` already", args.subject)));
    }
    output::line(format!("`{}` of {issuer} logs in as user `{}`", args.subject, args.name))?;
    Ok(Outcome::Success)
}
