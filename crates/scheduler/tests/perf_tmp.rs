#![allow(clippy::all, clippy::unwrap_used, clippy::print_stdout, reason="scratch")]
use std::time::*; use std::sync::Arc;
use towpath_scheduler::*; use towpath_store::*;
fn cpu() -> f64 { let s = std::fs::read_to_string("/proc/self/stat").unwrap(); let f: Vec<&str> = s.rsplit_once(')').unwrap().1.split_whitespace().collect(); (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap())/100.0 }
fn rss() -> String { std::fs::read_to_string("/proc/self/status").unwrap().lines().filter(|l| l.starts_with("VmRSS")||l.starts_with("VmHWM")).collect::<Vec<_>>().join(" ") }
#[tokio::test(flavor="multi_thread", worker_threads=2)]
async fn perf() {
    for db in [towpath_testkit::sqlite()] {
        let store = Store::connect(towpath_store::Options{url: db.url.clone(), key: Key::random(), max_connections: 8}).await.unwrap();
        store.migrate().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        for i in 0..10_000 {
            let dir = folder.path().join(format!("team{:02}", i % 40)); std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join(format!("d{i}.yml")), format!("dag_id: d{i}\ndescription: number {i}\nschedule: \"0 6 * * *\"\nstart_date: 2026-01-01\ndefault_args:\n  owner: me\n  retries: 2\ntasks:\n  extract:\n    operator: bash\n    bash_command: echo {{{{ ds }}}}\n  load:\n    operator: bash\n    bash_command: echo two\n    dependencies: [extract]\n")).unwrap();
        }
        println!("before {}", rss()); for pass in 0..1 {
        let t = Instant::now(); let c = cpu();
        let s = Scheduler::new(towpath_scheduler::Options{ store: store.clone(), clock: Arc::new(towpath_model::clock::SystemClock), identity: ProcessIdentity::current(), heartbeat: Duration::from_secs(5), lease: Duration::from_secs(30), dags_folder: Some(folder.path().into()), limits: Default::default(), paused_by_default: false, rescan: Duration::from_secs(60)});
        let mut h = s.handle(); let soft = tokio_util::sync::CancellationToken::new();
        let j = tokio::spawn(s.run(soft.clone())); h.ready().await;
        println!("{} start {pass}: {:?} cpu {:.2} {}", db.name, t.elapsed(), cpu()-c, rss());
        let t = Instant::now();
        std::fs::write(folder.path().join("team07/new.yml"), "dag_id: new\nschedule: \"@daily\"\ntasks:\n  a: {operator: bash, bash_command: 'true'}\n".to_owned() + &format!("tags: [p{pass}]\n")).unwrap();
        loop { if store.dag("new").await.unwrap().is_some_and(|d| d.tags.contains(&format!("p{pass}"))) {break}; tokio::time::sleep(Duration::from_millis(2)).await; assert!(t.elapsed().as_secs() < 20); }
        println!("changed file seen in {:?}", t.elapsed());
        tokio::time::sleep(Duration::from_secs(10)).await;
        let c = cpu(); tokio::time::sleep(Duration::from_secs(8)).await;
        println!("idle cpu over 60 s: {:.3} s = {:.3}%; {}", cpu()-c, (cpu()-c)/0.6, rss());
        let e = store.import_errors().await.unwrap(); println!("errors {}", e.len()); if let Some(e) = e.first() { println!("{}", e.message); }
        let n = store.dags(&DagFilter{limit: 1, ..Default::default()}).await.unwrap(); println!("dags {} next {:?}", n.total, n.items[0].next_run.map(|x| x.run_after));
        soft.cancel(); j.await.unwrap().unwrap();
        }
    }
}
