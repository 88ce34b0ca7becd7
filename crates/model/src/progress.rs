//! How a run moves on: which task instances change when others have ended.
//!
//! The store keeps, for each task instance, how many of its direct upstream have ended in which
//! way. These functions read such counts and say what follows; they are the only place where a
//! trigger rule turns into a change of state.

use crate::dag::{Dag, Task};
use crate::state::TaskState;
use crate::trigger_rule::{BAD, Because, Evaluation, SKIPPED, UpstreamCounts, Verdict};

/// A task instance as a new run starts with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initial {
    /// Position of the task in [`Dag::tasks`].
    pub index: usize,
    pub state: TaskState,
    pub upstream: UpstreamCounts,
}

/// A decision with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The state that a task instance takes now, or `None` while it waits.
    pub state: Option<TaskState>,
    pub because: Because,
}

/// What the trigger rule of `task` makes of a task instance that has not been decided: the state
/// that it takes now, or `None` while it waits.
#[must_use]
pub fn decide(task: &Task, upstream: UpstreamCounts) -> Option<TaskState> {
    evaluate(task, upstream).state
}

/// As [`decide`], with what settled it.
#[must_use]
pub fn evaluate(task: &Task, upstream: UpstreamCounts) -> Decision {
    let Evaluation { verdict, because } = task.trigger_rule.judge(upstream);
    let state = match verdict {
        Verdict::Run if task.ends_without_worker() => Some(TaskState::Success),
        Verdict::Run => Some(TaskState::Scheduled),
        Verdict::Skip => Some(TaskState::Skipped),
        Verdict::FailUpstream => Some(TaskState::UpstreamFailed),
        Verdict::Remove => Some(TaskState::Removed),
        Verdict::Wait => None,
    };
    Decision { state, because }
}

/// As [`evaluate`], for a task that needs setups which are not directly upstream of it: without the
/// success of each of them it does not run, whatever its rule says.
#[must_use]
pub fn evaluate_within(task: &Task, upstream: UpstreamCounts, setups: UpstreamCounts) -> Decision {
    if setups.failed + setups.upstream_failed > 0 {
        return Decision { state: Some(TaskState::UpstreamFailed), because: Because::OneOf(BAD) };
    }
    if setups.skipped > 0 {
        return Decision { state: Some(TaskState::Skipped), because: Because::OneOf(SKIPPED) };
    }
    let decision = evaluate(task, upstream);
    let runs = matches!(decision.state, Some(TaskState::Scheduled | TaskState::Success));
    if runs && setups.done() < setups.total {
        return Decision { state: None, because: Because::Open };
    }
    decision
}

/// All task instances of a run that starts now, in the order of [`Dag::tasks`]. What ends without
/// a worker has ended already, and so has everything that follows from that.
#[must_use]
pub fn start(dag: &Dag) -> Vec<Initial> {
    let mut instances = undecided(dag);
    for &index in dag.topological() {
        let Some(state) = decide(&dag.tasks()[index], instances[index].upstream) else { continue };
        instances[index].state = state;
        if state.is_finished() {
            for next in dag.downstream(index) {
                instances[next].upstream.record(state, false);
            }
        }
    }
    instances
}

/// All task instances of a run that has to wait for room in `max_active_runs`.
#[must_use]
pub fn undecided(dag: &Dag) -> Vec<Initial> {
    (0..dag.tasks().len())
        .map(|index| Initial {
            index,
            state: TaskState::None,
            upstream: UpstreamCounts { total: dag.upstream_count(index), ..UpstreamCounts::default() },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dag::DagSpec;

    #[test]
    fn setups_come_before_the_rule() {
        let mut task = Task::new("t", "bash");
        task.trigger_rule = crate::trigger_rule::TriggerRule::Always;
        let check = |ends: &[TaskState], expected| {
            let mut setups = UpstreamCounts { total: 2, ..UpstreamCounts::default() };
            ends.iter().for_each(|state| setups.record(*state, true));
            assert_eq!(evaluate_within(&task, UpstreamCounts::default(), setups).state, expected, "{ends:?}");
        };
        use TaskState::{Failed, Removed, Scheduled, Skipped, Success, UpstreamFailed};
        check(&[], None);
        check(&[Success], None);
        check(&[Success, Success], Some(Scheduled));
        check(&[Success, Removed], Some(Scheduled));
        check(&[Failed], Some(UpstreamFailed));
        check(&[Skipped], Some(Skipped));
        check(&[Skipped, UpstreamFailed], Some(UpstreamFailed));
    }

    #[test]
    fn empty_tasks_end_at_once_and_the_next_is_scheduled() {
        let mut spec = DagSpec::new("d");
        for (id, operator, upstream) in
            [("a", "empty", vec![]), ("b", "empty", vec!["a"]), ("c", "bash", vec!["b"]), ("d", "empty", vec!["c"])]
        {
            let mut task = Task::new(id, operator);
            task.upstream = upstream.into_iter().map(str::to_owned).collect();
            spec.tasks.push(task);
        }
        let dag = Dag::build(spec).unwrap();
        let states: Vec<_> = start(&dag).into_iter().map(|i| i.state).collect();
        assert_eq!(states, [TaskState::Success, TaskState::Success, TaskState::Scheduled, TaskState::None]);
    }
}
