//! The worker's round trip: what has ended goes in, what follows is decided, new work comes out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};
use towpath_model::branch::Skips;
use towpath_model::dag::Task;
use towpath_model::state::{TaskEvent, TaskState};

use super::{Ready, Step};
use crate::batch::{ClaimedRow, CurrentAttempt, EndRow, Held, XComRow, json};
use crate::evidence::{Evidence, NameRow, RenderedRow, bounded};
use crate::logs::LogChunk;
use crate::records::{ClaimedTask, TaskKey};
use crate::time::micros;
use crate::wake::Topic;
use crate::{Error, Result, Store};

/// Who asks for work, and for how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its job.
    pub worker: i64,
    /// Most task instances to claim; 0 claims nothing.
    pub slots: u32,
    /// Queues to claim from.
    pub queues: Vec<String>,
    pub hostname: String,
    pub pid: u32,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportOutcome {
    Success,
    /// Success, and some of what is downstream is ruled out.
    Branched {
        skips: Skips,
    },
    Skipped,
    /// `retry`: whether another try may follow, if the task has one left.
    Failed {
        retry: bool,
    },
    /// To be called again at `at`, in the same try.
    Rescheduled {
        at: DateTime<Utc>,
    },
    /// Given back without using up the try.
    Released,
}

/// The end of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub key: TaskKey,
    /// [`ClaimedTask::attempt`].
    pub attempt: i64,
    pub outcome: ReportOutcome,
    /// Why it ended so, for people.
    pub note: Option<String>,
    /// What it pushed, by key.
    pub xcoms: Vec<(String, Value)>,
    /// What the events of its outlets say, by the name of the asset; objects.
    pub asset_extra: Map<String, Value>,
    pub evidence: Evidence,
    pub ended_at: DateTime<Utc>,
}

/// The answer to a report.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reply {
    /// For each report, whether its attempt was the current one. The end of any other changes nothing.
    pub accepted: Vec<bool>,
    pub claimed: Vec<ClaimedTask>,
}

impl Store {
    /// Records how attempts ended together with their logs and XComs, decides what follows, and
    /// claims new work, in one step.
    ///
    /// # Errors
    /// When the database does not take it; nothing has happened then, and the same call may be made again.
    pub async fn report(
        &self,
        reports: &[Report],
        logs: &[LogChunk],
        claim: &Claim,
        now: DateTime<Utc>,
    ) -> Result<Reply> {
        let mut step = Step::begin(self, now).await?;
        step.lock_runs(reports.iter().map(|r| r.key.run_key)).await?;
        let accepted = step.end(reports).await?;
        step.keep_rendered(reports, &accepted).await?;
        if !logs.is_empty() {
            step.tx.insert_logs(logs).await?;
            step.topics.insert(Topic::Progress);
        }
        step.settle().await?;
        let rows = step.claim(claim).await?;
        step.commit().await?;
        Ok(Reply { accepted, claimed: self.claimed_tasks(rows, now).await? })
    }

    /// Claimed rows with the runs that they belong to.
    async fn claimed_tasks(&self, mut rows: Vec<ClaimedRow>, now: DateTime<Utc>) -> Result<Vec<ClaimedTask>> {
        rows.sort_by(|a, b| (-a.priority, a.run_order, &a.key).cmp(&(-b.priority, b.run_order, &b.key)));
        let mut claimed = Vec::with_capacity(rows.len());
        let mut runs: HashMap<i64, Arc<crate::records::RunRecord>> = HashMap::new();
        for row in rows {
            let run_key = row.key.run_key;
            let run = match runs.get(&run_key) {
                Some(run) => Arc::clone(run),
                None => {
                    let run = self.run_cached(run_key, row.version_id).await?;
                    runs.insert(run_key, Arc::clone(&run));
                    run
                }
            };
            claimed.push(ClaimedTask {
                key: row.key,
                attempt: row.attempt,
                try_number: row.try_number,
                max_tries: row.max_tries,
                run,
                file: row.file.into(),
                element: row.map_value.map(|text| element(&text)).transpose()?,
                is_resumed: row.start_date < now,
                start_date: row.start_date,
                log_seq: row.log_seq,
            });
        }
        Ok(claimed)
    }
}

impl Step<'_> {
    /// Ends attempts. For each report, whether it named the current attempt.
    pub(crate) async fn end(&mut self, reports: &[Report]) -> Result<Vec<bool>> {
        let mut accepted = vec![false; reports.len()];
        if reports.is_empty() {
            return Ok(accepted);
        }
        self.end_simply(reports, &mut accepted).await?;
        let held: Vec<Held> = reports.iter().enumerate().filter(|(i, _)| !accepted[*i]).map(held).collect();
        if held.is_empty() {
            return Ok(accepted);
        }
        let mut current = self.tx.current_attempts(&held).await?;
        current.sort_by_key(|attempt| attempt.i);
        let mut ends = Vec::with_capacity(current.len());
        let mut xcoms = Vec::new();
        let mut archive = Vec::new();
        let mut again = BTreeSet::new();
        let mut branched = Vec::new();
        let mut seen = HashSet::with_capacity(current.len());
        for attempt in &current {
            let report = &reports[attempt.i];
            // Two reports of one attempt in one batch: the first counts.
            if !seen.insert(&report.key) {
                continue;
            }
            accepted[attempt.i] = true;
            let (state, available_at) = self.next_state(report, attempt)?;
            ends.push(end_row(report, attempt.state, state, available_at));
            self.alert_task(&report.key, report.attempt, state);
            self.note_updates(report, state);
            self.freed_pools.insert(attempt.pool.clone());
            match state {
                TaskState::None => {
                    archive.push((report.key.clone(), TaskState::Failed));
                    again.insert(report.key.run_key);
                }
                TaskState::UpForRetry => {
                    archive.push((report.key.clone(), TaskState::Failed));
                    self.topics.insert(Topic::Schedule);
                }
                TaskState::UpForReschedule => {
                    self.topics.insert(Topic::Schedule);
                }
                TaskState::Queued => self.queued += 1,
                _ => {
                    if let (TaskState::Success, ReportOutcome::Branched { skips }) = (state, &report.outcome) {
                        branched.push((report.key.clone(), skips.clone()));
                    }
                    self.ended.push((report.key.clone(), state));
                }
            }
            // Another try starts without the XComs of this one.
            if !matches!(state, TaskState::None | TaskState::UpForRetry) {
                xcoms.extend(report.xcoms.iter().map(|(key, value)| xcom_row(&report.key, key, value)));
            }
        }
        self.write_ends(&ends, &archive, xcoms).await?;
        for (key, skips) in branched {
            self.branch(&key, &skips).await?;
        }
        for run_key in again {
            let rows = self.tx.undecided(run_key).await?;
            self.decide(rows).await?;
        }
        Ok(accepted)
    }

    /// Keeps the arguments of attempts that have ended just now.
    async fn keep_rendered(&mut self, reports: &[Report], accepted: &[bool]) -> Result<()> {
        let mut rows: BTreeMap<&TaskKey, RenderedRow> = BTreeMap::new();
        for (report, _) in reports.iter().zip(accepted).filter(|(_, accepted)| **accepted) {
            let run = self.runs.get(&report.key.run_key);
            if let (Some(fields), Some(run)) = (&report.evidence.rendered, run) {
                let TaskKey { run_key, task_id, map_index } = report.key.clone();
                let dag_id = run.lock.dag_id.clone();
                rows.insert(&report.key, RenderedRow { run_key, task_id, map_index, dag_id, fields: bounded(fields) });
            }
        }
        if !rows.is_empty() {
            self.tx.keep_rendered(&rows.into_values().collect::<Vec<_>>()).await?;
        }
        let named = reports.iter().zip(accepted).filter(|(_, accepted)| **accepted).filter_map(|(report, _)| {
            let TaskKey { run_key, task_id, map_index } = report.key.clone();
            report.evidence.map_name.clone().map(|name| NameRow { run_key, task_id, map_index, name })
        });
        let named: Vec<NameRow> = named.collect();
        if !named.is_empty() {
            self.tx.name_instances(&named).await?;
        }
        Ok(())
    }

    /// Ends those attempts that have nothing before them but their end: a running one that
    /// succeeded or was skipped. Any other, and any that is not where it was believed to be, is
    /// left to be looked at.
    async fn end_simply(&mut self, reports: &[Report], accepted: &mut [bool]) -> Result<()> {
        let mut ends = Vec::with_capacity(reports.len());
        let mut mine = HashMap::with_capacity(reports.len());
        let mut seen = HashSet::with_capacity(reports.len());
        for (i, report) in reports.iter().enumerate() {
            // Two reports of one task in one batch: the first goes first.
            if !seen.insert(&report.key) {
                continue;
            }
            let event = match report.outcome {
                ReportOutcome::Success => TaskEvent::Succeed,
                ReportOutcome::Skipped => TaskEvent::Skip,
                ReportOutcome::Branched { .. }
                | ReportOutcome::Failed { .. }
                | ReportOutcome::Rescheduled { .. }
                | ReportOutcome::Released => continue,
            };
            let Ok(state) = TaskState::Running.apply(event) else { continue };
            mine.insert(&report.key, (i, state));
            ends.push(end_row(report, TaskState::Running, state, None));
        }
        if ends.is_empty() {
            return Ok(());
        }
        let mut xcoms = Vec::new();
        for (key, pool) in self.tx.end_attempts(&ends).await? {
            let Some((i, state)) = mine.get(&key) else { continue };
            accepted[*i] = true;
            self.freed_pools.insert(pool);
            xcoms.extend(reports[*i].xcoms.iter().map(|(name, value)| xcom_row(&key, name, value)));
            self.alert_task(&key, reports[*i].attempt, *state);
            self.note_updates(&reports[*i], *state);
            self.ended.push((key, *state));
            self.topics.insert(Topic::Progress);
        }
        if !xcoms.is_empty() {
            self.tx.insert_xcoms(&last_of_each(xcoms), self.now).await?;
        }
        Ok(())
    }

    async fn write_ends(
        &mut self,
        ends: &[EndRow],
        archive: &[(TaskKey, TaskState)],
        xcoms: Vec<XComRow>,
    ) -> Result<()> {
        if ends.is_empty() {
            return Ok(());
        }
        let ended = self.tx.end_attempts(ends).await?.len();
        if ended != ends.len() {
            return Err(Error::Stale(format!("{} of {} attempts", ends.len() - ended, ends.len())));
        }
        if !archive.is_empty() {
            self.tx.archive_tries(archive).await?;
            self.tx.clear_xcoms(&archive.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>()).await?;
        }
        if !xcoms.is_empty() {
            self.tx.insert_xcoms(&last_of_each(xcoms), self.now).await?;
        }
        self.topics.insert(Topic::Progress);
        Ok(())
    }

    /// The state that follows, and when it goes on if it waits.
    fn next_state(&self, report: &Report, attempt: &CurrentAttempt) -> Result<(TaskState, Option<DateTime<Utc>>)> {
        let edge = |event| attempt.state.apply(event).map_err(|error| Error::Stale(error.to_string()));
        if attempt.state == TaskState::Restarting {
            return Ok((edge(TaskEvent::Restart)?, None));
        }
        Ok(match &report.outcome {
            ReportOutcome::Success | ReportOutcome::Branched { .. } => (edge(TaskEvent::Succeed)?, None),
            ReportOutcome::Skipped => (edge(TaskEvent::Skip)?, None),
            ReportOutcome::Rescheduled { at } => (edge(TaskEvent::Reschedule)?, Some(*at)),
            ReportOutcome::Released => (edge(TaskEvent::Release)?, None),
            ReportOutcome::Failed { retry } if *retry && attempt.try_number <= attempt.max_tries => {
                (edge(TaskEvent::Retry)?, Some(report.ended_at + self.retry_wait(report, attempt)))
            }
            ReportOutcome::Failed { .. } => (edge(TaskEvent::Fail)?, None),
        })
    }

    fn retry_wait(&self, report: &Report, attempt: &CurrentAttempt) -> TimeDelta {
        let run = self.runs.get(&report.key.run_key);
        let task: Option<&Task> = run.and_then(|run| run.dag.task(&report.key.task_id));
        let (Some(run), Some(task)) = (run, task) else { return TimeDelta::zero() };
        let wait = task.retry.wait(&run.lock.dag_id, &task.task_id, run.lock.logical_date, attempt.try_number);
        TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX)
    }

    /// Claims work; the last thing that a step does.
    async fn claim(&mut self, claim: &Claim) -> Result<Vec<ClaimedRow>> {
        if claim.slots == 0 {
            return Ok(Vec::new());
        }
        let rows = self.tx.claim(claim, rand::random::<i64>(), self.now).await?;
        // What this step queued and another worker may take is worth a wake-up; the rest is not.
        self.queued = self.queued.saturating_sub(rows.len());
        if !rows.is_empty() {
            self.topics.insert(Topic::Progress);
        }
        Ok(rows)
    }

    /// Makes work that has not been decided on ready again.
    pub(crate) fn wake(&mut self, rows: Vec<crate::batch::TaskRow>) {
        for row in rows {
            let new_try = row.state == TaskState::UpForRetry;
            self.ready.push(Ready { row, new_try, at_gate: false });
        }
    }
}

fn element(text: &str) -> Result<serde_json::Map<String, Value>> {
    serde_json::from_str(text).map_err(|error| Error::Corrupt(format!("column map_value: {error}")))
}

fn held((i, report): (usize, &Report)) -> Held {
    Held {
        i,
        run_key: report.key.run_key,
        task_id: report.key.task_id.clone(),
        map_index: report.key.map_index,
        attempt: report.attempt,
        state: TaskState::Running,
    }
}

fn end_row(report: &Report, from_state: TaskState, state: TaskState, available_at: Option<DateTime<Utc>>) -> EndRow {
    EndRow {
        run_key: report.key.run_key,
        task_id: report.key.task_id.clone(),
        map_index: report.key.map_index,
        attempt: report.attempt,
        from_state,
        state,
        available_at: micros(available_at),
        ended_at: micros(Some(report.ended_at)),
        // PostgreSQL's text cannot hold a zero byte.
        note: report.note.as_ref().map(|note| note.replace('\0', "\u{fffd}")),
        cpu_ms: report.evidence.usage.map(|usage| i64::try_from(usage.cpu_ms).unwrap_or(i64::MAX)),
        peak_bytes: report.evidence.usage.map(|usage| i64::try_from(usage.peak_bytes).unwrap_or(i64::MAX)),
    }
}

/// One row for each key, the last: an upsert cannot meet a row twice.
fn last_of_each(xcoms: Vec<XComRow>) -> Vec<XComRow> {
    let key = |row: &XComRow| (row.run_key, row.task_id.clone(), row.map_index, row.key.clone());
    xcoms.into_iter().map(|row| (key(&row), row)).collect::<BTreeMap<_, _>>().into_values().collect()
}

fn xcom_row(task: &TaskKey, key: &str, value: &Value) -> XComRow {
    XComRow {
        run_key: task.run_key,
        task_id: task.task_id.clone(),
        map_index: task.map_index,
        key: key.replace('\0', "\u{fffd}"),
        value: json(value),
    }
}
