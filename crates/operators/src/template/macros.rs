//! The `macros` of templates, and the filters that Airflow adds to Jinja's.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Kwargs, Object, ObjectRepr, Rest, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use rand::Rng;
use towpath_model::clock::SharedClock;

use super::dates::{Day, Moment, invalid};
use super::delta::Delta;
use super::values::{date_arithmetic, from_json, object, python_str, to_json};
use super::{arithmetic, date_format};

/// Filters over dates, and what [`arithmetic`] turns `+` and `-` into.
pub(super) fn add_filters(env: &mut Environment<'_>) {
    for (name, format) in [
        ("ds", "%Y-%m-%d"),
        ("ds_nodash", "%Y%m%d"),
        ("ts_nodash", "%Y%m%dT%H%M%S"),
        ("ts_nodash_with_tz", "%Y%m%dT%H%M%S%z"),
    ] {
        env.add_filter(name, move |value: &Value| date_format::strftime(&moment(value)?, format));
    }
    env.add_filter("ts", |value: &Value| moment(value).map(|moment| moment.isoformat('T')));
    env.add_filter("string", |value: &Value| python_str(value));
    env.add_filter(arithmetic::PLUS, |state: &State, left: &Value, right: &Value| calculate(state, left, right, false));
    env.add_filter(arithmetic::MINUS, |state: &State, left: &Value, right: &Value| calculate(state, left, right, true));
}

fn calculate(state: &State, left: &Value, right: &Value, minus: bool) -> Result<Value, Error> {
    if let Some(result) = date_arithmetic(left, right, minus) {
        return result;
    }
    let expression = state.env().compile_expression(if minus { "left - right" } else { "left + right" })?;
    expression.eval(Value::from_pairs([("left", left.clone()), ("right", right.clone())]))
}

/// A moment, or text that says one.
fn moment(value: &Value) -> Result<Moment, Error> {
    match (object::<Moment>(value), value.as_str()) {
        (Some(moment), _) => Ok(*moment),
        (None, Some(text)) => date_format::parse(text),
        (None, None) if value.is_none() => Err(invalid("there is no date")),
        (None, None) => Err(invalid(format!("a date is expected, and this is a {}", value.kind()))),
    }
}

/// The value of the name `macros`.
pub(super) fn all(clock: SharedClock) -> Value {
    let diff_clock = Arc::clone(&clock);
    let time_clock = Arc::clone(&clock);
    Value::from_pairs([
        ("ds_add", Value::from_function(ds_add)),
        ("ds_format", Value::from_function(ds_format)),
        (
            "datetime_diff_for_humans",
            Value::from_function(move |value: &Value, since: Option<Value>| {
                let base = match since.filter(|since| !since.is_none()) {
                    Some(since) => moment(&since)?,
                    None => return Ok(relative(moment(value)?.since(&Moment::utc(diff_clock.now())))),
                };
                let delta = moment(value)?.since(&base);
                Ok::<_, Error>(format!("{} {}", delta.words(), if delta.0 < 0 { "before" } else { "after" }))
            }),
        ),
        (
            "timedelta",
            Value::from_function(|days: Option<f64>, named: Kwargs| {
                Delta::from_arguments(days, &named).map(Value::from_object)
            }),
        ),
        ("datetime", Value::from_object(DateTimeClass { clock })),
        ("random", Value::from_function(|| rand::rng().random::<f64>())),
        ("uuid", module([("uuid4", Value::from_function(|| uuid::Uuid::new_v4().to_string()))])),
        ("time", module([("time", Value::from_function(move || time_clock.now().timestamp_micros() as f64 / 1e6))])),
        (
            "dateutil",
            module([(
                "parser",
                module([(
                    "parse",
                    Value::from_function(|text: &str| date_format::parse(text).map(Value::from_object)),
                )]),
            )]),
        ),
        ("json", module([("dumps", Value::from_function(dumps)), ("loads", Value::from_function(loads))])),
    ])
}

fn module<const N: usize>(members: [(&'static str, Value); N]) -> Value {
    Value::from_pairs(members)
}

fn relative(delta: Delta) -> String {
    if delta.0 < 0 { format!("{} ago", delta.words()) } else { format!("in {}", delta.words()) }
}

fn ds_add(ds: &str, days: i64) -> Result<String, Error> {
    let day = date_format::strptime(ds, "%Y-%m-%d")?;
    let delta =
        days.checked_mul(86_400_000_000).map(Delta).ok_or_else(|| invalid("that many days are out of range"))?;
    date_format::strftime(&day.plus(delta)?, "%Y-%m-%d")
}

fn ds_format(ds: &str, input: &str, output: &str) -> Result<String, Error> {
    date_format::strftime(&date_format::strptime(ds, input)?, output)
}

fn dumps(value: &Value) -> Result<String, Error> {
    Ok(to_json(value)?.to_string())
}

fn loads(text: &str) -> Result<Value, Error> {
    let json = serde_json::from_str(text).map_err(|error| invalid(format!("the text is not JSON: {error}")))?;
    Ok(from_json(&json))
}

/// Python's class `datetime`: `macros.datetime(2024, 1, 31)` and its class methods.
struct DateTimeClass {
    clock: SharedClock,
}

impl fmt::Debug for DateTimeClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<class 'datetime.datetime'>")
    }
}

impl Object for DateTimeClass {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let (mut numbers, kwargs): (Vec<u32>, Kwargs) = {
            let (Rest(positional), kwargs): (Rest<Value>, Kwargs) = split_kwargs(args)?;
            (positional.into_iter().map(u32::try_from).collect::<Result<_, Error>>()?, kwargs)
        };
        for name in ["year", "month", "day", "hour", "minute", "second", "microsecond"].iter().skip(numbers.len()) {
            numbers.push(kwargs.get::<Option<u32>>(name)?.unwrap_or(0));
        }
        kwargs.assert_all_used()?;
        let [year, month, day, hour, minute, second, micro] = numbers[..] else {
            return Err(Error::from(ErrorKind::TooManyArguments));
        };
        i32::try_from(year)
            .ok()
            .and_then(|year| chrono::NaiveDate::from_ymd_opt(year, month, day))
            .and_then(|date| date.and_hms_micro_opt(hour, minute, second, micro))
            .map(|local| Value::from_object(Moment::naive(local)))
            .ok_or_else(|| invalid("there is no such date or time"))
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        let now = || self.clock.now();
        Ok(match method {
            "now" | "utcnow" | "today" => {
                let (zone,): (Option<&Value>,) = from_args(args)?;
                match zone {
                    Some(_) => Value::from_object(Moment::utc(now())),
                    None => Value::from_object(Moment::naive(now().naive_utc())),
                }
            }
            "strptime" => {
                let (text, format) = from_args::<(&str, &str)>(args)?;
                Value::from_object(date_format::strptime(text, format)?)
            }
            "fromisoformat" => Value::from_object(date_format::parse(from_args::<(&str,)>(args)?.0)?),
            "fromtimestamp" | "utcfromtimestamp" => {
                let (seconds,) = from_args::<(f64,)>(args)?;
                let at = chrono::DateTime::from_timestamp_micros((seconds * 1e6) as i64);
                Value::from_object(Moment::naive(at.ok_or_else(|| invalid("the date is out of range"))?.naive_utc()))
            }
            "combine" => {
                let (day, _) = from_args::<(&Value, Option<&Value>)>(args)?;
                let day = object::<Day>(day).ok_or_else(|| invalid("expected a date"))?;
                Value::from_object(Moment::naive(day.0.and_time(chrono::NaiveTime::MIN)))
            }
            _ => return Err(ErrorKind::UnknownMethod.into()),
        })
    }
}

/// Positional and keyword arguments, apart.
fn split_kwargs(args: &[Value]) -> Result<(Rest<Value>, Kwargs), Error> {
    match args.split_last() {
        Some((last, first)) if last.is_kwargs() => Ok((Rest(first.to_vec()), Kwargs::try_from(last.clone())?)),
        _ => Ok((Rest(args.to_vec()), Kwargs::from_iter(Vec::<(String, Value)>::new()))),
    }
}
