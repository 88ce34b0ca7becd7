//! `towpath tokens revoke`

use crate::exit::Outcome;
use crate::names;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name or id
    name: String,
    /// Whose token it is, where several users have one of that name
    #[arg(long)]
    user: Option<String>,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let mut tokens = store.tokens().await?;
    tokens.retain(|token| token.revoked_at.is_none() && args.user.as_ref().is_none_or(|user| *user == token.user));
    let is_meant = |name: &str, id: i64| name == args.name || id.to_string() == args.name;
    let meant: Vec<_> = tokens.iter().filter(|token| is_meant(&token.name, token.id)).collect();
    match meant[..] {
        [token] => {
            store.revoke_token(token.id, session.now()).await?;
            output::line(format!("token `{}` of user `{}` is revoked", token.name, token.user))?;
            Ok(Outcome::Success)
        }
        [] => {
            let hint = names::hint(&args.name, tokens.iter().map(|token| token.name.as_str()));
            anyhow::bail!("there is no token `{}`{hint}", args.name)
        }
        _ => anyhow::bail!("several tokens are called `{}`; add --user NAME, or give the id", args.name),
    }
}
