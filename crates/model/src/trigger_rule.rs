//! Trigger rules: what the ends of a task's direct upstream mean for the task itself.
//!
//! A rule looks at counts only, so the store keeps a few integers per task instance and nobody
//! walks the graph when an attempt ends. The rules are Airflow's; `tests/oracle_trigger_rules.rs`
//! holds its answers for every combination of up to two upstream tasks.

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

impl UpstreamCounts {
    /// How many have ended.
    #[must_use]
    pub fn done(&self) -> u32 {
        self.success + self.failed + self.skipped + self.upstream_failed + self.removed
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
    ///
    /// Several rules fail or skip a task before all of its upstream has ended: as soon as nothing
    /// that is still open can change the answer, or, where Airflow is hastier than that, when
    /// Airflow does.
    #[must_use]
    pub fn evaluate(self, up: UpstreamCounts) -> Verdict {
        use Verdict::{FailUpstream, Run, Skip, Wait};
        if up.total == 0 {
            return Run;
        }
        let all_done = up.done() >= up.total;
        let bad = up.failed + up.upstream_failed;
        let wait_unless = |done: bool, verdict: Verdict| if done { verdict } else { Wait };
        match self {
            Self::Always => Run,
            Self::AllDone => wait_unless(all_done, Run),
            Self::AllSuccess if bad > 0 => FailUpstream,
            Self::AllSuccess if up.skipped > 0 => Skip,
            Self::AllSuccess => wait_unless(all_done, Run),
            Self::AllFailed if up.success + up.skipped > 0 => Skip,
            Self::AllFailed => wait_unless(all_done, Run),
            Self::AllSkipped if up.success + bad > 0 => Skip,
            Self::AllSkipped => wait_unless(up.skipped >= up.total, Run),
            Self::OneSuccess if up.success > 0 => Run,
            Self::OneSuccess if up.skipped >= up.total => Skip,
            Self::OneSuccess => wait_unless(all_done, FailUpstream),
            Self::OneFailed if bad > 0 => Run,
            Self::OneFailed => wait_unless(all_done, Skip),
            Self::OneDone if up.success + up.failed > 0 => Run,
            Self::OneDone => wait_unless(all_done, Skip),
            Self::NoneFailed if bad > 0 => FailUpstream,
            Self::NoneFailed => wait_unless(all_done, Run),
            Self::NoneFailedMinOneSuccess if bad > 0 => FailUpstream,
            Self::NoneFailedMinOneSuccess if up.skipped >= up.total => Skip,
            Self::NoneFailedMinOneSuccess if up.success == 0 => wait_unless(all_done, FailUpstream),
            Self::NoneFailedMinOneSuccess => wait_unless(all_done, Run),
            Self::NoneSkipped if up.skipped > 0 => Skip,
            Self::NoneSkipped => wait_unless(all_done, Run),
            Self::AllDoneMinOneSuccess if up.skipped > 0 => Skip,
            Self::AllDoneMinOneSuccess if up.success == 0 => wait_unless(all_done, FailUpstream),
            Self::AllDoneMinOneSuccess => wait_unless(all_done, Run),
            Self::AllDoneSetupSuccess if up.setups == 0 || up.setup_success > 0 => wait_unless(all_done, Run),
            Self::AllDoneSetupSuccess if up.setup_skipped >= up.setups => wait_unless(all_done, Skip),
            Self::AllDoneSetupSuccess => wait_unless(all_done, FailUpstream),
        }
    }
}

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
