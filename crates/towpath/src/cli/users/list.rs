//! `towpath users list`

use serde::Serialize;
use towpath_store::{Grant, Role, UserRecord};

use crate::exit::Outcome;
use crate::output::{self, OutputArgs, Row};
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Serialize)]
struct Item {
    name: String,
    role: Role,
    has_password: bool,
    grants: Vec<Grant>,
    created_at: String,
    last_login_at: Option<String>,
}

impl Item {
    fn new(user: UserRecord) -> Self {
        Self {
            name: user.name,
            role: user.role,
            has_password: user.password_hash.is_some(),
            grants: user.grants,
            created_at: output::rfc3339(user.created_at),
            last_login_at: user.last_login_at.map(output::rfc3339),
        }
    }
}

impl Row for Item {
    const HEADINGS: &'static [&'static str] = &["name", "role", "password", "grants", "last_login"];

    fn cells(&self) -> Vec<String> {
        let grants: Vec<String> = self.grants.iter().map(|grant| format!("{} {}", grant.access, grant.scope)).collect();
        let password = if self.has_password { "yes" } else { "no" };
        let login = self.last_login_at.clone().unwrap_or_default();
        vec![self.name.clone(), self.role.to_string(), password.to_owned(), grants.join(", "), login]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let users = session.store().await?.users().await?;
    let items: Vec<Item> = users.into_iter().map(Item::new).collect();
    if items.is_empty() {
        crate::cli::empty_list(
            args.output.output,
            "there is no user yet; `towpath up` makes `admin` and prints a link",
        );
    }
    output::list(args.output.output, &items)?;
    Ok(Outcome::Success)
}
