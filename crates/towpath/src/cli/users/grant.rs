//! `towpath users grant`

use towpath_store::{Access, Grant};

use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is granted adds to the role. Whoever has the role `none` sees only what is granted.

Examples:
  towpath users grant carol --tag flights
  towpath users grant carol --dag etl_pipeline --edit")]
pub(crate) struct Args {
    /// Name of the user
    name: String,
    #[command(flatten)]
    scope: super::ScopeArgs,
    /// Let the user trigger, clear and change as well, not only look
    #[arg(long)]
    edit: bool,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let user = super::find(&store, &args.name).await?;
    let access = if args.edit { Access::Edit } else { Access::Read };
    let grant = Grant { scope: args.scope.scope()?, access };
    store.grant(&user.name, &grant).await?;
    output::line(format!("user `{}` may {access} {}", user.name, grant.scope))?;
    Ok(Outcome::Success)
}
