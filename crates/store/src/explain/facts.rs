//! What decisions look at, read once, and what follows from it: pure functions over the facts.
//!
//! The decisions themselves are [`towpath_model::progress::evaluate`] and [`towpath_model::limits`]; the
//! engine calls the same. What is told here may be a moment old, since it is read without locks.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use towpath_model::asset::{Asset, Condition};
use towpath_model::dag::{Dag, Task};
use towpath_model::limits::{self, Hold, Limit, Start};
use towpath_model::progress::Decision;
use towpath_model::state::{RunState, TaskState};
use towpath_model::timetable::Schedule;
use towpath_model::trigger_rule::Because;

use super::reason::{AwaitedAsset, Holder, Other, Reason, RunningRun};
use crate::engine::setups::Setups;
use crate::records::{DagRecord, ImportError, JobRecord, JobState, JobType, PoolRecord, RunRecord, TaskInstanceRecord};

/// Most names that a sentence lists.
pub(crate) const NAMED: usize = 3;
/// Longest chain of waiting tasks that is followed to its beginning.
pub(crate) const CHAIN: usize = 1_000;
/// Most upstream tasks that are looked through for those names.
const SEARCHED: usize = 10_000;

/// The states in which something can still happen.
pub(crate) const UNFINISHED: &[TaskState] = &[
    TaskState::None,
    TaskState::Scheduled,
    TaskState::Queued,
    TaskState::Running,
    TaskState::UpForRetry,
    TaskState::UpForReschedule,
    TaskState::Restarting,
    TaskState::Deferred,
];

/// How many runs a DAG has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DagRoom {
    /// Its next run has been computed for its current version.
    pub(crate) is_planned: bool,
    /// Queued and running, without backfills and foreground runs.
    pub(crate) active: u32,
    /// Running, without foreground runs.
    pub(crate) running: u32,
}

/// What holds slots of a pool.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    /// Some of them, those first that have held theirs longest.
    pub(crate) holders: Vec<Holder>,
    /// All of them.
    pub(crate) count: u64,
}

/// The facts about a DAG.
#[derive(Debug, Clone)]
pub struct DagFacts {
    pub(crate) now: DateTime<Utc>,
    pub(crate) record: DagRecord,
    pub(crate) dag: Arc<Dag>,
    pub(crate) room: DagRoom,
    pub(crate) runs: Vec<RunningRun>,
    pub(crate) jobs: Vec<JobRecord>,
    pub(crate) import_error: Option<ImportError>,
    /// The assets that its schedule waits for.
    pub(crate) awaited: Vec<AwaitedAsset>,
}

/// The facts about a run, enough to explain any of its task instances.
#[derive(Debug, Clone)]
pub struct RunFacts {
    pub(crate) of_dag: DagFacts,
    pub(crate) run: RunRecord,
    /// The version that the run is pinned to.
    pub(crate) dag: Arc<Dag>,
    /// Its live task instances.
    pub(crate) live: u32,
    pub(crate) pools: Vec<PoolRecord>,
    pub(crate) held: HashMap<String, Held>,
    /// Attempts by worker.
    pub(crate) busy: HashMap<i64, u32>,
    /// Some of the failed task instances of a run that is over.
    pub(crate) failed: Vec<Other>,
    pub(crate) unfinished: u64,
    /// The states of its setups.
    pub(crate) setups: Setups,
}

/// Which upstream instances an explanation would name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Position of the task in the DAG of the run.
    pub(crate) index: usize,
    pub(crate) states: &'static [TaskState],
}

impl DagFacts {
    fn is_alive(&self, job: &JobRecord) -> bool {
        job.state == JobState::Running && job.lease_until > self.now
    }

    /// Says so when no scheduler is alive.
    fn no_scheduler(&self) -> Option<Reason> {
        let schedulers = || self.jobs.iter().filter(|job| job.job.job_type == JobType::Scheduler);
        if schedulers().any(|job| self.is_alive(job)) {
            return None;
        }
        Some(Reason::NoScheduler { last_seen: schedulers().map(|job| job.heartbeat_at).max() })
    }

    fn paused(&self) -> Reason {
        Reason::DagPaused { dag_id: self.record.dag_id.clone() }
    }

    fn max_active_runs(&self, limit: u32, active: u32) -> Reason {
        Reason::MaxActiveRuns { dag_id: self.record.dag_id.clone(), limit, active, runs: self.runs.clone() }
    }

    /// `active`, `paused` or `stale`.
    pub(crate) fn state(&self) -> &'static str {
        match () {
            () if !self.record.is_active => "stale",
            () if self.record.is_paused => "paused",
            () => "active",
        }
    }

    /// Why the DAG gets no new run now.
    #[must_use]
    pub fn reasons(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        if !self.record.is_active {
            reasons.push(Reason::FileGone { file: self.record.file.clone() });
        }
        if let Some(error) = &self.import_error {
            let first = error.message.lines().next().unwrap_or_default().to_owned();
            reasons.push(Reason::ImportError { file: error.file.clone(), error: first, at: error.at });
        }
        if self.record.is_paused {
            reasons.push(self.paused());
        }
        if self.record.is_active && !self.record.is_paused {
            let condition = self.dag.spec().asset_schedule.as_ref();
            if condition.is_none() || self.dag.spec().schedule.is_scheduled() {
                reasons.push(self.next_run());
            }
            reasons.extend(condition.map(|condition| self.updates(condition)));
        }
        reasons.extend(self.no_scheduler());
        reasons
    }

    /// What a schedule on assets waits for: the condition that the scheduler asks, of what is queued.
    fn updates(&self, condition: &Condition) -> Reason {
        let has = |asset: &Asset| self.awaited.iter().any(|a| a.queued > 0 && asset.is(&a.name, &a.uri));
        if !condition.holds(&has) {
            let (come, missing) = self.awaited.iter().cloned().partition(|asset| asset.queued > 0);
            return Reason::Assets { condition: condition.words(), come, missing };
        }
        let (limit, active) = (self.record.max_active_runs, self.room.active);
        if limits::runs_room(limit, active) == 0 { self.max_active_runs(limit, active) } else { Reason::StartsNow {} }
    }

    fn next_run(&self) -> Reason {
        let spec = self.dag.spec();
        let (limit, active) = (self.record.max_active_runs, self.room.active);
        let is_full = limits::runs_room(limit, active) == 0;
        match (&spec.schedule, self.record.next_run) {
            (Schedule::Never, _) => Reason::OnlyTriggered { dag_id: self.record.dag_id.clone() },
            (Schedule::Continuous, _) if active > 0 => self.max_active_runs(1, active),
            (_, Some(next)) if next.run_after > self.now => {
                Reason::NextRun { at: next.run_after, logical_date: next.logical_date }
            }
            (_, Some(_)) if is_full => self.max_active_runs(limit, active),
            (_, Some(next)) => Reason::RunDue { at: next.run_after },
            (Schedule::Continuous, None) => Reason::StartsNow {},
            (_, None) if !self.room.is_planned => Reason::NotPlanned {},
            (_, None) => Reason::NoMoreRuns { end_date: spec.end_date.filter(|end| *end <= self.now) },
        }
    }
}

impl RunFacts {
    /// Why the run is where it is.
    #[must_use]
    pub fn reasons(&self) -> Vec<Reason> {
        let run = &self.run;
        match run.state {
            RunState::Queued => self.holds(),
            RunState::Running => {
                let mut reasons = vec![Reason::RunRunning { since: run.start_date, unfinished: self.unfinished }];
                reasons.extend(self.is_paused().then(|| self.of_dag.paused()));
                reasons
            }
            RunState::Success | RunState::Failed => vec![self.ended()],
        }
    }

    fn ended(&self) -> Reason {
        Reason::RunEnded { state: self.run.state, at: self.run.end_date, failed: self.failed.clone() }
    }

    /// Why a queued run does not start: what [`Start`] says, and whether there is anybody to start it.
    fn holds(&self) -> Vec<Reason> {
        let (record, room) = (&self.of_dag.record, self.of_dag.room);
        let start = Start {
            run_after: self.run.run_after,
            is_foreground: self.run.queue.is_some(),
            is_paused: record.is_paused,
            max_active_runs: i64::from(record.max_active_runs),
            running: i64::from(room.running),
        };
        let mut reasons: Vec<Reason> = start
            .holds(self.of_dag.now)
            .map(|hold| match hold {
                Hold::Time => Reason::RunAfter { at: self.run.run_after },
                Hold::Paused => self.of_dag.paused(),
                Hold::MaxActiveRuns => self.of_dag.max_active_runs(record.max_active_runs, room.running),
            })
            .collect();
        match self.of_dag.no_scheduler() {
            Some(reason) => reasons.push(reason),
            None if reasons.is_empty() => reasons.push(Reason::StartsNow {}),
            None => {}
        }
        reasons
    }

    fn is_paused(&self) -> bool {
        self.of_dag.record.is_paused && self.run.queue.is_none()
    }

    fn task_of(&self, instance: &TaskInstanceRecord) -> Option<&Task> {
        self.dag.task(&instance.key.task_id)
    }

    /// What the trigger rule says of an instance, if that is what its state is about.
    fn decision(&self, instance: &TaskInstanceRecord) -> Option<Decision> {
        let decision = self.setups.judge(&self.dag, self.task_of(instance)?, &instance.key, instance.upstream);
        let is_about = match instance.state {
            TaskState::None => self.run.state == RunState::Running,
            TaskState::UpstreamFailed | TaskState::Skipped | TaskState::Removed => {
                instance.try_number == 0 && decision.state == Some(instance.state)
            }
            TaskState::Scheduled
            | TaskState::Queued
            | TaskState::Running
            | TaskState::Success
            | TaskState::Failed
            | TaskState::UpForRetry
            | TaskState::UpForReschedule
            | TaskState::Restarting
            | TaskState::Deferred => false,
        };
        is_about.then_some(decision)
    }

    /// Which upstream instances the explanation of `instance` would name.
    pub(crate) fn asks(&self, instance: &TaskInstanceRecord) -> Option<Asked> {
        let states = match self.decision(instance)?.because {
            Because::Open => UNFINISHED,
            Because::OneOf(states) => states,
            Because::Free | Because::Fulfilled | Because::NoneOf(_) | Because::All(_) => return None,
        };
        Some(Asked { index: self.dag.index_of(&instance.key.task_id)?, states })
    }

    /// Why `instance` is where it is, for who has all instances of the run at hand, by task.
    #[must_use]
    pub fn task_among(&self, instance: &TaskInstanceRecord, all: &HashMap<&str, Vec<&Other>>) -> Vec<Reason> {
        let asked = self.asks(instance);
        let upstream = asked.as_ref().map_or_else(Vec::new, |asked| self.among(asked, all));
        let mut behind = None;
        if instance.state == TaskState::None {
            let mut last = upstream.first().cloned();
            for _ in 0..CHAIN {
                let Some(task) = last.filter(|task| task.state == TaskState::None) else { break };
                let Some(index) = self.dag.index_of(&task.task_id) else { break };
                last = self.among(&Asked { index, states: UNFINISHED }, all).into_iter().next();
                behind = last.clone().filter(|task| task.state != TaskState::None);
            }
        }
        let mut reasons = self.task(instance, upstream);
        reasons.extend(behind.map(|task| Reason::Behind { task }));
        reasons
    }

    /// Some of the instances that are asked for; those that wait for others come last.
    fn among(&self, asked: &Asked, all: &HashMap<&str, Vec<&Other>>) -> Vec<Other> {
        let instances = self
            .dag
            .upstream(asked.index)
            .chain(self.dag.setups_above(asked.index).iter().copied())
            .take(SEARCHED)
            .filter_map(|index| all.get(self.dag.tasks()[index].task_id.as_str()))
            .flatten()
            .filter(|other| asked.states.contains(&other.state));
        let (mut named, mut waiting) = (Vec::new(), Vec::new());
        for other in instances {
            if other.state == TaskState::None {
                waiting.push(*other);
            } else {
                named.push(*other);
                if named.len() == NAMED {
                    break;
                }
            }
        }
        let by_name = |list: &mut Vec<&Other>| {
            list.sort_by(|a, b| (&a.task_id, a.map_index).cmp(&(&b.task_id, b.map_index)));
        };
        by_name(&mut named);
        by_name(&mut waiting);
        named.into_iter().chain(waiting).take(NAMED).cloned().collect()
    }

    /// Why `instance` is where it is; `upstream` is what [`RunFacts::asks`] asked for.
    pub(crate) fn task(&self, instance: &TaskInstanceRecord, upstream: Vec<Other>) -> Vec<Reason> {
        let now = self.of_dag.now;
        let due = |reason: Reason, is_due: bool| {
            let scheduler = if is_due { self.of_dag.no_scheduler() } else { None };
            [reason].into_iter().chain(scheduler).collect()
        };
        match instance.state {
            TaskState::None => self.undecided(instance, upstream),
            TaskState::Scheduled => self.limits(instance),
            TaskState::Queued => vec![self.queued(instance)],
            TaskState::Running => self.running(instance),
            TaskState::UpForRetry => {
                let at = instance.available_at.unwrap_or(now);
                let (next_try, tries) = (instance.try_number + 1, instance.max_tries + 1);
                let (is_due, error) = (at <= now, instance.note.clone());
                due(Reason::Retry { at, is_due, next_try, tries: tries.max(next_try), error }, is_due)
            }
            TaskState::UpForReschedule => {
                let at = instance.available_at.unwrap_or(now);
                due(Reason::Reschedule { at, is_due: at <= now }, at <= now)
            }
            TaskState::Restarting => vec![Reason::Restarting {}],
            TaskState::Deferred => vec![Reason::Deferred {}],
            TaskState::UpstreamFailed | TaskState::Skipped | TaskState::Removed => {
                match (self.decision(instance), self.task_of(instance)) {
                    (Some(Decision { because, .. }), Some(task)) => {
                        vec![Reason::Rule { rule: task.trigger_rule, state: instance.state, because, upstream }]
                    }
                    _ => vec![ended(instance)],
                }
            }
            TaskState::Success | TaskState::Failed => vec![ended(instance)],
        }
    }

    fn undecided(&self, instance: &TaskInstanceRecord, waits_for: Vec<Other>) -> Vec<Reason> {
        match self.run.state {
            RunState::Queued => {
                let mut reasons = vec![Reason::RunQueued { run_id: self.run.run_id.clone() }];
                reasons.extend(self.holds());
                reasons
            }
            RunState::Success | RunState::Failed => vec![self.ended()],
            RunState::Running => match (self.decision(instance), self.task_of(instance)) {
                (Some(Decision { because: Because::Open, .. }), Some(task)) => {
                    let up = instance.upstream;
                    let open = up.total.saturating_sub(up.done());
                    vec![Reason::Upstream { rule: task.trigger_rule, open, total: up.total, waits_for }]
                }
                _ => vec![Reason::Undecided {}],
            },
        }
    }

    /// The limits that are full, asked as the engine asks.
    fn limits(&self, instance: &TaskInstanceRecord) -> Vec<Reason> {
        if instance.at_gate && self.run.state == RunState::Running && !self.is_paused() {
            return vec![self.gate(instance)];
        }
        let most = i64::from(self.dag.spec().max_active_tasks);
        let run_room = limits::run_room(self.run.state, self.is_paused(), most, i64::from(self.live));
        let pool = self.pools.iter().find(|pool| pool.name == instance.pool);
        let pool_room = pool.map_or(0, |pool| i64::from(pool.slots) - i64::from(pool.used));
        let reasons: Vec<Reason> = limits::full(run_room, pool_room, i64::from(instance.pool_slots))
            .map(|limit| match limit {
                Limit::Run if self.run.state.is_finished() => self.ended(),
                Limit::Run if self.run.state == RunState::Queued => {
                    Reason::RunQueued { run_id: self.run.run_id.clone() }
                }
                Limit::Run if self.is_paused() => self.of_dag.paused(),
                Limit::Run => Reason::MaxActiveTasks { limit: self.dag.spec().max_active_tasks, live: self.live },
                Limit::Pool => self.pool(pool, instance),
                Limit::Gate => self.gate(instance),
            })
            .collect();
        if reasons.is_empty() { vec![Reason::RoomNow {}] } else { reasons }
    }

    fn gate(&self, instance: &TaskInstanceRecord) -> Reason {
        let gates = self.task_of(instance).map(|task| task.gates).unwrap_or_default();
        let most = |name: &str, most: Option<u32>| most.map(|most| format!("{name} {most}"));
        let settings = [
            (gates.depends_on_past && !gates.wait_for_downstream).then(|| "depends_on_past".to_owned()),
            gates.wait_for_downstream.then(|| "wait_for_downstream".to_owned()),
            most("max_active_tis_per_dag", gates.max_active_tis_per_dag),
            most("max_active_tis_per_dagrun", gates.max_active_tis_per_dagrun),
        ];
        Reason::Gate { settings: settings.into_iter().flatten().collect() }
    }

    fn pool(&self, pool: Option<&PoolRecord>, instance: &TaskInstanceRecord) -> Reason {
        let (name, needs) = (instance.pool.clone(), instance.pool_slots);
        match pool {
            None => Reason::NoPool { pool: name },
            Some(pool) if needs > pool.slots && pool.slots > 0 => {
                Reason::PoolTooSmall { pool: name, slots: pool.slots, needs }
            }
            Some(pool) => {
                let held = self.held.get(&name).cloned().unwrap_or_default();
                let others = held.count.saturating_sub(held.holders.len() as u64);
                let (slots, used) = (pool.slots, pool.used);
                Reason::PoolFull { pool: name, slots, used, needs, holders: held.holders, others }
            }
        }
    }

    fn workers(&self) -> impl Iterator<Item = &JobRecord> {
        self.of_dag.jobs.iter().filter(|job| job.job.job_type == JobType::Worker && self.of_dag.is_alive(job))
    }

    fn queued(&self, instance: &TaskInstanceRecord) -> Reason {
        let (queue, since) = (instance.queue.clone(), instance.queued_at);
        let takers: Vec<&JobRecord> = self.workers().filter(|job| job.job.queues.contains(&queue)).collect();
        if takers.is_empty() {
            let served: BTreeSet<&String> = self.workers().flat_map(|job| &job.job.queues).collect();
            return Reason::NoWorker { queue, served: served.into_iter().cloned().collect(), since };
        }
        let busy = takers.iter().filter_map(|job| self.busy.get(&job.id)).sum();
        let slots = takers.iter().map(|job| job.job.slots).sum();
        Reason::Queued { queue, since, workers: takers.len() as u32, busy, slots }
    }

    fn running(&self, instance: &TaskInstanceRecord) -> Vec<Reason> {
        let hostname = instance.hostname.clone().unwrap_or_default();
        let (try_number, tries) = (instance.try_number, (instance.max_tries + 1).max(instance.try_number));
        let is_its = |job: &&JobRecord| {
            job.job.job_type == JobType::Worker
                && Some(&job.job.hostname) == instance.hostname.as_ref()
                && Some(job.job.pid) == instance.pid
        };
        let theirs = || self.of_dag.jobs.iter().filter(is_its);
        let (pid, since) = (instance.pid, instance.start_date);
        let mut reasons = vec![Reason::Running { hostname: hostname.clone(), pid, since, try_number, tries }];
        // One that is not listed is not known to be silent.
        if theirs().next().is_some() && !theirs().any(|job| self.of_dag.is_alive(job)) {
            let last_seen = theirs().map(|job| job.heartbeat_at).max();
            reasons.push(Reason::WorkerSilent { hostname, last_seen });
            reasons.extend(self.of_dag.no_scheduler());
        }
        reasons
    }
}

impl Other {
    pub(crate) fn of(instance: &TaskInstanceRecord) -> Self {
        Self {
            task_id: instance.key.task_id.clone(),
            map_index: instance.key.map_index,
            state: instance.state,
            try_number: instance.try_number,
            available_at: instance.available_at,
        }
    }
}

fn ended(instance: &TaskInstanceRecord) -> Reason {
    Reason::Ended {
        state: instance.state,
        at: instance.end_date,
        try_number: instance.try_number,
        tries: (instance.max_tries + 1).max(instance.try_number),
        note: instance.note.clone(),
    }
}
