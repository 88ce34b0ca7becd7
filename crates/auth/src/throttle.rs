//! Slows down guessing: after some attempts that failed, each one makes the next wait longer.
//!
//! Three counts: of a name from an address (a person who mistypes), of an address whatever the name, and of a name
//! wherever it comes from (many addresses). The last two are generous, so that nobody is locked out for long by what
//! others do. Kept in this process: another server of the same database counts by itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// Counts that are kept at most; the ones that have rested longest go first.
const CAPACITY: usize = 10_000;
/// After this long without an attempt a count is forgotten.
const REST: TimeDelta = TimeDelta::hours(1);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Pair(String, Option<IpAddr>),
    Address(Option<IpAddr>),
    Name(String),
}

impl Key {
    fn all(name: &str, address: Option<IpAddr>) -> [Self; 3] {
        let name: String = name.to_lowercase().chars().take(64).collect();
        [Self::Pair(name.clone(), address), Self::Address(address), Self::Name(name)]
    }

    /// Attempts that are free, and the longest wait in seconds.
    fn limits(&self) -> (u32, i64) {
        match self {
            Self::Pair(..) => (5, 300),
            Self::Address(_) => (30, 60),
            Self::Name(_) => (30, 30),
        }
    }
}

#[derive(Debug)]
struct Count {
    failures: u32,
    last: DateTime<Utc>,
    /// No attempt before.
    until: DateTime<Utc>,
}

/// The attempts of the last hour.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<Key, Count>>);

impl Throttle {
    /// Counts an attempt, as one that fails until [`Throttle::succeeded`] says otherwise: of many at once, none is
    /// free. How long to wait instead, where it must not be made now.
    pub(crate) fn attempt(&self, name: &str, address: Option<IpAddr>, now: DateTime<Utc>) -> Result<(), TimeDelta> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = Key::all(name, address);
        let wait = keys.iter().filter_map(|key| Some(counts.get(key)?.until - now)).max();
        if let Some(wait) = wait.filter(|wait| *wait > TimeDelta::zero()) {
            return Err(wait);
        }
        if counts.len() + keys.len() > CAPACITY {
            forget(&mut counts, now);
        }
        for key in keys {
            let (free, longest) = key.limits();
            let count = counts.entry(key).or_insert(Count { failures: 0, last: now, until: now });
            if now - count.last > REST {
                count.failures = 0;
            }
            count.failures = count.failures.saturating_add(1);
            count.last = now;
            if let Some(over) = count.failures.checked_sub(free) {
                count.until = now + TimeDelta::seconds((1_i64 << over.min(20)).min(longest));
            }
        }
        Ok(())
    }

    /// The attempt was a good one: what was counted against this name here is forgotten.
    pub(crate) fn succeeded(&self, name: &str, address: Option<IpAddr>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let [pair, of_address, of_name] = Key::all(name, address);
        counts.remove(&pair);
        for key in [of_address, of_name] {
            if let Some(count) = counts.get_mut(&key) {
                count.failures = count.failures.saturating_sub(1);
                count.until = count.last;
            }
        }
    }
}

fn forget(counts: &mut HashMap<Key, Count>, now: DateTime<Utc>) {
    counts.retain(|_, count| now - count.last <= REST);
    if counts.len() > CAPACITY / 2 {
        let mut times: Vec<DateTime<Utc>> = counts.values().map(|count| count.last).collect();
        times.sort_unstable();
        let middle = times[times.len() / 2];
        counts.retain(|_, count| count.last > middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn waits_grow_and_end() {
        let throttle = Throttle::default();
        let here = Some(IpAddr::from([10, 0, 0, 1]));
        let try_at = |second| throttle.attempt("ada", here, at(second)).map_err(|wait| wait.num_seconds());
        for _ in 0..5 {
            assert_eq!(try_at(0), Ok(()));
        }
        // The fifth makes the next wait a second, then two, four, ...
        assert_eq!(try_at(0), Err(1));
        assert_eq!(try_at(1), Ok(()));
        assert_eq!(try_at(2), Err(1));
        assert_eq!(try_at(3), Ok(()));
        assert_eq!(try_at(3), Err(4));
        assert_eq!(throttle.attempt("ADA", here, at(3)), Err(TimeDelta::seconds(4)), "case is no way around");
        // Others are not held up by it.
        assert_eq!(throttle.attempt("bob", here, at(3)), Ok(()));
        assert_eq!(throttle.attempt("ada", Some(IpAddr::from([10, 0, 0, 2])), at(3)), Ok(()));
        assert_eq!(try_at(7), Ok(()));
        throttle.succeeded("ada", here);
        assert_eq!(try_at(7), Ok(()));
    }

    #[test]
    fn an_address_cannot_try_name_after_name() {
        let throttle = Throttle::default();
        let here = Some(IpAddr::from([10, 0, 0, 1]));
        let refused = (0..100).filter(|i| throttle.attempt(&format!("user{i}"), here, at(0)).is_err()).count();
        assert_eq!(refused, 70);
    }

    #[test]
    fn the_memory_is_bounded() {
        let throttle = Throttle::default();
        for i in 0..30_000_u32 {
            let address = Some(IpAddr::from(i.to_be_bytes()));
            let _ = throttle.attempt(&format!("u{i}"), address, at(i64::from(i / 10)));
        }
        assert!(throttle.0.lock().unwrap().len() <= CAPACITY);
    }
}
