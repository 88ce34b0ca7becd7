//! The arguments of operators, checked against the table in `towpath_model::operator`.

use serde_json::{Map, Number, Value};
use towpath_model::operator::{ArgKind, ArgSpec, OperatorSpec, SPECS};

use crate::diagnostic::{Reporter, nearest};
use crate::fields::{bool_of, duration_of, given_twice, integer_of, wrong};
use crate::keys::{self, KeyKind};
use crate::node::{Key, Kind, Node};

/// Reads the arguments of a task: its own entries, then those of `defaults` that its operator has.
/// `expanded` ones come with the elements that it is mapped over.
pub(crate) fn read<'n>(
    operator: &'static OperatorSpec,
    own: &[(&Key, &Node)],
    defaults: impl Iterator<Item = (&'n Key, &'n Node)>,
    expanded: &[&'static str],
    task: &Node,
    report: &mut Reporter,
) -> Map<String, Value> {
    let mut args = Map::new();
    // By canonical name; also those whose values are wrong, which have been complained about.
    let mut given: Vec<(&'static str, &Key)> = Vec::with_capacity(own.len());
    let mut unknown = Vec::new();
    for (key, node) in own {
        let Some(spec) = operator.arg(&key.text) else {
            unknown.push(*key);
            continue;
        };
        if let Some((_, first)) = given.iter().find(|(name, _)| *name == spec.name) {
            given_twice(first, key, report);
            continue;
        }
        if let Some(value) = value(spec, node, report) {
            args.insert(spec.name.to_owned(), value);
        }
        // A null takes the default away, and counts as not given for what is required.
        if !node.is_null() {
            given.push((spec.name, key));
        }
    }
    let nulled = |name: &str| {
        own.iter().any(|(key, node)| node.is_null() && operator.arg(&key.text).is_some_and(|a| a.name == name))
    };
    for (key, node) in defaults {
        if let Some(spec) = operator.arg(&key.text)
            && !given.iter().any(|(name, _)| *name == spec.name)
            && !nulled(spec.name)
            && !expanded.contains(&spec.name)
        {
            if let Some(value) = value(spec, node, report) {
                args.insert(spec.name.to_owned(), value);
            }
            given.push((spec.name, key));
        }
    }
    for name in expanded {
        if let Some((_, key)) = given.iter().find(|(given, _)| given == name) {
            report
                .error(key.span, format!("`{name}` is both given and expanded"))
                .help("an argument of a mapped task is the same for all instances or comes with its element");
        }
    }
    let names: Vec<&str> = given.iter().map(|(name, _)| *name).chain(expanded.iter().copied()).collect();
    unknown_args(operator, &unknown, report);
    require(operator, &names, &unknown, task, report);
    args
}

/// Keys that neither a task nor its operator has.
fn unknown_args(operator: &OperatorSpec, unknown: &[&Key], report: &mut Reporter) {
    let known = || {
        let keys = keys::TASK.iter().filter(|key| !matches!(key.kind, KeyKind::Ignored | KeyKind::Unsupported));
        keys.map(|key| key.name).chain(operator.args.iter().map(|arg| arg.name))
    };
    for key in unknown {
        let elsewhere = || {
            let others: Vec<&str> =
                SPECS.iter().filter(|spec| spec.arg(&key.text).is_some()).map(|spec| spec.name).collect();
            (!others.is_empty()).then(|| format!("operators that have it: {}", others.join(", ")))
        };
        report.error(key.span, format!("a task with operator `{}` has no `{}`", operator.name, key.text)).suggest_or(
            &key.text,
            known(),
            elsewhere,
        );
    }
}

/// What must be there, or must be there once.
fn require(operator: &OperatorSpec, given: &[&str], unknown: &[&Key], task: &Node, report: &mut Reporter) {
    // An argument whose name is mistyped has been told already, with the right name.
    let mistyped = |name: &str| unknown.iter().take(20).any(|key| nearest(&key.text, [name]).is_some());
    for spec in operator.args.iter().filter(|spec| spec.required && !given.contains(&spec.name)) {
        if !mistyped(spec.name) {
            report
                .error(task.span, format!("a task with operator `{}` needs `{}`", operator.name, spec.name))
                .help(format!("{}: {}", spec.name, spec.doc));
        }
    }
    if operator.one_of.is_empty() {
        return;
    }
    let chosen: Vec<&str> = operator.one_of.iter().copied().filter(|name| given.contains(name)).collect();
    match chosen.as_slice() {
        [_] => {}
        [] if operator.one_of.iter().any(|name| mistyped(name)) => {}
        [] => report
            .error(
                task.span,
                format!("a task with operator `{}` needs one of {}", operator.name, names(operator.one_of)),
            )
            .help(match operator.name {
                "transform" => {
                    "`steps` are a list such as [{dedupe: {subset: [id]}}]; `sql` is a query over the inputs"
                }
                _ => "`python_callable: module.function` calls a function of a module beside this file",
            }),
        _ => report
            .error(task.span, format!("{} cannot be given together", names(&chosen)))
            .help("keep the one that is meant; others may come from default_args"),
    }
    if given.contains(&"python_callable_name") != given.contains(&"python_callable_file") {
        report
            .error(task.span, "`python_callable_name` and `python_callable_file` need each other")
            .help("or write `python_callable: module.function`");
    }
}

fn names(list: &[&str]) -> String {
    list.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The value of an argument in its canonical form.
fn value(spec: &ArgSpec, node: &Node, report: &mut Reporter) -> Option<Value> {
    if node.is_null() {
        return None;
    }
    if spec.templated && node.as_text().is_some_and(is_template) {
        return Some(node.to_json());
    }
    match spec.kind {
        ArgKind::Text | ArgKind::Path => {
            let text = node.scalar_text();
            if text.is_none() {
                wrong(report, node, spec.name, "text");
            }
            text.map(Value::String)
        }
        ArgKind::Bool => typed(bool_of(node).map(Value::Bool), spec, node, "true or false", report),
        ArgKind::Integer => typed(integer_of(node).map(Value::from), spec, node, "a whole number", report),
        ArgKind::Number => {
            let number = match &node.kind {
                Kind::Int(value) => Some(Value::from(*value)),
                Kind::Float(value) => Number::from_f64(*value).map(Value::Number),
                Kind::Null | Kind::Bool(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => None,
            };
            typed(number, spec, node, "a number", report)
        }
        ArgKind::Duration => {
            let seconds = duration_of(node, spec.name, report)?.as_secs_f64();
            Number::from_f64(seconds).map(Value::Number)
        }
        ArgKind::Bytes => typed(bytes(node).map(Value::from), spec, node, "a size such as 500MB or 2GiB", report),
        ArgKind::TextMap => {
            let Some(entries) = node.as_map() else {
                wrong(report, node, spec.name, "a mapping of texts");
                return None;
            };
            let mut map = Map::new();
            for (key, item) in entries {
                match item.scalar_text() {
                    Some(text) => {
                        map.insert(key.text.clone(), Value::String(text));
                    }
                    None if item.is_null() => {
                        map.insert(key.text.clone(), Value::String(String::new()));
                    }
                    None => wrong(report, item, &format!("{}.{}", spec.name, key.text), "text"),
                }
            }
            Some(Value::Object(map))
        }
        ArgKind::TextList | ArgKind::IntegerList => list(spec, node, report),
        ArgKind::Map => typed(node.as_map().map(|_| node.to_json()), spec, node, "a mapping", report),
        ArgKind::List => typed(node.as_list().map(|_| node.to_json()), spec, node, "a list", report),
        ArgKind::Any => Some(node.to_json()),
        ArgKind::Choice(known) => {
            let text = node.scalar_text().unwrap_or_default();
            let found = known.iter().find(|choice| choice.eq_ignore_ascii_case(&text));
            if found.is_none() {
                report
                    .error(
                        node.span,
                        format!("`{}` has to be one of {}, not {}", spec.name, known.join(", "), node.describe()),
                    )
                    .suggest(&text, known.iter().copied());
            }
            found.map(|choice| Value::from(*choice))
        }
    }
}

fn typed(value: Option<Value>, spec: &ArgSpec, node: &Node, expected: &str, report: &mut Reporter) -> Option<Value> {
    if value.is_none() {
        wrong(report, node, spec.name, expected);
    }
    value
}

/// A list, or one item that stands for a list of one.
fn list(spec: &ArgSpec, node: &Node, report: &mut Reporter) -> Option<Value> {
    let single = std::slice::from_ref(node);
    let items = node.as_list().unwrap_or(single);
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        let value = match spec.kind {
            ArgKind::IntegerList => integer_of(item).map(Value::from),
            _ => item.scalar_text().map(Value::String),
        };
        if value.is_none() {
            wrong(report, item, spec.name, if spec.kind == ArgKind::IntegerList { "a whole number" } else { "text" });
        }
        values.push(value?);
    }
    Some(Value::Array(values))
}

/// Whether a text is a template, as far as Jinja is concerned.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

fn bytes(node: &Node) -> Option<u64> {
    const UNITS: &[(&str, u64)] = &[
        ("b", 1),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
        ("tb", 1_000_000_000_000),
        ("k", 1 << 10),
        ("m", 1 << 20),
        ("g", 1 << 30),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
    ];
    if let Some(value) = integer_of(node) {
        return u64::try_from(value).ok();
    }
    let text = node.as_text()?.trim().to_ascii_lowercase();
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = text[..split].trim().parse().ok()?;
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == text[split..].trim())?;
    let bytes = number * *unit as f64;
    (bytes.is_finite() && bytes >= 0.0).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Span;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("500MB", Some(500_000_000)),
            ("2GiB", Some(2 << 30)),
            ("1.5k", Some(1_536)),
            ("many", None),
            ("5 parsecs", None),
        ] {
            let node = Node { span: Span::default(), kind: Kind::Text(text.to_owned()) };
            assert_eq!(bytes(&node), expected, "{text}");
        }
    }
}
