//! `towpath users ...`

mod create;
mod delete;
mod grant;
mod link;
mod list;
mod login_link;
mod password;
mod revoke;
mod set_password;
mod set_role;

use towpath_store::{Role, Scope, Store, UserRecord};

use crate::exit::{Outcome, usage};
use crate::names;
use crate::session::Session;

/// A user logs in to the web UI and the API, and may do what the role says: `viewer` sees everything about DAGs, `user`
/// runs and changes them, `op` keeps pools, variables, connections and assets as well, `admin` may do all. `none` may do
/// only what is granted DAG by DAG.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the users with their roles and grants
    List(list::Args),
    /// Make a user
    Create(create::Args),
    /// Give a user a password, read from stdin
    SetPassword(set_password::Args),
    /// Give a user another role
    SetRole(set_role::Args),
    /// Permit a user something with a DAG, or with all that have a tag
    Grant(grant::Args),
    /// Take such a permission back
    Revoke(revoke::Args),
    /// Delete a user, with all sessions and tokens
    Delete(delete::Args),
    /// Let somebody whom the identity provider knows log in as a user
    Link(link::Args),
    /// Print a link that logs a user in once, within 15 minutes
    LoginLink(login_link::Args),
}

pub(crate) async fn run(command: Command, session: &Session) -> anyhow::Result<Outcome> {
    match command {
        Command::List(args) => list::run(&args, session).await,
        Command::Create(args) => create::run(&args, session).await,
        Command::SetPassword(args) => set_password::run(&args, session).await,
        Command::SetRole(args) => set_role::run(&args, session).await,
        Command::Grant(args) => grant::run(&args, session).await,
        Command::Revoke(args) => revoke::run(&args, session).await,
        Command::Delete(args) => delete::run(&args, session).await,
        Command::Link(args) => link::run(&args, session).await,
        Command::LoginLink(args) => login_link::run(&args, session).await,
    }
}

/// What a grant is about.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct ScopeArgs {
    /// A DAG, by its id
    #[arg(long, value_name = "DAG_ID")]
    dag: Option<String>,
    /// All DAGs with this tag
    #[arg(long)]
    tag: Option<String>,
}

impl ScopeArgs {
    fn scope(&self) -> anyhow::Result<Scope> {
        match (&self.dag, &self.tag) {
            (Some(dag), _) => Ok(Scope::Dag(dag.clone())),
            (None, Some(tag)) => Ok(Scope::Tag(tag.clone())),
            (None, None) => Err(usage("say what it is about: --dag DAG_ID or --tag TAG")),
        }
    }
}

/// Reads a role.
pub(super) fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|_| format!("`{text}` is no role; there are none, viewer, user, op and admin"))
}

/// A user who must be there.
///
/// # Errors
/// When there is none; the message then names the nearest name.
pub(super) async fn find(store: &Store, name: &str) -> anyhow::Result<UserRecord> {
    if let Some(user) = store.user(name).await? {
        return Ok(user);
    }
    let users = store.users().await?;
    Err(anyhow::anyhow!("user `{name}` does not exist{}", names::hint(name, users.iter().map(|u| u.name.as_str()))))
}

/// The last administrator cannot be taken away: nobody could make another one but here.
///
/// # Errors
/// When `name` is the only one.
pub(super) async fn keep_an_admin(store: &Store, name: &str) -> anyhow::Result<()> {
    let users = store.users().await?;
    let is_last = users.iter().filter(|user| user.role == Role::Admin).all(|user| user.name == name);
    if is_last && users.iter().any(|user| user.name == name && user.role == Role::Admin) {
        anyhow::bail!("`{name}` is the only admin; make another one first: towpath users create NAME --role admin");
    }
    Ok(())
}
