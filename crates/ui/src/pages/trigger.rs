//! The form that starts a run, and what it does.

use askama::Template;
use axum::extract::{self, Path};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Extension, Form};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use towpath_model::dag::Dag;
use towpath_model::params::{self, ParamError};
use towpath_model::run::{RunType, TriggeredBy};
use towpath_store::{DagRecord, NewRun};

use super::{find_dag, html};
use crate::frame::{Crumb, Frame};
use crate::view::text::shown;
use crate::{Error, Result, State, links};

/// The form as it comes, and as it is shown again after a mistake.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
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
    params: Vec<ParamRow>,
    fields: Fields,
    mistakes: Mistakes,
}

struct ParamRow {
    name: String,
    description: String,
    /// Of the values it takes.
    kind: String,
    is_required: bool,
    mistakes: Vec<String>,
}

pub(crate) async fn get(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
) -> Result<Html<String>> {
    let record = find_dag(&state, &dag_id).await?;
    let dag = state.store.dag_of_version(record.version_id).await?;
    let fields = Fields { conf: template(&dag), unpause: Some(String::new()), ..Fields::default() };
    form(&state, &record, &dag, fields, Mistakes::default()).await
}

pub(crate) async fn post(
    extract::State(state): extract::State<State>,
    Path(dag_id): Path<String>,
    caller: Option<Extension<towpath_auth::Principal>>,
    Form(fields): Form<Fields>,
) -> Result<Response> {
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
    let crumbs = vec![
        Crumb::link("DAGs", "/".to_owned()),
        Crumb::link(&record.dag_id, links::dag(&record.dag_id)),
        Crumb::here("Trigger"),
    ];
    html(&TriggerPage {
        frame: Frame::new(state, now, crumbs, false).await.still(),
        now,
        dag_id: shown(&record.dag_id),
        href: links::dag(&record.dag_id),
        is_paused: record.is_paused,
        params: dag.spec().params.iter().map(|(name, param)| ParamRow::new(name, param, &mistakes)).collect(),
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
    fn new(name: &str, param: &params::Param, mistakes: &Mistakes) -> Self {
        let kind = match (param.schema.get("type"), param.schema.get("enum")) {
            (_, Some(words)) => format!("one of {words}"),
            (Some(Value::String(kind)), None) => kind.clone(),
            (Some(kinds), None) => kinds.to_string(),
            (None, None) => "any value".to_owned(),
        };
        Self {
            name: shown(name),
            description: param.description.as_deref().map(shown).unwrap_or_default(),
            kind: shown(&kind),
            is_required: param.checker().is_ok_and(|checker| checker.has_to_be_given(param.default.as_ref())),
            mistakes: mistakes.params.iter().filter(|error| error.name == name).map(|e| shown(&e.reason)).collect(),
        }
    }
}

/// The `conf` that a form starts with: the defaults, and null for what must be filled in.
fn template(dag: &Dag) -> String {
    let conf = Value::Object(params::resolve(&dag.spec().params, &Map::new()));
    serde_json::to_string_pretty(&conf).unwrap_or_default()
}

fn read(fields: &Fields, dag: &Dag) -> std::result::Result<Order, Mistakes> {
    let conf = read_conf(&fields.conf, dag);
    let logical_date = read_date(&fields.logical_date);
    match (conf, logical_date) {
        (Ok(conf), Ok(logical_date)) => {
            let note = Some(fields.note.trim().to_owned()).filter(|note| !note.is_empty());
            Ok(Order { conf, logical_date, note })
        }
        (conf, logical_date) => Err(Mistakes { logical_date: logical_date.err(), ..conf.err().unwrap_or_default() }),
    }
}

fn read_conf(text: &str, dag: &Dag) -> std::result::Result<Map<String, Value>, Mistakes> {
    let wrong = |mistake: String| Mistakes { conf: Some(mistake), ..Mistakes::default() };
    let conf: Map<String, Value> = match text.trim() {
        "" => Map::new(),
        text => match serde_json::from_str(text) {
            Ok(Value::Object(conf)) => conf,
            Ok(_) => return Err(wrong("write a JSON object, such as {\"day\": \"2026-02-03\"}".to_owned())),
            Err(error) => return Err(wrong(format!("this is not JSON: {error}"))),
        },
    };
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

fn read_date(text: &str) -> std::result::Result<Option<DateTime<Utc>>, String> {
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
    fn the_form_starts_with_the_defaults() {
        assert_eq!(template(&dag()), "{\n  \"day\": null,\n  \"deep\": false\n}");
    }
}
