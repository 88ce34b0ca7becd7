//! Why something does not run: one answer for the command line, the API and the pages.
//!
//! ```text
//!   model::progress, model::limits    the predicates that decide
//!     ^                       ^
//!   engine (under locks)    facts (what is there now, read without locks) -> reason (data, text, advice)
//! ```
//!
//! Every read goes by an index and is limited; only the explanation of a whole run counts what is
//! unfinished in that run. What waits elsewhere costs nothing.

pub(crate) mod facts;
pub(crate) mod reason;
#[cfg(test)]
mod tests;
mod words;

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use strum::IntoEnumIterator as _;
use towpath_model::dag::Dag;
use towpath_model::state::{RunState, TaskState};

use self::facts::{Asked, DagRoom, Held, NAMED, UNFINISHED};
pub use self::facts::{DagFacts, RunFacts};
pub use self::reason::{AwaitedAsset, Holder, Other, Reason, RunningRun};
use self::words::label;
use crate::assets::QueueFilter;
use crate::engine::setups::Setups;
use crate::records::{ImportError, RunRecord, TaskInstanceRecord, TaskKey};
use crate::{Error, Result, Store};

/// Most lines about what waits in a run.
const LINES: usize = 20;
/// So many undecided task instances are told apart by what they wait for.
const TOLD_APART: u32 = 500;
/// Longest chain of waiting tasks that is followed through the database.
const CHAIN: usize = 64;
/// Upstream tasks that are looked up at once; the first look is smaller, since it mostly suffices.
const LOOKS: [usize; 2] = [256, 10_000];

/// Most instances of setups that are looked at.
const SETUPS: u32 = 10_000;

/// Task instances of a run that stand alike.
#[derive(Debug, Clone)]
pub(crate) struct Class {
    pub(crate) state: TaskState,
    pub(crate) blocked_by: Option<String>,
    pub(crate) pool: String,
    pub(crate) queue: String,
    pub(crate) count: u64,
}

#[async_trait]
pub(crate) trait ExplainRows {
    async fn import_error(&self, file: &str) -> Result<Option<ImportError>>;
    async fn dag_room(&self, dag_id: &str) -> Result<DagRoom>;
    async fn some_running_runs(&self, dag_id: &str, limit: u32) -> Result<Vec<RunningRun>>;
    /// Live task instances of a run.
    async fn live_in_run(&self, run_key: i64) -> Result<u32>;
    async fn pool_holders(&self, pools: &[&str], per_pool: u32) -> Result<HashMap<String, Held>>;
    /// Attempts by worker.
    async fn busy_workers(&self) -> Result<HashMap<i64, u32>>;
    /// Instances of those tasks in those states; those that wait for others come last.
    async fn some_instances(
        &self,
        run_key: i64,
        task_ids: &[&str],
        states: &[TaskState],
        limit: u32,
    ) -> Result<Vec<Other>>;
    async fn some_failed(&self, run_key: i64, limit: u32) -> Result<Vec<Other>>;
    /// What is unfinished in a run.
    async fn unfinished_classes(&self, run_key: i64) -> Result<Vec<Class>>;
    async fn some_of_class(&self, run_key: i64, class: &Class, limit: u32) -> Result<Vec<TaskInstanceRecord>>;
}

/// What to explain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Subject {
    pub dag_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// Of a task: -1 for one that is not mapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map_index: Option<i32>,
}

/// A reason as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Told {
    #[serde(flatten)]
    pub reason: Reason,
    /// A sentence without a full stop.
    pub text: String,
    /// What can be done about it.
    pub advice: Option<String>,
}

impl Told {
    fn new(reason: Reason, now: DateTime<Utc>) -> Self {
        Self { text: reason.text(now), advice: reason.advice(), reason }
    }
}

/// Task instances of a run that wait for the same.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Group {
    pub state: TaskState,
    pub count: u64,
    /// Some of them, a mapped one with its index: `load[3]`.
    pub tasks: Vec<String>,
    pub reasons: Vec<Told>,
}

/// Why something is where it is.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Explanation {
    #[serde(flatten)]
    pub subject: Subject,
    /// Of a task instance or run its state, of a DAG `active`, `paused` or `stale`.
    pub state: String,
    /// When it was so.
    pub at: DateTime<Utc>,
    pub reasons: Vec<Told>,
    /// Of a run: what is unfinished in it, at most 20 groups.
    pub waiting: Vec<Group>,
    /// Task instances that are unfinished and in none of the groups.
    pub left_out: u64,
}

impl Store {
    /// Why a DAG gets no new run now.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown DAG; when the database does not answer.
    pub async fn explain_dag(&self, dag_id: &str, now: DateTime<Utc>) -> Result<Explanation> {
        let facts = self.dag_facts(dag_id, now).await?;
        let subject = Subject { dag_id: dag_id.to_owned(), run_id: None, task_id: None, map_index: None };
        Ok(explanation(subject, facts.state().to_owned(), facts.reasons(), now))
    }

    /// Why a run is where it is, and what its unfinished tasks wait for.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn explain_run(&self, run: &RunRecord, now: DateTime<Utc>) -> Result<Explanation> {
        let mut facts = self.run_facts(run, now).await?;
        let mut classes = Vec::new();
        if run.state == RunState::Running {
            classes = self.inner.backend.unfinished_classes(run.key).await?;
            facts.unfinished = classes.iter().map(|class| class.count).sum();
        }
        let mut reasons = facts.reasons();
        reasons.extend(self.deadlines_of_run(run.key).await?.into_iter().map(|deadline| Reason::Deadline {
            deadline: deadline.words(),
            at: deadline.deadline_time,
            missed_at: deadline.missed_at,
        }));
        let (dag_id, run_id) = (run.dag_id.clone(), Some(run.run_id.clone()));
        let subject = Subject { dag_id, run_id, task_id: None, map_index: None };
        let mut told = explanation(subject, run.state.to_string(), reasons, now);
        told.waiting = self.groups(&facts, classes).await?;
        told.waiting.truncate(LINES);
        let shown: u64 = told.waiting.iter().map(|group| group.count).sum();
        told.left_out = facts.unfinished.saturating_sub(shown);
        Ok(told)
    }

    /// Why a task instance is where it is.
    ///
    /// # Errors
    /// [`Error::NotFound`] for one that the run does not have; when the database does not answer.
    pub async fn explain_task(
        &self,
        run: &RunRecord,
        task_id: &str,
        map_index: i32,
        now: DateTime<Utc>,
    ) -> Result<Explanation> {
        let key = TaskKey { run_key: run.key, task_id: task_id.to_owned(), map_index };
        let found = self.inner.backend.task_instance(&key).await?;
        let instance =
            found.ok_or_else(|| Error::NotFound { thing: "task instance", id: label(task_id, map_index) })?;
        let facts = self.run_facts(run, now).await?;
        let reasons = self.task_reasons(&facts, &instance).await?;
        let subject = Subject {
            dag_id: run.dag_id.clone(),
            run_id: Some(run.run_id.clone()),
            task_id: Some(task_id.to_owned()),
            map_index: Some(map_index),
        };
        Ok(explanation(subject, instance.state.to_string(), reasons, now))
    }

    /// What decides about a DAG.
    async fn dag_facts(&self, dag_id: &str, now: DateTime<Utc>) -> Result<DagFacts> {
        let backend = &self.inner.backend;
        let found = backend.dag(dag_id).await?;
        let record = found.ok_or_else(|| Error::NotFound { thing: "DAG", id: dag_id.to_owned() })?;
        Ok(DagFacts {
            now,
            dag: self.dag_of_version(record.version_id).await?,
            room: backend.dag_room(dag_id).await?,
            runs: backend.some_running_runs(dag_id, NAMED as u32).await?,
            jobs: backend.jobs().await?,
            import_error: backend.import_error(&record.file).await?,
            awaited: self.awaited_by(dag_id).await?,
            record,
        })
    }

    /// What decides about a run and its task instances, for who explains many of them:
    /// [`RunFacts::reasons`] and [`RunFacts::task_among`] need no further look.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn run_facts(&self, run: &RunRecord, now: DateTime<Utc>) -> Result<RunFacts> {
        let backend = &self.inner.backend;
        let dag = self.dag_of_version(run.version_id).await?;
        let pools = backend.pools().await?;
        let names: Vec<&str> = dag.pools().collect();
        let is_over = run.state.is_finished();
        Ok(RunFacts {
            of_dag: self.dag_facts(&run.dag_id, now).await?,
            live: if is_over { 0 } else { backend.live_in_run(run.key).await? },
            held: if is_over { HashMap::new() } else { backend.pool_holders(&names, NAMED as u32).await? },
            busy: if is_over { HashMap::new() } else { backend.busy_workers().await? },
            failed: if is_over { backend.some_failed(run.key, NAMED as u32).await? } else { Vec::new() },
            unfinished: 0,
            setups: self.states_of_setups(run.key, &dag).await?,
            run: run.clone(),
            pools,
            dag,
        })
    }

    /// The assets that a DAG waits for, with what is queued of them.
    async fn awaited_by(&self, dag_id: &str) -> Result<Vec<AwaitedAsset>> {
        let backend = &self.inner.backend;
        let awaited = backend.awaited(dag_id).await?;
        if awaited.is_empty() {
            return Ok(Vec::new());
        }
        let filter = QueueFilter { dag_id: Some(dag_id.to_owned()), ..QueueFilter::default() };
        let queued = backend.queued_events(&filter).await?;
        let mut found = Vec::with_capacity(awaited.len());
        for asset in awaited {
            let here = queued.iter().find(|queued| queued.asset_id == asset.asset_id);
            let last = self.asset(asset.asset_id).await?.and_then(|record| record.last_event);
            found.push(AwaitedAsset {
                name: asset.name,
                uri: asset.uri,
                queued: here.map_or(0, |queued| queued.count),
                since: here.map(|queued| queued.first_at),
                last_update: last.map(|(_, at)| at),
            });
        }
        Ok(found)
    }

    async fn states_of_setups(&self, run_key: i64, dag: &Dag) -> Result<Setups> {
        let mut setups = Setups::default();
        let ids = dag.tasks().iter().filter(|task| task.role.is_setup()).map(|task| task.task_id.as_str());
        let ids: Vec<&str> = ids.collect();
        if !ids.is_empty() {
            let states: Vec<TaskState> = TaskState::iter().collect();
            for other in self.inner.backend.some_instances(run_key, &ids, &states, SETUPS).await? {
                setups.add(TaskKey { run_key, task_id: other.task_id, map_index: other.map_index }, other.state);
            }
        }
        Ok(setups)
    }

    async fn task_reasons(&self, facts: &RunFacts, instance: &TaskInstanceRecord) -> Result<Vec<Reason>> {
        let upstream = match facts.asks(instance) {
            Some(asked) => self.asked(facts, &asked).await?,
            None => Vec::new(),
        };
        let behind = if instance.state == TaskState::None { self.behind(facts, &upstream).await? } else { None };
        let mut reasons = facts.task(instance, upstream);
        reasons.extend(behind.map(|task| Reason::Behind { task }));
        Ok(reasons)
    }

    /// Some of the upstream instances in the states that are asked for.
    async fn asked(&self, facts: &RunFacts, asked: &Asked) -> Result<Vec<Other>> {
        let ids: Vec<&str> = facts
            .dag
            .upstream(asked.index)
            .chain(facts.dag.setups_above(asked.index).iter().copied())
            .map(|index| facts.dag.tasks()[index].task_id.as_str())
            .collect();
        let mut found = Vec::new();
        let mut rest = ids.as_slice();
        for size in LOOKS.into_iter().chain(std::iter::repeat(LOOKS[1])) {
            if rest.is_empty() || !found.is_empty() {
                break;
            }
            let (look, later) = rest.split_at(size.min(rest.len()));
            let backend = &self.inner.backend;
            found = backend.some_instances(facts.run.key, look, asked.states, NAMED as u32).await?;
            rest = later;
        }
        Ok(found)
    }

    /// The beginning of a chain of tasks that all wait for others.
    async fn behind(&self, facts: &RunFacts, upstream: &[Other]) -> Result<Option<Other>> {
        let Some(mut last) = upstream.first().filter(|first| first.state == TaskState::None).cloned() else {
            return Ok(None);
        };
        for _ in 0..CHAIN {
            let Some(index) = facts.dag.index_of(&last.task_id) else { break };
            let Some(next) = self.asked(facts, &Asked { index, states: UNFINISHED }).await?.into_iter().next() else {
                break;
            };
            if next.state != TaskState::None {
                return Ok(Some(next));
            }
            last = next;
        }
        Ok(None)
    }

    /// What is unfinished in a run, by what it waits for. What runs comes first, what waits for it last.
    async fn groups(&self, facts: &RunFacts, mut classes: Vec<Class>) -> Result<Vec<Group>> {
        classes.sort_by_key(|class| (place(class.state), std::cmp::Reverse(class.count)));
        classes.truncate(LINES);
        let mut some = Vec::new();
        for class in &classes {
            some.push(self.inner.backend.some_of_class(facts.run.key, class, TOLD_APART).await?);
        }
        let others: Vec<Other> = some.iter().flatten().map(Other::of).collect();
        let mut by_task: HashMap<&str, Vec<&Other>> = HashMap::new();
        for other in &others {
            by_task.entry(other.task_id.as_str()).or_default().push(other);
        }
        let mut groups: Vec<Group> = Vec::new();
        for (class, instances) in classes.iter().zip(&some) {
            let Some(first) = instances.first() else { continue };
            // All that wait for a slot or a worker wait for the same, however many they are.
            let reasons = match class.state {
                TaskState::Scheduled | TaskState::Queued => facts.task(first, Vec::new()),
                _ if class.count > u64::from(TOLD_APART) => self.task_reasons(facts, first).await?,
                _ => {
                    groups.extend(tell_apart(facts, class.state, instances, &by_task));
                    continue;
                }
            };
            groups.push(group(class.state, class.count, instances, reasons, facts.of_dag.now));
        }
        Ok(groups)
    }
}

/// The groups of a class whose instances wait for different things.
fn tell_apart(
    facts: &RunFacts,
    state: TaskState,
    instances: &[TaskInstanceRecord],
    all: &HashMap<&str, Vec<&Other>>,
) -> Vec<Group> {
    let mut alike: Vec<(Vec<Reason>, Vec<TaskInstanceRecord>)> = Vec::new();
    for instance in instances {
        let mut reasons = facts.task_among(instance, all);
        // What a chain waits for in the end is the same for all of it.
        if let Some(end) = reasons.iter().position(|reason| matches!(reason, Reason::Behind { .. })) {
            reasons = vec![reasons.swap_remove(end)];
        }
        match alike.iter_mut().find(|(known, _)| *known == reasons) {
            Some((_, same)) => same.push(instance.clone()),
            None => alike.push((reasons, vec![instance.clone()])),
        }
    }
    let groups =
        alike.into_iter().map(|(reasons, same)| group(state, same.len() as u64, &same, reasons, facts.of_dag.now));
    groups.take(LINES).collect()
}

impl Class {
    /// As the column has it.
    pub(crate) fn blocked_by(&self) -> &str {
        self.blocked_by.as_deref().unwrap_or_default()
    }
}

fn explanation(subject: Subject, state: String, reasons: Vec<Reason>, now: DateTime<Utc>) -> Explanation {
    let mut reasons: Vec<Told> = reasons.into_iter().map(|reason| Told::new(reason, now)).collect();
    if let (Some(run_id), Some(task_id)) = (&subject.run_id, &subject.task_id) {
        let index = subject.map_index.filter(|index| *index >= 0);
        let index = index.map(|index| format!(" --map-index {index}")).unwrap_or_default();
        for told in reasons.iter_mut().filter(|told| has_log(&told.reason)) {
            told.advice = Some(format!("towpath tasks logs {} {task_id} --run-id {run_id}{index}", subject.dag_id));
        }
    }
    Explanation { subject, state, at: now, reasons, waiting: Vec::new(), left_out: 0 }
}

/// Whether the log of a try says more.
fn has_log(reason: &Reason) -> bool {
    matches!(reason, Reason::Running { .. } | Reason::Retry { .. } | Reason::Ended { state: TaskState::Failed, .. })
}

fn group(state: TaskState, count: u64, some: &[TaskInstanceRecord], reasons: Vec<Reason>, now: DateTime<Utc>) -> Group {
    Group {
        state,
        count,
        tasks: some.iter().take(NAMED).map(|one| label(&one.key.task_id, one.key.map_index)).collect(),
        reasons: reasons.into_iter().map(|reason| Told::new(reason, now)).collect(),
    }
}

/// Nearest to running first.
fn place(state: TaskState) -> u8 {
    match state {
        TaskState::Running => 0,
        TaskState::Restarting => 1,
        TaskState::Queued => 2,
        TaskState::UpForRetry => 3,
        TaskState::UpForReschedule => 4,
        TaskState::Deferred => 5,
        TaskState::Scheduled => 6,
        TaskState::None => 7,
        TaskState::Success
        | TaskState::Failed
        | TaskState::UpstreamFailed
        | TaskState::Skipped
        | TaskState::Removed => 8,
    }
}
