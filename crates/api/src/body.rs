//! JSON bodies: taken apart field by field, with every mistake told at once.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::openapi::recording::{self, Place, Recorder};
use crate::problem::Problem;
use crate::routes::BODY_LIMIT_BYTES;
use crate::time::{self, Unreadable};
use crate::{Error, Result};

/// A JSON object. Actions take the fields they know; [`Body::finish`] refuses what is left.
#[derive(Debug)]
pub(crate) struct Body {
    fields: Map<String, Value>,
    /// The object as it came, which pydantic repeats where a field is missing.
    whole: Value,
    problems: Vec<Problem>,
    /// Where it is only asked what is read.
    recorder: Option<Recorder>,
}

/// A body that may be left out.
#[derive(Debug)]
pub(crate) struct MaybeBody(pub(crate) Body);

impl<S: Send + Sync> FromRequest<S> for MaybeBody {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        if let Some(recorder) = request.extensions().get::<Recorder>() {
            return Ok(Self(Body::recorded(recorder, true)));
        }
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|_| Error::BadRequest("the body broke off, or is too long".to_owned()))?;
        Body::parse_or_empty(&bytes).map(Self)
    }
}

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        if let Some(recorder) = request.extensions().get::<Recorder>() {
            return Ok(Self::recorded(recorder, false));
        }
        let declared = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_json = declared.is_none_or(is_json);
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.into_response().status();
            if status == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
                Error::TooLarge { limit_bytes: BODY_LIMIT_BYTES }
            } else {
                Error::BadRequest("the body broke off".to_owned())
            }
        })?;
        if has_zero(&bytes) {
            let msg = "Value error, a text may not hold the character 0";
            return Err(Error::Invalid(vec![Problem::new("value_error", "body", "", msg, Value::Null)]));
        }
        if bytes.is_empty() {
            return Err(Error::Invalid(vec![Problem::missing("body", "", Value::Null)]));
        }
        if !is_json {
            // Also keeps out what a web form of another site can send without being asked first.
            return Err(Error::Invalid(vec![not_an_object(Value::Null)]));
        }
        Self::parse(&bytes)
    }
}

impl Body {
    /// One that notes what it is asked for.
    fn recorded(recorder: &Recorder, is_optional: bool) -> Self {
        recorder.takes_body(is_optional);
        Self { fields: Map::new(), whole: json!({}), problems: Vec::new(), recorder: Some(recorder.clone()) }
    }

    fn parsed(fields: Map<String, Value>) -> Result<Self> {
        Ok(Self { whole: Value::Object(fields.clone()), fields, problems: Vec::new(), recorder: None })
    }

    fn note(&self, name: &str, schema: impl FnOnce() -> Value) {
        if let Some(recorder) = &self.recorder {
            // As in Airflow, null stands for a field that is not given.
            recorder.note(Place::Body, name, || {
                let mut schema = schema();
                if let Some(kind) = schema["type"].as_str().map(str::to_owned) {
                    schema["type"] = json!([kind, "null"]);
                }
                if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
                    words.push(Value::Null);
                }
                schema
            });
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        match serde_json::from_slice(bytes) {
            Ok(whole @ Value::Object(_)) => {
                let Value::Object(fields) = whole.clone() else { unreachable!("matched as an object") };
                Ok(Self { fields, whole, problems: Vec::new(), recorder: None })
            }
            Ok(other) => Err(Error::Invalid(vec![not_an_object(other)])),
            Err(error) => {
                let place = format!("line {} column {}", error.line(), error.column());
                let problem = Problem::new("json_invalid", "body", &place, "JSON decode error", json!({}));
                Err(Error::Invalid(vec![problem.with(json!({"error": error.to_string()}))]))
            }
        }
    }

    /// Of a request that may come without a body, or with `null`.
    ///
    /// # Errors
    /// 422 for what is no JSON object.
    pub(crate) fn parse_or_empty(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() || bytes == b"null" { Self::parse(b"{}") } else { Self::parse(bytes) }
    }

    /// The value of a field; null counts as absent.
    fn value(&mut self, name: &str) -> Option<Value> {
        self.fields.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Notes a mistake where the field is not there at all; null is fine.
    pub(crate) fn required(&mut self, name: &str) {
        if let Some(recorder) = &self.recorder {
            return recorder.require(Place::Body, name);
        }
        if !self.fields.contains_key(name) {
            self.problems.push(Problem::missing("body", name, self.whole.clone()));
        }
    }

    /// Whether a field is there, null included.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// The object as it came.
    pub(crate) fn as_it_came(&self) -> &Value {
        &self.whole
    }

    /// A required field of any form; null is a value.
    pub(crate) fn any(&mut self, name: &str) -> Option<Value> {
        self.note(name, || json!({"description": "Any JSON value"}));
        self.required(name);
        self.fields.shift_remove(name)
    }

    /// A required text.
    pub(crate) fn required_text(&mut self, name: &str) -> Option<String> {
        if let Some(recorder) = &self.recorder {
            recorder.note(Place::Body, name, || recording::of("string"));
        }
        if self.fields.get(name).is_some_and(Value::is_null) {
            self.fields.shift_remove(name);
            self.wrong("string_type", name, "Input should be a valid string", Value::Null);
            return None;
        }
        self.required(name);
        self.text(name)
    }

    /// A text of at most so many characters.
    pub(crate) fn short_text(&mut self, name: &str, most: usize) -> Option<String> {
        self.note(name, || json!({"type": "string", "maxLength": most}));
        let text = self.text(name)?;
        if text.chars().count() > most {
            let msg = format!("String should have at most {most} characters");
            let problem = Problem::new("string_too_long", "body", name, msg, text.into());
            self.problems.push(problem.with(json!({"max_length": most})));
            return None;
        }
        Some(text)
    }

    /// A true or false that has a default, so that null is a mistake.
    pub(crate) fn flag_or(&mut self, name: &str, default: bool) -> bool {
        if let Some(recorder) = &self.recorder {
            recorder.note(Place::Body, name, || json!({"type": "boolean", "default": default}));
        }
        if self.fields.get(name).is_some_and(Value::is_null) {
            self.fields.shift_remove(name);
            self.wrong("bool_type", name, "Input should be a valid boolean", Value::Null);
        }
        self.flag(name).unwrap_or(default)
    }

    /// A whole number of at least `least`.
    pub(crate) fn whole(&mut self, name: &str, least: i64) -> Option<i64> {
        self.note(name, || match least {
            i64::MIN => recording::of("integer"),
            least => json!({"type": "integer", "minimum": least}),
        });
        let value = self.value(name)?;
        let whole = value.as_i64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i64));
        match whole {
            Some(number) if number >= least => Some(number),
            Some(_) => {
                let msg = format!("Input should be greater than or equal to {least}");
                let problem = Problem::new("greater_than_equal", "body", name, msg, value);
                self.problems.push(problem.with(json!({"ge": least})));
                None
            }
            None => {
                self.wrong("int_type", name, "Input should be a valid integer", value);
                None
            }
        }
    }

    /// A list of whatever.
    pub(crate) fn list(&mut self, name: &str) -> Option<Vec<Value>> {
        self.note(name, || recording::list(&json!({})));
        match self.value(name)? {
            Value::Array(items) => Some(items),
            other => {
                self.wrong("list_type", name, "Input should be a valid list", other);
                None
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        self.note(name, || recording::list(&recording::of("string")));
        let mut texts = Vec::new();
        for item in self.list(name)? {
            match item {
                Value::String(text) => texts.push(text),
                other => self.wrong("string_type", name, "Input should be a valid string", other),
            }
        }
        Some(texts)
    }

    /// A list of texts in which null is a word.
    pub(crate) fn texts_or_null(&mut self, name: &str) -> Option<Vec<String>> {
        self.note(name, || recording::list(&json!({"type": ["string", "null"]})));
        if let Some(Value::Array(items)) = self.fields.get_mut(name) {
            for item in items.iter_mut().filter(|item| item.is_null()) {
                *item = "null".into();
            }
        }
        self.texts(name)
    }

    pub(crate) fn number(&mut self, name: &str) -> Option<f64> {
        self.note(name, || recording::of("number"));
        let value = self.value(name)?;
        let number = value.as_f64();
        if number.is_none() {
            self.wrong("float_type", name, "Input should be a valid number", value);
        }
        number
    }

    /// A word of a few.
    pub(crate) fn word<T: std::str::FromStr>(&mut self, name: &str, expected: &[&str]) -> Option<T> {
        self.note(name, || recording::words(expected));
        let text = self.text(name)?;
        let word = if expected.contains(&text.as_str()) { text.parse().ok() } else { None };
        if word.is_none() {
            self.problems.push(Problem::word("body", name, expected, text.into()));
        }
        word
    }

    /// Notes a mistake of some other kind.
    pub(crate) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// An object within a body, to be read as one.
    ///
    /// # Errors
    /// 422 where it is none.
    pub(crate) fn of(value: Value) -> Result<Self> {
        match value {
            Value::Object(fields) => Self::parsed(fields),
            other => Err(Error::Invalid(vec![not_an_object(other)])),
        }
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.note(name, || recording::of("string"));
        match self.value(name)? {
            Value::String(text) => Some(text),
            other => {
                self.wrong("string_type", name, "Input should be a valid string", other);
                None
            }
        }
    }

    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        self.note(name, || recording::of("boolean"));
        match self.value(name)? {
            Value::Bool(flag) => Some(flag),
            other => {
                self.wrong("bool_type", name, "Input should be a valid boolean", other);
                None
            }
        }
    }

    pub(crate) fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        self.note(name, || recording::of("object"));
        match self.value(name)? {
            Value::Object(object) => Some(object),
            other => {
                self.wrong("dict_type", name, "Input should be a valid dictionary", other);
                None
            }
        }
    }

    /// A time that names its zone.
    pub(crate) fn time(&mut self, name: &str) -> Option<DateTime<Utc>> {
        self.note(name, recording::time);
        match self.value(name)? {
            Value::String(text) => match time::aware(&text) {
                Ok(time) => return Some(time),
                Err(Unreadable::Naive) => {
                    self.wrong("timezone_aware", name, "Input should have timezone info", text.into());
                }
                Err(Unreadable::Form(reason)) => self.problems.push(Problem::time("body", name, reason, text.into())),
            },
            other => self.wrong("datetime_type", name, "Input should be a valid datetime", other),
        }
        None
    }

    /// Notes a mistake that concerns several fields.
    pub(crate) fn whole_is_wrong(&mut self, msg: &str) {
        let problem = Problem::new("value_error", "body", "", format!("Value error, {msg}"), self.whole.clone());
        self.problems.push(problem.with(json!({"error": {}})));
    }

    fn wrong(&mut self, kind: &'static str, name: &str, msg: &str, input: Value) {
        self.problems.push(Problem::new(kind, "body", name, msg, input));
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 422 with all mistakes, among them every field that the action did not take.
    pub(crate) fn finish(mut self) -> Result<()> {
        if let Some(recorder) = self.recorder {
            recorder.ends_body();
            return Err(Error::Invalid(Vec::new()));
        }
        for (name, value) in self.fields {
            self.problems.push(Problem::unknown(&name, value));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(Error::Invalid(self.problems)) }
    }
}

/// Whether JSON holds the character 0, which no database text can; an escaped backslash before `u0000` makes
/// it plain text.
fn has_zero(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.windows(6).position(|window| window == b"\\u0000") {
        let slashes = rest[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        if slashes % 2 == 0 {
            return true;
        }
        rest = &rest[at + 6..];
    }
    false
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn not_an_object(input: Value) -> Problem {
    let msg = "Input should be a valid dictionary or object to extract fields from";
    Problem::new("model_attributes_type", "body", "", msg, input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &str, read: impl FnOnce(&mut Body), expected: &Value) {
        let found = match Body::parse(bytes.as_bytes()) {
            Ok(mut body) => {
                read(&mut body);
                body.finish()
            }
            Err(error) => Err(error),
        };
        let Err(Error::Invalid(problems)) = found else { panic!("{bytes} has mistakes") };
        assert_eq!(&serde_json::to_value(problems).unwrap(), expected, "{bytes}");
    }

    #[test]
    fn mistakes_read_as_airflows() {
        check(
            r#"{"logical_date": "garbage", "bogus": 1}"#,
            |body| {
                body.required("logical_date");
                body.time("logical_date");
            },
            &json!([
                {"type": "datetime_from_date_parsing", "loc": ["body", "logical_date"], "input": "garbage",
                 "msg": "Input should be a valid datetime or date, input is too short",
                 "ctx": {"error": "input is too short"}},
                {"type": "extra_forbidden", "loc": ["body", "bogus"], "input": 1,
                 "msg": "Extra inputs are not permitted"},
            ]),
        );
        check(
            "{}",
            |body| body.required("is_paused"),
            &json!([{"type": "missing", "loc": ["body", "is_paused"], "msg": "Field required", "input": {}}]),
        );
        check(
            "[1]",
            |_| {},
            &json!([{"type": "model_attributes_type", "loc": ["body"], "input": [1],
                    "msg": "Input should be a valid dictionary or object to extract fields from"}]),
        );
        check(
            r#"{"run_after": "2026-02-03T04:05:06", "conf": [], "note": 5, "is_paused": "no"}"#,
            |body| {
                body.time("run_after");
                body.object("conf");
                body.text("note");
                body.flag("is_paused");
            },
            &json!([
                {"type": "timezone_aware", "loc": ["body", "run_after"], "input": "2026-02-03T04:05:06",
                 "msg": "Input should have timezone info"},
                {"type": "dict_type", "loc": ["body", "conf"], "input": [], "msg": "Input should be a valid dictionary"},
                {"type": "string_type", "loc": ["body", "note"], "input": 5, "msg": "Input should be a valid string"},
                {"type": "bool_type", "loc": ["body", "is_paused"], "input": "no", "msg": "Input should be a valid boolean"},
            ]),
        );
    }

    #[test]
    fn null_is_absent() {
        let mut body = Body::parse(br#"{"conf": null, "note": null}"#).unwrap();
        body.required("conf");
        assert_eq!((body.object("conf"), body.text("note")), (None, None));
        body.finish().unwrap();
    }

    #[test]
    fn json_is_told_by_its_type() {
        for (content_type, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
        ] {
            assert_eq!(is_json(content_type), expected, "{content_type}");
        }
    }
}
