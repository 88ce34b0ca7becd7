//! Query strings: taken apart field by field, with every mistake told at once.

use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::openapi::recording::{self, Place, Recorder};
use crate::problem::Problem;
use crate::{Error, Result, time};

/// Most entries of one page, as in Airflow.
const MAX_LIMIT: u32 = 100;

/// What stands behind the `?`. Actions take the fields they understand; [`Query::finish`] refuses
/// what is left.
#[derive(Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    problems: Vec<Problem>,
    /// Where it is only asked what is read.
    recorder: Option<Recorder>,
}

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// 50 where the request does not say; at most [`MAX_LIMIT`].
    pub(crate) limit: u32,
    pub(crate) offset: u32,
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| Error::BadRequest(format!("the query string cannot be read: {error}")))?
            .0;
        // No name or value in a database can hold it, and PostgreSQL refuses such a text.
        if let Some((name, value)) = pairs.iter().find(|(name, value)| name.contains('\0') || value.contains('\0')) {
            let msg = "Value error, a text may not hold the character 0";
            return Err(Error::Invalid(vec![Problem::new("value_error", "query", name, msg, value.clone().into())]));
        }
        Ok(Self { pairs, problems: Vec::new(), recorder: parts.extensions.get().cloned() })
    }
}

impl Query {
    /// Of a list that is asked for with a body (`POST .../list`): the same fields in other words.
    pub(crate) fn of_pairs(pairs: Vec<(String, String)>) -> Self {
        Self { pairs, problems: Vec::new(), recorder: None }
    }

    fn note(&self, name: &str, schema: impl FnOnce() -> Value) {
        if let Some(recorder) = &self.recorder {
            recorder.note(Place::Query, name, schema);
        }
    }

    /// Says that a field has to be there.
    pub(crate) fn requires(&self, name: &str) {
        if let Some(recorder) = &self.recorder {
            recorder.require(Place::Query, name);
        }
    }

    /// Says what the words of a field can be.
    pub(crate) fn takes_words(&self, name: &str, words: &[&str]) {
        self.note(name, || recording::list(&recording::words(words)));
    }

    /// Whether a field is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(key, _)| key == name)
    }

    /// Notes a mistake.
    pub(crate) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A number; for bounds of durations.
    pub(crate) fn number(&mut self, name: &str) -> Option<f64> {
        self.note(name, || recording::of("number"));
        let text = self.text(name)?;
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Some(number),
            _ => {
                let msg = "Input should be a valid number, unable to parse string as a number";
                self.problems.push(Problem::new("float_parsing", "query", name, msg, text.into()));
                None
            }
        }
    }

    /// Every value of a field that may be repeated.
    pub(crate) fn texts(&mut self, name: &str) -> Vec<String> {
        self.note(name, || recording::list(&recording::of("string")));
        self.pairs.extract_if(.., |(key, _)| key == name).map(|(_, value)| value).collect()
    }

    /// The value of a field; the last one counts where it is repeated.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.note(name, || recording::of("string"));
        self.texts(name).pop()
    }

    pub(crate) fn time(&mut self, name: &str) -> Option<DateTime<Utc>> {
        self.note(name, recording::time);
        let text = self.text(name)?;
        match time::lenient(&text) {
            Ok(time) => Some(time),
            Err(reason) => {
                self.problems.push(Problem::time("query", name, reason, text.into()));
                None
            }
        }
    }

    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        self.note(name, || recording::of("boolean"));
        let text = self.text(name)?;
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
            "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
            _ => {
                let msg = "Input should be a valid boolean, unable to interpret input";
                self.problems.push(Problem::new("bool_parsing", "query", name, msg, text.into()));
                None
            }
        }
    }

    /// A whole number of at least `least`.
    pub(crate) fn whole(&mut self, name: &str, least: i64) -> Option<i64> {
        self.note(name, || match least {
            i64::MIN => recording::of("integer"),
            least => json!({"type": "integer", "minimum": least}),
        });
        let text = self.text(name)?;
        self.parse_whole(name, &text, least)
    }

    /// Whole numbers of a field that may be repeated.
    pub(crate) fn wholes(&mut self, name: &str) -> Vec<i64> {
        self.note(name, || recording::list(&recording::of("integer")));
        self.texts(name).iter().filter_map(|text| self.parse_whole(name, text, i64::MIN)).collect()
    }

    fn parse_whole(&mut self, name: &str, text: &str, least: i64) -> Option<i64> {
        match text.parse::<i64>() {
            Ok(number) if number >= least => Some(number),
            Ok(_) => {
                let msg = format!("Input should be greater than or equal to {least}");
                let problem = Problem::new("greater_than_equal", "query", name, msg, text.into());
                self.problems.push(problem.with(json!({"ge": least})));
                None
            }
            Err(_) => {
                let msg = "Input should be a valid integer, unable to parse string as an integer";
                self.problems.push(Problem::new("int_parsing", "query", name, msg, text.into()));
                None
            }
        }
    }

    /// A required number greater than zero.
    pub(crate) fn positive(&mut self, name: &str) -> Option<f64> {
        self.note(name, || json!({"type": "number", "exclusiveMinimum": 0}));
        self.requires(name);
        let Some(text) = self.text(name) else {
            self.problems.push(Problem::missing("query", name, Value::Null));
            return None;
        };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number > 0.0 => Some(number),
            Ok(_) => {
                let problem =
                    Problem::new("greater_than", "query", name, "Input should be greater than 0", text.into());
                self.problems.push(problem.with(json!({"gt": 0.0})));
                None
            }
            Err(_) => {
                let msg = "Input should be a valid number, unable to parse string as a number";
                self.problems.push(Problem::new("float_parsing", "query", name, msg, text.into()));
                None
            }
        }
    }

    /// Words of a field that may be repeated; `expected` is what they can be.
    pub(crate) fn words<T: FromStr>(&mut self, name: &str, expected: &[&str]) -> Vec<T> {
        self.takes_words(name, expected);
        let mut words = Vec::new();
        for text in self.texts(name) {
            match text.parse() {
                Ok(word) => words.push(word),
                Err(_) => self.problems.push(Problem::word("query", name, expected, text.into())),
            }
        }
        words
    }

    /// `limit` and `offset`.
    pub(crate) fn window(&mut self) -> Window {
        self.note("limit", || json!({"type": "integer", "minimum": 0, "default": 50}));
        let limit = self.whole("limit", 0).unwrap_or(50).min(i64::from(MAX_LIMIT));
        let offset = self.whole("offset", 0).unwrap_or(0).min(i64::from(u32::MAX));
        Window {
            limit: u32::try_from(limit).expect("limits are between 0 and 100"),
            offset: u32::try_from(offset).expect("offsets were cut to 32 bits"),
        }
    }

    /// `order_by`: attributes to sort by and whether each descends.
    ///
    /// # Errors
    /// 400 for one that is not among `allowed`.
    pub(crate) fn order(&mut self, allowed: &[&'static str]) -> Result<Vec<(&'static str, bool)>> {
        self.note("order_by", || {
            let both: Vec<String> = allowed.iter().flat_map(|name| [(*name).to_owned(), format!("-{name}")]).collect();
            let both: Vec<&str> = both.iter().map(String::as_str).collect();
            recording::list(&recording::words(&both))
        });
        let mut order = Vec::new();
        for text in self.texts("order_by") {
            let (name, descends) = text.strip_prefix('-').map_or((text.as_str(), false), |name| (name, true));
            match allowed.iter().find(|attribute| **attribute == name) {
                Some(attribute) => order.push((*attribute, descends)),
                None => {
                    return Err(Error::BadRequest(format!(
                        "Ordering with '{name}' is disallowed or the attribute does not exist on the model; \
                         this server orders by {}",
                        allowed.join(", ")
                    )));
                }
            }
        }
        Ok(order)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 422 with all mistakes, or where a field is left that the action did not take.
    pub(crate) fn finish(self) -> Result<()> {
        if let Some(recorder) = self.recorder {
            return if recorder.ends_query() { Err(Error::Invalid(Vec::new())) } else { Ok(()) };
        }
        if !self.problems.is_empty() {
            return Err(Error::Invalid(self.problems));
        }
        match self.pairs.first() {
            Some((name, value)) => {
                let msg = format!("this server cannot apply `{name}` here; leave it out, and filter what you get");
                let problem = Problem::new("extra_forbidden", "query", name, msg, value.clone().into());
                Err(Error::Invalid(vec![problem]))
            }
            None => Ok(()),
        }
    }
}

impl Window {
    /// This part of a list that is in memory.
    pub(crate) fn of<T>(self, items: Vec<T>) -> Vec<T> {
        items.into_iter().skip(self.offset as usize).take(self.limit as usize).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        let pairs = text
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Query { pairs, ..Query::default() }
    }

    #[test]
    fn windows() {
        let check = |text, limit, offset| {
            let mut query = query(text);
            assert_eq!(query.window(), Window { limit, offset }, "{text}");
            query.finish().unwrap();
        };
        check("", 50, 0);
        check("limit=7&offset=3", 7, 3);
        check("limit=100000&offset=99999999999", 100, u32::MAX);
        check("limit=1&limit=2", 2, 0);
    }

    #[test]
    fn a_mistake_reads_as_airflows() {
        let mut query = query("limit=-1&offset=x");
        query.window();
        let Err(Error::Invalid(problems)) = query.finish() else { panic!("two mistakes") };
        assert_eq!(
            serde_json::to_value(problems).unwrap(),
            json!([
                {"type": "greater_than_equal", "loc": ["query", "limit"], "input": "-1", "ctx": {"ge": 0},
                 "msg": "Input should be greater than or equal to 0"},
                {"type": "int_parsing", "loc": ["query", "offset"], "input": "x",
                 "msg": "Input should be a valid integer, unable to parse string as an integer"},
            ])
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let mut query = query("limit=1&owners=me");
        query.window();
        let Err(Error::Invalid(problems)) = query.finish() else { panic!("a field was not taken") };
        assert_eq!(problems[0].loc, ["query", "owners"]);
    }

    #[test]
    fn orders() {
        let mut good = query("order_by=-run_after&order_by=id");
        assert_eq!(good.order(&["id", "run_after"]).unwrap(), [("run_after", true), ("id", false)]);
        assert!(matches!(query("order_by=conf").order(&["id"]), Err(Error::BadRequest(_))));
    }
}
