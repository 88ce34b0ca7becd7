//! Setup and teardown tasks: `setup`, `teardown`, `setups`, and the rules that come with them.

use std::collections::HashMap;

use towpath_model::dag::{DagSpec, Task};
use towpath_model::teardown::Role;
use towpath_model::trigger_rule::TriggerRule;

use crate::diagnostic::Reporter;
use crate::fields::Fields;
use crate::node::Span;
use crate::resolve::Place;

/// Reads what a task is, from its own keys and from Airflow's decorators; before it has inherited defaults.
pub(crate) fn role(fields: &Fields<'_>, report: &mut Reporter) -> Role {
    let operator = fields.get("operator").and_then(|node| node.as_text()).unwrap_or_default();
    let decorated = |name: &str| operator.strip_prefix("airflow.decorators.") == Some(name);
    let is_setup = fields.bool("setup", report).unwrap_or(decorated("setup"));
    let for_setups = fields.get("setups").is_some();
    let said = fields.bool("teardown", report);
    let is_teardown = said.unwrap_or(decorated("teardown") || for_setups);
    let fails = fields.bool("on_failure_fail_dagrun", report);
    if is_setup && is_teardown {
        let (key, _) =
            ["teardown", "setups", "operator"].iter().find_map(|key| fields.entry(key)).expect("one is given");
        report
            .error(key.span, "a task cannot be both setup and teardown")
            .help("a teardown names what it is for in `setups`");
    }
    if !is_teardown {
        for name in ["on_failure_fail_dagrun", "setups"] {
            if let Some((key, _)) = fields.entry(name).filter(|(_, node)| !node.is_null()) {
                report
                    .error(key.span, format!("`{name}` is for teardowns"))
                    .help("write `teardown: true` with it, or leave it out");
            }
        }
        return if is_setup { Role::Setup } else { Role::Work };
    }
    if let Some((key, node)) = fields.entry("trigger_rule").filter(|(_, node)| !node.is_null())
        && node.as_text() != Some("all_done_setup_success")
    {
        report
            .error(key.span, "a teardown has no `trigger_rule` of its own")
            .help("it runs when its scope is over and one of its setups has succeeded (all_done_setup_success)");
    }
    Role::Teardown { on_failure_fail_dagrun: fails.unwrap_or(false) }
}

/// Makes setups of the tasks that teardowns name, once dependencies are resolved.
pub(crate) fn complete(tasks: &mut [Task], places: &[Place], report: &mut Reporter) {
    let numbers: HashMap<String, usize> =
        tasks.iter().enumerate().map(|(index, task)| (task.task_id.clone(), index)).collect();
    for (index, place) in places.iter().enumerate() {
        for setup in &place.setups {
            let suffix = format!(".{}", setup.text);
            let upstream = &tasks[index].upstream;
            let exact = upstream.iter().find(|id| **id == setup.text);
            let found = exact.or_else(|| upstream.iter().find(|id| id.ends_with(&suffix)));
            let Some(&found) = found.and_then(|id| numbers.get(id)) else {
                report
                    .error(setup.span, format!("`{}` is a task group, which is no setup", setup.text))
                    .help("name the tasks in it that are");
                continue;
            };
            if tasks[found].role.is_teardown() {
                let message = format!("`{}` is a teardown, so it cannot be the setup of one", tasks[found].task_id);
                report.error(setup.span, message);
            } else {
                tasks[found].role = Role::Setup;
            }
        }
    }
}

/// Complains about trigger rules that do not go with setups or with `fail_fast`. `spans` tells where the tasks stand.
pub(crate) fn check(spec: &DagSpec, spans: &[Span], report: &mut Reporter) {
    let roles: HashMap<&str, Role> = spec.tasks.iter().map(|task| (task.task_id.as_str(), task.role)).collect();
    for (task, span) in spec.tasks.iter().zip(spans).filter(|(task, _)| !task.role.is_teardown()) {
        if task.trigger_rule == TriggerRule::AllSuccess {
            continue;
        }
        if spec.fail_fast && task.trigger_rule != TriggerRule::AllDoneSetupSuccess {
            let message = format!("task `{}` has the trigger rule {}", task.task_id, task.trigger_rule);
            report
                .error(*span, format!("{message}, and a `fail_fast` DAG has only all_success"))
                .help("after the first failure nothing is left to decide; use a teardown for what has to run anyway");
        }
        let is_setup = |id: &&String| roles.get(id.as_str()).is_some_and(Role::is_setup);
        if let Some(setup) = task.upstream.iter().find(is_setup) {
            let message = format!("task `{}` follows the setup `{setup}` directly", task.task_id);
            report
                .error(*span, format!("{message}, so its trigger rule has to be all_success"))
                .help("put a task between them that does the setup's first work, or make it a teardown");
        }
    }
}
