use towpath_model::dag::{DagSpec, Task};

use super::*;

fn minute(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_020, 0).unwrap() + TimeDelta::minutes(minutes)
}

fn dag(id: &str, tasks: &[(&str, &[&str])], change: impl FnOnce(&mut DagSpec)) -> Dag {
    let mut spec = DagSpec::new(id);
    for (task_id, upstream) in tasks {
        let mut task = Task::new(*task_id, if *task_id == "empty" { "empty" } else { "bash" });
        task.upstream = upstream.iter().map(ToString::to_string).collect();
        spec.tasks.push(task);
    }
    change(&mut spec);
    Dag::build(spec).unwrap()
}

/// What there is no room for when runs of `dags` come at those minutes and a task takes one.
fn told(dags: &[(&Dag, &[i64])], pools: &[(&str, u32)]) -> Vec<String> {
    let assumptions = Assumptions {
        task_duration: TimeDelta::minutes(1),
        pools: pools.iter().map(|(name, slots)| ((*name).to_owned(), *slots)).collect(),
    };
    let loads: Vec<Load<'_>> = dags
        .iter()
        .map(|(dag, at)| Load { dag, arrivals: at.iter().map(|at| (minute(*at), minute(*at))).collect() })
        .collect();
    let at = |time: DateTime<Utc>| (time - minute(0)).num_minutes();
    simulate(&loads, &assumptions)
        .unwrap()
        .into_iter()
        .map(|collision| match collision {
            Collision::RunsWait { dag_id, from, to, runs, most_waiting, longest_wait_s, .. } => {
                format!("{dag_id} waits {}-{}: {runs}, {most_waiting} at once, {longest_wait_s} s", at(from), at(to))
            }
            Collision::RunsDropped { dag_id, first, last, runs, .. } => {
                format!("{dag_id} drops {runs}: {}-{}", at(first), at(last))
            }
            Collision::PoolFull { pool, from, to, most_wanted, dag_ids, .. } => {
                format!("{pool} full {}-{}: {most_wanted} by {}", at(from), at(to), dag_ids.join(", "))
            }
            Collision::NeverStarts { task_id, pool_slots, slots, .. } => format!("{task_id}: {pool_slots} of {slots}"),
        })
        .collect()
}

const CHAIN: &[(&str, &[&str])] = &[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("empty", &["c"])];

#[test]
fn what_fits_is_not_told() {
    let chain = dag("chain", CHAIN, |_| {});
    assert_eq!(critical_path(&chain, TimeDelta::minutes(2)), TimeDelta::minutes(6));
    assert_eq!(told(&[(&chain, &[0, 1, 2, 3])], &[]), [""; 0]);
    assert_eq!(told(&[(&dag("none", &[], |_| {}), &[0, 0])], &[]), [""; 0]);
}

#[test]
fn runs_wait_with_catchup_and_are_dropped_without() {
    let limit = |catchup: bool| {
        dag("chain", CHAIN, move |spec| {
            spec.max_active_runs = 1;
            spec.catchup = catchup;
        })
    };
    // Each takes three minutes: they start at 0, 3, 6 and 9.
    assert_eq!(told(&[(&limit(true), &[0, 1, 2, 3])], &[]), ["chain waits 1-9: 3, 2 at once, 360 s"]);
    // The third takes the place of the second while that waits.
    let found = told(&[(&limit(false), &[0, 1, 2, 9])], &[]);
    assert_eq!(found, ["chain waits 1-3: 1, 1 at once, 60 s", "chain drops 1: 1-1"]);
}

#[test]
fn pools_fill_up() {
    let wide: &[(&str, &[&str])] = &[("a", &[]), ("b", &[]), ("c", &[]), ("empty", &["a", "b", "c"])];
    let pooled = |id: &str, slots: u32| {
        dag(id, wide, |spec| {
            for task in &mut spec.tasks {
                task.pool = "db".to_owned();
                task.pool_slots = slots;
            }
        })
    };
    let (one, two) = (pooled("one", 1), pooled("two", 2));
    assert_eq!(told(&[(&one, &[0])], &[]), [""; 0], "a pool of which nothing is known has room");
    assert_eq!(told(&[(&one, &[0])], &[("db", 3)]), [""; 0]);
    assert_eq!(told(&[(&one, &[0])], &[("db", 2)]), ["db full 0-1: 3 by one"]);
    assert_eq!(told(&[(&one, &[0]), (&two, &[0])], &[("db", 4)]), ["db full 0-2: 9 by one, two"]);
    let found = told(&[(&two, &[0])], &[("db", 1)]);
    assert_eq!(found, ["a: 2 of 1", "b: 2 of 1", "c: 2 of 1"]);
}

#[test]
fn a_limit_of_the_run_is_no_shortage_of_the_pool() {
    let wide: &[(&str, &[&str])] = &[("a", &[]), ("b", &[]), ("c", &[])];
    let narrow = dag("narrow", wide, |spec| spec.max_active_tasks = 1);
    assert_eq!(told(&[(&narrow, &[0])], &[("default_pool", 1)]), [""; 0]);
}

#[test]
fn there_is_a_limit() {
    let chain = dag("chain", CHAIN, |_| {});
    let load = Load { dag: &chain, arrivals: vec![(minute(0), minute(0)); MOST_TASKS] };
    let assumptions = Assumptions { task_duration: TimeDelta::minutes(1), pools: BTreeMap::new() };
    assert_eq!(simulate(&[load], &assumptions), Err(TooMuch { tasks: 4 * MOST_TASKS }));
}
