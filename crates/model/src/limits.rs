//! Limits: who has to wait although nothing else is in the way.
//!
//! The store counts, under the locks of what is limited, and asks here; whoever explains why something
//! waits counts without locks and asks the same. (The statement that finds runs to start repeats
//! [`Start::holds`], and the engine asks again under the lock.)

use chrono::{DateTime, Utc};
use serde::Serialize;
use strum::Display;

use crate::state::RunState;

/// A limit that a task instance waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Limit {
    /// `max_active_tasks` of its run, which is 0 while the DAG is paused.
    Run,
    /// The slots of its pool.
    Pool,
    /// The task's own conditions on other runs and instances ([`crate::dag::Gates`]).
    Gate,
}

/// How many more task instances of a run may be live: none while it does not run or is paused.
#[must_use]
pub fn run_room(state: RunState, is_paused: bool, max_active_tasks: i64, live: i64) -> i64 {
    if state == RunState::Running && !is_paused { max_active_tasks - live } else { 0 }
}

/// Whether a run has room for one more.
#[must_use]
pub fn fits_run(room: i64) -> bool {
    room >= 1
}

/// Whether a pool has room for a task instance that takes `slots`.
#[must_use]
pub fn fits_pool(room: i64, slots: i64) -> bool {
    room >= slots
}

/// The limits that hold a task instance back. It waits for the first of them.
pub fn full(run_room: i64, pool_room: i64, slots: i64) -> impl Iterator<Item = Limit> {
    let run = (!fits_run(run_room)).then_some(Limit::Run);
    let pool = (!fits_pool(pool_room, slots)).then_some(Limit::Pool);
    run.into_iter().chain(pool)
}

/// How many more scheduled runs a DAG may have. `active`: queued and running, without backfills and
/// foreground runs.
#[must_use]
pub fn runs_room(max_active_runs: u32, active: u32) -> u32 {
    max_active_runs.saturating_sub(active)
}

/// Why a queued run does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Its `run_after` has not come.
    Time,
    /// Its DAG is paused.
    Paused,
    /// Its DAG has `max_active_runs` running runs.
    MaxActiveRuns,
}

/// What the start of a run depends on.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    pub run_after: DateTime<Utc>,
    /// It has a queue of its own, as somebody's foreground job: neither pause nor limit hold it.
    pub is_foreground: bool,
    pub is_paused: bool,
    pub max_active_runs: i64,
    /// Running runs of the DAG, without foreground runs.
    pub running: i64,
}

impl Start {
    /// Everything that holds the run at `now`.
    pub fn holds(self, now: DateTime<Utc>) -> impl Iterator<Item = Hold> {
        let open = self.is_foreground;
        let time = (self.run_after > now).then_some(Hold::Time);
        let paused = (!open && self.is_paused).then_some(Hold::Paused);
        let room = (!open && self.running >= self.max_active_runs).then_some(Hold::MaxActiveRuns);
        [time, paused, room].into_iter().flatten()
    }

    /// Whether the run starts at `now`.
    #[must_use]
    pub fn is_free(self, now: DateTime<Utc>) -> bool {
        self.holds(now).next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn tasks_wait_for_the_run_first() {
        let check = |run, pool, slots, expected: &[Limit]| {
            assert_eq!(full(run, pool, slots).collect::<Vec<_>>(), expected, "{run} {pool} {slots}");
        };
        check(1, 1, 1, &[]);
        check(0, 1, 1, &[Limit::Run]);
        check(1, 1, 2, &[Limit::Pool]);
        check(0, 0, 1, &[Limit::Run, Limit::Pool]);
        check(-3, -3, 1, &[Limit::Run, Limit::Pool]);
        assert_eq!(run_room(RunState::Running, false, 16, 3), 13);
        assert_eq!(run_room(RunState::Running, true, 16, 3), 0);
        assert_eq!(run_room(RunState::Queued, false, 16, 0), 0);
        assert_eq!((runs_room(2, 1), runs_room(2, 5)), (1, 0));
    }

    #[test]
    fn runs_wait_for_time_pause_and_room() {
        let now = DateTime::UNIX_EPOCH;
        let free = Start { run_after: now, is_foreground: false, is_paused: false, max_active_runs: 2, running: 1 };
        let later = now + TimeDelta::seconds(1);
        let check = |start: Start, expected: &[Hold]| {
            assert_eq!(start.holds(now).collect::<Vec<_>>(), expected, "{start:?}");
            assert_eq!(start.is_free(now), expected.is_empty());
        };
        check(free, &[]);
        check(Start { run_after: later, ..free }, &[Hold::Time]);
        check(Start { is_paused: true, running: 2, ..free }, &[Hold::Paused, Hold::MaxActiveRuns]);
        check(Start { is_foreground: true, is_paused: true, running: 9, ..free }, &[]);
        check(Start { is_foreground: true, run_after: later, ..free }, &[Hold::Time]);
    }
}
