//! The environment: `TOWPATH_DATA_DIR` and the like.

use std::ffi::OsString;

use anyhow::bail;

use super::{Given, Layer, Source, keys};
use crate::names;

/// What every variable of a setting begins with.
const PREFIX: &str = "TOWPATH_";
/// Other families behind the same prefix: variables and connections, which the store reads, what tasks
/// are told about themselves, and the path of the configuration file.
const OTHERS: &[&str] = &["VAR_", "CONN_", "CTX_", "CONFIG"];

/// The settings among `variables`, and a warning for each that looks like one and is none. An empty
/// value counts as none at all, so that a compose file may pass through what may not be set.
///
/// # Errors
/// For a value that is not UTF-8.
pub(super) fn read(variables: impl IntoIterator<Item = (String, OsString)>) -> anyhow::Result<(Layer, Vec<String>)> {
    let mut layer = Layer::new();
    let mut warnings = Vec::new();
    for (variable, value) in variables {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        if value.is_empty() || OTHERS.iter().any(|other| rest.starts_with(other)) {
            continue;
        }
        let Some(spec) = keys::find(&rest.to_lowercase()) else {
            warnings.push(format!("the variable {variable} is not a setting{}", hint(rest)));
            continue;
        };
        match value.into_string() {
            Ok(text) => layer.insert(spec.name, Given { text, source: Source::Environment(variable) }),
            Err(_) => bail!("the value of the variable {variable} is not UTF-8"),
        };
    }
    warnings.sort();
    Ok((layer, warnings))
}

fn hint(rest: &str) -> String {
    names::nearest(&rest.to_lowercase(), keys::names())
        .map(|name| format!("; did you mean {PREFIX}{}?", name.to_uppercase()))
        .unwrap_or_default()
}
