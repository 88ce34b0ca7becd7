//! Random DAGs, written as YAML, read, stored and worked off.
//!
//! The same DAGs every time; `TOWPATH_SEEDS=500` takes more of them, `TOWPATH_SEED=17` one. A DAG that ends
//! otherwise than the rules allow is printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use towpath_model::state::{RunState, TaskState};
use towpath_store::Store;

use crate::reference::{Reference, Task};
use crate::stage::{ends, over, start, with_worker};

const SEEDS: u64 = 60;
const RULES: [&str; 12] = [
    "all_success",
    "all_failed",
    "all_done",
    "all_skipped",
    "one_success",
    "one_failed",
    "one_done",
    "none_failed",
    "none_failed_min_one_success",
    "none_skipped",
    "all_done_min_one_success",
    "always",
];

fn seeds() -> Vec<u64> {
    let number =
        |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")));
    number("TOWPATH_SEED").map_or_else(|| (0..number("TOWPATH_SEEDS").unwrap_or(SEEDS)).collect(), |seed| vec![seed])
}

fn end(rng: &mut StdRng) -> TaskState {
    match rng.random_range(0..10) {
        0..6 => TaskState::Success,
        6..8 => TaskState::Skipped,
        _ => TaskState::Failed,
    }
}

/// The tasks of a DAG by their full ids.
fn random(rng: &mut StdRng) -> BTreeMap<String, Task> {
    let mut tasks: BTreeMap<String, Task> = BTreeMap::new();
    let (count, size) = (rng.random_range(5..14), rng.random_range(1..=3));
    let with_group = rng.random_bool(0.5);
    for i in 0..count {
        let in_group = with_group && rng.random_bool(0.35);
        let id = if in_group { format!("g.t{i:02}") } else { format!("t{i:02}") };
        let ids: Vec<String> = tasks.keys().cloned().collect();
        let upstream: BTreeSet<String> = ids.iter().filter(|_| rng.random_bool(0.3)).take(4).cloned().collect();
        let mapped = !in_group && rng.random_bool(0.15);
        let instances = if in_group {
            size
        } else if mapped {
            rng.random_range(1..=3)
        } else {
            1
        };
        let is_setup = !in_group && !mapped && rng.random_bool(0.12);
        let follows_setup = upstream.iter().any(|up| tasks[up].is_setup);
        let rule =
            if follows_setup || rng.random_bool(0.4) { "all_success" } else { RULES[rng.random_range(0..RULES.len())] };
        let script = (0..instances).map(|_| end(rng)).collect();
        let task = Task { rule, upstream, script, mapped, in_group, is_setup, ..Task::default() };
        tasks.insert(id, task);
    }
    choose(&mut tasks, rng);
    let setups: Vec<String> = tasks.iter().filter(|(_, task)| task.is_setup).map(|(id, _)| id.clone()).collect();
    for (i, setup) in setups.into_iter().enumerate() {
        if rng.random_bool(0.2) {
            continue;
        }
        let below = Reference { tasks: &tasks, ends: &BTreeMap::new() }.reach(&setup, false);
        let mut upstream: BTreeSet<String> =
            below.into_iter().filter(|id| !tasks[id].is_teardown && rng.random_bool(0.5)).collect();
        upstream.insert(setup);
        let task = Task { upstream, script: vec![end(rng)], is_teardown: true, ..Task::default() };
        tasks.insert(format!("z{i}"), task);
    }
    tasks
}

/// Lets some tasks decide what runs behind them.
fn choose(tasks: &mut BTreeMap<String, Task>, rng: &mut StdRng) {
    let ids: Vec<String> = tasks.keys().cloned().collect();
    for id in ids {
        let behind: Vec<String> =
            tasks.iter().filter(|(_, task)| task.upstream.contains(&id)).map(|(id, _)| id.clone()).collect();
        let task = &tasks[&id];
        if behind.is_empty() || task.mapped || task.in_group || task.is_setup || !rng.random_bool(0.3) {
            continue;
        }
        let everything = rng.random_bool(0.4);
        let direct: BTreeSet<String> = if everything {
            behind.into_iter().collect()
        } else {
            let kept = behind[rng.random_range(0..behind.len())].clone();
            let below = Reference { tasks, ends: &BTreeMap::new() }.reach(&kept, false);
            behind.into_iter().filter(|id| *id != kept && !below.contains(id)).collect()
        };
        let Some(task) = tasks.get_mut(&id) else { continue };
        task.script = vec![TaskState::Success];
        task.rules_out = Some((direct, everything));
    }
}

fn yaml(id: &str, tasks: &BTreeMap<String, Task>) -> String {
    let size = tasks.values().find(|task| task.in_group).map_or(0, |task| task.script.len());
    let mut text = format!("dag_id: {id}\nschedule: null\n");
    if size > 0 {
        let _ = writeln!(text, "task_groups:\n  g: {{expand: {{i: {:?}}}}}", (0..size).collect::<Vec<_>>());
    }
    text.push_str("tasks:\n");
    for (id, task) in tasks {
        let short = id.strip_prefix("g.").unwrap_or(id);
        let _ = write!(
            text,
            "  {short}: {{dependencies: [{}]",
            task.upstream.iter().cloned().collect::<Vec<_>>().join(", ")
        );
        if task.in_group {
            text.push_str(", task_group_name: g");
        }
        let words: Vec<String> = task.script.iter().map(ToString::to_string).collect();
        let _ = match &task.rules_out {
            Some((_, true)) => write!(text, ", operator: short_circuit, condition: false"),
            Some((direct, false)) => {
                let behind = tasks.iter().filter(|(_, other)| other.upstream.contains(id) && !other.is_teardown);
                let kept: Vec<String> =
                    behind.filter(|(id, _)| !direct.contains(*id)).map(|(id, _)| id.clone()).collect();
                write!(text, ", operator: branch, follow: [{}]", kept.join(", "))
            }
            None if task.mapped => write!(text, ", operator: bash, expand: {{bash_command: [{}]}}", words.join(", ")),
            None if task.in_group => write!(text, ", operator: bash, bash_command: \"{{{{ {words:?}[group.i] }}}}\"")
                .map(|()| {
                    text = text.replace("[\"", "['").replace("\"]", "']").replace("\", \"", "', '");
                }),
            None => write!(text, ", operator: bash, bash_command: {}", words[0]),
        };
        if task.is_teardown {
            text.push_str(", teardown: true");
        } else {
            let _ = write!(text, ", trigger_rule: {}", task.rule);
        }
        let _ = writeln!(text, "{}}}", if task.is_setup { ", setup: true" } else { "" });
    }
    text
}

async fn play(store: &Store) {
    for seed in seeds() {
        let tasks = random(&mut StdRng::seed_from_u64(seed));
        let text = yaml(&format!("seed_{seed}"), &tasks);
        let (_, run) = start(store, &text).await;
        let state = over(store, run, &text).await;
        let ends = ends(store, run).await;
        let reference = Reference { tasks: &tasks, ends: &ends };
        let told = |what: String| format!("TOWPATH_SEED={seed} on {}: {what}\n{text}\n{ends:#?}", store.dialect());
        if let Err(what) = reference.check() {
            panic!("{}", told(what));
        }
        let expected = if reference.fails() { RunState::Failed } else { RunState::Success };
        assert_eq!(state, expected, "{}", told("the run's state".into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_dags_end_as_the_rules_say_on_sqlite() {
    with_worker(towpath_testkit::sqlite(), play).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_dags_end_as_the_rules_say_on_postgres() {
    with_worker(towpath_testkit::postgres().await, play).await;
}
