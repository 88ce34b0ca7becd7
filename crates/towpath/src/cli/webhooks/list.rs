//! `towpath webhooks list`

use serde::Serialize;
use towpath_store::WebhookRecord;

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
    dag_id: String,
    body_is_conf: bool,
    created_by: Option<String>,
    created_at: String,
    last_used_at: Option<String>,
    previous_until: Option<String>,
}

impl From<WebhookRecord> for Item {
    fn from(webhook: WebhookRecord) -> Self {
        Self {
            dag_id: webhook.dag_id,
            body_is_conf: webhook.is_conf,
            created_by: webhook.created_by,
            created_at: output::rfc3339(webhook.created_at),
            last_used_at: webhook.last_used_at.map(output::rfc3339),
            previous_until: webhook.previous_until.map(output::rfc3339),
        }
    }
}

impl Row for Item {
    const HEADINGS: &'static [&'static str] = &["dag_id", "created_by", "created_at", "last_used_at", "previous_until"];

    fn cells(&self) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let [by, used, previous] = [&self.created_by, &self.last_used_at, &self.previous_until].map(text);
        vec![self.dag_id.clone(), by, self.created_at.clone(), used, previous]
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let webhooks = session.store().await?.webhooks().await?;
    let items: Vec<Item> = webhooks.into_iter().map(Item::from).collect();
    if items.is_empty() {
        crate::cli::empty_list(args.output.output, "no DAG has a webhook; `towpath webhooks create` makes one");
    }
    output::list(args.output.output, &items)?;
    Ok(Outcome::Success)
}
