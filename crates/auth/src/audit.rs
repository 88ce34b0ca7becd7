//! Writes the audit log. Entries of requests that end at the same time go into one transaction, and each request waits
//! until its own is durable.

use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use towpath_store::{NewEvent, Store};

/// Entries in one transaction at most.
const BATCH: usize = 256;
/// How often a write is tried while the database does not answer.
const TRIES: u32 = 5;
/// The wait before the second; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// What is read of keys like these is nobody's business.
const SECRET_WORDS: [&str; 10] = [
    "password",
    "passwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "authorization",
    "private_key",
    "access_key",
    "passphrase",
];

type Entry = (DateTime<Utc>, NewEvent, oneshot::Sender<()>);

/// The audit log, from this process.
#[derive(Debug)]
pub(crate) struct Recorder {
    store: Store,
    sender: OnceLock<mpsc::UnboundedSender<Entry>>,
}

impl Recorder {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, sender: OnceLock::new() }
    }

    /// Writes an entry and waits until it is durable, or until nothing more can be done about it.
    pub(crate) async fn record(&self, at: DateTime<Utc>, event: NewEvent) {
        let (done, written) = oneshot::channel();
        let sender = self.sender.get_or_init(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            tokio::spawn(write(self.store.clone(), receiver));
            sender
        });
        if sender.send((at, event, done)).is_ok() {
            // The writer answers whether it could write or not.
            let _ = written.await;
        }
    }
}

async fn write(store: Store, mut receiver: mpsc::UnboundedReceiver<Entry>) {
    let mut entries = Vec::new();
    while receiver.recv_many(&mut entries, BATCH).await > 0 {
        let (events, done): (Vec<_>, Vec<_>) = entries.drain(..).map(|(at, event, done)| ((at, event), done)).unzip();
        let mut wait = FIRST_WAIT;
        for attempt in 1..=TRIES {
            match store.record_events(&events).await {
                Ok(()) => break,
                Err(error) if error.is_transient() && attempt < TRIES => tokio::time::sleep(wait).await,
                Err(error) => {
                    for (at, event) in &events {
                        tracing::error!(%at, ?event, "the audit log cannot be written: {error}");
                    }
                    break;
                }
            }
            wait *= 2;
        }
        for done in done {
            // Who asked may have hung up.
            let _ = done.send(());
        }
    }
}

/// `value` without what stands under keys that sound secret, or under one of `also`.
pub(crate) fn masked(value: Value, also: &[&str]) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| {
                    let lower = key.to_lowercase();
                    let is_secret = also.contains(&lower.as_str()) || SECRET_WORDS.iter().any(|w| lower.contains(w));
                    let value = if is_secret && !value.is_null() { "***".into() } else { masked(value, also) };
                    (key, value)
                })
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| masked(item, also)).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked() {
        let body =
            json!({"conf": {"Password": "x", "day": 1, "list": [{"api_key": {"a": 1}}]}, "value": "v", "token": null});
        assert_eq!(
            masked(body.clone(), &[]),
            json!({"conf": {"Password": "***", "day": 1, "list": [{"api_key": "***"}]}, "value": "v", "token": null})
        );
        assert_eq!(masked(body, &["value"])["value"], "***");
    }
}
