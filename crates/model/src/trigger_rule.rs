//! Trigger rules: what the ends of a task's direct upstream mean for the task itself.
//!
//! A rule looks at counts only, so the store keeps a few integers per task instance and nobody
//! walks the graph when an attempt ends. The rules are Airflow's; `tests/oracle_trigger_rules.rs`
//! holds its answers for every combination of up to two upstream tasks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{AsRefStr, Display, EnumIter, EnumString, IntoStaticStr};

use crate::state::TaskState;

/// When a task runs, given how its direct upstream ended.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
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
    IntoStaticStr,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TriggerRule {
    /// All have succeeded.
    #[default]
    AllSuccess,
    /// All have failed, themselves or because of their own upstream.
    AllFailed,
    /// All have ended, in whichever way.
    AllDone,
    /// All were skipped.
    AllSkipped,
    /// One has succeeded; does not wait for the others.
    OneSuccess,
    /// One has failed; does not wait for the others.
    OneFailed,
    /// One has succeeded or failed; does not wait for the others.
    OneDone,
    /// All have succeeded or were skipped.
    NoneFailed,
    /// All have succeeded or were skipped, and one has succeeded.
    NoneFailedMinOneSuccess,
    /// All have ended and none was skipped.
    NoneSkipped,
    /// All have ended, none was skipped and one has succeeded.
    AllDoneMinOneSuccess,
    /// All have ended, and one of the setup tasks among them has succeeded (if there are any).
    AllDoneSetupSuccess,
    /// Nothing is waited for.
    Always,
}

/// Direct upstream instances by outcome. What is missing from `total` has not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UpstreamCounts {
    /// All of them, whether they have ended or not.
    pub total: u32,
    pub success: u32,
    pub failed: u32,
    pub skipped: u32,
    pub upstream_failed: u32,
    pub removed: u32,
    /// How many of `total` are setup tasks.
    pub setups: u32,
    /// How many of `success` are setup tasks.
    pub setup_success: u32,
    /// How many of `skipped` are setup tasks.
    pub setup_skipped: u32,
}

/// What a rule makes of the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The task can run now.
    Run,
    /// It depends on upstream that has not ended.
    Wait,
    /// It will not run, and that is no failure.
    Skip,
    /// It cannot run any more.
    FailUpstream,
    /// It is a mapped instance for which its upstream left no element. Counts cannot tell, so
    /// [`TriggerRule::evaluate`] never says so; what expands a task does.
    Remove,
}

/// What settled a [`Verdict`]: the part of the counts that the rule looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// Nothing is upstream, or the rule waits for nothing.
    Free,
    /// What has not ended can still change the answer.
    Open,
    /// All have ended, as the rule wants it.
    Fulfilled,
    /// One that ended in one of these states is enough.
    OneOf(&'static [TaskState]),
    /// All have ended, and none of them in one of these states.
    NoneOf(&'static [TaskState]),
    /// All have ended in this state.
    All(TaskState),
}

/// A verdict with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Evaluation {
    pub verdict: Verdict,
    pub because: Because,
}

impl UpstreamCounts {
    /// How many have ended.
    #[must_use]
    pub fn done(&self) -> u32 {
        self.success + self.failed + self.skipped + self.upstream_failed + self.removed
    }

    /// Adds the counts of other upstream.
    pub fn add(&mut self, other: Self) {
        self.total += other.total;
        self.success += other.success;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.upstream_failed += other.upstream_failed;
        self.removed += other.removed;
        self.setups += other.setups;
        self.setup_success += other.setup_success;
        self.setup_skipped += other.setup_skipped;
    }

    /// Counts one upstream instance that ended as `outcome`. A state that is no end counts nothing.
    pub fn record(&mut self, outcome: TaskState, is_setup: bool) {
        match outcome {
            TaskState::Success => {
                self.success += 1;
                self.setup_success += u32::from(is_setup);
            }
            TaskState::Skipped => {
                self.skipped += 1;
                self.setup_skipped += u32::from(is_setup);
            }
            TaskState::Failed => self.failed += 1,
            TaskState::UpstreamFailed => self.upstream_failed += 1,
            TaskState::Removed => self.removed += 1,
            TaskState::None
            | TaskState::Scheduled
            | TaskState::Queued
            | TaskState::Running
            | TaskState::UpForRetry
            | TaskState::UpForReschedule
            | TaskState::Restarting
            | TaskState::Deferred => {}
        }
    }
}

impl TriggerRule {
    /// Decides from the counts alone. A task without upstream runs under every rule.
    #[must_use]
    pub fn evaluate(self, up: UpstreamCounts) -> Verdict {
        self.judge(up).verdict
    }

    /// As [`TriggerRule::evaluate`], with what settled it.
    ///
    /// Several rules fail or skip a task before all of its upstream has ended: as soon as nothing
    /// that is still open can change the answer, or, where Airflow is hastier than that, when
    /// Airflow does.
    #[must_use]
    pub fn judge(self, up: UpstreamCounts) -> Evaluation {
        use Because::{All, Free, Fulfilled, NoneOf, OneOf, Open};
        use Verdict::{FailUpstream, Run, Skip, Wait};
        if up.total == 0 {
            return Evaluation { verdict: Run, because: Free };
        }
        let all_done = up.done() >= up.total;
        let bad = up.failed + up.upstream_failed;
        let wait_unless = |done: bool, verdict, because| if done { (verdict, because) } else { (Wait, Open) };
        let (verdict, because) = match self {
            Self::Always => (Run, Free),
            Self::AllDone => wait_unless(all_done, Run, Fulfilled),
            Self::AllSuccess if bad > 0 => (FailUpstream, OneOf(BAD)),
            Self::AllSuccess if up.skipped > 0 => (Skip, OneOf(SKIPPED)),
            Self::AllSuccess => wait_unless(all_done, Run, Fulfilled),
            Self::AllFailed if up.success + up.skipped > 0 => (Skip, OneOf(GOOD)),
            Self::AllFailed => wait_unless(all_done, Run, Fulfilled),
            Self::AllSkipped if up.success + bad > 0 => (Skip, OneOf(RAN)),
            Self::AllSkipped => wait_unless(up.skipped >= up.total, Run, Fulfilled),
            Self::OneSuccess if up.success > 0 => (Run, OneOf(SUCCESS)),
            Self::OneSuccess if up.skipped >= up.total => (Skip, All(TaskState::Skipped)),
            Self::OneSuccess => wait_unless(all_done, FailUpstream, NoneOf(SUCCESS)),
            Self::OneFailed if bad > 0 => (Run, OneOf(BAD)),
            Self::OneFailed => wait_unless(all_done, Skip, NoneOf(BAD)),
            Self::OneDone if up.success + up.failed > 0 => (Run, OneOf(DONE)),
            Self::OneDone => wait_unless(all_done, Skip, NoneOf(DONE)),
            Self::NoneFailed if bad > 0 => (FailUpstream, OneOf(BAD)),
            Self::NoneFailed => wait_unless(all_done, Run, Fulfilled),
            Self::NoneFailedMinOneSuccess if bad > 0 => (FailUpstream, OneOf(BAD)),
            Self::NoneFailedMinOneSuccess if up.skipped >= up.total => (Skip, All(TaskState::Skipped)),
            Self::NoneFailedMinOneSuccess if up.success == 0 => wait_unless(all_done, FailUpstream, NoneOf(SUCCESS)),
            Self::NoneFailedMinOneSuccess => wait_unless(all_done, Run, Fulfilled),
            Self::NoneSkipped if up.skipped > 0 => (Skip, OneOf(SKIPPED)),
            Self::NoneSkipped => wait_unless(all_done, Run, Fulfilled),
            Self::AllDoneMinOneSuccess if up.skipped > 0 => (Skip, OneOf(SKIPPED)),
            Self::AllDoneMinOneSuccess if up.success == 0 => wait_unless(all_done, FailUpstream, NoneOf(SUCCESS)),
            Self::AllDoneMinOneSuccess => wait_unless(all_done, Run, Fulfilled),
            Self::AllDoneSetupSuccess if up.setups == 0 || up.setup_success > 0 => {
                wait_unless(all_done, Run, Fulfilled)
            }
            Self::AllDoneSetupSuccess if up.setup_skipped >= up.setups => {
                wait_unless(all_done, Skip, All(TaskState::Skipped))
            }
            Self::AllDoneSetupSuccess => wait_unless(all_done, FailUpstream, NoneOf(SUCCESS)),
        };
        Evaluation { verdict, because }
    }
}

const SUCCESS: &[TaskState] = &[TaskState::Success];
pub(crate) const SKIPPED: &[TaskState] = &[TaskState::Skipped];
pub(crate) const BAD: &[TaskState] = &[TaskState::Failed, TaskState::UpstreamFailed];
const GOOD: &[TaskState] = &[TaskState::Success, TaskState::Skipped];
const DONE: &[TaskState] = &[TaskState::Success, TaskState::Failed];
const RAN: &[TaskState] = &[TaskState::Success, TaskState::Failed, TaskState::UpstreamFailed];

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    #[test]
    fn a_task_without_upstream_runs() {
        for rule in TriggerRule::iter() {
            assert_eq!(rule.evaluate(UpstreamCounts::default()), Verdict::Run, "{rule}");
        }
    }

    /// A rule that still waits when nothing is left to wait for would hang its run. Airflow's
    /// `all_skipped` does so on removed upstream, and is followed in that.
    #[test]
    fn no_rule_waits_for_what_has_ended() {
        let ends: Vec<TaskState> = TaskState::iter().filter(|s| s.is_finished()).collect();
        for rule in TriggerRule::iter() {
            for a in &ends {
                for b in &ends {
                    for c in &ends {
                        let mut up = UpstreamCounts { total: 3, setups: 1, ..UpstreamCounts::default() };
                        up.record(*a, true);
                        up.record(*b, false);
                        up.record(*c, false);
                        let hangs = rule == TriggerRule::AllSkipped && up.removed > 0 && up.skipped + up.removed == 3;
                        assert_eq!(rule.evaluate(up) == Verdict::Wait, hangs, "{rule} on {a}, {b}, {c}");
                    }
                }
            }
        }
    }

    /// The reason is one that the counts bear out, and it goes with its verdict.
    #[test]
    fn reasons_hold() {
        let ends: Vec<Option<TaskState>> =
            TaskState::iter().filter(|s| s.is_finished()).map(Some).chain([None]).collect();
        for rule in TriggerRule::iter() {
            for a in &ends {
                for b in &ends {
                    let mut up = UpstreamCounts { total: 2, ..UpstreamCounts::default() };
                    let ended: Vec<TaskState> = [*a, *b].into_iter().flatten().collect();
                    ended.iter().for_each(|state| up.record(*state, false));
                    let Evaluation { verdict, because } = rule.judge(up);
                    let holds = match because {
                        Because::Free => rule == TriggerRule::Always && verdict == Verdict::Run,
                        Because::Open => verdict == Verdict::Wait,
                        Because::Fulfilled => verdict == Verdict::Run && ended.len() == 2,
                        Because::OneOf(states) => ended.iter().any(|state| states.contains(state)),
                        Because::NoneOf(states) => {
                            ended.len() == 2 && !ended.iter().any(|state| states.contains(state))
                        }
                        Because::All(state) => ended == [state, state],
                    };
                    assert!(holds, "{rule} on {ended:?}: {verdict:?} because {because:?}");
                }
            }
        }
    }

    #[test]
    fn unfinished_states_are_not_counted() {
        let mut up = UpstreamCounts { total: 1, ..UpstreamCounts::default() };
        for state in TaskState::iter().filter(|s| !s.is_finished()) {
            up.record(state, true);
        }
        assert_eq!(up, UpstreamCounts { total: 1, ..UpstreamCounts::default() });
        up.record(TaskState::Skipped, true);
        assert_eq!((up.done(), up.skipped, up.setup_skipped), (1, 1, 1));
    }

    #[test]
    fn names_are_airflows() {
        assert_eq!(TriggerRule::NoneFailedMinOneSuccess.to_string(), "none_failed_min_one_success");
        assert_eq!("all_done_setup_success".parse(), Ok(TriggerRule::AllDoneSetupSuccess));
    }
}
