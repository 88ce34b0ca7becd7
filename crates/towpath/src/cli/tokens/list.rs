//! `towpath tokens list`

use serde::Serialize;
use towpath_store::{Role, TokenRecord};

use crate::exit::Outcome;
use crate::output::{self, OutputArgs, Row};
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also those that are revoked or have expired
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Item {
    id: i64,
    name: String,
    user: String,
    role: Option<Role>,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    last_used_at: Option<String>,
}

impl From<TokenRecord> for Item {
    fn from(token: TokenRecord) -> Self {
        Self {
            id: token.id,
            name: token.name,
            user: token.user,
            role: token.role,
            created_at: output::rfc3339(token.created_at),
            expires_at: token.expires_at.map(output::rfc3339),
            revoked_at: token.revoked_at.map(output::rfc3339),
            last_used_at: token.last_used_at.map(output::rfc3339),
        }
    }
}

impl Row for Item {
    const HEADINGS: &'static [&'static str] =
        &["id", "name", "user", "role", "expires_at", "last_used_at", "revoked_at"];

    fn cells(&self) -> Vec<String> {
        let role = self.role.map(|role| role.to_string()).unwrap_or_default();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let times = [&self.expires_at, &self.last_used_at, &self.revoked_at].map(text);
        [self.id.to_string(), self.name.clone(), self.user.clone(), role].into_iter().chain(times).collect()
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let now = session.now();
    let is_good = |token: &TokenRecord| token.revoked_at.is_none() && token.expires_at.is_none_or(|at| at > now);
    let tokens = session.store().await?.tokens().await?;
    let items: Vec<Item> = tokens.into_iter().filter(|token| args.all || is_good(token)).map(Item::from).collect();
    if items.is_empty() {
        crate::cli::empty_list(args.output.output, "there is no API token; `towpath tokens create` makes one");
    }
    output::list(args.output.output, &items)?;
    Ok(Outcome::Success)
}
