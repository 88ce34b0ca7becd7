//! How long a task instance waits between two tries.
//!
//! The wait is a pure function of the task, its run and the number of the try: the jitter comes
//! from a hash of them, so every process computes the same time and two tasks that failed
//! together do not come back together.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

/// No backoff waits longer than this, whatever the policy says.
pub const MAX_WAIT: Duration = Duration::from_secs(86_400);

/// How often, and after which waits, a task is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Tries after the first one.
    pub retries: u32,
    /// The constant wait, or the base of a growing one.
    #[serde(with = "crate::duration::micros")]
    pub delay: Duration,
    /// What each wait is multiplied by to get the next. 0 and 1 mean a constant wait.
    pub exponential_backoff: f64,
    /// Ceiling of a growing wait.
    #[serde(with = "crate::duration::micros_opt")]
    pub max_delay: Option<Duration>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: 0, delay: Duration::from_secs(300), exponential_backoff: 0.0, max_delay: None }
    }
}

impl RetryPolicy {
    /// The wait after try number `try_number` (from 1) has failed.
    ///
    /// With backoff it lies between one and two times `delay * multiplier^(try_number - 1)`,
    /// rounded up to whole seconds, and is at most [`MAX_WAIT`] and `max_delay`. A constant wait is
    /// the delay as it is: no ceiling applies to it, as in Airflow.
    #[must_use]
    pub fn wait(&self, dag_id: &str, task_id: &str, logical_date: Option<DateTime<Utc>>, try_number: u32) -> Duration {
        let multiplier = self.exponential_backoff;
        if multiplier.is_nan() || multiplier <= 0.0 || multiplier == 1.0 {
            return self.delay;
        }
        let growth = multiplier.powf(f64::from(try_number.saturating_sub(1)));
        // A delay of zero times an infinite growth is no number; `max` makes it 1 second.
        let base = (self.delay.as_secs_f64() * growth).ceil().max(1.0);
        let ceiling = self.max_delay.map_or(MAX_WAIT, |max| max.min(MAX_WAIT));
        if base >= MAX_WAIT.as_secs_f64() {
            return ceiling;
        }
        let base = base as u64;
        let date = logical_date.map_or_else(|| "None".to_owned(), python_str);
        let jitter = hash_modulo(&format!("{dag_id}#{task_id}#{date}#{try_number}"), base);
        Duration::from_secs(base + jitter).min(ceiling)
    }
}

/// A UTC time as Python's `str` prints it, which is what Airflow hashes.
pub(crate) fn python_str(time: DateTime<Utc>) -> String {
    let format =
        if time.timestamp_subsec_micros() == 0 { "%Y-%m-%d %H:%M:%S+00:00" } else { "%Y-%m-%d %H:%M:%S%.6f+00:00" };
    time.format(format).to_string()
}

/// The SHA-1 of `text`, read as one 160-bit number, modulo `modulus`.
pub(crate) fn hash_modulo(text: &str, modulus: u64) -> u64 {
    let modulus = u128::from(modulus);
    let rest = Sha1::digest(text.as_bytes()).iter().fold(0, |rest, byte| (rest * 256 + u128::from(*byte)) % modulus);
    u64::try_from(rest).expect("a remainder is smaller than its u64 modulus")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;
    use proptest::prelude::*;

    #[test]
    fn dates_print_as_in_python() {
        let time = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).unwrap();
        assert_eq!(python_str(time), "2026-01-01 00:00:00+00:00");
        assert_eq!(python_str(time + chrono::TimeDelta::microseconds(1_500)), "2026-01-01 00:00:00.001500+00:00");
    }

    #[test]
    fn a_constant_wait_has_no_ceiling() {
        let policy = RetryPolicy {
            delay: Duration::from_secs(200_000),
            max_delay: Some(Duration::from_secs(10)),
            ..RetryPolicy::default()
        };
        assert_eq!(policy.wait("d", "t", None, 1), Duration::from_secs(200_000));
    }

    #[test]
    fn a_run_without_logical_date_has_a_jitter_too() {
        let policy = RetryPolicy { exponential_backoff: 2.0, ..RetryPolicy::default() };
        // int(sha1(b"d#t#None#1").hexdigest(), 16) % 300 in Python is 13.
        assert_eq!(policy.wait("d", "t", None, 1), Duration::from_secs(300 + 13));
    }

    proptest! {
        #[test]
        fn a_growing_wait_stays_within_its_bounds(
            delay in 0_u64..1_000_000,
            backoff in prop_oneof![1.01_f64..100.0, Just(f64::MAX), Just(f64::INFINITY)],
            max in proptest::option::of(0_u64..100_000),
            try_number in any::<u32>(),
        ) {
            let policy = RetryPolicy {
                retries: 3,
                delay: Duration::from_secs(delay),
                exponential_backoff: backoff,
                max_delay: max.map(Duration::from_secs),
            };
            let wait = policy.wait("d", "t", None, try_number);
            let ceiling = max.map_or(MAX_WAIT, |m| Duration::from_secs(m).min(MAX_WAIT));
            prop_assert!(wait <= ceiling);
            prop_assert!(wait >= Duration::from_secs(delay.max(1)).min(ceiling));
        }
    }
}
