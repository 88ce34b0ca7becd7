//! What is wrong with declared params: schemas that are none, and defaults that do not fit.

use indexmap::IndexMap;
use towpath_model::params::Param;

use crate::diagnostic::Reporter;
use crate::node::{Node, Span};

const TYPES: &str = "types are string, integer, number, boolean, array, object and null";

/// Checks `params`, as read from `node`. Where the DAG is `scheduled`, as in Airflow, each of them needs a default: nobody is there
/// to give a value.
pub(crate) fn check(node: &Node, params: &IndexMap<String, Param>, scheduled: bool, report: &mut Reporter) {
    for (key, value) in node.as_map().unwrap_or_default() {
        let Some(param) = params.get(&key.text) else { continue };
        let name = &key.text;
        let checker = match param.checker() {
            Ok(checker) => checker,
            Err(error) => {
                let reported =
                    report.error(place(value, &error.path), format!("the schema of param `{name}` is wrong: {error}"));
                if error.path.first().is_some_and(|keyword| keyword == "type") {
                    reported.help(TYPES);
                }
                continue;
            }
        };
        if checker.has_to_be_given(param.default.as_ref()) {
            if scheduled {
                report
                    .error(key.span, format!("param `{name}` has no default, so the DAG cannot have a schedule"))
                    .help("give it a default, or write `schedule: null` and give a value with each run");
            }
            continue;
        }
        let default = value.get("default").filter(|_| !param.schema.is_empty()).unwrap_or(value);
        for reason in param.default.iter().flat_map(|default| checker.reasons(default)) {
            report
                .error(default.span, format!("the default of param `{name}` does not fit: {reason}"))
                .help("change the default or what the param may be");
        }
    }
}

/// Where in the declaration of a param the end of `path` stands, or as near to it as there is something.
fn place(declaration: &Node, path: &[String]) -> Span {
    let mut node = declaration;
    for (depth, step) in path.iter().enumerate() {
        let child = match node.as_list() {
            Some(items) => step.parse().ok().and_then(|index: usize| items.get(index)),
            None if depth == 0 => node.get(step).or_else(|| node.get("schema").and_then(|schema| schema.get(step))),
            None => node.get(step),
        };
        let Some(child) = child else { break };
        node = child;
    }
    node.span
}
