//! From `scheduled` to `queued`: the limits.
//!
//! A task instance that a limit holds back remembers which one (`blocked_by`), and the index of
//! claims does not see it. When slots become free in a run or a pool, the instances that wait for
//! just that are looked at, best first; one that meets another full limit moves to wait for that
//! one. However many wait, a step looks at no more than it can start, plus each once per move.

use std::collections::{BTreeSet, HashMap};

use towpath_model::limits::{self, Limit};
use towpath_model::state::TaskState;

use super::gates::Gates;
use super::{Ready, Step};
use crate::Result;
use crate::batch::{MoveRow, TaskRow};

/// Fewest waiting rows to fetch at a time.
const FETCH: i64 = 64;
/// Most rounds of one step over one limit; what is left is woken by the next.
const ROUNDS: usize = 8;

/// Slots that are free, as counted under the locks of runs and pools.
#[derive(Debug, Default)]
pub(crate) struct Room {
    runs: HashMap<i64, i64>,
    pools: HashMap<String, i64>,
    /// Pools for which somebody waits.
    wanted: BTreeSet<String>,
    gates: Gates,
}

impl Room {
    fn run(&self, key: i64) -> i64 {
        self.runs.get(&key).copied().unwrap_or(0)
    }

    fn pool(&self, name: &str) -> i64 {
        self.pools.get(name).copied().unwrap_or(0)
    }

    /// Takes the slots of `row` where there is room; otherwise the limit that is full.
    fn take(&mut self, row: &TaskRow) -> Result<(), Limit> {
        if !self.gates.is_open(row) {
            return Err(Limit::Gate);
        }
        if let Some(limit) = limits::full(self.run(row.key.run_key), self.pool(&row.pool), row.pool_slots).next() {
            return Err(limit);
        }
        *self.runs.entry(row.key.run_key).or_default() -= 1;
        *self.pools.entry(row.pool.clone()).or_default() -= row.pool_slots;
        self.gates.pass(row);
        Ok(())
    }
}

impl Step<'_> {
    /// Queues what the limits allow: what has become ready in this step and what waited for slots
    /// that it freed.
    pub(crate) async fn promote(&mut self) -> Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        if ready.is_empty() && self.freed_pools.is_empty() {
            return Ok(());
        }
        self.lock_gates().await?;
        let mut room = self.room().await?;
        // What waits for a run competes with what has just become ready in it, by priority.
        if !self.freed_pools.is_empty() {
            for key in self.runs.keys().copied().collect::<Vec<_>>() {
                let waiting = self.waiting_for_run(key, &room).await?;
                ready.extend(waiting.into_iter().map(|row| Ready { row, new_try: false, at_gate: false }));
            }
            let waiting = self.waiting_at_gates().await?;
            ready.extend(waiting.into_iter().map(|row| Ready { row, new_try: false, at_gate: true }));
        }
        let mut gates = std::mem::take(&mut room.gates);
        self.learn_gates(&mut gates, ready.iter().map(|ready| &ready.row)).await?;
        room.gates = gates;
        sort(&mut ready);
        self.allot(ready, &mut room).await?;
        self.fill_pools(&mut room).await
    }

    /// Instances that wait for slots of a run and fit into their pool, as many as the run has room
    /// for. Those whose pool is full wait for the pool from now on.
    async fn waiting_for_run(&mut self, key: i64, room: &Room) -> Result<Vec<TaskRow>> {
        let want = room.run(key);
        let mut fits = Vec::new();
        if want < 1 {
            return Ok(fits);
        }
        for round in 0..ROUNDS {
            // Only what meets a full pool makes more than the wanted ones worth a look.
            let limit = if round == 0 { want } else { want.max(FETCH) };
            let rows = self.tx.blocked_by_run(key, limit).await?;
            let all = (rows.len() as i64) < limit;
            let stuck: Vec<TaskRow>;
            (fits, stuck) = rows.into_iter().partition(|row| limits::fits_pool(room.pool(&row.pool), row.pool_slots));
            let moves: Vec<_> =
                stuck.iter().map(|row| to(row, TaskState::Scheduled, Some(Limit::Pool), false)).collect();
            self.apply(&moves).await?;
            if all || stuck.is_empty() || fits.len() as i64 >= want {
                break;
            }
        }
        Ok(fits)
    }

    /// Locks the pools that matter and counts what is free in them and in the locked runs.
    async fn room(&mut self) -> Result<Room> {
        let mut names: BTreeSet<String> = self.freed_pools.clone();
        for run in self.runs.values() {
            names.extend(run.dag.pools().map(str::to_owned));
        }
        let names: Vec<String> = names.into_iter().collect();
        let slots = self.tx.lock_pools(&names).await?;
        let keys: Vec<i64> = self.runs.keys().copied().collect();
        let live = self.tx.live(&keys).await?;
        let mut room = Room { wanted: live.wanted, ..Room::default() };
        for (key, run) in &self.runs {
            let busy = live.runs.get(key).copied().unwrap_or(0);
            if busy > 0 {
                self.busy.insert(*key);
            }
            let lock = &run.lock;
            room.runs.insert(*key, limits::run_room(lock.state, lock.is_paused, lock.max_active_tasks, busy));
        }
        for (name, slots) in slots {
            let free = slots - live.pools.get(&name).copied().unwrap_or(0);
            room.pools.insert(name, free);
        }
        Ok(room)
    }

    /// Queues in the given order while there is room; the rest waits for the limit that is full.
    async fn allot(&mut self, ready: Vec<Ready>, room: &mut Room) -> Result<()> {
        let mut moves = Vec::new();
        for Ready { row, new_try, at_gate } in ready {
            match room.take(&row) {
                Ok(()) => {
                    self.queued += 1;
                    self.busy.insert(row.key.run_key);
                    moves.push(to(&row, TaskState::Queued, None, new_try));
                }
                // It waits there already.
                Err(Limit::Run) if row.state == TaskState::Scheduled && !at_gate => {}
                Err(Limit::Gate) if at_gate => {}
                Err(limit) => moves.push(to(&row, TaskState::Scheduled, Some(limit), new_try)),
            }
        }
        self.apply(&moves).await
    }

    /// Gives what is left of pools to instances of any run that wait for them.
    async fn fill_pools(&mut self, room: &mut Room) -> Result<()> {
        for pool in self.freed_pools.intersection(&room.wanted).cloned().collect::<Vec<_>>() {
            let mut held = BTreeSet::new();
            for _ in 0..ROUNDS {
                let free = room.pool(&pool);
                if free < 1 {
                    break;
                }
                let waiting = self.tx.blocked_by_pool(&pool, free.max(FETCH)).await?;
                let fetched = waiting.len() as i64;
                if waiting.is_empty() {
                    break;
                }
                self.lock_others(&waiting, room).await?;
                held = waiting.iter().map(|row| row.key.run_key).filter(|key| !self.runs.contains_key(key)).collect();
                let mut moves = Vec::new();
                let mut moved = false;
                let mut gates = std::mem::take(&mut room.gates);
                self.learn_gates(
                    &mut gates,
                    waiting.iter().filter(|row| self.holds_gate(row)).cloned().collect::<Vec<_>>().iter(),
                )
                .await?;
                room.gates = gates;
                for row in waiting.into_iter().filter(|row| self.runs.contains_key(&row.key.run_key)) {
                    if !self.holds_gate(&row) {
                        held.insert(row.key.run_key);
                        continue;
                    }
                    match room.take(&row) {
                        Ok(()) => {
                            self.queued += 1;
                            moved = true;
                            moves.push(to(&row, TaskState::Queued, None, false));
                        }
                        Err(limit @ (Limit::Run | Limit::Gate)) => {
                            moved = true;
                            moves.push(to(&row, TaskState::Scheduled, Some(limit), false));
                        }
                        Err(Limit::Pool) => break,
                    }
                }
                self.apply(&moves).await?;
                if !moved || fetched < free.max(FETCH) {
                    break;
                }
            }
            if room.pool(&pool) > 0 && !held.is_empty() {
                self.missed.runs.extend(held);
                self.missed.pools.insert(pool);
            }
        }
        Ok(())
    }

    /// Locks those runs of `rows` that nobody else holds, and counts what is free in them.
    async fn lock_others(&mut self, rows: &[TaskRow], room: &mut Room) -> Result<()> {
        let keys: BTreeSet<i64> =
            rows.iter().map(|row| row.key.run_key).filter(|key| !self.runs.contains_key(key)).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let keys: Vec<i64> = keys.into_iter().collect();
        let locks = self.tx.lock_free_runs(&keys).await?;
        let live = self.tx.live(&locks.iter().map(|lock| lock.key).collect::<Vec<_>>()).await?.runs;
        for lock in &locks {
            let busy = live.get(&lock.key).copied().unwrap_or(0);
            room.runs.insert(lock.key, limits::run_room(lock.state, lock.is_paused, lock.max_active_tasks, busy));
        }
        self.adopt(locks).await
    }

    /// Room for the task instances of a run that is being created.
    pub(crate) async fn room_for_new(&mut self, max_active_tasks: i64, pools: &BTreeSet<String>) -> Result<Room> {
        let names: Vec<String> = pools.iter().cloned().collect();
        let slots = self.tx.lock_pools(&names).await?;
        let live = self.tx.live(&[]).await?.pools;
        let pools = slots
            .into_iter()
            .map(|(name, slots)| {
                let free = slots - live.get(&name).copied().unwrap_or(0);
                (name, free)
            })
            .collect();
        Ok(Room { runs: HashMap::from([(NEW_RUN, max_active_tasks)]), pools, ..Room::default() })
    }
}

/// Stands for the key of a run that has none yet.
pub(crate) const NEW_RUN: i64 = -1;

impl Room {
    /// Takes slots for a task instance of a new run.
    pub(crate) fn take_new(&mut self, pool: &str, pool_slots: i64) -> Result<(), Limit> {
        if let Some(limit) = limits::full(self.run(NEW_RUN), self.pool(pool), pool_slots).next() {
            return Err(limit);
        }
        *self.runs.entry(NEW_RUN).or_default() -= 1;
        *self.pools.entry(pool.to_owned()).or_default() -= pool_slots;
        Ok(())
    }
}

/// Airflow's order of queueing: priority, then the order of runs, then the map index.
fn sort(ready: &mut [Ready]) {
    ready.sort_by(|a, b| {
        let key = |r: &Ready| (-r.row.priority, r.row.run_order, r.row.key.run_key);
        key(a)
            .cmp(&key(b))
            .then_with(|| a.row.key.task_id.cmp(&b.row.key.task_id))
            .then_with(|| a.row.key.map_index.cmp(&b.row.key.map_index))
    });
}

fn to(row: &TaskRow, state: TaskState, blocked_by: Option<Limit>, new_try: bool) -> MoveRow {
    MoveRow {
        run_key: row.key.run_key,
        task_id: row.key.task_id.clone(),
        map_index: row.key.map_index,
        from_state: row.state,
        state,
        blocked_by,
        new_try: u8::from(new_try),
        ended: false,
        note: None,
    }
}
