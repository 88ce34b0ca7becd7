//! The playing through: from one moment at which something happens to the next.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use chrono::{DateTime, Utc};

use super::{Assumptions, Collision, Load};

/// Best first: the larger weight, the earlier logical date, the lower index.
type Rank = (Reverse<i64>, usize);

/// A run that has begun.
#[derive(Debug)]
struct Run {
    load: usize,
    logical_date: DateTime<Utc>,
    /// Upstream that has not ended, by task.
    waiting_for: Vec<u32>,
    /// Tasks that have not ended.
    left: usize,
    /// Tasks that are running.
    active: u32,
    /// What could start, by pool.
    ready: BTreeMap<usize, BTreeSet<Rank>>,
    /// Slots of its running tasks, by pool.
    held: BTreeMap<usize, u32>,
}

#[derive(Debug)]
struct Pool {
    name: String,
    /// `None`: room for everything.
    slots: Option<u32>,
    used: u32,
    /// Since when somebody waits, and for how much.
    shortage: Option<Shortage>,
}

#[derive(Debug)]
struct Shortage {
    from: DateTime<Utc>,
    most_wanted: u64,
    dags: BTreeSet<String>,
}

/// How a DAG's runs fare.
#[derive(Debug, Default)]
struct Lane {
    /// Runs that are not over.
    active: u32,
    /// Runs that came and have not begun.
    pending: VecDeque<(DateTime<Utc>, DateTime<Utc>)>,
    /// Since when some wait: start, most at once, how many began late, the longest wait in seconds.
    jam: Option<(DateTime<Utc>, usize, usize, i64)>,
    dropped: Vec<DateTime<Utc>>,
    /// Pool of each task by its index.
    pools: Vec<usize>,
}

/// What is going on.
#[derive(Debug)]
pub(super) struct Play<'a> {
    loads: &'a [Load<'a>],
    assumptions: &'a Assumptions,
    lanes: Vec<Lane>,
    pools: Vec<Pool>,
    runs: Vec<Run>,
    /// Runs that are not over, by index.
    active: BTreeSet<usize>,
    /// Ends of tasks: when, which run, which task.
    ends: BinaryHeap<Reverse<(DateTime<Utc>, usize, usize)>>,
    found: Vec<Collision>,
}

impl<'a> Play<'a> {
    pub(super) fn new(loads: &'a [Load<'a>], assumptions: &'a Assumptions) -> Self {
        let mut pools: Vec<Pool> = Vec::new();
        let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
        let mut lanes = Vec::with_capacity(loads.len());
        for load in loads {
            let mut lane = Lane::default();
            for task in load.dag.tasks() {
                let index = *by_name.entry(&task.pool).or_insert_with(|| {
                    let slots = assumptions.slots(&task.pool);
                    pools.push(Pool { name: task.pool.clone(), slots, used: 0, shortage: None });
                    pools.len() - 1
                });
                lane.pools.push(index);
            }
            lanes.push(lane);
        }
        let (runs, active, ends, found) = (Vec::new(), BTreeSet::new(), BinaryHeap::new(), Vec::new());
        Self { loads, assumptions, lanes, pools, runs, active, ends, found }
    }

    pub(super) fn through(mut self) -> Vec<Collision> {
        let loads = self.loads;
        let mut arrivals: Vec<(DateTime<Utc>, DateTime<Utc>, usize)> = loads
            .iter()
            .enumerate()
            .flat_map(|(index, load)| load.arrivals.iter().map(move |(at, date)| (*at, *date, index)))
            .collect();
        arrivals.sort_unstable();
        let mut arrivals = arrivals.into_iter().peekable();
        loop {
            let next_end = self.ends.peek().map(|Reverse((at, _, _))| *at);
            let next_arrival = arrivals.peek().map(|(at, _, _)| *at);
            let Some(now) = next_end.into_iter().chain(next_arrival).min() else { break };
            while let Some(Reverse((_, run, task))) = self.ends.peek().copied().filter(|Reverse((at, ..))| *at <= now) {
                self.ends.pop();
                self.give_back(run, task);
                self.end(run, task);
            }
            while let Some((at, date, load)) = arrivals.next_if(|(at, _, _)| *at <= now) {
                self.arrive(load, at, date);
            }
            self.begin_runs(now);
            self.start_tasks(now);
            self.note_shortages(now);
        }
        self.close()
    }

    fn arrive(&mut self, load: usize, at: DateTime<Utc>, date: DateTime<Utc>) {
        let dag = self.loads[load].dag;
        let lane = &mut self.lanes[load];
        lane.pending.push_back((at, date));
        let is_full = lane.active >= dag.spec().max_active_runs;
        // Without catchup only the latest of those that could not be made is.
        while is_full && !dag.spec().catchup && lane.pending.len() > 1 {
            lane.dropped.extend(lane.pending.pop_front().map(|(at, _)| at));
        }
    }

    /// Begins runs as far as there is room. One without tasks that take time is over at once and makes room.
    fn begin_runs(&mut self, now: DateTime<Utc>) {
        for load in 0..self.lanes.len() {
            let dag = self.loads[load].dag;
            let limit = dag.spec().max_active_runs;
            while self.lanes[load].active < limit
                && let Some((at, date)) = self.lanes[load].pending.pop_front()
            {
                let lane = &mut self.lanes[load];
                if at < now
                    && let Some((_, _, late, longest)) = &mut lane.jam
                {
                    *late += 1;
                    *longest = (*longest).max((now - at).num_seconds());
                }
                lane.active += 1;
                self.begin(load, date);
            }
            let lane = &mut self.lanes[load];
            let waiting = lane.pending.len();
            if waiting > 0 {
                let jam = lane.jam.get_or_insert((now, 0, 0, 0));
                jam.1 = jam.1.max(waiting);
            } else if let Some((from, most_waiting, runs, longest_wait_s)) = lane.jam.take() {
                let dag_id = dag.id().to_owned();
                let max_active_runs = limit;
                self.found.push(Collision::RunsWait {
                    dag_id,
                    from,
                    to: now,
                    max_active_runs,
                    runs,
                    most_waiting,
                    longest_wait_s,
                });
            }
        }
    }

    fn begin(&mut self, load: usize, logical_date: DateTime<Utc>) {
        let dag = self.loads[load].dag;
        let count = dag.tasks().len();
        let index = self.runs.len();
        let waiting_for = (0..count).map(|task| dag.upstream_count(task)).collect();
        let (ready, held) = (BTreeMap::new(), BTreeMap::new());
        self.runs.push(Run { load, logical_date, waiting_for, left: count, active: 0, ready, held });
        self.active.insert(index);
        if count == 0 {
            self.finish(index);
        }
        for task in (0..count).filter(|task| dag.upstream(*task).next().is_none()) {
            self.release(index, task);
        }
    }

    /// A task may start. One that takes no time has ended with that.
    fn release(&mut self, run: usize, task: usize) {
        let load = self.runs[run].load;
        let dag = self.loads[load].dag;
        let pool = self.lanes[load].pools[task];
        let never = self.pools[pool].slots.is_some_and(|slots| slots < dag.tasks()[task].pool_slots);
        // What can never start is told elsewhere, and must not hide everything that follows.
        if dag.tasks()[task].ends_without_worker() || never {
            self.end(run, task);
        } else {
            self.runs[run].ready.entry(pool).or_default().insert((Reverse(dag.weight(task)), task));
        }
    }

    /// A task has ended; what follows may start. A stack and no recursion: chains may be long.
    fn end(&mut self, run: usize, task: usize) {
        let load = self.runs[run].load;
        let dag = self.loads[load].dag;
        let mut ended = vec![task];
        while let Some(task) = ended.pop() {
            self.runs[run].left -= 1;
            for next in dag.downstream(task) {
                self.runs[run].waiting_for[next] -= 1;
                if self.runs[run].waiting_for[next] > 0 {
                    continue;
                }
                let pool = self.lanes[load].pools[next];
                let spec = &dag.tasks()[next];
                let never = self.pools[pool].slots.is_some_and(|slots| slots < spec.pool_slots);
                if spec.ends_without_worker() || never {
                    ended.push(next);
                } else {
                    self.release(run, next);
                }
            }
        }
        if self.runs[run].left == 0 {
            self.finish(run);
        }
    }

    fn give_back(&mut self, run: usize, task: usize) {
        let load = self.runs[run].load;
        let pool = self.lanes[load].pools[task];
        let slots = self.loads[load].dag.tasks()[task].pool_slots;
        self.runs[run].active -= 1;
        self.pools[pool].used -= slots;
        *self.runs[run].held.entry(pool).or_default() -= slots;
    }

    fn finish(&mut self, run: usize) {
        if self.active.remove(&run) {
            self.lanes[self.runs[run].load].active -= 1;
            // Thousands of runs of many tasks need not be remembered.
            self.runs[run].waiting_for = Vec::new();
        }
    }

    /// Starts what limits allow, the best first.
    fn start_tasks(&mut self, now: DateTime<Utc>) {
        while let Some((run, pool, rank)) = self.best() {
            let load = self.runs[run].load;
            let slots = self.loads[load].dag.tasks()[rank.1].pool_slots;
            if let Some(ready) = self.runs[run].ready.get_mut(&pool) {
                ready.remove(&rank);
            }
            self.runs[run].active += 1;
            self.pools[pool].used += slots;
            *self.runs[run].held.entry(pool).or_default() += slots;
            self.ends.push(Reverse((now + self.assumptions.task_duration, run, rank.1)));
        }
    }

    fn best(&self) -> Option<(usize, usize, Rank)> {
        let mut best = None;
        for &index in &self.active {
            let run = &self.runs[index];
            let dag = self.loads[run.load].dag;
            if run.active >= dag.spec().max_active_tasks {
                continue;
            }
            for (&pool, ready) in &run.ready {
                let free = self.pools[pool].slots.map(|slots| slots.saturating_sub(self.pools[pool].used));
                let fits = |rank: &&Rank| free.is_none_or(|free| dag.tasks()[rank.1].pool_slots <= free);
                if free == Some(0) {
                    continue;
                }
                let Some(rank) = ready.iter().find(fits) else { continue };
                let key = (rank.0, run.logical_date, index, rank.1);
                if best.is_none_or(|(known, _)| key < known) {
                    best = Some((key, pool));
                }
            }
        }
        best.map(|((weight, _, run, task), pool)| (run, pool, (weight, task)))
    }

    /// Who still waits, waits for a pool, unless its run may not start more. A shortage is the doing of those
    /// who wait and of those who hold the slots.
    fn note_shortages(&mut self, now: DateTime<Utc>) {
        let mut wanted: BTreeMap<usize, (u64, BTreeSet<String>)> = BTreeMap::new();
        for &index in &self.active {
            let run = &self.runs[index];
            let dag = self.loads[run.load].dag;
            let room = dag.spec().max_active_tasks.saturating_sub(run.active) as usize;
            for (&pool, ready) in run.ready.iter().filter(|(_, ready)| room > 0 && !ready.is_empty()) {
                let slots = ready.iter().take(room).map(|(_, task)| u64::from(dag.tasks()[*task].pool_slots));
                let (sum, dags) = wanted.entry(pool).or_default();
                *sum += slots.sum::<u64>();
                dags.insert(dag.id().to_owned());
            }
        }
        for run in self.active.iter().map(|index| &self.runs[*index]) {
            for pool in run.held.iter().filter(|(_, slots)| **slots > 0).map(|(pool, _)| pool) {
                if let Some((_, dags)) = wanted.get_mut(pool) {
                    dags.insert(self.loads[run.load].dag.id().to_owned());
                }
            }
        }
        for (index, pool) in self.pools.iter_mut().enumerate() {
            match wanted.remove(&index) {
                Some((sum, dags)) => {
                    let most_wanted = sum + u64::from(pool.used);
                    let fresh = Shortage { from: now, most_wanted, dags: BTreeSet::new() };
                    let shortage = pool.shortage.get_or_insert(fresh);
                    shortage.most_wanted = shortage.most_wanted.max(most_wanted);
                    shortage.dags.extend(dags);
                }
                None => self.found.extend(pool.shortage.take().map(|shortage| full(pool, shortage, now))),
            }
        }
    }

    /// Everything has ended, and with it all that was waited for.
    fn close(mut self) -> Vec<Collision> {
        for (lane, load) in self.lanes.iter().zip(self.loads) {
            if let (Some(first), Some(last)) = (lane.dropped.first(), lane.dropped.last()) {
                self.found.push(Collision::RunsDropped {
                    dag_id: load.dag.id().to_owned(),
                    first: *first,
                    last: *last,
                    max_active_runs: load.dag.spec().max_active_runs,
                    runs: lane.dropped.len(),
                });
            }
        }
        self.found
    }
}

fn full(pool: &Pool, shortage: Shortage, to: DateTime<Utc>) -> Collision {
    let Shortage { from, most_wanted, dags } = shortage;
    Collision::PoolFull {
        pool: pool.name.clone(),
        slots: pool.slots.unwrap_or(u32::MAX),
        from,
        to,
        most_wanted,
        dag_ids: dags.into_iter().collect(),
    }
}
