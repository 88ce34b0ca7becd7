//! Sensors: operators that wait until something is so.
//!
//! A [`Sensor`] looks once; [`Sensing`] makes an operator of it and does everything about time: how long between two looks,
//! when to give up, and whether to sleep in the worker (`mode: poke`: async code, no process) or to be called again
//! (`mode: reschedule`). The rules are in [`towpath_model::sensor`]; they and what becomes of a look that
//! went wrong are those of Airflow's `BaseSensorOperator`.
//!
//! A look that finds nothing logs nothing by itself: a thousand sensors that wait for a day would leave a million lines.

mod bash;
mod external_task;
mod file;
mod http;
mod object;
mod python;
mod sql;
mod time;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use towpath_model::duration::{from_seconds, humanize};
use towpath_model::sensor::{DEFAULT_INTERVAL, DEFAULT_TIMEOUT, Mode, Pace, Waiter};

use crate::attempt::{Attempt, Failure, Operator, Outcome, ServiceError};

pub use bash::BashSensor;
pub use external_task::ExternalTaskSensor;
pub use file::FileSensor;
pub use http::HttpSensor;
pub use object::ObjectSensor;
pub use python::PythonSensor;
pub use sql::SqlSensor;
pub use time::{TimeDeltaSensor, TimeSensor};

/// What a look has found.
#[derive(Debug, Clone, PartialEq)]
pub enum Poke {
    /// It is so; the value is the task's XCom.
    Done(Option<Value>),
    NotYet,
    /// The task is to be skipped, for this reason.
    Skip(String),
    /// The sensor's own code asks to be called again then, whatever the mode.
    Again(DateTime<Utc>),
}

/// Why a look has found nothing out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// What is waited for will not come (Airflow's `AirflowFailException`): no other try follows, and `soft_fail` skips.
    Hopeless(String),
    /// An argument is wrong: no other try follows, whatever the arguments about failures say.
    Wrong(String),
    /// The look went wrong; another may go better.
    Passing(String),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        if failure.retry { Self::Passing(failure.error) } else { Self::Wrong(failure.error) }
    }
}

impl From<ServiceError> for Error {
    fn from(error: ServiceError) -> Self {
        Self::Passing(error.to_string())
    }
}

/// Something that can be waited for.
#[async_trait]
pub trait Sensor: Send + Sync + std::fmt::Debug {
    /// What is waited for, to be logged once: `the file /data/x.csv`.
    ///
    /// # Errors
    /// When the arguments do not say it.
    fn awaits(&self, attempt: &Attempt) -> Result<String, Error>;

    /// Looks once. One that takes long or starts a process ends soon after [`Attempt::stop`].
    ///
    /// # Errors
    /// When it cannot be told whether it is so.
    async fn poke(&self, attempt: &Attempt) -> Result<Poke, Error>;
}

/// The operator of a sensor.
#[derive(Debug, Clone, Default)]
pub struct Sensing<S>(pub S);

#[async_trait]
impl<S: Sensor> Operator for Sensing<S> {
    async fn execute(&self, attempt: &Attempt) -> Outcome {
        let outcome = match self.wait(attempt).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed { error, retry: false },
        };
        let mask = |text: &str| attempt.log.secrets().mask(text).into_owned();
        match outcome {
            Outcome::Failed { error, retry } => Outcome::Failed { error: mask(&error), retry },
            Outcome::Skipped { reason } => Outcome::Skipped { reason: mask(&reason) },
            outcome @ (Outcome::Success { .. } | Outcome::Branch { .. } | Outcome::Reschedule { .. }) => outcome,
        }
    }
}

impl<S: Sensor> Sensing<S> {
    /// Looks until it is known how the attempt ends; the text says which argument is wrong.
    async fn wait(&self, attempt: &Attempt) -> Result<Outcome, String> {
        let pace = pace(&attempt.args)?;
        let tolerance = Tolerance::read(&attempt.args)?;
        if !attempt.context.is_resumed {
            let what = match self.0.awaits(attempt) {
                Ok(what) => what,
                Err(Error::Hopeless(error) | Error::Wrong(error) | Error::Passing(error)) => return Err(error),
            };
            attempt.log.info(&announcement(&what, &pace));
        }
        let context = &attempt.context;
        let waiter = Waiter { dag_id: &context.dag_id, task_id: &context.task_id, started_at: context.start_date };
        for look in 1_u32.. {
            if attempt.stop.is_cancelled() {
                return Ok(stopped());
            }
            let found = self.0.poke(attempt).await;
            if attempt.stop.is_cancelled() && !matches!(found, Ok(Poke::Done(_))) {
                return Ok(stopped());
            }
            if let Err(Error::Passing(error)) = &found
                && tolerance.silent_fail
            {
                attempt.log.error(&format!("This look went wrong, the wait goes on: {error}"));
            }
            if let Some(outcome) = tolerance.judge(found) {
                if matches!(outcome, Outcome::Success { .. }) {
                    attempt.log.info("The wait is over");
                }
                return Ok(outcome);
            }
            let now = attempt.log.clock().now();
            let elapsed = waiter.elapsed(now);
            if pace.is_over(elapsed) {
                return Ok(tolerance.timed_out(elapsed, pace.timeout));
            }
            let wait = pace.wait(&waiter, look, elapsed);
            match pace.mode {
                Mode::Reschedule => return Ok(Outcome::Reschedule { at: later(now, wait) }),
                Mode::Poke => tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = attempt.stop.cancelled() => return Ok(stopped()),
                },
            }
        }
        Err("it has looked too often".to_owned())
    }
}

fn stopped() -> Outcome {
    Outcome::Failed { error: "the sensor was told to stop".to_owned(), retry: true }
}

fn later(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(wait).ok().and_then(|wait| now.checked_add_signed(wait)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

fn announcement(what: &str, pace: &Pace) -> String {
    let how = match pace.mode {
        Mode::Poke => "keeping its slot",
        Mode::Reschedule => "without keeping a slot",
    };
    let growing = if pace.exponential_backoff { ", less and less often" } else { "" };
    let (interval, timeout) = (humanize(pace.interval), humanize(pace.timeout));
    format!("Waiting for {what}: looks every {interval}{growing}, for {timeout} at most, {how}")
}

/// What becomes of looks that fail, and of waits that take too long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tolerance {
    soft_fail: bool,
    silent_fail: bool,
    never_fail: bool,
}

impl Tolerance {
    fn read(args: &Map<String, Value>) -> Result<Self, String> {
        let tolerance = Self {
            soft_fail: flag(args, "soft_fail"),
            silent_fail: flag(args, "silent_fail"),
            never_fail: flag(args, "never_fail"),
        };
        if tolerance.soft_fail && tolerance.never_fail {
            return Err("`soft_fail` and `never_fail` cannot be given together; keep the one that is meant".to_owned());
        }
        Ok(tolerance)
    }

    /// How the attempt ends; `None` where the wait goes on.
    fn judge(self, found: Result<Poke, Error>) -> Option<Outcome> {
        let skipped = |why: &str, error: &str| Some(Outcome::Skipped { reason: format!("{error} ({why})") });
        match found {
            Ok(Poke::NotYet) => None,
            Ok(Poke::Done(value)) => Some(Outcome::Success { value }),
            Ok(Poke::Skip(reason)) => Some(Outcome::Skipped { reason }),
            Ok(Poke::Again(at)) => Some(Outcome::Reschedule { at }),
            Err(Error::Wrong(error)) => Some(Outcome::Failed { error, retry: false }),
            Err(Error::Hopeless(error)) if self.soft_fail => skipped("soft_fail", &error),
            Err(Error::Hopeless(error)) if self.never_fail => skipped("never_fail", &error),
            Err(Error::Hopeless(error)) => Some(Outcome::Failed { error, retry: false }),
            Err(Error::Passing(_)) if self.silent_fail => None,
            Err(Error::Passing(error)) if self.never_fail => skipped("never_fail", &error),
            Err(Error::Passing(error)) => Some(Outcome::Failed { error, retry: true }),
        }
    }

    fn timed_out(self, elapsed: Duration, timeout: Duration) -> Outcome {
        let text = format!("it has waited in vain for {}, `timeout` is {}", humanize(elapsed), humanize(timeout));
        if self.soft_fail {
            return Outcome::Skipped { reason: format!("{text} (soft_fail)") };
        }
        Outcome::Failed { error: text, retry: false }
    }
}

fn pace(args: &Map<String, Value>) -> Result<Pace, String> {
    let mode = match text(args, "mode").map(str::to_ascii_lowercase).as_deref() {
        None | Some("poke") => Mode::Poke,
        Some("reschedule") => Mode::Reschedule,
        Some(other) => return Err(format!("`mode` is `poke` or `reschedule`, not `{other}`")),
    };
    Ok(Pace {
        mode,
        interval: seconds(args, "poke_interval")?.unwrap_or(DEFAULT_INTERVAL),
        timeout: seconds(args, "timeout")?.unwrap_or(DEFAULT_TIMEOUT),
        exponential_backoff: flag(args, "exponential_backoff"),
        max_wait: seconds(args, "max_wait")?,
    })
}

pub(crate) fn flag(args: &Map<String, Value>, name: &str) -> bool {
    args.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// A text that says something.
pub(crate) fn text<'a>(args: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    args.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

/// The texts of a list; none where it is not given.
pub(crate) fn texts(args: &Map<String, Value>, name: &str) -> Vec<String> {
    let items = args.get(name).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

pub(crate) fn seconds(args: &Map<String, Value>, name: &str) -> Result<Option<Duration>, String> {
    match args.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let read = value.as_f64().and_then(from_seconds);
            read.map(Some).ok_or_else(|| format!("`{name}` must be a duration, not {value}"))
        }
    }
}

#[cfg(test)]
mod tests;
