//! What went wrong in a template, in words that help.

use minijinja::value::ValueKind;
use minijinja::{Environment, ErrorKind, Value};

use super::{Error, shorten};

/// Names further away than this are no suggestion (Jaro-Winkler, 1 is equal).
const CLOSE: f64 = 0.8;
/// Names that Airflow 2 had, and what stands for them.
const GONE: &[(&str, &str)] = &[
    ("next_ds", "data_interval_end | ds"),
    ("next_ds_nodash", "data_interval_end | ds_nodash"),
    ("next_execution_date", "data_interval_end"),
    ("prev_ds", "prev_data_interval_start_success | ds"),
    ("prev_ds_nodash", "prev_data_interval_start_success | ds_nodash"),
    ("prev_execution_date", "prev_data_interval_start_success"),
    ("prev_execution_date_success", "prev_data_interval_start_success"),
    ("tomorrow_ds", "macros.ds_add(ds, 1)"),
    ("tomorrow_ds_nodash", "macros.ds_add(ds, 1) | replace('-', '')"),
    ("yesterday_ds", "macros.ds_add(ds, -1)"),
    ("yesterday_ds_nodash", "macros.ds_add(ds, -1) | replace('-', '')"),
];
/// Methods of mappings, which are no keys.
pub(super) const METHODS: &[&str] = &["get", "items", "keys", "values"];

/// The engine's error as ours.
pub(super) fn explain(root: &Value, place: &str, text: &str, error: &minijinja::Error) -> Error {
    let innermost = innermost(error);
    let detail = innermost.detail().unwrap_or_default();
    let reason = match innermost.kind() {
        ErrorKind::UndefinedError => {
            undefined(root, text).unwrap_or_else(|| described("a value is not defined", detail))
        }
        ErrorKind::InvalidOperation if !detail.is_empty() => detail.to_owned(),
        ErrorKind::OutOfFuel => "the template takes too many steps; do this work in the task itself".to_owned(),
        ErrorKind::WriteFailure => match std::error::Error::source(innermost) {
            Some(source) => source.to_string(),
            None => described("it cannot be written", detail),
        },
        ErrorKind::SyntaxError => syntax(detail),
        kind => described(&kind.to_string(), detail),
    };
    let line = error.line();
    let excerpt = line.and_then(|line| text.lines().nth(line.saturating_sub(1))).map(|line| shorten(line.trim()));
    Error::Template { place: place.to_owned(), line, reason, excerpt }
}

/// A template that cannot be read. Shells write `${#array}`, which opens a comment here as in Jinja.
pub(super) fn syntax(detail: &str) -> String {
    let hint =
        if detail.contains("end of comment") { "; `{#` begins one, write `{{ '{#' }}` for the text" } else { "" };
    format!("{}{hint}", described("the template is not valid", detail))
}

fn described(what: &str, detail: &str) -> String {
    if detail.is_empty() { what.to_owned() } else { format!("{what}: {detail}") }
}

fn innermost(error: &minijinja::Error) -> &minijinja::Error {
    let mut found = error;
    while let Some(inner) = std::error::Error::source(found).and_then(|source| source.downcast_ref()) {
        found = inner;
    }
    found
}

/// The first name of the template that is not there.
fn undefined(root: &Value, text: &str) -> Option<String> {
    let env = Environment::new();
    let template = env.template_from_str(text).ok()?;
    let mut paths: Vec<String> = template.undeclared_variables(true).into_iter().collect();
    paths.sort();
    paths.iter().find_map(|path| {
        let mut current = root.clone();
        let mut walked = String::new();
        for part in path.split('.') {
            // Looking into these would fetch what they stand for.
            let fetched = matches!(walked.split('.').next(), Some("var" | "conn"));
            let known = METHODS.contains(&part) || (walked.is_empty() && env.globals().any(|(name, _)| name == part));
            if current.kind() != ValueKind::Map || fetched || known {
                return None;
            }
            if !walked.is_empty() {
                walked.push('.');
            }
            walked.push_str(part);
            let names: Vec<String> = current.try_iter().ok()?.map(|name| name.to_string()).collect();
            let next = current.get_attr(part).unwrap_or_default();
            if next.is_undefined() && !names.iter().any(|name| name == part) {
                let hint = way_out(part, names.iter().map(String::as_str));
                return Some(format!("`{walked}` is not defined{hint}"));
            }
            current = next;
        }
        None
    })
}

/// What to write instead of a name that is not there, as the end of a sentence; empty where nothing is known.
pub(super) fn way_out<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match GONE.iter().find(|(gone, _)| *gone == name) {
        Some((_, instead)) => format!(": it is gone since Airflow 3; write `{instead}`"),
        None => nearest(name, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default(),
    }
}

pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|candidate| (strsim::jaro_winkler(name, candidate), candidate));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(score, _)| *score >= CLOSE).map(|(_, name)| name)
}
