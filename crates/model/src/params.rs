//! Params: the typed inputs of a run.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A declared param: a default and the JSON Schema that its values must fit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Param {
    /// The value where a trigger gives none; a param without one is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema keywords (`type`, `enum`, `minimum`, ...); empty accepts everything.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub schema: Map<String, Value>,
}

/// The params of one run: the defaults, overridden by those keys of `conf` that are declared.
/// Airflow calls this `dag_run_conf_overrides_params`.
#[must_use]
pub fn resolve(declared: &IndexMap<String, Param>, conf: &Map<String, Value>) -> Map<String, Value> {
    declared
        .iter()
        .map(|(name, param)| {
            let value = conf.get(name).or(param.default.as_ref()).cloned().unwrap_or(Value::Null);
            (name.clone(), value)
        })
        .collect()
}

/// Required params (no default) that `conf` does not give.
#[must_use]
pub fn missing<'a>(declared: &'a IndexMap<String, Param>, conf: &Map<String, Value>) -> Vec<&'a str> {
    declared
        .iter()
        .filter(|(name, param)| param.default.is_none() && !conf.contains_key(*name))
        .map(|(name, _)| name.as_str())
        .collect()
}
