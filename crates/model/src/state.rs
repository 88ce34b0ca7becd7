//! The state machines of DAG runs and task instances.
//!
//! A state changes only along a named edge. [`TaskEvent`] and [`RunEvent`] are the names;
//! [`TaskState::apply`] and [`RunState::apply`] are the one function that knows which edges exist.
//! The store repeats the guard in SQL (`WHERE state = ...`), so two processes cannot take two
//! edges out of one state.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{AsRefStr, Display, EnumIter, EnumString, IntoStaticStr};

/// State of a task instance, with Airflow's names.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumIter,
    AsRefStr,
    JsonSchema,
    IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TaskState {
    /// Created; its upstream has not decided yet.
    None,
    /// Its dependencies are met; it waits for room in a limit.
    Scheduled,
    /// Within all limits; any worker may claim it.
    Queued,
    /// A worker holds it.
    Running,
    /// Ended well.
    Success,
    /// Ended badly, with no try left.
    Failed,
    /// Ended badly; waits for the time of its next try.
    UpForRetry,
    /// A sensor that waits for its next look.
    UpForReschedule,
    /// Not run because something upstream failed.
    UpstreamFailed,
    /// Not run because of a branch, a skip or a trigger rule.
    Skipped,
    /// No longer part of the DAG.
    Removed,
    /// Cleared while it ran; starts again as soon as its attempt has ended.
    Restarting,
    /// Waits for an event outside of any worker.
    Deferred,
}

/// What can happen to a task instance. Each variant is one edge (or one family of edges with the
/// same meaning) of the state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, Display)]
#[strum(serialize_all = "snake_case")]
pub enum TaskEvent {
    /// The trigger rule says run.
    Schedule,
    /// A slot is free in every limit.
    Queue,
    /// A worker takes it.
    Claim,
    /// The attempt ended well.
    Succeed,
    /// The attempt ended badly and no try is left.
    Fail,
    /// The attempt ended badly and another try follows.
    Retry,
    /// The attempt asks to be called again later.
    Reschedule,
    /// The attempt, or the trigger rule, says skip.
    Skip,
    /// The trigger rule says that it cannot run any more.
    FailUpstream,
    /// The time of the next try or look has come.
    Wake,
    /// Its worker gives it back, unstarted or at shutdown, without using up the try.
    Release,
    /// A user wants it to run again.
    Clear,
    /// The attempt of a cleared task has ended.
    Restart,
    /// The task has left the DAG.
    Remove,
}

/// State of a DAG run.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    EnumIter,
    AsRefStr,
    JsonSchema,
    IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RunState {
    /// Waits for room in `max_active_runs`, or for its `run_after`.
    Queued,
    /// Its tasks may run.
    Running,
    /// Over, and well.
    Success,
    /// Over, and a leaf failed.
    Failed,
}

/// What can happen to a DAG run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, Display)]
#[strum(serialize_all = "snake_case")]
pub enum RunEvent {
    /// There is room: its roots may be scheduled.
    Start,
    /// Nothing is unfinished and no leaf failed.
    Succeed,
    /// Nothing is unfinished and a leaf failed, or it took too long.
    Fail,
    /// Some of its tasks were cleared.
    Clear,
}

/// An edge that the state machine does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {thing} that is {state} cannot {event}")]
pub struct IllegalEdge {
    /// `task instance` or `dag run`.
    pub thing: &'static str,
    /// The state it is in.
    pub state: &'static str,
    /// The event that does not fit it.
    pub event: String,
}

impl TaskState {
    /// The state after `event`.
    ///
    /// # Errors
    /// [`IllegalEdge`] when the event has no meaning in this state.
    pub fn apply(self, event: TaskEvent) -> Result<Self, IllegalEdge> {
        use TaskEvent as E;
        use TaskState as S;
        let next = match (self, event) {
            (S::None, E::Schedule) => S::Scheduled,
            (S::Scheduled, E::Queue) => S::Queued,
            (S::Queued, E::Claim) => S::Running,
            (S::Running, E::Release) => S::Queued,
            (S::Running, E::Succeed) => S::Success,
            (S::Running, E::Fail) => S::Failed,
            (S::Running, E::Retry) => S::UpForRetry,
            (S::Running, E::Reschedule) => S::UpForReschedule,
            (S::None | S::Running, E::Skip) => S::Skipped,
            (S::None, E::FailUpstream) => S::UpstreamFailed,
            (S::UpForRetry | S::UpForReschedule | S::Deferred, E::Wake) => S::Scheduled,
            (S::Running, E::Clear) => S::Restarting,
            (S::Restarting, E::Restart) => S::None,
            (
                S::Success
                | S::Failed
                | S::UpstreamFailed
                | S::Skipped
                | S::UpForRetry
                | S::UpForReschedule
                | S::Scheduled
                | S::Queued
                | S::Deferred
                | S::None,
                E::Clear,
            ) => S::None,
            // A run that times out, or is marked failed, ends what has not started as skipped.
            (S::Scheduled | S::Queued | S::UpForRetry | S::UpForReschedule | S::Deferred, E::Skip) => S::Skipped,
            // What ends without a worker (an empty task) does so in the step that schedules it.
            (S::None, E::Succeed) => S::Success,
            (S::None | S::Scheduled | S::UpForRetry | S::UpForReschedule | S::Deferred, E::Remove) => S::Removed,
            (
                S::None
                | S::Scheduled
                | S::Queued
                | S::Running
                | S::Success
                | S::Failed
                | S::UpForRetry
                | S::UpForReschedule
                | S::UpstreamFailed
                | S::Skipped
                | S::Removed
                | S::Restarting
                | S::Deferred,
                _,
            ) => return Err(IllegalEdge { thing: "task instance", state: self.into(), event: event.to_string() }),
        };
        Ok(next)
    }

    /// Nothing more happens to it unless it is cleared.
    #[must_use]
    pub fn is_finished(self) -> bool {
        match self {
            Self::Success | Self::Failed | Self::UpstreamFailed | Self::Skipped | Self::Removed => true,
            Self::None
            | Self::Scheduled
            | Self::Queued
            | Self::Running
            | Self::UpForRetry
            | Self::UpForReschedule
            | Self::Restarting
            | Self::Deferred => false,
        }
    }

    /// It counts against pools, `max_active_tasks` and worker slots.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::Restarting)
    }
}

impl RunState {
    /// The state after `event`.
    ///
    /// # Errors
    /// [`IllegalEdge`] when the event has no meaning in this state.
    pub fn apply(self, event: RunEvent) -> Result<Self, IllegalEdge> {
        use RunEvent as E;
        use RunState as S;
        match (self, event) {
            (S::Queued, E::Start) => Ok(S::Running),
            (S::Running, E::Succeed) => Ok(S::Success),
            (S::Queued | S::Running, E::Fail) => Ok(S::Failed),
            (S::Success | S::Failed, E::Clear) => Ok(S::Queued),
            (S::Queued | S::Running, E::Clear) => Ok(self),
            (S::Queued | S::Running | S::Success | S::Failed, _) => {
                Err(IllegalEdge { thing: "dag run", state: self.into(), event: event.to_string() })
            }
        }
    }

    /// Nothing more happens to it unless something in it is cleared.
    #[must_use]
    pub fn is_finished(self) -> bool {
        match self {
            Self::Success | Self::Failed => true,
            Self::Queued | Self::Running => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    /// The whole table, written down a second time: a change of an edge must be made twice.
    #[test]
    fn every_task_edge() {
        let mut table = String::new();
        for state in TaskState::iter() {
            for event in TaskEvent::iter() {
                if let Ok(next) = state.apply(event) {
                    table.push_str(&format!("{state} --{event}--> {next}\n"));
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn every_run_edge() {
        let mut table = String::new();
        for state in RunState::iter() {
            for event in RunEvent::iter() {
                if let Ok(next) = state.apply(event) {
                    table.push_str(&format!("{state} --{event}--> {next}\n"));
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn finished_states_only_leave_by_clear() {
        for state in TaskState::iter().filter(|s| s.is_finished()) {
            for event in TaskEvent::iter().filter(|e| *e != TaskEvent::Clear) {
                assert!(state.apply(event).is_err(), "{state} must not {event}");
            }
        }
    }
}
