//! Random DAGs, run by workers that compete, against a small evaluator that knows nothing of counters.
//!
//! The seed is printed; `TOWPATH_SEED=<seed>` plays the same DAGs again (the interleaving
//! of the workers is the machine's).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use towpath_model::dag::{Dag, DagSpec, Task};
use towpath_model::run::TriggeredBy;
use towpath_model::state::{RunState, TaskState};
use towpath_model::trigger_rule::TriggerRule;
use towpath_store::{NewRun, Report, ReportOutcome, RunFilter, Store, TaskInstanceRecord};

use crate::harness::{LIMIT, asks, both, ended, sync, time, worker};

const DAGS: usize = 60;
const WORKERS: usize = 3;
/// Rules over setup tasks are left out: nothing marks a task as one here.
const RULES: [TriggerRule; 12] = [
    TriggerRule::AllSuccess,
    TriggerRule::AllFailed,
    TriggerRule::AllDone,
    TriggerRule::AllSkipped,
    TriggerRule::OneSuccess,
    TriggerRule::OneFailed,
    TriggerRule::OneDone,
    TriggerRule::NoneFailed,
    TriggerRule::NoneFailedMinOneSuccess,
    TriggerRule::NoneSkipped,
    TriggerRule::AllDoneMinOneSuccess,
    TriggerRule::Always,
];

/// What a worker will say about one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Succeed,
    Skip,
    Fail,
    FailForGood,
    /// Asks to be called again; the try goes on.
    Later,
    /// Gives the attempt back; the try goes on.
    Release,
}

/// What its attempts will say, by DAG and task.
type Scripts = HashMap<(String, String), VecDeque<Act>>;

fn random_dag(id: &str, rng: &mut StdRng, scripts: &mut Scripts) -> Dag {
    let mut spec = DagSpec::new(id);
    spec.max_active_tasks = rng.random_range(1..=6);
    let density = rng.random_range(0.1..0.4);
    for i in 0..rng.random_range(10..=25) {
        let operator = if rng.random_bool(0.25) { "empty" } else { "bash" };
        let mut task = Task::new(format!("t{i:02}"), operator);
        task.upstream = (0..i).filter(|_| rng.random_bool(density)).map(|u| format!("t{u:02}")).collect();
        if rng.random_bool(0.7) {
            task.trigger_rule = RULES[rng.random_range(0..RULES.len())];
        }
        task.retry.retries = rng.random_range(0..=2);
        task.retry.delay = Duration::from_secs(rng.random_range(1..20));
        task.priority_weight = rng.random_range(1..5);
        if rng.random_bool(0.2) {
            task.pool = "small".into();
            task.pool_slots = rng.random_range(1..=2);
        }
        scripts.insert((id.to_owned(), task.task_id.clone()), script(task.retry.retries, rng));
        spec.tasks.push(task);
    }
    Dag::build(spec).expect("edges lead from lower to higher numbers")
}

fn script(retries: u32, rng: &mut StdRng) -> VecDeque<Act> {
    let mut script = VecDeque::new();
    for _ in 0..=retries {
        if rng.random_bool(0.1) {
            script.push_back(if rng.random_bool(0.5) { Act::Later } else { Act::Release });
        }
        script.push_back(match rng.random_range(0..20) {
            0..10 => Act::Succeed,
            10..13 => Act::Skip,
            13..19 => Act::Fail,
            _ => Act::FailForGood,
        });
    }
    script
}

/// How a task ends that runs, and after how many tries.
fn end_of_run(task: &Task, script: &VecDeque<Act>) -> (TaskState, u32) {
    if task.operator == "empty" {
        return (TaskState::Success, 1);
    }
    let mut tries = 1;
    for act in script {
        match act {
            Act::Later | Act::Release => {}
            Act::Succeed => return (TaskState::Success, tries),
            Act::Skip => return (TaskState::Skipped, tries),
            Act::Fail if tries <= task.retry.retries => tries += 1,
            Act::Fail | Act::FailForGood => return (TaskState::Failed, tries),
        }
    }
    unreachable!("a script ends the last try")
}

/// The ends that the rule of `task` allows, once its upstream has ended as `up`. Two are possible
/// only for `all_success` with failed and skipped upstream: the one that ends first decides.
fn allowed(task: &Task, up: &[TaskState], script: &VecDeque<Act>) -> Vec<(TaskState, u32)> {
    let count = |state| up.iter().filter(|s| **s == state).count();
    let (all, success, skipped) = (up.len(), count(TaskState::Success), count(TaskState::Skipped));
    let failed = count(TaskState::Failed);
    let bad = failed + count(TaskState::UpstreamFailed);
    assert_eq!(success + skipped + bad, all, "all upstream has ended");
    let runs = vec![end_of_run(task, script)];
    let skips = vec![(TaskState::Skipped, 0)];
    let fails = vec![(TaskState::UpstreamFailed, 0)];
    if all == 0 {
        return runs;
    }
    match task.trigger_rule {
        TriggerRule::AllSuccess if bad > 0 && skipped > 0 => [skips, fails].concat(),
        TriggerRule::AllSuccess if bad > 0 => fails,
        TriggerRule::AllSuccess if skipped > 0 => skips,
        TriggerRule::AllFailed if bad < all => skips,
        TriggerRule::AllSkipped if skipped < all => skips,
        TriggerRule::OneSuccess if skipped == all => skips,
        TriggerRule::OneSuccess if success == 0 => fails,
        TriggerRule::OneFailed if bad == 0 => skips,
        TriggerRule::OneDone if success + failed == 0 => skips,
        TriggerRule::NoneFailed | TriggerRule::NoneFailedMinOneSuccess if bad > 0 => fails,
        TriggerRule::NoneFailedMinOneSuccess if success == 0 => skips,
        TriggerRule::NoneSkipped | TriggerRule::AllDoneMinOneSuccess if skipped > 0 => skips,
        TriggerRule::AllDoneMinOneSuccess if success == 0 => fails,
        _ => runs,
    }
}

/// What workers and the scheduler share.
struct World {
    store: Store,
    scripts: Mutex<Scripts>,
    clock: AtomicI64,
    over: AtomicBool,
}

impl World {
    fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    fn outcome(&self, dag_id: &str, task_id: &str) -> ReportOutcome {
        let mut scripts = self.scripts.lock().expect("nobody panics in here");
        let script = scripts.get_mut(&(dag_id.to_owned(), task_id.to_owned())).expect("every task has a script");
        match script.pop_front().expect("no task has more attempts than its script") {
            Act::Succeed => ReportOutcome::Success,
            Act::Skip => ReportOutcome::Skipped,
            Act::Fail => ReportOutcome::Failed { retry: true },
            Act::FailForGood => ReportOutcome::Failed { retry: false },
            Act::Later => ReportOutcome::Rescheduled { at: time(self.now() + 3) },
            Act::Release => ReportOutcome::Released,
        }
    }

    async fn work(self: Arc<Self>, job: i64, slots: u32) {
        let mut wakes = self.store.wakes().subscribe(towpath_store::Topic::Work);
        let mut reports: Vec<Report> = Vec::new();
        while !self.over.load(Ordering::SeqCst) {
            wakes.mark_unchanged();
            let reply = self.store.report(&reports, &[], &asks(job, slots), time(self.now())).await;
            let reply = reply.expect("a report is taken");
            assert!(reply.accepted.iter().all(|accepted| *accepted), "nobody else ended these attempts");
            let outcome = |task| ended(task, self.outcome(&task.run.dag_id, &task.key.task_id));
            reports = reply.claimed.iter().map(|task| Report { ended_at: time(self.now()), ..outcome(task) }).collect();
            if reports.is_empty() {
                // The limit is there for `over`, which wakes nobody.
                let _ = tokio::time::timeout(Duration::from_millis(20), wakes.changed()).await;
            }
        }
    }

    /// Lets time pass until all runs are over.
    async fn schedule(&self) {
        let open = RunFilter { states: vec![RunState::Queued, RunState::Running], limit: 1, ..RunFilter::default() };
        while self.store.runs(&open).await.expect("runs can be read").total > 0 {
            let now = time(self.clock.fetch_add(1, Ordering::SeqCst) + 1);
            self.store.start_queued_runs(now).await.expect("runs start");
            self.store.wake_due(now, 10).await.expect("timers fire");
        }
    }
}

fn check(dag: &Dag, scripts: &Scripts, instances: &[TaskInstanceRecord], state: RunState, context: &str) {
    let ends: BTreeMap<&str, TaskState> = instances.iter().map(|ti| (ti.key.task_id.as_str(), ti.state)).collect();
    assert_eq!(ends.len(), dag.tasks().len(), "{context}");
    for ti in instances {
        let task = dag.task(&ti.key.task_id).expect("instances belong to tasks");
        let up: Vec<TaskState> = task.upstream.iter().map(|id| ends[id.as_str()]).collect();
        let script = &scripts[&(dag.id().to_owned(), task.task_id.clone())];
        let expected = allowed(task, &up, script);
        let found = (ti.state, ti.try_number);
        let rule = task.trigger_rule;
        assert!(
            expected.contains(&found),
            "{context}: {} ({rule} over {up:?}, {script:?}): {found:?} is not among {expected:?}",
            task.task_id
        );
    }
    let is_leaf = |id: &str| !dag.tasks().iter().any(|task| task.upstream.iter().any(|up| up == id));
    let failed = |state| matches!(state, TaskState::Failed | TaskState::UpstreamFailed);
    let expected = match ends.iter().any(|(id, state)| is_leaf(id) && failed(*state)) {
        true => RunState::Failed,
        false => RunState::Success,
    };
    assert_eq!(state, expected, "{context}: {ends:?}");
}

#[expect(clippy::print_stderr, reason = "whoever reads of a failure needs the seed, whichever step has failed")]
fn seed() -> u64 {
    let seed = match std::env::var("TOWPATH_SEED") {
        Ok(seed) => seed.parse().expect("TOWPATH_SEED is a number"),
        Err(_) => u64::from(rand::random::<u32>()),
    };
    eprintln!("TOWPATH_SEED={seed}");
    seed
}

async fn random_dags_end_as_the_rules_say(store: Store) {
    let seed = seed();
    let rng = &mut StdRng::seed_from_u64(seed);
    store.set_pool("small", 2, None, time(0)).await.expect("a pool is set");
    let mut scripts = Scripts::new();
    let mut runs = Vec::new();
    for i in 0..DAGS {
        let dag = random_dag(&format!("random{i:02}"), rng, &mut scripts);
        sync(&store, dag.clone()).await;
        // Half of them start at once, the others are queued and started later: two paths.
        let run_after = time(if i % 2 == 0 { 0 } else { 5 });
        let new = NewRun::manual(dag.id(), run_after, TriggeredBy::Cli);
        let created = store.create_run(new, time(0)).await.expect("a run is created");
        runs.push((dag, created.run.key));
    }
    let world = Arc::new(World {
        store: store.clone(),
        scripts: Mutex::new(scripts.clone()),
        clock: AtomicI64::new(1),
        over: AtomicBool::new(false),
    });
    let mut workers = tokio::task::JoinSet::new();
    for slots in [1, 3, 7].into_iter().take(WORKERS) {
        workers.spawn(Arc::clone(&world).work(worker(&store).await, slots));
    }
    let work = async {
        tokio::select! {
            () = world.schedule() => {}
            Some(ended) = workers.join_next() => panic!("seed {seed}: a worker ended early: {ended:?}"),
        }
        world.over.store(true, Ordering::SeqCst);
        while let Some(ended) = workers.join_next().await {
            ended.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    };
    if tokio::time::timeout(LIMIT, work).await.is_err() {
        let counts = store.state_counts().await.expect("states can be counted");
        panic!("seed {seed}: the work does not come to an end: {counts:?}");
    }
    for (dag, key) in runs {
        let run = store.run_by_key(key).await.expect("a run can be read").expect("the run exists");
        let instances = store.task_instances(key).await.expect("a run can be read");
        check(&dag, &scripts, &instances, run.state, &format!("seed {seed}, {} on {}", dag.id(), store.dialect()));
        for ti in instances {
            let tries = store.tries(&ti.key).await.expect("tries can be read");
            assert_eq!(tries.len(), ti.try_number as usize, "seed {seed}, {:?}: {tries:?}", ti.key);
        }
    }
}

both!(random_dags_end_as_the_rules_say);
