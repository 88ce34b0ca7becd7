//! The form that starts a run, and what it does.

use askama::Template;
use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Extension, Form};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde_json::{Map, Value};
use towpath_model::dag::Dag;
use towpath_model::params::{self, ParamError};
use towpath_model::run::{RunType, TriggeredBy};
use towpath_store::{DagRecord, NewRun};

use super::actions::Pairs;
use super::{find_dag, html};
use crate::frame::{Crumb, Frame};
use crate::view::text::shown;
use crate::{Error, Result, State, links};

/// What stands before the name of a param in the name of its field.
const PARAM: &str = "p.";

/// The form as it comes, and as it is shown again after a mistake.
#[derive(Debug, Default, Clone)]
pub(crate) struct Fields {
    /// Of the params, by name.
    params: Vec<(String, String)>,
    conf: String,
    logical_date: String,
    note: String,
    /// A checkbox: there or not.
    unpause: Option<String>,
}

/// What is wrong with each field.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Mistakes {
    conf: Option<String>,
    logical_date: Option<String>,
    /// Those of the params, in the order in which the DAG declares them.
    params: Vec<ParamError>,
}

/// A form without mistakes.
#[derive(Debug, PartialEq)]
struct Order {
    conf: Map<String, Value>,
    logical_date: Option<DateTime<Utc>>,
    note: Option<String>,
}

#[derive(Template)]
#[template(path = "trigger.html")]
struct TriggerPage {
    frame: Frame,
    now: DateTime<Utc>,
    dag_id: String,
    href: String,
    is_paused: bool,
    rows: Vec<ParamRow>,
    fields: Fields,
    mistakes: Mistakes,
}

struct ParamRow {
    name: String,
    /// Of its field.
    field: String,
    value: String,
    control: Control,
    description: String,
    /// Of the values it takes.
    kind: String,
    is_required: bool,
    mistakes: Vec<String>,
}

/// What a param is filled in with.
#[derive(Debug, PartialEq)]
enum Control {
    Line,
    Number {
        is_whole: bool,
    },
    Day,
    /// JSON, or text of many lines.
    Area,
    /// Values as JSON, their labels, and whether they are chosen.
    Choice(Vec<(String, String, bool)>),
}

impl Fields {
    fn read(pairs: Pairs) -> Self {
        let mut fields = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "conf" => fields.conf = value,
                "logical_date" => fields.logical_date = value,
                "note" => fields.note = value,
                "unpause" => fields.unpause = Some(value),
                _ => {
                    if let Some(param) = name.strip_prefix(PARAM) {
                        fields.params.push((param.to_owned(), value));
                    }
                }
            }
        }
        fields
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(param, _)| param == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
) -> Result<Html<String>> {
    let record = find_dag(&state, &dag_id).await?;
    let dag = state.store.dag_of_version(record.version_id).await?;
    let fields = Fields { unpause: Some(String::new()), ..Fields::default() };
    form(&state, &record, &dag, fields, Mistakes::default()).await
}

pub(crate) async fn post(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    caller: Option<Extension<towpath_auth::Principal>>,
    Form(pairs): Form<Pairs>,
) -> Result<Response> {
    let fields = Fields::read(pairs);
    let now = state.clock.now();
    let record = find_dag(&state, &dag_id).await?;
    if !record.is_active {
        return Err(Error::BadRequest(format!("`{dag_id}` has no file any more and cannot be run")));
    }
    let dag = state.store.dag_of_version(record.version_id).await?;
    let order = match read(&fields, &dag) {
        Ok(order) => order,
        Err(mistakes) => return refused(&state, &record, &dag, fields, mistakes).await,
    };
    let new = NewRun {
        dag_id: dag_id.clone(),
        version_id: Some(record.version_id),
        run_id: None,
        run_type: RunType::Manual,
        logical_date: order.logical_date,
        data_interval: order.logical_date.map(|date| dag.spec().schedule.manual_interval(date)),
        run_after: now,
        conf: order.conf,
        note: order.note,
        triggered_by: TriggeredBy::Ui,
        triggering_user: caller.map(|Extension(caller)| caller.name),
        queue: None,
    };
    if record.is_paused && fields.unpause.is_some() {
        state.store.set_paused(&dag_id, false, now).await?;
    }
    match state.store.create_run(new, now).await {
        Ok(created) => Ok(Redirect::to(&links::run(&dag_id, &created.run.run_id)).into_response()),
        Err(error @ towpath_store::Error::RunExists { .. }) => {
            let mistakes = Mistakes { logical_date: Some(error.to_string()), ..Mistakes::default() };
            refused(&state, &record, &dag, fields, mistakes).await
        }
        // The DAG has got another version since it was read.
        Err(towpath_store::Error::Params { errors, .. }) => {
            refused(&state, &record, &dag, fields, Mistakes::of_params(errors)).await
        }
        Err(error) => Err(error.into()),
    }
}

async fn refused(state: &State, record: &DagRecord, dag: &Dag, fields: Fields, mistakes: Mistakes) -> Result<Response> {
    let page = form(state, record, dag, fields, mistakes).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn form(
    state: &State,
    record: &DagRecord,
    dag: &Dag,
    fields: Fields,
    mistakes: Mistakes,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let crumbs = vec![Crumb::dags(), Crumb::link(&record.dag_id, links::dag(&record.dag_id)), Crumb::here("Trigger")];
    html(&TriggerPage {
        frame: Frame::new(state, now, crumbs, false).await.still(),
        now,
        dag_id: shown(&record.dag_id),
        href: links::dag(&record.dag_id),
        is_paused: record.is_paused,
        rows: dag.spec().params.iter().map(|(name, param)| ParamRow::new(name, param, &fields, &mistakes)).collect(),
        fields,
        mistakes,
    })
}

impl Mistakes {
    fn of_params(errors: Vec<ParamError>) -> Self {
        let conf = Some("The values of these params do not fit.".to_owned());
        Self { conf, params: errors, ..Self::default() }
    }
}

impl ParamRow {
    fn new(name: &str, param: &params::Param, fields: &Fields, mistakes: &Mistakes) -> Self {
        let kind = match (param.schema.get("type"), param.schema.get("enum")) {
            (_, Some(words)) => format!("one of {words}"),
            (Some(Value::String(kind)), None) => kind.clone(),
            (Some(kinds), None) => kinds.to_string(),
            (None, None) => "any value".to_owned(),
        };
        let value = match fields.param(name) {
            Some(text) => text.to_owned(),
            None => param.default.as_ref().map(written).unwrap_or_default(),
        };
        Self {
            name: shown(name),
            field: format!("{PARAM}{name}"),
            control: Control::of(&param.schema, &value),
            value,
            description: param.description.as_deref().map(shown).unwrap_or_default(),
            kind: shown(&kind),
            is_required: param.checker().is_ok_and(|checker| checker.has_to_be_given(param.default.as_ref())),
            mistakes: mistakes.params.iter().filter(|error| error.name == name).map(|e| shown(&e.reason)).collect(),
        }
    }
}

impl Control {
    fn of(schema: &Map<String, Value>, value: &str) -> Self {
        let choice = |values: Vec<Value>| {
            let option = |choice: &Value| {
                // A default is told as it is written, and what was chosen comes back as JSON.
                let (json, words) = (choice.to_string(), written(choice));
                let is_on = json == value || words == value;
                (json, shown(&words), is_on)
            };
            Self::Choice(values.iter().map(option).collect())
        };
        let kinds: Vec<&str> = match schema.get("type") {
            Some(Value::String(kind)) => vec![kind],
            Some(Value::Array(kinds)) => {
                kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect()
            }
            _ => Vec::new(),
        };
        if let Some(Value::Array(values)) = schema.get("enum") {
            return choice(values.clone());
        }
        match kinds.as_slice() {
            ["boolean"] => choice(vec![Value::Bool(true), Value::Bool(false)]),
            ["integer"] => Self::Number { is_whole: true },
            ["number"] => Self::Number { is_whole: false },
            ["array" | "object"] => Self::Area,
            ["string"] if schema.get("format").and_then(Value::as_str) == Some("date") => Self::Day,
            _ if value.contains('\n') || value.starts_with(['{', '[']) => Self::Area,
            _ => Self::Line,
        }
    }
}

/// A value as it stands in a field: text as it is, everything else as JSON.
fn written(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What a field says; nothing where it is empty, so that the default counts.
fn given(param: &params::Param, text: &str) -> Option<Value> {
    if text.trim().is_empty() {
        return None;
    }
    let is_text = match (param.schema.get("type"), param.schema.get("enum"), &param.default) {
        (_, Some(_), _) => false,
        (Some(kind), ..) => kind == "string",
        (None, None, Some(default)) => default.is_string(),
        (None, None, None) => false,
    };
    let text_of = || Value::String(text.replace("\r\n", "\n"));
    Some(if is_text { text_of() } else { serde_json::from_str(text.trim()).unwrap_or_else(|_| text_of()) })
}

fn read(fields: &Fields, dag: &Dag) -> std::result::Result<Order, Mistakes> {
    let conf = read_conf(fields, dag);
    let logical_date = read_date(&fields.logical_date);
    match (conf, logical_date) {
        (Ok(conf), Ok(logical_date)) => {
            let note = Some(fields.note.trim().to_owned()).filter(|note| !note.is_empty());
            Ok(Order { conf, logical_date, note })
        }
        (conf, logical_date) => Err(Mistakes { logical_date: logical_date.err(), ..conf.err().unwrap_or_default() }),
    }
}

fn read_conf(fields: &Fields, dag: &Dag) -> std::result::Result<Map<String, Value>, Mistakes> {
    let wrong = |mistake: String| Mistakes { conf: Some(mistake), ..Mistakes::default() };
    let written: Map<String, Value> = match fields.conf.trim() {
        "" => Map::new(),
        text => match serde_json::from_str(text) {
            Ok(Value::Object(conf)) => conf,
            Ok(_) => return Err(wrong("write a JSON object, such as {\"day\": \"2026-02-03\"}".to_owned())),
            Err(error) => return Err(wrong(format!("this is not JSON: {error}"))),
        },
    };
    // What is written as JSON is more than what a field was filled with.
    let of_fields = declared_fields(fields, dag);
    let conf: Map<String, Value> = of_fields.into_iter().chain(written).collect();
    // The form is filled with null for what has no default: one that stays and says nothing is not given.
    let declared = &dag.spec().params;
    let is_given = |name: &String, value: &Value| {
        !value.is_null()
            || declared.get(name).is_none_or(|param| {
                let may_be_null = param.checker().is_ok_and(|checker| checker.fits(value));
                may_be_null && (param.default.is_some() || !param.schema.is_empty())
            })
    };
    let given =
        conf.iter().filter(|(name, value)| is_given(name, value)).map(|(k, v)| (k.clone(), v.clone())).collect();
    dag.check_params(&given).map_err(Mistakes::of_params)?;
    Ok(conf)
}

fn declared_fields(fields: &Fields, dag: &Dag) -> Map<String, Value> {
    let of_param = |(name, param): (&String, &params::Param)| {
        fields.param(name).and_then(|text| given(param, text)).map(|value| (name.clone(), value))
    };
    dag.spec().params.iter().filter_map(of_param).collect()
}

pub(super) fn read_date(text: &str) -> std::result::Result<Option<DateTime<Utc>>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(Some(time.to_utc()));
    }
    let text = text.trim_end_matches("UTC").trim_end().replace('T', " ");
    ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(&text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
        .map(|time| Some(time.and_utc()))
        .ok_or_else(|| "write a time in UTC, such as 2026-02-03 04:05, or leave it empty".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use towpath_model::dag::DagSpec;
    use towpath_model::params::Param;

    fn dag() -> Dag {
        let mut spec = DagSpec::new("d");
        spec.params.insert("day".into(), Param::default());
        spec.params.insert("deep".into(), Param { default: Some(false.into()), ..Param::default() });
        Dag::build(spec).unwrap()
    }

    fn filled(conf: &str, date: &str) -> std::result::Result<Order, Mistakes> {
        let fields = Fields { conf: conf.into(), logical_date: date.into(), ..Fields::default() };
        read(&fields, &dag())
    }

    #[track_caller]
    fn check(conf: &str, date: &str, expected: Option<&str>) {
        let order = filled(conf, date).unwrap();
        assert_eq!(Value::Object(order.conf).to_string(), conf);
        assert_eq!(order.logical_date.map(|date| date.to_rfc3339()).as_deref(), expected);
    }

    #[track_caller]
    fn check_wrong(conf: &str, date: &str, in_conf: Option<&str>, in_date: Option<&str>) {
        let mistakes = filled(conf, date).unwrap_err();
        assert_eq!((mistakes.conf.as_deref(), mistakes.logical_date.as_deref()), (in_conf, in_date));
    }

    #[test]
    fn forms() {
        let day = r#"{"day":1}"#;
        check(day, "", None);
        check(day, " 2026-02-03 04:05 UTC ", Some("2026-02-03T04:05:00+00:00"));
        check(day, "2026-02-03", Some("2026-02-03T00:00:00+00:00"));
        check(day, "2026-02-03T04:05:06+02:00", Some("2026-02-03T02:05:06+00:00"));
        let when = "write a time in UTC, such as 2026-02-03 04:05, or leave it empty";
        let fits_not = Some("The values of these params do not fit.");
        check_wrong("", "yesterday", fits_not, Some(when));
        check_wrong(r#"{"day": null}"#, "", fits_not, None);
        check_wrong("[]", "", Some("write a JSON object, such as {\"day\": \"2026-02-03\"}"), None);
        check_wrong("{", "", Some("this is not JSON: EOF while parsing an object at line 1 column 1"), None);
    }

    #[test]
    fn fields_become_values() {
        let param = |schema: Value, default: Option<Value>| Param {
            schema: schema.as_object().cloned().unwrap_or_default(),
            default,
            ..Param::default()
        };
        for (schema, default, text, expected) in [
            (json!({"type": "integer"}), None, "7", Some(json!(7))),
            (json!({"type": "integer"}), None, "x", Some(json!("x"))),
            (json!({"type": "string"}), None, "7", Some(json!("7"))),
            (json!({"type": "boolean"}), None, "false", Some(json!(false))),
            (json!({"type": "array"}), None, "[1]", Some(json!([1]))),
            (json!({"enum": ["a", 1]}), None, "\"a\"", Some(json!("a"))),
            (json!({}), Some(json!("text")), "7", Some(json!("7"))),
            (json!({}), None, "7", Some(json!(7))),
            (json!({}), None, "2026-02-03", Some(json!("2026-02-03"))),
            (json!({}), None, " ", None),
        ] {
            assert_eq!(given(&param(schema.clone(), default), text), expected, "{schema} {text}");
        }
    }

    #[test]
    fn controls() {
        let of = |schema: Value, value: &str| Control::of(schema.as_object().unwrap(), value);
        assert_eq!(of(json!({"type": "integer"}), ""), Control::Number { is_whole: true });
        assert_eq!(of(json!({"type": ["null", "number"]}), ""), Control::Number { is_whole: false });
        assert_eq!(of(json!({"type": "string", "format": "date"}), ""), Control::Day);
        assert_eq!(of(json!({"type": "object"}), ""), Control::Area);
        assert_eq!(of(json!({}), ""), Control::Line);
        let Control::Choice(values) = of(json!({"enum": ["a", "b"]}), "b") else { panic!("an enum is a choice") };
        assert_eq!(values[1], ("\"b\"".to_owned(), "b".to_owned(), true));
        assert!(!values[0].2);
    }
}
