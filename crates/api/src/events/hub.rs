//! Looks for what has changed, once for all who follow.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;
use towpath_model::state::{RunState, TaskState};
use towpath_store::{RunStanding, TaskStanding, Topic};

use crate::State;

/// Followers of one process at most.
const MOST_FOLLOWERS: usize = 4_096;
/// Events that are kept for those who come back or read slowly.
const KEPT: usize = 4_096;
/// Shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(200);
/// Longest time between two looks: other processes on PostgreSQL do not tell of progress.
const LONGEST: Duration = Duration::from_secs(2);
/// A look that took long is followed by a rest of so many times that.
const REST: u32 = 9;
/// How long it goes on looking once the last follower has gone, who may come back.
const LINGER: Duration = Duration::from_secs(60);
/// Runs of each kind in one look.
const MOST_RUNS: u32 = 1_000;
/// Task instances in one look.
const MOST_TASKS: u32 = 100_000;
/// Runs that ended so long ago are not looked at any more. Longer than any rest, and than clocks may differ.
const ENDED_SINCE: TimeDelta = TimeDelta::seconds(60);

/// What somebody wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) dag_id: Option<String>,
    pub(super) run_id: Option<String>,
    /// The DAGs that they may see; `None` for all.
    pub(super) among: Option<Vec<String>>,
}

impl Wanted {
    pub(super) fn fits(&self, told: &Told) -> bool {
        // What is about no run is for everybody.
        told.dag_id.is_empty() || self.fits_run(&told.dag_id, &told.run_id)
    }

    fn fits_run(&self, dag_id: &str, run_id: &str) -> bool {
        self.dag_id.as_deref().is_none_or(|wanted| wanted == dag_id)
            && self.run_id.as_deref().is_none_or(|wanted| wanted == run_id)
            && self.among.as_ref().is_none_or(|among| among.iter().any(|known| known == dag_id))
    }
}

/// An event.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) id: String,
    number: u64,
    /// `dag_run` or `task_instance`.
    pub(super) kind: &'static str,
    pub(super) dag_id: String,
    pub(super) run_id: String,
    /// JSON.
    pub(super) data: String,
}

/// What somebody who comes (back) has missed.
#[derive(Debug)]
pub(super) enum Missed {
    /// It begins here, behind this id.
    Nothing(String),
    Known(Vec<Arc<Told>>),
    /// Too much; it begins here, behind this id.
    Unknown(String),
}

/// Those who follow. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Tells the ids of this process and start from those of others.
    epoch: u32,
    news: broadcast::Sender<Arc<Told>>,
    /// Whether the first look, from which changes count, is over.
    ready: watch::Sender<bool>,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: HashMap<Wanted, usize>,
    followers: usize,
    is_looking: bool,
    /// Of the last event.
    number: u64,
    kept: VecDeque<Arc<Told>>,
}

/// A place among those who follow.
#[derive(Debug)]
pub(super) struct Seat {
    hub: Hub,
    wanted: Wanted,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut shared = self.hub.shared();
        shared.followers -= 1;
        if let Some(count) = shared.wanted.get_mut(&self.wanted) {
            *count -= 1;
            if *count == 0 {
                shared.wanted.remove(&self.wanted);
            }
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        let (news, _) = broadcast::channel(KEPT);
        let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
        Self(Arc::new(Inner {
            epoch: u32::from_be_bytes([a, b, c, d]),
            news,
            ready: watch::channel(false).0,
            shared: Mutex::default(),
        }))
    }
}

impl Hub {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place; begins to look if nobody does. `None` when there is no room.
    pub(super) fn join(
        &self,
        state: &State,
        wanted: &Wanted,
        last: Option<&str>,
    ) -> Option<(Seat, broadcast::Receiver<Arc<Told>>, Missed)> {
        let mut shared = self.shared();
        if shared.followers >= MOST_FOLLOWERS {
            return None;
        }
        shared.followers += 1;
        *shared.wanted.entry(wanted.clone()).or_default() += 1;
        let missed = self.missed(&shared, last);
        // Under the lock that events are sent under, so that none comes twice or never.
        let news = self.0.news.subscribe();
        if !shared.is_looking {
            shared.is_looking = true;
            tokio::spawn(look_on(self.clone(), state.clone()));
        }
        drop(shared);
        Some((Seat { hub: self.clone(), wanted: wanted.clone() }, news, missed))
    }

    /// Waits until changes count: nothing that happens afterwards is missed.
    pub(super) async fn ready(&self) {
        // The sender lives as long as the hub, and a database that does not answer is no reason to wait for ever.
        let _ = tokio::time::timeout(LINGER, self.0.ready.subscribe().wait_for(|ready| *ready)).await;
    }

    fn id(&self, number: u64) -> String {
        format!("{:08x}-{number}", self.0.epoch)
    }

    fn missed(&self, shared: &Shared, last: Option<&str>) -> Missed {
        let here = self.id(shared.number);
        let Some(last) = last else { return Missed::Nothing(here) };
        let number = last
            .split_once('-')
            .filter(|(epoch, _)| *epoch == format!("{:08x}", self.0.epoch))
            .and_then(|(_, number)| number.parse::<u64>().ok());
        let oldest = shared.number.saturating_sub(shared.kept.len() as u64);
        match number {
            // While nobody looked, things happened that nobody knows of.
            Some(number) if shared.is_looking && (oldest..=shared.number).contains(&number) => {
                Missed::Known(shared.kept.iter().filter(|told| told.number > number).cloned().collect())
            }
            _ => Missed::Unknown(here),
        }
    }

    /// What is followed.
    fn wants(&self) -> Vec<Wanted> {
        self.shared().wanted.keys().cloned().collect()
    }

    fn tell(&self, changes: Vec<Change>) {
        let mut shared = self.shared();
        for Change { kind, dag_id, run_id, data } in changes {
            shared.number += 1;
            let number = shared.number;
            let told = Arc::new(Told { id: self.id(number), number, kind, dag_id, run_id, data });
            if shared.kept.len() == KEPT {
                shared.kept.pop_front();
            }
            shared.kept.push_back(Arc::clone(&told));
            // Without a receiver, those who come back find it among what is kept.
            let _ = self.0.news.send(told);
        }
    }

    /// Stops looking, unless somebody has come in the meantime.
    fn stops(&self) -> bool {
        let mut shared = self.shared();
        if shared.followers == 0 {
            shared.is_looking = false;
            self.0.ready.send_replace(false);
            shared.kept.clear();
        }
        shared.followers == 0
    }
}

#[derive(Debug)]
struct Change {
    kind: &'static str,
    dag_id: String,
    run_id: String,
    data: String,
}

/// What was seen of a run.
#[derive(Debug)]
struct Seen {
    state: RunState,
    tasks: HashMap<(String, i32), (TaskState, u32)>,
    /// Whether its task instances were read since it ended, or nobody wants them.
    is_settled: bool,
    /// Whether its task instances have been read before: the first time tells nothing of a run that was there already.
    has_tasks: bool,
    is_new: bool,
}

/// Looks as long as somebody follows.
async fn look_on(hub: Hub, state: State) {
    let mut progress = state.store.wakes().subscribe(Topic::Progress);
    let mut seen: Option<HashMap<i64, Seen>> = None;
    let mut lonely_since: Option<Instant> = None;
    loop {
        progress.mark_unchanged();
        let start = Instant::now();
        match look(&hub, &state, seen.take()).await {
            Ok((now_seen, changes)) => {
                seen = Some(now_seen);
                hub.tell(changes);
                hub.0.ready.send_replace(true);
            }
            // What was seen before is lost, and what has changed since is not told; followers are told so.
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "states cannot be followed for now");
                hub.tell(vec![Change {
                    kind: "reset",
                    dag_id: String::new(),
                    run_id: String::new(),
                    data: "{}".to_owned(),
                }]);
            }
        }
        if hub.shared().followers == 0 {
            let since = *lonely_since.get_or_insert(start);
            if since.elapsed() >= LINGER && hub.stops() {
                return;
            }
        } else {
            lonely_since = None;
        }
        let rest = (start.elapsed() * REST).clamp(SHORTEST, Duration::from_secs(30));
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = state.stop.cancelled() => return,
        }
        tokio::select! {
            changed = progress.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LONGEST) => {}
            () = state.stop.cancelled() => return,
        }
    }
}

/// One look: what is seen, and how it differs from `before`. The first one tells nothing.
async fn look(
    hub: &Hub,
    state: &State,
    before: Option<HashMap<i64, Seen>>,
) -> towpath_store::Result<(HashMap<i64, Seen>, Vec<Change>)> {
    let is_first = before.is_none();
    let mut before = before.unwrap_or_default();
    let wanted = hub.wants();
    let runs = state.store.run_standings(state.clock.now() - ENDED_SINCE, MOST_RUNS).await?;
    let mut changes = Vec::new();
    let mut now_seen: HashMap<i64, Seen> = HashMap::with_capacity(runs.len());
    let mut order = Vec::with_capacity(runs.len());
    let names: HashMap<i64, (String, String)> =
        runs.iter().map(|run| (run.key, (run.dag_id.clone(), run.run_id.clone()))).collect();
    for run in &runs {
        let known = before.remove(&run.key);
        let is_new = known.is_none() && !is_first;
        let mut now = known.unwrap_or_else(|| Seen {
            state: run.state,
            tasks: HashMap::new(),
            is_settled: false,
            has_tasks: false,
            is_new,
        });
        if is_new || now.state != run.state {
            changes.push(of_run(run));
            now.is_settled = false;
        }
        now.state = run.state;
        order.push(run.key);
        now_seen.insert(run.key, now);
    }
    let to_read: Vec<i64> = order
        .into_iter()
        .filter(|key| !now_seen.get(key).is_some_and(|seen| seen.is_settled))
        .filter(|key| {
            names.get(key).is_some_and(|(dag_id, run_id)| wanted.iter().any(|it| it.fits_run(dag_id, run_id)))
        })
        .collect();
    let tasks = state.store.task_standings(&to_read, MOST_TASKS).await?;
    let mut of_tasks = Vec::new();
    for task in &tasks {
        let (Some(seen), Some(name)) = (now_seen.get_mut(&task.run_key), names.get(&task.run_key)) else { continue };
        let standing = (task.state, task.try_number);
        let old = seen.tasks.insert((task.task_id.clone(), task.map_index), standing);
        let tells = match old {
            Some(old) => old != standing,
            // New in a run that is looked at, or in one that is new itself.
            None => (seen.has_tasks || seen.is_new) && task.state != TaskState::None,
        };
        if tells {
            of_tasks.push(of_task(task, name));
        }
    }
    for key in to_read.into_iter().collect::<HashSet<_>>() {
        if let Some(seen) = now_seen.get_mut(&key) {
            seen.has_tasks = true;
            seen.is_settled = seen.state.is_finished();
        }
    }
    // Tasks come before the end of their run.
    of_tasks.extend(changes);
    Ok((now_seen, of_tasks))
}

fn of_run(run: &RunStanding) -> Change {
    let data = json!({"dag_id": run.dag_id, "dag_run_id": run.run_id, "state": run.state}).to_string();
    Change { kind: "dag_run", dag_id: run.dag_id.clone(), run_id: run.run_id.clone(), data }
}

fn of_task(task: &TaskStanding, (dag_id, run_id): &(String, String)) -> Change {
    let data = json!({
        "dag_id": dag_id,
        "dag_run_id": run_id,
        "task_id": task.task_id,
        "map_index": task.map_index,
        "state": crate::task_instances::wire_state(task.state),
        "try_number": task.try_number,
    });
    Change { kind: "task_instance", dag_id: dag_id.clone(), run_id: run_id.clone(), data: data.to_string() }
}
