//! `towpath variables set`

use std::io::Read;

use anyhow::Context;

use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  towpath variables set warehouse_path /data/warehouse --description 'where loads go'
  towpath variables set api_key - < key.txt          keeps the value out of the shell's history")]
pub(crate) struct Args {
    /// Its key
    key: String,
    /// Its value; `-` reads it from stdin, without the line end
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let mut value = args.value.clone();
    if value == "-" {
        value.clear();
        std::io::stdin().read_to_string(&mut value).context("cannot read the value from stdin")?;
        value.truncate(value.trim_end_matches(['\r', '\n']).len());
    }
    let store = session.store().await?;
    store.set_variable(&args.key, &value, args.description.as_deref(), session.now()).await?;
    output::line(format!("variable `{}` is set", args.key))?;
    Ok(Outcome::Success)
}
