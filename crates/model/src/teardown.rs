//! Setup and teardown tasks: what makes something that other tasks need, and what takes it away.
//!
//! The rules are Airflow's. A setup is needed by what lies between it and one of its teardowns, or by
//! everything downstream of it where it has none. A task whose setup has not succeeded does not run,
//! whatever its trigger rule says; a teardown runs when its scope is over and one of its setups has
//! succeeded (`all_done_setup_success`), and does not decide how the run ended.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::dag::Dag;

/// What a task is to those around it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Neither setup nor teardown.
    #[default]
    Work,
    /// It makes what the tasks in its scope need.
    Setup,
    /// It takes away what its setups, which are directly upstream of it, have made.
    Teardown {
        /// Whether its failure is one of the run.
        on_failure_fail_dagrun: bool,
    },
}

impl Role {
    /// Whether it is neither setup nor teardown.
    #[must_use]
    pub fn is_work(&self) -> bool {
        matches!(self, Self::Work)
    }

    /// Whether it is a setup.
    #[must_use]
    pub fn is_setup(&self) -> bool {
        matches!(self, Self::Setup)
    }

    /// Whether it is a teardown.
    #[must_use]
    pub fn is_teardown(&self) -> bool {
        matches!(self, Self::Teardown { .. })
    }
}

/// Which setups each task needs, by position.
#[derive(Debug, Clone, Default)]
pub struct Scopes {
    /// Of each task, the setups that it needs and is not directly behind.
    above: Vec<Vec<usize>>,
    /// Of each setup, the tasks that have it in `above`.
    below: Vec<Vec<usize>>,
}

impl Scopes {
    pub(crate) fn new(dag: &Dag) -> Self {
        let count = dag.tasks().len();
        let mut scopes = Self { above: vec![Vec::new(); count], below: vec![Vec::new(); count] };
        for setup in (0..count).filter(|index| dag.tasks()[*index].role.is_setup()) {
            let direct: BTreeSet<usize> = dag.downstream(setup).collect();
            for index in scope(dag, setup) {
                if !direct.contains(&index) && !dag.tasks()[index].role.is_teardown() {
                    scopes.above[index].push(setup);
                    scopes.below[setup].push(index);
                }
            }
        }
        scopes
    }

    /// The setups that the task at `index` needs, without those that are directly upstream of it:
    /// those its trigger rule looks at.
    #[must_use]
    pub fn above(&self, index: usize) -> &[usize] {
        &self.above[index]
    }

    /// The tasks that need the setup at `index` without being directly behind it.
    #[must_use]
    pub fn below(&self, index: usize) -> &[usize] {
        &self.below[index]
    }
}

/// The tasks that need a setup: those that lead to one of its teardowns, or all that follow it where it has none.
fn scope(dag: &Dag, setup: usize) -> BTreeSet<usize> {
    let teardowns: Vec<usize> = teardowns_of(dag, setup).collect();
    let mut behind = dag.descendants([setup]);
    behind.remove(&setup);
    if teardowns.is_empty() {
        return behind;
    }
    let before = dag.ancestors(teardowns.iter().copied());
    behind.retain(|index| before.contains(index) && !teardowns.contains(index));
    behind
}

/// The teardowns of a setup.
fn teardowns_of(dag: &Dag, setup: usize) -> impl Iterator<Item = usize> + '_ {
    dag.downstream(setup).filter(|next| dag.tasks()[*next].role.is_teardown())
}

/// Whether each task decides how a run ended. Where nothing does, those do that nothing follows.
pub(crate) fn leaves(dag: &Dag) -> Vec<bool> {
    let counts = |index: usize| {
        let on_its_own = |role| matches!(role, Role::Teardown { on_failure_fail_dagrun: false });
        let is_last = dag.downstream(index).all(|next| on_its_own(dag.tasks()[next].role));
        is_last && !on_its_own(dag.tasks()[index].role)
    };
    let leaves: Vec<bool> = (0..dag.tasks().len()).map(counts).collect();
    if leaves.contains(&true) {
        return leaves;
    }
    (0..dag.tasks().len()).map(|index| dag.downstream(index).next().is_none()).collect()
}

/// What is cleared together with `tasks`: what they ask for, and the setups and teardowns without which
/// they could not run again.
#[must_use]
pub fn cleared_with(dag: &Dag, tasks: &BTreeSet<usize>, upstream: bool, downstream: bool) -> BTreeSet<usize> {
    let role = |index: usize| dag.tasks()[index].role;
    let mut also = BTreeSet::new();
    if downstream {
        also.extend(dag.descendants(tasks.iter().copied()));
    }
    if upstream {
        let above = dag.ancestors(tasks.iter().copied());
        let setups = above.iter().copied().filter(|index| role(*index).is_setup());
        also.extend(setups.flat_map(|setup| teardowns_of(dag, setup)));
        also.extend(above);
    }
    for &index in tasks.union(&also.clone()).filter(|index| role(**index).is_work()) {
        if tasks.contains(&index) && upstream {
            continue;
        }
        for setup in setups_around(dag, index) {
            also.insert(setup);
            also.extend(teardowns_of(dag, setup));
        }
    }
    if !downstream {
        let setups = tasks.iter().copied().filter(|index| role(*index).is_setup());
        also.extend(setups.flat_map(|setup| teardowns_of(dag, setup)));
    }
    also.retain(|index| !tasks.contains(index));
    also
}

/// The setups that a task needs, near and far.
fn setups_around(dag: &Dag, index: usize) -> Vec<usize> {
    let near = dag.upstream(index).filter(|up| dag.tasks()[*up].role.is_setup() && scope(dag, *up).contains(&index));
    near.chain(dag.scopes().above(index).iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dag::{DagSpec, Task};

    /// Tasks as `id: upstream`; ids that begin with `s` are setups, with `t` teardowns, with `f` teardowns that fail the run.
    fn dag(tasks: &[(&str, &str)]) -> Dag {
        let mut spec = DagSpec::new("d");
        for (id, upstream) in tasks {
            let mut task = Task::new(*id, "bash");
            task.upstream = upstream.split_whitespace().map(str::to_owned).collect();
            task.role = match id.as_bytes()[0] {
                b's' => Role::Setup,
                b't' => Role::Teardown { on_failure_fail_dagrun: false },
                b'f' => Role::Teardown { on_failure_fail_dagrun: true },
                _ => Role::Work,
            };
            spec.tasks.push(task);
        }
        Dag::build(spec).unwrap()
    }

    fn names(dag: &Dag, indices: impl IntoIterator<Item = usize>) -> String {
        let mut names: Vec<&str> = indices.into_iter().map(|i| dag.tasks()[i].task_id.as_str()).collect();
        names.sort_unstable();
        names.join(" ")
    }

    const WHOLE: &[(&str, &str)] =
        &[("s1", ""), ("a", "s1"), ("b", "a"), ("t1", "b s1"), ("after", "t1"), ("s2", ""), ("c", "s2"), ("e", "c b")];

    #[test]
    fn a_scope_ends_at_the_teardown() {
        let dag = dag(WHOLE);
        let above = |id| names(&dag, dag.scopes().above(dag.index_of(id).unwrap()).iter().copied());
        assert_eq!(above("a"), "", "its setup is directly upstream of it");
        assert_eq!((above("b"), above("after"), above("t1")), ("s1".into(), String::new(), String::new()));
        assert_eq!(above("e"), "s2", "it does not lead to the teardown of s1, and s2 has none");
        let below = |id| names(&dag, dag.scopes().below(dag.index_of(id).unwrap()).iter().copied());
        assert_eq!((below("s1"), below("s2")), ("b".into(), "e".into()));
    }

    #[test]
    fn teardowns_decide_nothing_unless_they_are_told_to() {
        let check = |tasks: &[(&str, &str)], expected: &str| {
            let dag = dag(tasks);
            assert_eq!(names(&dag, (0..dag.tasks().len()).filter(|i| dag.is_leaf(*i))), expected, "{tasks:?}");
        };
        check(&[("s", ""), ("a", "s"), ("t", "a s")], "a");
        check(&[("s", ""), ("a", "s"), ("f", "a s")], "f");
        check(&[("a", ""), ("t1", "a"), ("f2", "a")], "f2");
        check(&[("t1", ""), ("t2", "t1")], "t2");
        check(WHOLE, "after e");
    }

    #[test]
    fn clearing_takes_setups_and_teardowns_along() {
        let dag = dag(WHOLE);
        let check = |ids: &[&str], upstream, downstream, expected: &str| {
            let tasks = ids.iter().map(|id| dag.index_of(id).unwrap()).collect();
            assert_eq!(names(&dag, cleared_with(&dag, &tasks, upstream, downstream)), expected, "{ids:?}");
        };
        check(&["b"], false, false, "s1 t1");
        check(&["a"], false, false, "s1 t1");
        check(&["c"], false, true, "e s2");
        check(&["b"], true, false, "a s1 t1");
        check(&["s1"], false, false, "t1");
        check(&["t1"], false, false, "");
        check(&["after"], false, false, "");
        check(&["e"], true, false, "a b c s1 s2 t1");
    }
}
