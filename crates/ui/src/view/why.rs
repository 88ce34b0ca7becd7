//! Why a run or a task instance is where it is, as pages tell it.

use chrono::{DateTime, Utc};
use towpath_model::state::TaskState;
use towpath_store::{Reason, TaskInstanceRecord};

use super::text::shown;

/// The reasons as one line.
pub(crate) fn line(reasons: &[Reason], now: DateTime<Utc>) -> String {
    let texts: Vec<String> = reasons.iter().map(|reason| shown(&reason.text(now))).collect();
    texts.join("; ")
}

/// The reasons of an instance as one line; where its state and times, which stand beside it, say it
/// all, only what it has left as its reason.
pub(crate) fn beside(instance: &TaskInstanceRecord, reasons: &[Reason], now: DateTime<Utc>) -> String {
    match (instance.state, reasons) {
        (TaskState::Running | TaskState::Success, _) | (_, [Reason::Ended { .. }]) => {
            instance.note.as_deref().map(shown).unwrap_or_default()
        }
        _ => line(reasons, now),
    }
}
