//! Params: the typed inputs of a run, and whether values fit them.
//!
//! The rules are those of Airflow's `Param`: a value is held against the JSON Schema of its declaration (2020-12, with
//! formats), and a param whose default is no value that it may have has to be given. Keywords that are for display
//! (`title`, `section`, `values_display`, ...) are none of JSON Schema's and check nothing.

#[cfg(test)]
mod tests;

use indexmap::IndexMap;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Most characters of a reason; what is cut is a value that somebody gave.
const MOST_REASON_CHARS: usize = 300;
/// Steps back that a `pattern` may take on one value, so that none runs for ever.
const MOST_STEPS_BACK: usize = 1_000_000;
/// Most bytes that a compiled `pattern` may take.
const MOST_PATTERN_BYTES: usize = 1 << 20;

/// A declared param: a default and the JSON Schema that its values must fit.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Param {
    /// The value where a trigger gives none; a param without one is required.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub default: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON Schema keywords (`type`, `enum`, `minimum`, ...); empty accepts everything.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub schema: Map<String, Value>,
}

/// A value that is there, null among them: a default of null is one.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Why a param has no value that it may have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("param `{name}`: {reason}")]
pub struct ParamError {
    pub name: String,
    /// Without the name, so that it can stand beside a field.
    pub reason: String,
}

/// A schema that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SchemaError {
    pub reason: String,
    /// Keys and positions from the schema down to what is wrong in it.
    pub path: Vec<String>,
}

/// A param ready for checking.
#[derive(Debug, Clone)]
pub struct Checker {
    /// `None` where everything fits.
    validator: Option<Validator>,
}

/// The params of a DAG ready for checking.
#[derive(Debug, Clone)]
pub struct Checkers(IndexMap<String, Result<Checker, SchemaError>>);

impl Param {
    /// Compiles its schema.
    ///
    /// # Errors
    /// Where the schema is none, or refers to another one.
    pub fn checker(&self) -> Result<Checker, SchemaError> {
        if self.schema.is_empty() {
            return Ok(Checker { validator: None });
        }
        let patterns = PatternOptions::fancy_regex().backtrack_limit(MOST_STEPS_BACK).size_limit(MOST_PATTERN_BYTES);
        let validator = jsonschema::options()
            .offline()
            .with_pattern_options(patterns)
            .should_validate_formats(true)
            // Airflow's `time` is that of its web form; JSON Schema's, with a zone, is taken as well.
            .with_format("time", is_time)
            .build(&Value::Object(self.schema.clone()))
            .map_err(|error| SchemaError { reason: reason_of(&error), path: path_of(&error) })?;
        Ok(Checker { validator: Some(validator) })
    }
}

impl Checker {
    /// Every reason why `value` does not fit.
    #[must_use]
    pub fn reasons(&self, value: &Value) -> Vec<String> {
        let Some(validator) = &self.validator else { return Vec::new() };
        if validator.is_valid(value) {
            return Vec::new();
        }
        validator.iter_errors(value).map(|error| reason_at(&error)).collect()
    }

    /// Whether `value` fits.
    #[must_use]
    pub fn fits(&self, value: &Value) -> bool {
        self.validator.as_ref().is_none_or(|validator| validator.is_valid(value))
    }

    /// Whether a trigger has to give the param that has this default: it has none, or one of null, which it may not be.
    #[must_use]
    pub fn has_to_be_given(&self, default: Option<&Value>) -> bool {
        match default {
            None => true,
            Some(value) => value.is_null() && !self.fits(value),
        }
    }
}

impl Checkers {
    /// Compiles what is declared. A schema that is none is told by [`Checkers::check`], of the values that it is to
    /// check.
    #[must_use]
    pub fn new(declared: &IndexMap<String, Param>) -> Self {
        Self(declared.iter().map(|(name, param)| (name.clone(), param.checker())).collect())
    }

    /// The params of a run with `conf`, as [`resolve`] has them. `declared` is what these were made from.
    ///
    /// # Errors
    /// Every reason why one of them has no value that it may have.
    pub fn check(
        &self,
        declared: &IndexMap<String, Param>,
        conf: &Map<String, Value>,
    ) -> Result<Map<String, Value>, Vec<ParamError>> {
        let mut errors = Vec::new();
        for (name, param) in declared {
            let mut error = |reason: String| errors.push(ParamError { name: name.clone(), reason });
            let given = conf.get(name);
            let Some(value) = given.or(param.default.as_ref()) else {
                error("a value has to be given".to_owned());
                continue;
            };
            match self.0.get(name) {
                Some(Ok(checker)) if given.is_none() && checker.has_to_be_given(Some(value)) => {
                    error("a value has to be given".to_owned());
                }
                Some(Ok(checker)) => checker.reasons(value).into_iter().for_each(error),
                Some(Err(broken)) => error(format!("its schema is wrong: {broken}")),
                None => {}
            }
        }
        if errors.is_empty() { Ok(resolve(declared, conf)) } else { Err(errors) }
    }
}

/// The params of a run with `conf`, checked. For many runs of one DAG, [`crate::dag::Dag::check_params`] keeps what is
/// compiled.
///
/// # Errors
/// Every reason why one of them has no value that it may have.
pub fn check(
    declared: &IndexMap<String, Param>,
    conf: &Map<String, Value>,
) -> Result<Map<String, Value>, Vec<ParamError>> {
    if declared.is_empty() {
        return Ok(Map::new());
    }
    Checkers::new(declared).check(declared, conf)
}

/// The params of one run, unchecked: the defaults, overridden by those keys of `conf` that are declared.
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

/// All of `errors` in one sentence.
#[must_use]
pub fn listed(errors: &[ParamError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn is_time(text: &str) -> bool {
    chrono::NaiveTime::parse_from_str(text, "%H:%M:%S").is_ok()
        || chrono::DateTime::parse_from_rfc3339(&format!("1970-01-01T{text}")).is_ok()
}

fn path_of(error: &ValidationError<'_>) -> Vec<String> {
    error.instance_path().iter().map(|segment| segment.to_string()).collect()
}

/// The reason, and where in the value it lies if that is not the value itself.
fn reason_at(error: &ValidationError<'_>) -> String {
    let path = path_of(error);
    let place = if path.is_empty() { String::new() } else { format!("`{}`: ", path.join(".")) };
    format!("{place}{}", reason_of(error))
}

fn reason_of(error: &ValidationError<'_>) -> String {
    let value = || shortened(&error.instance().to_string());
    let text = match error.kind() {
        ValidationErrorKind::Type { kind: TypeKind::Single(wanted) } => {
            format!("{} is not of type {wanted}", value())
        }
        ValidationErrorKind::Type { kind: TypeKind::Multiple(wanted) } => {
            let wanted: Vec<String> = wanted.iter().map(|kind| kind.to_string()).collect();
            format!("{} is not of type {}", value(), wanted.join(" or "))
        }
        // Only a schema's own schema asks for one of several things there.
        ValidationErrorKind::AnyOf { .. } if path_of(error).last().is_some_and(|step| step == "type") => {
            format!("{} is not a type", value())
        }
        ValidationErrorKind::Format { format } => format!("{} is not a {format}", value()),
        _ => error.to_string(),
    };
    shortened(&text)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_REASON_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
