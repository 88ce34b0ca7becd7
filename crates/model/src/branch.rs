//! Branches: which tasks a task rules out by what it has found.
//!
//! The rules are Airflow's (`BranchMixIn`, `ShortCircuitOperator`): a branch skips what is directly
//! behind it and not chosen, but nothing that a chosen task leads to; what comes after the skipped
//! ones is left to the trigger rules.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::dag::Dag;

/// The tasks that a task rules out when it succeeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skips {
    /// Its direct downstream, except for these tasks or task groups and all that follows from them.
    AllExcept(Vec<String>),
    /// Its direct downstream.
    Direct,
    /// Everything downstream, whatever the trigger rules say.
    All,
}

/// A choice that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the branch chose `{chosen}`, which is no task of this DAG; directly behind it are: {}", direct.join(", "))]
pub struct UnknownChoice {
    pub chosen: String,
    /// What could have been chosen.
    pub direct: Vec<String>,
}

/// The positions of the tasks that `skips` rules out behind the task at `index`; teardowns never are.
///
/// # Errors
/// [`UnknownChoice`] for the name of something that the DAG does not have.
pub fn skipped(dag: &Dag, index: usize, skips: &Skips) -> Result<BTreeSet<usize>, UnknownChoice> {
    let direct: BTreeSet<usize> = dag.downstream(index).collect();
    // What has been made is taken away again, whatever was decided about the work in between.
    let without_teardowns = |mut tasks: BTreeSet<usize>| {
        tasks.retain(|index| !dag.tasks()[*index].role.is_teardown());
        tasks
    };
    match skips {
        Skips::Direct => Ok(without_teardowns(direct)),
        Skips::All => Ok(without_teardowns(dag.descendants(direct))),
        Skips::AllExcept(chosen) => {
            let mut kept = BTreeSet::new();
            for name in chosen {
                let tasks = tasks_of(dag, name);
                if tasks.is_empty() {
                    let direct = direct.iter().map(|i| dag.tasks()[*i].task_id.clone()).collect();
                    return Err(UnknownChoice { chosen: name.clone(), direct });
                }
                kept.extend(tasks);
            }
            let kept = dag.descendants(kept);
            Ok(without_teardowns(direct.difference(&kept).copied().collect()))
        }
    }
}

/// The task of that id, or the tasks of the group of that id.
fn tasks_of(dag: &Dag, name: &str) -> Vec<usize> {
    if let Some(index) = dag.index_of(name) {
        return vec![index];
    }
    let prefix = format!("{name}.");
    (0..dag.tasks().len()).filter(|i| dag.tasks()[*i].task_id.starts_with(&prefix)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dag::{DagSpec, Task};

    #[test]
    fn only_what_is_not_chosen_and_not_reached_is_skipped() {
        let mut spec = DagSpec::new("d");
        for (id, upstream) in [
            ("branch", ""),
            ("a", "branch"),
            ("b", "branch"),
            ("join", "branch,a,b"),
            ("end", "join"),
            ("g.x", "branch"),
            ("g.y", "g.x"),
        ] {
            let mut task = Task::new(id, "bash");
            task.upstream = upstream.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
            spec.tasks.push(task);
        }
        let dag = Dag::build(spec).unwrap();
        let check = |skips: Skips, expected: &[&str]| {
            let found = skipped(&dag, dag.index_of("branch").unwrap(), &skips).unwrap();
            let found: Vec<&str> = found.into_iter().map(|i| dag.tasks()[i].task_id.as_str()).collect();
            assert_eq!(found, expected, "{skips:?}");
        };
        check(Skips::AllExcept(vec!["a".into()]), &["b", "g.x"]);
        check(Skips::AllExcept(vec!["a".into(), "b".into()]), &["g.x"]);
        check(Skips::AllExcept(vec!["g".into()]), &["a", "b", "join"]);
        check(Skips::AllExcept(vec![]), &["a", "b", "g.x", "join"]);
        check(Skips::Direct, &["a", "b", "g.x", "join"]);
        check(Skips::All, &["a", "b", "end", "g.x", "g.y", "join"]);
        let error = skipped(&dag, dag.index_of("branch").unwrap(), &Skips::AllExcept(vec!["c".into()])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the branch chose `c`, which is no task of this DAG; directly behind it are: a, b, g.x, join"
        );
    }
}
