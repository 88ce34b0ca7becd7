//! When a sensor looks again, and when it gives up.
//!
//! The rules are those of Airflow's `BaseSensorOperator`. They are pure: the jitter of a growing wait comes from a hash of the
//! task and of the start of its try, so every process computes the same time.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::retry::{hash_modulo, python_str};

/// `poke_interval` where the task does not say.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
/// `timeout` where the task does not say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(7 * 86_400);
/// No two looks are closer, whatever `poke_interval` says: a sensor must not keep the database or the processor busy.
pub const SHORTEST_WAIT: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST_WAIT_SECS: u64 = 100 * 366 * 86_400;

/// What a sensor does between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It keeps its slots.
    #[default]
    Poke,
    /// It gives its slots back and is called again.
    Reschedule,
}

/// How a sensor waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    pub mode: Mode,
    /// `poke_interval`.
    pub interval: Duration,
    /// From the start of the try, across reschedules.
    pub timeout: Duration,
    /// The wait doubles with each look.
    pub exponential_backoff: bool,
    /// Ceiling of a growing wait.
    pub max_wait: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            mode: Mode::Poke,
            interval: DEFAULT_INTERVAL,
            timeout: DEFAULT_TIMEOUT,
            exponential_backoff: false,
            max_wait: None,
        }
    }
}

/// The try that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiter<'a> {
    pub dag_id: &'a str,
    pub task_id: &'a str,
    /// When the try was called for the first time.
    pub started_at: DateTime<Utc>,
}

impl Waiter<'_> {
    /// How long it has waited at `now`; nothing where clocks disagree.
    #[must_use]
    pub fn elapsed(&self, now: DateTime<Utc>) -> Duration {
        (now - self.started_at).to_std().unwrap_or_default()
    }
}

impl Pace {
    /// Whether the time is up for a sensor that has waited for `elapsed` and looked in vain.
    #[must_use]
    pub fn is_over(&self, elapsed: Duration) -> bool {
        elapsed > self.timeout
    }

    /// The wait after look number `look` (from 1) of this call, at least [`SHORTEST_WAIT`].
    ///
    /// A constant wait is `poke_interval`. A growing one lies between one and two times `poke_interval * 2^(look - 2)` in whole
    /// seconds, ends no later than the timeout, and is at most `max_wait`. A sensor that is rescheduled does not know
    /// how often it has looked: the number is reckoned from `elapsed`.
    #[must_use]
    pub fn wait(&self, waiter: &Waiter<'_>, look: u32, elapsed: Duration) -> Duration {
        if !self.exponential_backoff {
            return self.interval.max(SHORTEST_WAIT);
        }
        let look = match self.mode {
            Mode::Poke => look,
            Mode::Reschedule => self.look_after(waiter, elapsed),
        };
        let left = self.timeout.saturating_sub(Duration::from_secs(elapsed.as_secs()));
        let wait = self.growing(waiter, look).min(left);
        self.max_wait.map_or(wait, |max| wait.min(max)).max(SHORTEST_WAIT)
    }

    /// The number of the look that a sensor has come to after `elapsed`, had it waited without a ceiling.
    fn look_after(&self, waiter: &Waiter<'_>, elapsed: Duration) -> u32 {
        if self.interval.is_zero() {
            // Nothing doubled is nothing: every wait is the least one, of a second.
            return u32::try_from(elapsed.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        }
        let mut look = 0_u32;
        let mut waited = Duration::ZERO;
        while waited <= elapsed {
            look += 1;
            waited = waited.saturating_add(self.growing(waiter, look));
        }
        look
    }

    fn growing(&self, waiter: &Waiter<'_>, look: u32) -> Duration {
        let base = (self.interval.as_secs_f64() * (f64::from(look) - 2.0).exp2()).floor().max(1.0);
        if base >= LONGEST_WAIT_SECS as f64 {
            return Duration::from_secs(LONGEST_WAIT_SECS);
        }
        let base = base as u64;
        let seed = format!("{}#{}#{}#{look}", waiter.dag_id, waiter.task_id, python_str(waiter.started_at));
        Duration::from_secs(base + hash_modulo(&seed, base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WAITER: Waiter<'static> =
        Waiter { dag_id: "d", task_id: "t", started_at: DateTime::from_timestamp(1_767_225_600, 0).unwrap() };

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn growing(mode: Mode) -> Pace {
        Pace { mode, exponential_backoff: true, ..Pace::default() }
    }

    #[test]
    fn a_constant_wait_is_the_interval() {
        for (interval, expected) in [(secs(60), secs(60)), (Duration::ZERO, SHORTEST_WAIT), (secs(900), secs(900))] {
            let pace = Pace { interval, timeout: secs(100), max_wait: Some(secs(1)), ..Pace::default() };
            assert_eq!(pace.wait(&WAITER, 7, secs(99)), expected, "{interval:?}");
        }
    }

    #[test]
    fn the_time_is_up_after_the_timeout() {
        let pace = Pace { timeout: secs(10), ..Pace::default() };
        assert!(!pace.is_over(secs(10)));
        assert!(pace.is_over(secs(10) + Duration::from_micros(1)));
        assert_eq!(WAITER.elapsed(WAITER.started_at - chrono::TimeDelta::seconds(5)), Duration::ZERO);
    }

    #[test]
    fn growing_waits_are_airflows() {
        // Of `hashlib.sha1(f"d#t#2026-01-01 00:00:00+00:00#{look}".encode())`, by the formula of `_get_next_poke_interval`.
        let waits = (1..=6).map(|look| growing(Mode::Poke).wait(&WAITER, look, Duration::ZERO).as_secs());
        assert_eq!(waits.collect::<Vec<_>>(), [59, 95, 218, 473, 630, 1820]);
    }

    #[test]
    fn a_rescheduled_sensor_reckons_its_look() {
        let poke = growing(Mode::Poke);
        let mut elapsed = Duration::ZERO;
        for look in 1..=8 {
            let wait = growing(Mode::Reschedule).wait(&WAITER, 1, elapsed);
            assert_eq!(wait, poke.wait(&WAITER, look, elapsed), "look {look} at {elapsed:?}");
            elapsed += wait;
        }
    }

    #[test]
    fn an_interval_of_zero_does_not_grow() {
        let pace = Pace { interval: Duration::ZERO, ..growing(Mode::Reschedule) };
        assert_eq!(pace.wait(&WAITER, 1, secs(500_000)), secs(1));
    }

    proptest! {
        #[test]
        fn a_growing_wait_stays_within_its_bounds(
            interval in 0_u64..100_000_000,
            timeout in 0_u64..100_000_000,
            max in proptest::option::of(0_u64..100_000),
            look in any::<u32>(),
            elapsed in 0_u64..100_000_000,
            reschedule in any::<bool>(),
        ) {
            let pace = Pace {
                interval: secs(interval),
                timeout: secs(timeout),
                max_wait: max.map(secs),
                ..growing(if reschedule { Mode::Reschedule } else { Mode::Poke })
            };
            let wait = pace.wait(&WAITER, look, secs(elapsed));
            prop_assert!(wait >= SHORTEST_WAIT);
            prop_assert!(wait <= secs(timeout.saturating_sub(elapsed)).max(SHORTEST_WAIT));
            prop_assert!(max.is_none_or(|max| wait <= secs(max).max(SHORTEST_WAIT)));
        }
    }
}
