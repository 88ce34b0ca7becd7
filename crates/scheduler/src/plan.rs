//! What the scheduler does about the DAGs that have something due: a pure function of their rows
//! and the time. Not here: who calls it and how the answer is applied (`run_loop`), and when a
//! schedule fires ([`towpath_model::timetable`]).
//!
//! The rules, which are Airflow 3's:
//! - With catchup, every run that was missed is created, oldest first, as many as
//!   `max_active_runs` leaves room for; the rest follows when runs end.
//! - Without catchup only the latest of the missed ones is.
//! - `@once` has one run in all versions of a DAG, `@continuous` one at a time.
//! - Past `end_date` there is no next run.
//! - A paused DAG has none, and one whose file is gone neither.

use chrono::{DateTime, TimeDelta, Utc};
use towpath_model::limits;
use towpath_model::timetable::{Bounds, DataInterval, DueRun, Schedule};
use towpath_store::SchedulableDag;

#[cfg(test)]
mod tests;

/// Most runs of one DAG that one pass creates, so that others have their turn; the next pass, which
/// follows at once, goes on.
const MAX_CREATES: u32 = 64;
/// A `@continuous` DAG whose runs end at once starts no more than one in this time.
const CONTINUOUS_PAUSE: TimeDelta = TimeDelta::seconds(1);

/// One change to the store. The actions of a DAG stand together and in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Record when the DAG runs next (`None`: never again), computed for a version of it.
    SetNext { dag_id: String, version_id: i64, next: Option<DueRun> },
    /// Create the run that is due and record the one after it.
    Create { dag_id: String, version_id: i64, due: DueRun, next: Option<DueRun> },
}

impl Action {
    /// The DAG that it is about.
    #[must_use]
    pub fn dag_id(&self) -> &str {
        match self {
            Self::SetNext { dag_id, .. } | Self::Create { dag_id, .. } => dag_id,
        }
    }
}

/// Decides about `dags`, each of which has a run that is due or a next run to be computed.
#[must_use]
pub fn plan(dags: &[SchedulableDag], now: DateTime<Utc>) -> Vec<Action> {
    let mut actions = Vec::new();
    for dag in dags.iter().filter(|dag| dag.record.is_active && !dag.record.is_paused) {
        match dag.dag.spec().schedule {
            Schedule::Continuous => plan_continuous(dag, now, &mut actions),
            Schedule::Never | Schedule::Once | Schedule::Cron { .. } | Schedule::Interval { .. } => {
                plan_timed(dag, now, &mut actions);
            }
        }
    }
    actions
}

/// The bounds that a DAG sets its schedule.
pub(crate) fn bounds(dag: &towpath_model::dag::Dag) -> Bounds {
    let spec = dag.spec();
    Bounds { start_date: spec.start_date, end_date: spec.end_date, catchup: spec.catchup }
}

fn plan_timed(dag: &SchedulableDag, now: DateTime<Utc>, actions: &mut Vec<Action>) {
    let stored = dag.record.next_run;
    let is_due = |run: &DueRun| run.run_after <= now;
    let room = limits::runs_room(dag.record.max_active_runs, dag.active_runs).min(MAX_CREATES);
    let valid = stored.filter(|run| is_due(run) && is_still_next(dag, run));
    let Some(mut due) = valid.or_else(|| next_after(dag, dag.last_interval, now)) else {
        actions.push(set_next(dag, None));
        return;
    };
    if is_due(&due) && room > 0 && !dag.dag.spec().catchup {
        due = latest(dag, due, now);
    }
    // A stored one that is not due is listed because it was computed for another version, or
    // before a pause: that it is right is worth a record, too.
    if stored != Some(due) || !is_due(&due) {
        actions.push(set_next(dag, Some(due)));
    }
    for _ in 0..room {
        if !is_due(&due) {
            break;
        }
        let next = next_after(dag, Some(due.data_interval), now);
        actions.push(create(dag, due, next));
        match next {
            Some(next) => due = next,
            None => break,
        }
    }
}

/// One run at a time, each from the end of the last one's interval to now.
fn plan_continuous(dag: &SchedulableDag, now: DateTime<Utc>, actions: &mut Vec<Action>) {
    if dag.active_runs > 0 {
        return;
    }
    let earliest = dag.last_interval.map_or(now, |last| now.max(last.end + CONTINUOUS_PAUSE));
    match next_after(dag, dag.last_interval, earliest) {
        Some(due) => {
            if dag.record.next_run != Some(due) || due.run_after > now {
                actions.push(set_next(dag, Some(due)));
            }
            if due.run_after <= now {
                actions.push(create(dag, due, None));
            }
        }
        // The list holds idle ones without a next run always; only a change is worth a write.
        None if dag.record.next_run.is_some() => actions.push(set_next(dag, None)),
        None => {}
    }
}

/// Whether the current version would have said at the time of `run` what was recorded for it. The
/// record may stem from another version.
fn is_still_next(dag: &SchedulableDag, run: &DueRun) -> bool {
    next_after(dag, dag.last_interval, run.run_after).as_ref() == Some(run)
}

/// Without catchup: the last of those that are due, from `due` on.
fn latest(dag: &SchedulableDag, mut due: DueRun, now: DateTime<Utc>) -> DueRun {
    while let Some(after) = next_after(dag, Some(due.data_interval), now) {
        if after.run_after > now || after.run_after <= due.run_after {
            break;
        }
        due = after;
    }
    due
}

fn next_after(dag: &SchedulableDag, last: Option<DataInterval>, now: DateTime<Utc>) -> Option<DueRun> {
    dag.dag.spec().schedule.next_run(last, &bounds(&dag.dag), now)
}

fn set_next(dag: &SchedulableDag, next: Option<DueRun>) -> Action {
    Action::SetNext { dag_id: dag.record.dag_id.clone(), version_id: dag.record.version_id, next }
}

fn create(dag: &SchedulableDag, due: DueRun, next: Option<DueRun>) -> Action {
    Action::Create { dag_id: dag.record.dag_id.clone(), version_id: dag.record.version_id, due, next }
}
