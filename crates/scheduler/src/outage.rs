//! The database is away: said once, waited for, and said again when it is back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use towpath_store::Error;

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What the parts of a scheduler know of the database, together: one outage is one warning.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outages(Arc<Mutex<Option<Instant>>>);

/// Waits that grow from call to call.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

/// Why a call was given up.
#[derive(Debug)]
pub(crate) enum GivenUp {
    /// The scheduler is told to stop.
    Stopped,
    /// Trying again would not help.
    Refused(Error),
}

impl Outages {
    /// A call has failed for lack of a database.
    pub(crate) fn begun(&self, error: &Error) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if since.is_none() {
            *since = Some(Instant::now());
            tracing::warn!("the scheduler waits for the database: {error}");
        }
    }

    /// A call has succeeded.
    pub(crate) fn over(&self) {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = since.take() {
            let away_ms = since.elapsed().as_millis() as u64;
            tracing::info!(away_ms, "the database answers again; the scheduler goes on");
        }
    }

    /// Calls until the database has answered.
    pub(crate) async fn insist<T, Call, Answer>(&self, soft: &CancellationToken, call: Call) -> Result<T, GivenUp>
    where
        Call: Fn() -> Answer,
        Answer: Future<Output = towpath_store::Result<T>>,
    {
        let mut backoff = Backoff::default();
        loop {
            if soft.is_cancelled() {
                return Err(GivenUp::Stopped);
            }
            match call().await {
                Ok(answer) => {
                    self.over();
                    return Ok(answer);
                }
                Err(error) if error.is_transient() => self.begun(&error),
                Err(error) => return Err(GivenUp::Refused(error)),
            }
            tokio::select! {
                () = soft.cancelled() => {}
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    /// As [`Outages::insist`], for a call whose refusal is said and passed over (`None`).
    pub(crate) async fn try_to<T, Call, Answer>(
        &self,
        what: &str,
        soft: &CancellationToken,
        call: Call,
    ) -> Result<Option<T>, GivenUp>
    where
        Call: Fn() -> Answer,
        Answer: Future<Output = towpath_store::Result<T>>,
    {
        match self.insist(soft, call).await {
            Ok(answer) => Ok(Some(answer)),
            Err(GivenUp::Refused(error)) => {
                tracing::error!("the scheduler could not {what}: {error}");
                Ok(None)
            }
            Err(GivenUp::Stopped) => Err(GivenUp::Stopped),
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_WAIT)
    }
}

impl Backoff {
    /// How long to wait this time.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = (wait * 2).min(LONGEST_WAIT);
        wait
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn away() -> Error {
        Error::Unreachable { url: "postgres://nowhere".into(), reason: "refused".into() }
    }

    #[test]
    fn waits_grow_to_a_limit() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    }

    #[tokio::test]
    async fn a_call_is_repeated_until_it_is_answered() {
        let outages = Outages::default();
        let calls = AtomicU32::new(0);
        let answer = outages
            .insist(&CancellationToken::new(), || {
                let call = calls.fetch_add(1, Ordering::Relaxed);
                async move { if call < 2 { Err(away()) } else { Ok(call) } }
            })
            .await;
        assert!(matches!(answer, Ok(2)));
        assert!(outages.0.lock().unwrap().is_none(), "the outage is over");
    }

    #[tokio::test]
    async fn a_refusal_and_a_stop_end_it() {
        let outages = Outages::default();
        let stop = CancellationToken::new();
        let refused = outages.insist(&stop, || async { Err::<(), _>(Error::Invalid("no".into())) }).await;
        assert!(matches!(refused, Err(GivenUp::Refused(Error::Invalid(_)))));
        let stopping = stop.clone();
        let stopped = outages
            .insist(&stop, || {
                stopping.cancel();
                async { Err::<(), _>(away()) }
            })
            .await;
        assert!(matches!(stopped, Err(GivenUp::Stopped)));
        assert!(outages.0.lock().unwrap().is_some(), "the outage is still there");
    }
}
