//! Sends alerts: takes them from the outbox of the store, tells people, and records how that went.
//!
//! ```text
//!   store's outbox --claim, lease--> Sender --> news (what is told) --> mail | hook | command
//!         ^                             |
//!         +------- sent, again, given up
//! ```
//!
//! Invariants:
//! - Nothing is decided here about whom to tell: that was written with the end that it is about.
//! - Two senders never send the same alert at a time. One that dies after sending and before telling the store makes it
//!   go out again; mails then have the same `Message-ID`, and other messages the same `id`.
//! - No attempt takes longer than [`SENDING`], which is much shorter than a lease.
//!
//! On failure: what may pass (a server that is away) is tried again with growing waits for a day ([`waits`]); what stays
//! (an address that is refused) is given up at once. Either way the reason is kept in the store and logged.

mod command;
mod hook;
mod mail;
mod news;
mod waits;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use towpath_model::alert::Target;
use towpath_model::clock::SharedClock;
use towpath_store::{AlertEnd, AlertRecord, Store, Topic};

pub use mail::Smtp;

/// Longest time that one attempt to send may take.
pub const SENDING: Duration = Duration::from_secs(30);
/// How long a claimed alert is its sender's; then another one takes it that the first has died.
const LEASE: Duration = Duration::from_secs(180);
/// Alerts that are sent at once.
const BATCH: u32 = 16;
/// How often the outbox is looked at when nothing wakes.
const LOOK: Duration = Duration::from_secs(30);
/// Wait after the database has not answered.
const DATABASE_RETRY: Duration = Duration::from_secs(2);

/// What a [`Sender`] works with.
#[derive(Debug)]
pub struct Options {
    pub store: Store,
    pub clock: SharedClock,
    /// Without it, mails are given up with that reason.
    pub smtp: Option<Smtp>,
    /// Address of the web UI as people reach it, without a slash at the end; links need it.
    pub base_url: Option<String>,
    /// The folder in which commands run.
    pub project_folder: PathBuf,
}

/// Why a sender cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`smtp_url` {0}")]
    SmtpUrl(String),
    #[error("`smtp_from` is `{text}`, which is not a mail address: {reason}")]
    SmtpFrom { text: String, reason: String },
    #[error("alerts cannot be sent: {0}")]
    Http(String),
    #[error(transparent)]
    Store(#[from] towpath_store::Error),
}

/// Why an alert could not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may be sent later.
    Passing(String),
    /// It would be refused again.
    Lasting(String),
}

/// Sends what is in the outbox.
#[derive(Debug)]
pub struct Sender {
    options: Options,
    http: reqwest::Client,
    /// Whether it has been said that mails cannot be sent.
    said_no_smtp: AtomicBool,
}

impl Sender {
    /// A sender.
    ///
    /// # Errors
    /// [`Error::Http`] when the machine's certificates cannot be read.
    pub fn new(options: Options) -> Result<Self, Error> {
        Ok(Self { http: hook::client()?, options, said_no_smtp: AtomicBool::new(false) })
    }

    /// Sends until `stop`; what is being sent then is sent to its end, unless `hard` comes as well.
    ///
    /// # Errors
    /// When the database refuses a step, other than by being away.
    pub async fn run(self, stop: CancellationToken, hard: CancellationToken) -> Result<(), Error> {
        let mut wakes = self.options.store.wakes().subscribe(Topic::Alert);
        let mut is_away = false;
        while !stop.is_cancelled() {
            wakes.mark_unchanged();
            let passed = tokio::select! {
                passed = self.pass() => passed,
                () = hard.cancelled() => return Ok(()),
            };
            let wait = match passed {
                Ok(0) => {
                    is_away = false;
                    self.until_next().await
                }
                Ok(_) => continue,
                Err(error) if error.is_transient() => {
                    if !std::mem::replace(&mut is_away, true) {
                        tracing::warn!("alerts wait for the database: {error}");
                    }
                    DATABASE_RETRY
                }
                Err(error) => return Err(error.into()),
            };
            tokio::select! {
                () = stop.cancelled() => {}
                _ = wakes.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        Ok(())
    }

    /// Sends what is due, some of it; how many. 0 means that nothing is due.
    ///
    /// # Errors
    /// When the database does not answer; what has been sent and could not be recorded is sent again.
    pub async fn pass(&self) -> towpath_store::Result<usize> {
        let store = &self.options.store;
        let now = self.options.clock.now();
        // Asked of a reader, so that looking costs nobody a lock.
        if store.next_alert_at().await?.is_none_or(|at| at > now) {
            return Ok(0);
        }
        let alerts = store.claim_alerts(BATCH, LEASE, now).await?;
        for recorded in join_all(alerts.iter().map(|alert| self.deliver(alert))).await {
            recorded?;
        }
        Ok(alerts.len())
    }

    async fn until_next(&self) -> Duration {
        let at = self.options.store.next_alert_at().await.ok().flatten();
        let wait = at.map(|at| (at - self.options.clock.now()).to_std().unwrap_or_default());
        wait.map_or(LOOK, |wait| wait.min(LOOK))
    }

    /// Sends one alert and records how that went.
    async fn deliver(&self, alert: &AlertRecord) -> towpath_store::Result<()> {
        let sent = match tokio::time::timeout(SENDING, self.send(alert)).await {
            Ok(sent) => sent?,
            Err(_) => Err(Failure::Passing(format!("it took more than {} s", SENDING.as_secs()))),
        };
        let now = self.options.clock.now();
        let end = waits::end_of(alert, sent, now);
        let (to, what) = (news::shown_target(&alert.target), news::thing(alert));
        match &end {
            AlertEnd::Sent => tracing::info!("alert sent to {to}: {} of {what}", alert.event),
            AlertEnd::Again { at, error } => {
                tracing::warn!("alert to {to} about {what} is tried again at {}: {error}", news::time(*at));
            }
            AlertEnd::GivenUp { error } if self.says(alert) => {
                tracing::error!("alert to {to} about {what} is given up: {error}");
            }
            AlertEnd::GivenUp { .. } => {}
        }
        self.options.store.end_alert(alert, &end, now).await?;
        Ok(())
    }

    /// Whether giving this alert up is worth a line: the lack of a mail server is told once.
    fn says(&self, alert: &AlertRecord) -> bool {
        let lacks_server = matches!(alert.target, Target::Email(_)) && self.options.smtp.is_none();
        !lacks_server || !self.said_no_smtp.swap(true, Ordering::Relaxed)
    }

    async fn send(&self, alert: &AlertRecord) -> towpath_store::Result<Result<(), Failure>> {
        if matches!(alert.target, Target::Email(_)) && self.options.smtp.is_none() {
            let error = "there is no mail server; set `smtp_url`, such as smtp://user:password@host:587";
            return Ok(Err(Failure::Lasting(error.to_owned())));
        }
        let news = news::News::gather(&self.options.store, self.options.base_url.as_deref(), alert).await?;
        Ok(match (&alert.target, &self.options.smtp) {
            (Target::Email(to), Some(smtp)) => smtp.send(to, &news).await,
            (Target::Email(_), None) => unreachable!("it was refused above"),
            (Target::Webhook(to), _) => self.post(to, news.json()).await?,
            (Target::Slack(to), _) => self.post(to, hook::slack(&news)).await?,
            (Target::Teams(to), _) => self.post(to, hook::teams(&news)).await?,
            (Target::Command(command), _) => command::run(command, &self.options.project_folder, &news.json()).await,
        })
    }

    /// Posts to an address, or to that of a connection.
    async fn post(&self, to: &str, body: serde_json::Value) -> towpath_store::Result<Result<(), Failure>> {
        let address = if to.contains("://") {
            Ok(to.to_owned())
        } else {
            match self.options.store.connection(to).await? {
                Some(connection) => hook::address_of(&connection),
                None => Err(Failure::Passing(format!("there is no connection `{to}`; add it, or write an address"))),
            }
        };
        Ok(match address {
            Ok(address) => hook::post(&self.http, &address, &body).await,
            Err(failure) => Err(failure),
        })
    }
}
