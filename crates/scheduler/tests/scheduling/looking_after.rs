//! What the scheduler does beside making runs: workers that die, timers, deadlines, old runs.

use super::*;

#[tokio::test]
async fn what_is_held_back_hides_nothing_behind_it() {
    for world in World::all("2026-03-05T12:00").await {
        let mut upserts = Vec::new();
        for number in 0..300 {
            let mut daily = spec(&format!("d{number:03}"), "@daily", Kind::Trigger);
            daily.catchup = true;
            daily.start_date = Some(at("2026-03-01"));
            daily.max_active_runs = 1;
            let dag = Arc::new(Dag::build(daily).unwrap());
            upserts.push(DagUpsert { dag, file: "d.yml".into(), source: "".into() });
        }
        world.store.sync_dags(&upserts, false, world.clock.now()).await.unwrap();
        let scheduler = world.schedule();
        for number in 0..300 {
            // All are due and have no room.
            world.until_next_run(&format!("d{number:03}"), "03-02 00:00").await;
        }
        world.add(spec("late", "@daily", Kind::Trigger)).await;
        world.until_next_run("late", "03-06 00:00").await;
        world.go_to(at("2026-03-06"));
        world.until_next_run("late", "03-07 00:00").await;
        assert_eq!(world.logical_dates("late").await, ["03-06 00:00"]);
        scheduler.stop().await;
    }
}

#[tokio::test]
async fn the_death_of_a_worker_on_this_machine_is_seen_at_once() {
    for world in World::all("2026-03-05T12:00").await {
        let mut retried = spec("d", "@once", Kind::Trigger);
        for task in &mut retried.tasks {
            task.retry.retries = 1;
        }
        world.add(retried).await;
        let scheduler = world.schedule();
        // A process that has ended, as its pid and start time tell.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let own = ProcessIdentity::current().job(JobType::Worker, vec!["default".into()], 100);
        let dead = NewJob { pid, ..own.clone() };
        world.until("a run", async || world.runs("d").await.len() == 1).await;
        let claim = world.worker(dead).await;
        let claimed = world.claim(&claim).await;
        assert_eq!(claimed.len(), 1);
        // A worker that lives, of the same process as the scheduler.
        let alive = world.worker(own).await;
        // The clock stands still, so no lease ends.
        let key = claimed[0].key.clone();
        world
            .until("a retry", async || {
                world.store.task_instance(&key).await.unwrap().unwrap().state == TaskState::UpForRetry
            })
            .await;
        let task = world.store.task_instance(&key).await.unwrap().unwrap();
        let tries = world.store.tries(&key).await.unwrap();
        let note = task.note.or_else(|| tries[0].note.clone()).unwrap();
        assert!(note.contains(&format!("process {pid} ")) && note.contains("has died"), "{note}");
        let jobs = world.store.jobs().await.unwrap();
        let state = |id: i64| jobs.iter().find(|job| job.id == id).unwrap().state;
        assert_eq!((state(claim.worker), state(alive.worker)), (JobState::Lost, JobState::Running));
        scheduler.stop().await;
    }
}

#[tokio::test]
async fn leases_and_timers_end_by_the_clock() {
    for world in World::all("2026-03-05T12:00").await {
        let mut retried = spec("d", "@once", Kind::Trigger);
        retried.tasks[0].retry.retries = 1;
        retried.tasks[0].retry.delay = Duration::from_secs(300);
        retried.dagrun_timeout = Some(Duration::from_secs(3_600));
        world.add(retried).await;
        let scheduler = world.schedule();
        world.until("a run", async || world.runs("d").await.len() == 1).await;
        let claim = world.worker(identity_of_worker()).await;
        let key = world.claim(&claim).await[0].key.clone();
        let state = async || world.store.task_instance(&key).await.unwrap().unwrap().state;
        world.go_to(world.clock.now() + TimeDelta::seconds(31));
        world.until("the lease ends", async || state().await == TaskState::UpForRetry).await;
        world.go_to(world.clock.now() + TimeDelta::seconds(301));
        world.until("the retry is queued", async || state().await == TaskState::Queued).await;
        world.go_to(at("2026-03-05T13:01"));
        world.until("the run times out", async || world.runs("d").await[0].state == RunState::Failed).await;
        scheduler.stop().await;
    }
}

#[tokio::test]
async fn deadlines_pass_by_the_clock() {
    for world in World::all("2026-03-05T12:00").await {
        let mut daily = spec("d", "@daily", Kind::Trigger);
        let deadline = |minutes: i64| towpath_model::deadline::Deadline {
            name: None,
            reference: towpath_model::deadline::Reference::LogicalDate,
            interval_us: minutes * 60_000_000,
            targets: Vec::new(),
        };
        daily.deadlines = vec![deadline(90), deadline(30)];
        world.add(daily).await;
        let scheduler = world.schedule();
        world.until_next_run("d", "03-06 00:00").await;
        world.go_to(at("2026-03-06"));
        world.until_next_run("d", "03-07 00:00").await;
        let run = world.runs("d").await.remove(0).key;
        let missed = async || {
            let all = world.store.deadlines_of_run(run).await.unwrap();
            all.iter().map(|it| it.missed_at).collect::<Vec<_>>()
        };
        assert_eq!(missed().await, [None, None]);
        let first = at("2026-03-06T00:30");
        world.go_to(first);
        world.until("the first deadline is missed", async || missed().await == [Some(first), None]).await;
        let second = at("2026-03-06T01:30");
        world.go_to(second);
        world.until("the second is missed", async || missed().await == [Some(first), Some(second)]).await;
        scheduler.stop().await;
    }
}

#[tokio::test]
async fn old_runs_are_deleted_and_the_schedule_goes_on() {
    for world in World::all("2026-03-05T12:00").await {
        let mut daily = spec("d", "@daily", Kind::Trigger);
        (daily.catchup, daily.start_date, daily.tasks) = (true, Some(at("2026-03-01")), Vec::new());
        world.add(daily).await;
        let scheduler = world.schedule();
        world.until_next_run("d", "03-06 00:00").await;
        world
            .until("all are over", async || {
                let runs = world.runs("d").await;
                runs.len() == 5 && runs.iter().all(|run| run.state == RunState::Success)
            })
            .await;
        scheduler.stop().await;
        let now = at("2026-03-05T13:00");
        let tables = &towpath_store::Cleanable::ALL;
        let would = towpath_scheduler::retention::rehearse(&world.store, tables, now).await.unwrap();
        let cleaned = towpath_scheduler::retention::clean(&world.store, &tables[..1], now, now).await.unwrap();
        assert_eq!((cleaned[0].rows, &cleaned[0]), (4, &would[0]));
        assert_eq!(world.logical_dates("d").await, ["03-05 00:00"]);
        // A file that is read anew plans the next run from what is left: nothing is caught up again.
        world.store.set_paused("d", true, now).await.unwrap();
        world.store.set_paused("d", false, now).await.unwrap();
        let scheduler = world.schedule();
        world.until_next_run("d", "03-06 00:00").await;
        assert_eq!(world.runs("d").await.len(), 1);
        scheduler.stop().await;
    }
}
