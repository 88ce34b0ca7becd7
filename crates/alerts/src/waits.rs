//! Whether an alert that could not be sent is tried again, and when.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use towpath_model::alert::Target;
use towpath_store::{AlertEnd, AlertRecord};

use crate::Failure;

/// Wait after the first attempt; each one after it waits twice as long as the one before.
const FIRST: Duration = Duration::from_secs(10);
/// Longest wait.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Nobody wants to hear of what is older.
const OLDEST: TimeDelta = TimeDelta::hours(24);
/// Attempts to run a command: one that fails is more likely wrong than unlucky.
const COMMANDS: u32 = 3;

/// What follows from an attempt to send `alert`.
pub(crate) fn end_of(alert: &AlertRecord, sent: Result<(), Failure>, now: DateTime<Utc>) -> AlertEnd {
    let error = match sent {
        Ok(()) => return AlertEnd::Sent,
        Err(Failure::Lasting(error)) => return AlertEnd::GivenUp { error },
        Err(Failure::Passing(error)) => error,
    };
    let at = now + after(alert.attempts);
    let is_spent = matches!(alert.target, Target::Command(_)) && alert.attempts >= COMMANDS;
    if is_spent || at > alert.created_at + OLDEST {
        return AlertEnd::GivenUp { error };
    }
    AlertEnd::Again { at, error }
}

/// The wait after this many attempts.
fn after(attempts: u32) -> TimeDelta {
    let factor = 1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
    let wait = FIRST.saturating_mul(factor).min(LONGEST);
    TimeDelta::from_std(wait).expect("an hour is a time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_an_hour() {
        let waits: Vec<i64> =
            [0, 1, 2, 3, 8, 9, 10, 33, u32::MAX].iter().map(|attempts| after(*attempts).num_seconds()).collect();
        assert_eq!(waits, [10, 10, 20, 40, 1_280, 2_560, 3_600, 3_600, 3_600]);
    }
}
