//! `towpath variables import`

use std::path::PathBuf;

use anyhow::Context;
use serde_json::{Map, Value};

use crate::exit::{Outcome, usage};
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file maps keys to values, as Airflow's `variables export` writes it. A value that is not text is stored as JSON. \
A mapping with `value` and perhaps `description` gives both.")]
pub(crate) struct Args {
    /// A JSON or YAML file
    file: PathBuf,
    /// Leave variables alone that exist already
    #[arg(long)]
    keep_existing: bool,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("cannot read `{}`", args.file.display()))?;
    let wrong = |reason: String| usage(format!("`{}` is no mapping of keys to values: {reason}", args.file.display()));
    // JSON is YAML as well, so one reader serves both.
    let mut values: Map<String, Value> = serde_yaml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let store = session.store().await?;
    if args.keep_existing {
        for variable in store.variables().await? {
            values.remove(&variable.key);
        }
    }
    for (key, value) in &values {
        let (value, description) = parts(value);
        store.set_variable(key, &value, description, session.now()).await?;
    }
    output::line(format!("{} variables are set", values.len()))?;
    Ok(Outcome::Success)
}

/// Value and description.
fn parts(value: &Value) -> (String, Option<&str>) {
    if let Value::Object(map) = value
        && let Some(inner) = map.get("value")
        && map.keys().all(|key| key == "value" || key == "description")
    {
        return (text(inner), map.get("description").and_then(Value::as_str));
    }
    (text(value), None)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_with_and_without_description() {
        for (value, expected) in [
            (json!("x"), ("x", None)),
            (json!(5), ("5", None)),
            (json!({"a": 1}), (r#"{"a":1}"#, None)),
            (json!({"value": "x", "description": "d"}), ("x", Some("d"))),
            (json!({"value": [1], "description": null}), ("[1]", None)),
            (json!({"value": 1, "other": 2}), (r#"{"value":1,"other":2}"#, None)),
        ] {
            let (text, description) = parts(&value);
            assert_eq!((text.as_str(), description), expected, "{value}");
        }
    }
}
