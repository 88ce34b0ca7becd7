//! Templates in DAG files. The crate that reads the files knows nothing of templates, so where they stand is looked up here.

use std::collections::BTreeSet;
use std::path::Path;

use towpath_dagfile::{Diagnostic, Severity};
use towpath_model::dag::Dag;
use towpath_model::operator;
use towpath_operators::template::lint;

/// What is wrong with the templates of `dag`, in the order of its tasks.
pub(super) fn problems(dag: &Dag, file: &Path, source: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for task in dag.tasks() {
        let Some(spec) = operator::find(&task.operator) else { continue };
        let params: BTreeSet<&str> = dag.spec().params.keys().chain(task.params.keys()).map(String::as_str).collect();
        for problem in lint::problems(spec, &task.args, &params) {
            let (line, column) = place(source, &task.task_id, &problem.excerpt);
            let severity = if problem.is_certain { Severity::Error } else { Severity::Warning };
            let message = format!("task `{}`, `{}`: {}", task.task_id, problem.place, problem.reason);
            found.push(Diagnostic::in_text(severity, &message, file, source, line as u32, column as u32));
        }
    }
    found
}

/// Line and column, both from 1: of the text after the task's name; of the name where the file writes the text in another way, as
/// with escapes or defaults.
fn place(source: &str, task_id: &str, excerpt: &str) -> (usize, usize) {
    let name = task_id.rsplit('.').next().unwrap_or(task_id);
    let named = |line: &str| {
        let text = line.trim_start();
        let is_key = text.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(':'));
        let is_item = text.strip_prefix("- task_id:").is_some_and(|rest| rest.trim() == name);
        (is_key || is_item).then(|| line.len() - text.len())
    };
    let lines = || source.lines().enumerate();
    let task = lines().find_map(|(index, line)| named(line).map(|at| (index, at)));
    let from = task.map_or(0, |(index, _)| index);
    let text = lines().skip(from).find_map(|(index, line)| line.find(excerpt).map(|at| (index, at)));
    let (index, at) = text.or(task).unwrap_or((0, 0));
    let line = source.lines().nth(index).unwrap_or_default();
    (index + 1, line[..at].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found() {
        let source = "tasks:\n  a: { operator: bash, bash_command: \"echo {{ dss }}\" }\n  b:\n    bash_command: |\n      x\n      é {{ dss }}\n  - task_id: c\n    bash_command: \"echo {{ dss }}\"\n";
        for (task, excerpt, expected) in [
            ("a", "echo {{ dss }}", (2, 39)),
            ("b", "é {{ dss }}", (6, 7)),
            ("group.b", "é {{ dss }}", (6, 7)),
            ("b", "written otherwise", (3, 3)),
            ("c", "echo {{ dss }}", (8, 20)),
            ("z", "written otherwise", (1, 1)),
        ] {
            assert_eq!(place(source, task, excerpt), expected, "{task}: {excerpt}");
        }
    }
}
