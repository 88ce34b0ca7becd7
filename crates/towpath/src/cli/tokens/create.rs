//! `towpath tokens create`

use std::time::Duration;

use chrono::TimeDelta;
use towpath_auth::{API_TOKEN_PREFIX, Minted};
use towpath_store::{NewToken, Role};

use crate::cli::users;
use crate::exit::{Outcome, usage};
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  towpath tokens create ci --user ada --expires 90d
  towpath tokens create prometheus --user ada --role viewer > token.txt
  curl -H \"Authorization: Bearer $(cat token.txt)\" localhost:8080/api/v2/dags")]
pub(crate) struct Args {
    /// What to call it
    name: String,
    /// Whose token it is
    #[arg(long)]
    user: String,
    /// Let it do no more than this role, although its user may
    #[arg(long, value_parser = users::role)]
    role: Option<Role>,
    /// How long it can be used, such as 90d [default: until it is revoked]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expires: Option<Duration>,
}

fn duration(text: &str) -> Result<Duration, String> {
    towpath_model::duration::parse(text).map_err(|error| error.to_string())
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let user = users::find(&store, &args.user).await?;
    let now = session.now();
    let expires_at = match args.expires {
        Some(life) => {
            let end = TimeDelta::from_std(life).ok().and_then(|life| now.checked_add_signed(life));
            Some(end.ok_or_else(|| usage("--expires is too long"))?)
        }
        None => None,
    };
    let token = Minted::new(API_TOKEN_PREFIX);
    let new = NewToken {
        hash: token.hash.clone(),
        name: args.name.clone(),
        user: user.name.clone(),
        role: args.role,
        expires_at,
    };
    if store.create_token(&new, now).await?.is_none() {
        return Err(usage(format!(
            "user `{}` has a token `{}` already; revoke it, or take another name",
            user.name, args.name
        )));
    }
    output::line(&token.text)?;
    output::remark("it is shown this once and kept as a hash");
    Ok(Outcome::Success)
}
