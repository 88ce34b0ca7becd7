//! What can be said about templates before they are rendered: syntax, and names that no rendering will know.
//!
//! Nothing is fetched and nothing rendered, so that a variable or connection that is missing is no problem here.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use towpath_model::operator::OperatorSpec;

use super::names::NAMES;
use super::{ENVIRONMENT, diagnose, is_template};

/// Something about a template of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The argument: `bash_command`, `env.X`, `op_kwargs.a[0]`.
    pub place: String,
    /// The line of the template that it is about, without spaces around it.
    pub excerpt: String,
    /// What is wrong, without a full stop.
    pub reason: String,
    /// Whether the task is bound to fail. A name may be asked for in a way that never comes to pass.
    pub is_certain: bool,
}

/// What is wrong with the templates in `args`, in the order of the arguments. `params` are the names of those that the DAG
/// and the task declare.
#[must_use]
pub fn problems(spec: &OperatorSpec, args: &Map<String, Value>, params: &BTreeSet<&str>) -> Vec<Problem> {
    let mut found = Vec::new();
    for (name, value) in args {
        if spec.arg(name).is_some_and(|arg| arg.templated) {
            walk(name, value, params, &mut found);
        }
    }
    found
}

fn walk(place: &str, value: &Value, params: &BTreeSet<&str>, found: &mut Vec<Problem>) {
    match value {
        Value::String(text) if is_template(text) => check(place, text, params, found),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(&format!("{place}[{index}]"), item, params, found);
            }
        }
        Value::Object(map) => map.iter().for_each(|(key, item)| walk(&format!("{place}.{key}"), item, params, found)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn check(place: &str, text: &str, params: &BTreeSet<&str>, found: &mut Vec<Problem>) {
    let template = match ENVIRONMENT.template_from_str(text) {
        Ok(template) => template,
        Err(error) => {
            let line = error.line().and_then(|line| text.lines().nth(line.saturating_sub(1)));
            found.push(Problem {
                place: place.to_owned(),
                excerpt: line.or_else(|| text.lines().next()).unwrap_or_default().trim().to_owned(),
                reason: diagnose::syntax(error.detail().unwrap_or_default()),
                is_certain: true,
            });
            return;
        }
    };
    // Who asks whether a name is there knows that it may not be.
    if text.contains("defined") || text.contains("default") {
        return;
    }
    let mut paths: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    paths.sort();
    for path in paths {
        let mut parts = path.split('.');
        let name = parts.next().unwrap_or_default();
        let reason = if name == "params" {
            match parts.next() {
                Some(param) if !params.contains(param) && !diagnose::METHODS.contains(&param) => {
                    let hint = diagnose::nearest(param, params.iter().copied())
                        .map(|name| format!("; did you mean `{name}`?"));
                    format!(
                        "neither the DAG nor the task declares a param `{param}`{}",
                        hint.unwrap_or_else(|| "; write it under `params`".to_owned())
                    )
                }
                _ => continue,
            }
        } else if NAMES.contains(&name) || ENVIRONMENT.globals().any(|(known, _)| known == name) {
            continue;
        } else {
            format!("`{name}` is not defined{}", diagnose::way_out(name, NAMES.iter().copied()))
        };
        let line = text.lines().find(|line| line.contains(name)).unwrap_or(text);
        found.push(Problem { place: place.to_owned(), excerpt: line.trim().to_owned(), reason, is_certain: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, expected: &[&str]) {
        let spec = towpath_model::operator::find("bash").expect("there is bash");
        let args = Map::from_iter([("bash_command".to_owned(), Value::from(template))]);
        let found = problems(spec, &args, &BTreeSet::from(["carrier"]));
        let told: Vec<String> =
            found.iter().map(|one| format!("{}{}", one.reason, if one.is_certain { "!" } else { "" })).collect();
        assert_eq!(told, expected, "{template}");
    }

    #[test]
    fn templates_are_looked_at_without_rendering() {
        for fine in [
            "{{ ds }} {{ macros.ds_add(ds, -1) }} {{ var.value.x }} {{ conn.y.host }} {{ ti.xcom_pull('a').b }}",
            "{{ params.carrier }} {{ params['any'] }} {{ params.get('x') }} {{ dag_run.conf.x }}",
            "{% for i in range(3) %}{{ loop.index }}{{ i }}{% endfor %}{% set x = 1 %}{{ x }}",
            "{{ mine | default('x') }} {% if yours is defined %}{{ yours }}{% endif %}",
            "{{ (logical_date - macros.timedelta(days=2)) | ds }} {# a remark #} ${array}",
            "awk '{print $1}'",
        ] {
            check(fine, &[]);
        }
        check("{{ dss }}", &["`dss` is not defined; did you mean `ds`?"]);
        check(
            "{{ next_ds }}",
            &["`next_ds` is not defined: it is gone since Airflow 3; write `data_interval_end | ds`"],
        );
        check("{{ whatever.it.is }}", &["`whatever` is not defined"]);
        check(
            "{{ params.carier }}",
            &["neither the DAG nor the task declares a param `carier`; did you mean `carrier`?"],
        );
        check("{{ params.zz }}", &["neither the DAG nor the task declares a param `zz`; write it under `params`"]);
        check(
            "echo ${#array[@]}",
            &[
                "the template is not valid: unexpected end of comment; `{#` begins one, write `{{ '{#' }}` for the text!",
            ],
        );
        check("{{ ds", &["the template is not valid: unexpected end of input, expected end of variable block!"]);
    }

    #[test]
    fn places_and_lines_are_named() {
        let spec = towpath_model::operator::find("python").expect("there is python");
        let args = serde_json::json!({"op_kwargs": {"a": ["x", "first\n  {{ dss }}"]}, "code": "{{ not a template"});
        let found = problems(spec, args.as_object().unwrap(), &BTreeSet::new());
        let told: Vec<_> = found.iter().map(|one| (one.place.as_str(), one.excerpt.as_str())).collect();
        assert_eq!(told, [("op_kwargs.a[1]", "{{ dss }}")]);
    }
}
