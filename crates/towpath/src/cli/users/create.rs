//! `towpath users create`

use towpath_store::Role;

use super::password;
use crate::exit::{Outcome, usage};
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --password a login link or an API token lets the user in.

Examples:
  towpath users create ada --role admin
  towpath users create bob --role viewer --password < password.txt
  towpath users create carol --role none && towpath users grant carol --tag flights --edit")]
pub(crate) struct Args {
    /// Its name
    name: String,
    /// What the user may do: none, viewer, user, op or admin
    #[arg(long, value_parser = super::role)]
    role: Role,
    /// Read a password from stdin
    #[arg(long)]
    password: bool,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let hash = if args.password { Some(password::read().await?) } else { None };
    let store = session.store().await?;
    let Args { name, role, .. } = args;
    if !store.create_user(name, *role, hash.as_deref(), session.now()).await? {
        return Err(usage(format!("there is a user `{name}` already; `towpath users set-role` gives another role")));
    }
    output::line(format!("user `{name}` has the role `{role}`"))?;
    if hash.is_none() {
        output::remark(format!("`towpath users login-link {name}` lets them in"));
    }
    Ok(Outcome::Success)
}
