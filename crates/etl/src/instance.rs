//! Which task instance a load works for, so that a try finds what an earlier one has done.
//!
//! A load that is killed after its commit and before its report looks as if it had failed, and the task runs again. The rule is: one
//! success that is recorded is one load.
//!
//! - Files: what the same task instance has written into a folder before is replaced by what it writes now, whether it is tried again or
//!   was cleared. The names of its files tell which they are.
//! - Tables: rows cannot be told apart, so the transaction notes in the table `towpath_loads` of the target's database that the load is
//!   done. A try that finds the note of one whose success was never recorded tells what that one has loaded, and loads nothing. When
//!   a success was recorded and somebody clears the task, it loads anew.

use serde::{Deserialize, Serialize};
use towpath_model::state::TaskState;
use towpath_operators::attempt::Attempt;
use uuid::Uuid;

use crate::error::{Error, Result};

/// A task instance that loads, in its current try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// In words, for people who look into a table.
    pub name: String,
    /// Part of the names of files: 12 hexadecimal digits, the same for each run that has this id in this installation.
    pub mark: String,
    /// What tables know it by: as `mark`, of this run alone.
    pub key: String,
    pub try_number: u32,
    /// The last try whose success was recorded; 0 where there was none.
    pub settled: u32,
}

impl Instance {
    /// The one of an attempt; `None` where nobody records how it ends, and so nobody tries it again.
    pub(crate) async fn of(attempt: &Attempt, name: String) -> Result<Option<Self>> {
        let away = |error: towpath_operators::ServiceError| Error::passing(error.to_string());
        let Some(scope) = attempt.services.load_scope().await.map_err(away)? else { return Ok(None) };
        let try_number = attempt.context.try_number;
        let past = if try_number > 1 { attempt.services.past_tries().await.map_err(away)? } else { Vec::new() };
        let settled = past.into_iter().filter(|(number, state)| *number < try_number && *state == TaskState::Success);
        let settled = settled.map(|(number, _)| number).max().unwrap_or(0);
        let mark = hash(&[&scope.installation, &name])[..12].to_owned();
        let key = hash(&[&scope.installation, &scope.run_key.to_string(), &name]);
        Ok(Some(Self { name, mark, key, try_number, settled }))
    }

    /// What it is called where its load goes to `target`.
    pub(crate) fn key_of(&self, target: &str) -> String {
        hash(&[&self.key, target])
    }
}

/// 32 hexadecimal digits.
fn hash(parts: &[&str]) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, parts.join("\n").as_bytes()).simple().to_string()
}
