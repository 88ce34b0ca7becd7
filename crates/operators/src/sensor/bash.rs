//! `bash_sensor`: waits until a command exits with 0.

use async_trait::async_trait;
use serde_json::Value;

use super::{Error, Poke, Sensor, text};
use crate::attempt::Attempt;
use crate::bash::launch;
use crate::process::Exit;

/// Waits for a command. A process per look, and none between two looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct BashSensor;

#[async_trait]
impl Sensor for BashSensor {
    fn awaits(&self, attempt: &Attempt) -> Result<String, Error> {
        let command = text(&attempt.args, "bash_command").unwrap_or_default();
        let line = command.lines().next().unwrap_or_default();
        Ok(format!("exit code 0 of `{line}{}`", if line == command { "" } else { " ..." }))
    }

    async fn poke(&self, attempt: &Attempt) -> Result<Poke, Error> {
        let not_yet = attempt.args.get("retry_exit_code").and_then(Value::as_i64);
        verdict(&launch(attempt).await?, not_yet)
    }
}

/// As in Airflow: without `retry_exit_code` whatever is not 0 means not yet, also an end by a signal.
fn verdict(exit: &Exit, not_yet: Option<i64>) -> Result<Poke, Error> {
    let code = exit.code.map(i64::from);
    match (code, not_yet) {
        (Some(0), _) => Ok(Poke::Done(None)),
        (_, None) => Ok(Poke::NotYet),
        (Some(code), Some(not_yet)) if code == not_yet => Ok(Poke::NotYet),
        (code, Some(not_yet)) => {
            let how = code.map_or_else(
                || format!("was ended by signal {}", exit.signal.unwrap_or_default()),
                |code| format!("exited with code {code}"),
            );
            Err(Error::Hopeless(format!("bash {how}; only {not_yet} (`retry_exit_code`) means: not yet")))
        }
    }
}
