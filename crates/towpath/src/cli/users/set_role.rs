//! `towpath users set-role`

use towpath_store::Role;

use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the user
    name: String,
    /// none, viewer, user, op or admin
    #[arg(value_parser = super::role)]
    role: Role,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    super::find(&store, &args.name).await?;
    if args.role != Role::Admin {
        super::keep_an_admin(&store, &args.name).await?;
    }
    store.set_role(&args.name, args.role).await?;
    output::line(format!("user `{}` has the role `{}`", args.name, args.role))?;
    Ok(Outcome::Success)
}
