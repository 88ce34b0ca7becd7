//! Who is to be told of what a step has ended: noted as it happens, written with the step.

use towpath_model::alert::{Event, Target};
use towpath_model::dag::Dag;
use towpath_model::state::{RunState, TaskState};

use super::Step;
use crate::Result;
use crate::batch::{AlertRow, json};
use crate::records::TaskKey;
use crate::wake::Topic;

impl Step<'_> {
    /// Notes that an attempt has ended so.
    pub(crate) fn alert_task(&mut self, key: &TaskKey, attempt: i64, state: TaskState) {
        let Some(event) = Event::of_task(state) else { return };
        let task = self.runs.get(&key.run_key).and_then(|run| run.dag.task(&key.task_id));
        // Most tasks tell nobody, and this is asked at every end.
        let Some(task) = task.filter(|task| !task.email.is_empty() || !task.alerts.is_empty()) else { return };
        let targets = task.alert_targets(event);
        let end = format!("{}/{}/{}/{attempt:x}", key.run_key, key.task_id, key.map_index);
        self.note_alerts(&end, key.run_key, Some((&key.task_id, key.map_index)), event, &targets);
    }

    /// Notes that a locked run has ended so.
    pub(crate) fn alert_run(&mut self, run_key: i64, state: RunState) {
        if let Some(dag) = self.runs.get(&run_key).map(|run| std::sync::Arc::clone(&run.dag)) {
            self.alert_run_of(&dag, run_key, state);
        }
    }

    /// Notes that a run of `dag` has ended so.
    pub(crate) fn alert_run_of(&mut self, dag: &Dag, run_key: i64, state: RunState) {
        let Some(event) = Event::of_run(state).filter(|_| !dag.spec().alerts.is_empty()) else { return };
        // A run may end again at another time, once it can be cleared.
        let end = format!("{run_key}//{}", self.now.timestamp_micros());
        self.note_alerts(&end, run_key, None, event, &dag.spec().alert_targets(event));
    }

    fn note_alerts(&mut self, end: &str, run_key: i64, task: Option<(&str, i32)>, event: Event, targets: &[Target]) {
        self.alerts.extend(targets.iter().enumerate().map(|(n, target)| AlertRow {
            dedup: format!("{end}/{event}/{n}"),
            run_key,
            task_id: task.map(|(task_id, _)| task_id.to_owned()),
            map_index: task.map_or(-1, |(_, map_index)| map_index),
            event,
            note: None,
            target: json(target),
        }));
    }

    /// Notes that a run has missed a deadline. A run that is made to run again keeps those that it has missed, so there is one
    /// alert for each and target.
    pub(crate) fn alert_deadline(&mut self, run_key: i64, number: i32, note: &str, targets: &[Target]) {
        let end = format!("{run_key}//deadline/{number}");
        let from = self.alerts.len();
        self.note_alerts(&end, run_key, None, Event::Deadline, targets);
        self.alerts[from..].iter_mut().for_each(|alert| alert.note = Some(note.to_owned()));
    }

    /// Writes what has been noted.
    pub(crate) async fn write_alerts(&mut self) -> Result<()> {
        let alerts = std::mem::take(&mut self.alerts);
        if alerts.is_empty() {
            return Ok(());
        }
        self.topics.insert(Topic::Alert);
        self.tx.insert_alerts(&alerts, self.now).await
    }
}
