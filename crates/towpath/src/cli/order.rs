//! What a run is given that somebody starts by hand.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use towpath_model::dag::Dag;
use towpath_model::params::{Param, listed};
use towpath_model::run::TriggeredBy;
use towpath_store::{Error, NewRun, RunRecord, Store};

use super::arguments;
use crate::exit::usage;
use crate::names;

/// The logical date of a run by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogicalDate {
    Now,
    /// As Airflow 3's runs may be; `{{ ds }}` and its family are errors then.
    None,
    At(DateTime<Utc>),
}

impl FromStr for LogicalDate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "now" => Ok(Self::Now),
            "none" => Ok(Self::None),
            _ => arguments::time(text).map(Self::At).map_err(|error| format!("{error}, or `now`, or `none`")),
        }
    }
}

/// Arguments that say what a run is given.
#[derive(Debug, clap::Args)]
pub(crate) struct OrderArgs {
    /// Configuration of the run, a JSON object; `@FILE` reads it from a file
    #[arg(long, value_name = "JSON", value_parser = arguments::json_object)]
    conf: Option<Map<String, Value>>,
    /// A param of the DAG; may be given more than once
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = arguments::key_value)]
    params: Vec<(String, String)>,
    /// Logical date: a time such as 2026-11-22 or 2026-11-22T06:00 (UTC unless it has a zone), now, or none
    #[arg(long, value_name = "TIME", default_value = "now")]
    logical_date: LogicalDate,
    /// Id of the run [default: manual__ and the time]
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// A remark that is shown with the run
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

impl OrderArgs {
    /// The run that is asked for, of this version of `dag`.
    ///
    /// # Errors
    /// For params that the DAG does not have, values that do not fit, and required ones that are missing.
    pub(crate) fn new_run(&self, dag: &Dag, version_id: i64, now: DateTime<Utc>) -> anyhow::Result<NewRun> {
        let conf = self.conf(dag)?;
        let logical_date = match self.logical_date {
            LogicalDate::Now => Some(now),
            LogicalDate::None => None,
            LogicalDate::At(date) => Some(date),
        };
        Ok(NewRun {
            version_id: Some(version_id),
            run_id: self.run_id.clone(),
            logical_date,
            // As in Airflow, a run without a logical date has no data interval either.
            data_interval: logical_date.map(|date| dag.spec().schedule.manual_interval(date)),
            conf,
            note: self.note.clone(),
            triggering_user: std::env::var("USER").ok().filter(|user| !user.is_empty()),
            ..NewRun::manual(dag.id(), now, TriggeredBy::Cli)
        })
    }

    /// What `--conf` and `--param` say together.
    pub(crate) fn conf(&self, dag: &Dag) -> anyhow::Result<Map<String, Value>> {
        conf(dag, self.conf.as_ref(), &self.params)
    }
}

/// The configuration of a run: `given`, with `params` over it.
///
/// # Errors
/// For params that the DAG does not have, values that do not fit, and required ones that are missing.
pub(crate) fn conf(
    dag: &Dag,
    given: Option<&Map<String, Value>>,
    params: &[(String, String)],
) -> anyhow::Result<Map<String, Value>> {
    let declared = &dag.spec().params;
    let mut conf = given.cloned().unwrap_or_default();
    for (name, text) in params {
        let Some(param) = declared.get(name) else {
            let known: Vec<&str> = declared.keys().map(String::as_str).collect();
            let hint = names::hint(name, known.iter().copied());
            let known =
                if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
            return Err(usage(format!("DAG `{}` has no param `{name}`{hint} ({known})", dag.id())));
        };
        conf.insert(name.clone(), value(name, param, text)?);
    }
    match dag.check_params(&conf) {
        Ok(_) => Ok(conf),
        Err(errors) => {
            Err(usage(format!("DAG `{}`: {}; give values with --param KEY=VALUE", dag.id(), listed(&errors))))
        }
    }
}

/// Makes the run.
///
/// # Errors
/// When the DAG has a run of the same id or logical date, and when the database does not answer.
pub(crate) async fn create(store: &Store, new: NewRun, now: DateTime<Utc>) -> anyhow::Result<RunRecord> {
    match store.create_run(new, now).await {
        Ok(created) => Ok(created.run),
        Err(error @ Error::RunExists { .. }) => {
            Err(usage(format!("{error}; choose another with --logical-date (or `none`) and --run-id")))
        }
        Err(error @ Error::Params { .. }) => Err(usage(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// What is written on a command line, as the type that the param declares: text where it may be text, else JSON.
fn value(name: &str, param: &Param, text: &str) -> anyhow::Result<Value> {
    let types: Vec<&str> = match param.schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let parsed = serde_json::from_str::<Value>(text).ok();
    let fits = |value: &Value| types.iter().any(|wanted| is_of_type(value, wanted));
    match parsed {
        Some(value) if types.is_empty() || fits(&value) => Ok(value),
        _ if types.is_empty() || types.contains(&"string") => Ok(Value::String(text.to_owned())),
        _ => Err(usage(format!("param `{name}` is `{text}`; it must be of type {}", types.join(" or ")))),
    }
}

fn is_of_type(value: &Value, wanted: &str) -> bool {
    match wanted {
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        // JSON text in quotes is not what somebody means who writes a text on a command line.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use towpath_model::dag::DagSpec;

    fn dag() -> Dag {
        let mut spec = DagSpec::new("etl");
        let param = |schema: Value, default: Option<Value>| Param {
            default,
            schema: schema.as_object().cloned().unwrap_or_default(),
            ..Param::default()
        };
        spec.params.insert("carrier".into(), param(json!({"type": "string"}), None));
        spec.params.insert("rows".into(), param(json!({"type": ["integer", "null"]}), Some(json!(1))));
        spec.params.insert("any".into(), param(json!({}), Some(Value::Null)));
        spec.params.insert("day".into(), param(json!({"type": "string", "format": "date"}), Some(json!("2026-01-01"))));
        Dag::build(spec).unwrap()
    }

    fn order(conf: Option<Value>, params: &[(&str, &str)], logical_date: &str) -> OrderArgs {
        OrderArgs {
            conf: conf.and_then(|conf| conf.as_object().cloned()),
            params: params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            logical_date: logical_date.parse().unwrap(),
            run_id: None,
            note: None,
        }
    }

    #[track_caller]
    fn check(params: &[(&str, &str)], expected: Result<Value, &str>) {
        let conf = order(None, params, "now").conf(&dag());
        match expected {
            Ok(expected) => assert_eq!(Value::Object(conf.unwrap()), expected),
            Err(expected) => {
                let error = conf.unwrap_err().to_string();
                assert!(error.contains(expected), "{error}");
            }
        }
    }

    #[test]
    fn params_take_the_type_they_declare() {
        check(&[("carrier", "5")], Ok(json!({"carrier": "5"})));
        check(&[("carrier", "UA"), ("rows", "5")], Ok(json!({"carrier": "UA", "rows": 5})));
        check(&[("carrier", "UA"), ("rows", "null")], Ok(json!({"carrier": "UA", "rows": null})));
        check(&[("carrier", "UA"), ("any", "[1]")], Ok(json!({"carrier": "UA", "any": [1]})));
        check(&[("carrier", "UA"), ("any", "x y")], Ok(json!({"carrier": "UA", "any": "x y"})));
        check(&[("carrier", "UA"), ("rows", "many")], Err("must be of type integer or null"));
        check(
            &[("rows", "5")],
            Err("DAG `etl`: param `carrier`: a value has to be given; give values with --param KEY=VALUE"),
        );
        check(
            &[("day", "soon")],
            Err("param `carrier`: a value has to be given; param `day`: \"soon\" is not a date; give"),
        );
        check(&[("carier", "UA")], Err("did you mean `carrier`?"));
    }

    #[test]
    fn logical_dates() {
        let now = DateTime::from_timestamp(1_000, 0).unwrap();
        let conf = || Some(json!({"carrier": "UA"}));
        let run = |date| order(conf(), &[], date).new_run(&dag(), 1, now).unwrap();
        assert_eq!(run("now").logical_date, Some(now));
        assert_eq!((run("none").logical_date, run("none").data_interval), (None, None));
        let at = run("2013-01-01");
        assert_eq!(at.logical_date, at.data_interval.map(|interval| interval.end));
        assert_eq!((at.logical_date.unwrap().to_rfc3339(), at.run_after), ("2013-01-01T00:00:00+00:00".into(), now));
        assert!("yesterday".parse::<LogicalDate>().is_err());
    }
}
