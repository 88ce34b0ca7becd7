//! `towpath config show`

use crate::config::Shown;
use crate::exit::Outcome;
use crate::output::{self, OutputArgs, Row};
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A key of towpath.toml, such as worker_slots, is TOWPATH_WORKER_SLOTS in the environment. Lists are separated by \
commas there. Durations read as 30s, 5m, 1h30m or a number of seconds. Paths in towpath.toml are relative to it.")]
pub(crate) struct Args {
    #[command(flatten)]
    output: OutputArgs,
}

impl Row for Shown {
    const HEADINGS: &'static [&'static str] = &["key", "value", "source", "description"];

    fn cells(&self) -> Vec<String> {
        let value = match &self.value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Array(items) => {
                items.iter().filter_map(serde_json::Value::as_str).collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        vec![self.key.to_owned(), value, self.source.clone(), self.description.to_owned()]
    }
}

pub(crate) fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    output::list(args.output.output, &session.config.shown())?;
    session.config.warnings.iter().for_each(|warning| output::remark(format!("warning: {warning}")));
    Ok(Outcome::Success)
}
