//! How long a long list is.
//!
//! Up to [`EXACT`] rows are counted each time; so many cost about two milliseconds in an index. What is longer is
//! counted to its end once and remembered for [`FRESH`]; until [`STALE`] the number of before is given while somebody
//! counts anew behind the scenes. A total of a million is then some seconds old, and never costs a request the
//! 100 ms that counting it takes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::audit::EventFilter;
use crate::listing::{RunField, TaskField, Test};
use crate::{Result, Store};

/// Rows that are counted each time.
const EXACT: u32 = 20_000;
/// How long a longer count is given without a second look; more for one that took long.
const FRESH: Duration = Duration::from_secs(5);
/// So many times what counting has cost goes by before it is done again.
const REST: u32 = 30;
/// How old a count may be that is given while it is counted anew.
const STALE: Duration = Duration::from_secs(120);
/// Lists that are remembered.
const LISTS: usize = 256;

/// What is counted: the rows that meet all conditions.
#[derive(Debug, Clone)]
pub(crate) enum Counted {
    Runs(Vec<(RunField, Test)>),
    Tasks(Vec<(TaskField, Test)>),
    Events(Box<EventFilter>),
}

/// The lengths of long lists, as they were some seconds ago.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<HashMap<String, Known>>);

#[derive(Debug, Clone, Copy)]
struct Known {
    total: u64,
    at: Instant,
    /// How long it is given without a second look.
    fresh: Duration,
    /// Somebody counts anew.
    is_sought: bool,
}

/// What a look at what is known says.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Unknown,
    /// Good as it is.
    Good(u64),
    /// Good enough, and the caller is the one who counts anew.
    Old(u64),
}

impl Counts {
    fn look(&self, list: &str, now: Instant) -> Look {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = lists.get_mut(list) else { return Look::Unknown };
        match now.saturating_duration_since(known.at) {
            age if age < known.fresh => Look::Good(known.total),
            age if age >= STALE.max(2 * known.fresh) => Look::Unknown,
            _ if known.is_sought => Look::Good(known.total),
            _ => {
                known.is_sought = true;
                Look::Old(known.total)
            }
        }
    }

    /// `took` is what counting has cost.
    fn learn(&self, list: String, total: u64, took: Duration, at: Instant) {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if total <= u64::from(EXACT) {
            // It has become short: from now on it is counted each time.
            lists.remove(&list);
            return;
        }
        if lists.len() >= LISTS {
            lists.retain(|_, known| at.saturating_duration_since(known.at) < FRESH);
        }
        if lists.len() < LISTS {
            lists.insert(list, Known { total, at, fresh: FRESH.max(REST * took), is_sought: false });
        }
    }

    /// Whoever counted anew has failed: the next one may try.
    fn give_up(&self, list: &str) {
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(list) {
            known.is_sought = false;
        }
    }
}

impl Store {
    /// How many rows meet all conditions: exact up to [`EXACT`], some seconds old beyond.
    pub(crate) async fn count(&self, what: Counted) -> Result<u64> {
        let list = format!("{what:?}");
        match self.inner.counts.look(&list, Instant::now()) {
            Look::Good(total) => return Ok(total),
            Look::Old(total) => {
                let store = self.clone();
                tokio::spawn(async move {
                    let begin = Instant::now();
                    match store.count_to(&what, None).await {
                        Ok(total) => store.inner.counts.learn(list, total, begin.elapsed(), Instant::now()),
                        Err(error) => {
                            tracing::debug!(error = &error as &dyn std::error::Error, "a list is not counted");
                            store.inner.counts.give_up(&list);
                        }
                    }
                });
                return Ok(total);
            }
            Look::Unknown => {}
        }
        let some = self.count_to(&what, Some(EXACT + 1)).await?;
        if some <= u64::from(EXACT) {
            return Ok(some);
        }
        let begin = Instant::now();
        let total = self.count_to(&what, None).await?;
        self.inner.counts.learn(list, total, begin.elapsed(), Instant::now());
        Ok(total)
    }

    async fn count_to(&self, what: &Counted, most: Option<u32>) -> Result<u64> {
        match what {
            Counted::Runs(tests) => self.inner.backend.count_runs(tests, most).await,
            Counted::Tasks(tests) => self.inner.backend.count_tasks(tests, most).await,
            Counted::Events(filter) => self.inner.backend.count_events(filter, most).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: u64 = EXACT as u64 + 1;

    #[test]
    fn long_lists_are_remembered_for_a_while() {
        let counts = Counts::default();
        let start = Instant::now();
        let after = |seconds| counts.look("a", start + Duration::from_secs(seconds));
        assert_eq!(after(0), Look::Unknown);
        counts.learn("a".to_owned(), LONG, Duration::ZERO, start);
        assert_eq!(after(4), Look::Good(LONG));
        // One of those who ask counts anew.
        assert_eq!((after(6), after(6)), (Look::Old(LONG), Look::Good(LONG)));
        counts.give_up("a");
        assert_eq!(after(6), Look::Old(LONG));
        assert_eq!(after(120), Look::Unknown);
        counts.learn("a".to_owned(), LONG, Duration::from_secs(1), start);
        assert_eq!(after(29), Look::Good(LONG), "what costs much is not counted often");
        counts.learn("a".to_owned(), 3, Duration::ZERO, start);
        assert_eq!(after(0), Look::Unknown, "a short list is counted each time");
    }

    #[test]
    fn not_too_many_lists_are_remembered() {
        let counts = Counts::default();
        let start = Instant::now();
        let later = start + FRESH;
        for list in 0..=LISTS {
            counts.learn(list.to_string(), LONG, Duration::ZERO, start);
        }
        assert_eq!(counts.look(&LISTS.to_string(), start), Look::Unknown);
        counts.learn("new".to_owned(), LONG, Duration::ZERO, later);
        assert_eq!(counts.look("new", later), Look::Good(LONG));
        assert_eq!(counts.look("0", later), Look::Unknown);
    }
}
