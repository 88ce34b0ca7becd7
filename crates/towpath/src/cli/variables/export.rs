//! `towpath variables export`

use serde_json::{Map, Value, json};

use crate::exit::Outcome;
use crate::output::{self, Format};
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let values: Map<String, Value> = store
        .variables()
        .await?
        .into_iter()
        .map(|variable| {
            let value = match variable.description {
                Some(description) => json!({"value": variable.value, "description": description}),
                None => Value::String(variable.value),
            };
            (variable.key, value)
        })
        .collect();
    output::data(Format::Json, &values)?;
    Ok(Outcome::Success)
}
