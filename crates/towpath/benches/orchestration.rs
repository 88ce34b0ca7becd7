//! How fast Towpath orchestrates, on SQLite and on PostgreSQL, next to what the same work costs
//! without it. Run it with `scripts/bench`; every figure comes from this one run.
//!
//! The real binary runs as a daemon of its own; times are the daemon's, from the moment a run was
//! triggered over HTTP to the end of its last task.

#![expect(clippy::print_stdout, reason = "what a benchmark has found is its output")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// Longest time that any single measurement may take.
const LIMIT: Duration = Duration::from_secs(180);

#[tokio::main]
async fn main() -> Result<()> {
    // It is installed already when this fails.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = bash_baseline("for i in $(seq 40); do bash -c true; done")?;
    let wide = bash_baseline("seq 1000 | xargs -P2 -n1 bash -c true")?;
    println!("without orchestration: 40 x bash -c true {chain:.3} s; 1,000 x with xargs -P2 {wide:.3} s\n");
    let chosen = chosen()?;
    for dialect in DIALECTS.into_iter().filter(|dialect| is_chosen(&chosen, &DIALECTS, dialect)) {
        println!("{dialect}");
        if let Err(error) = measure(dialect, &chosen, chain, wide).await {
            println!("  stopped: {error:#}");
        }
        println!();
    }
    Ok(())
}

const DIALECTS: [&str; 2] = ["sqlite", "postgres"];
const PARTS: [&str; 3] = ["tasks", "control-flow", "files"];

/// The databases and parts that are named on the command line.
fn chosen() -> Result<Vec<String>> {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let known = [&DIALECTS[..], &PARTS[..]].concat();
    match words.iter().find(|word| !known.contains(&word.as_str())) {
        Some(word) => bail!("there is no `{word}` to measure; known are {}", known.join(", ")),
        None => Ok(words),
    }
}

/// Whether `word` is to be measured: all of its kind are where none of them is named.
fn is_chosen(chosen: &[String], kind: &[&str], word: &str) -> bool {
    chosen.iter().any(|one| one == word) || !chosen.iter().any(|one| kind.contains(&one.as_str()))
}

fn bash_baseline(script: &str) -> Result<f64> {
    let mut best = f64::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        let status = Command::new("bash").arg("-c").arg(script).status()?;
        anyhow::ensure!(status.success(), "{script} failed");
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

async fn measure(dialect: &str, chosen: &[String], chain: f64, wide: f64) -> Result<()> {
    for part in PARTS.into_iter().filter(|part| is_chosen(chosen, &PARTS, part)) {
        let folder = tempfile::tempdir()?;
        let database = if dialect == "postgres" { Some(towpath_testkit::postgres().await) } else { None };
        let url = database.as_ref().map(|db| db.url.as_str());
        match part {
            "tasks" => tasks(folder.path(), url, chain, wide).await?,
            "control-flow" => control_flow(folder.path(), url).await?,
            _ => many_files(folder.path(), url).await?,
        }
    }
    Ok(())
}

/// What a task costs, and a daemon that has nothing to do.
async fn tasks(folder: &Path, database: Option<&str>, chain: f64, wide: f64) -> Result<()> {
    write_dags(&folder.join("dags"))?;
    let daemon = Daemon::start(folder, database).await?;
    let is_sqlite = database.is_none();
    row("`up` to the first answer", daemon.first_answer.as_secs_f64(), "0.3 s", None);
    daemon.wait_for_dags(7).await?;
    daemon.timed("warm_up", 1).await?;
    daemon.timed("warm_python", 1).await?;

    let seconds = daemon.timed("chain", 3).await?;
    row("chain of 40 `bash true`", seconds, if is_sqlite { "0.3 s" } else { "0.5 s" }, Some(seconds / chain));
    for (dag, what) in [("wide", "1,000 independent `bash true`"), ("wide_64", "  with max_active_tasks: 64")] {
        let seconds = daemon.timed(dag, 3).await?;
        row(what, seconds, "1.5x", Some(seconds / wide));
    }
    let seconds = daemon.timed("python_chain", 3).await?;
    row("chain of 40 Python fibonacci(10)", seconds, "1 s", None);
    let seconds = daemon.timed("xcom", 5).await?;
    row("three tasks passing XComs", seconds, "0.06 s", None);
    let rate = daemon.rate_of_empty_tasks(20).await?;
    println!(
        "  {:<38} {rate:>9.0}/s   bar {}",
        "`empty` tasks, DAGs of 1,000",
        if is_sqlite { "20,000/s" } else { "10,000/s" }
    );

    let (megabytes, percent) = daemon.idle(Duration::from_secs(30))?;
    println!("  {:<38} {megabytes:>8.1} MB, {percent:.2}% of a core   bar 40 MB, 1%", "idle, after all of that");
    Ok(())
}

fn row(what: &str, seconds: f64, bar: &str, ratio: Option<f64>) {
    let ratio = ratio.map_or_else(String::new, |ratio| format!(" = {ratio:.2}x the bare commands"));
    println!("  {what:<38} {seconds:>8.3} s   bar {bar}{ratio}");
}

/// Mapped instances next to plain tasks, waiting sensors, and what waits beside a new run.
async fn control_flow(folder: &Path, database: Option<&str>) -> Result<()> {
    write_flow_dags(&folder.join("dags"))?;
    let daemon = Daemon::start(folder, database).await?;
    daemon.wait_for_dags(6).await?;
    daemon.timed("one", 3).await?;

    let plain = INSTANCES as f64 / daemon.timed("plain", 2).await?;
    let mapped = INSTANCES as f64 / daemon.timed("mapped", 2).await?;
    println!("  {:<38} {plain:>9.0}/s", "10,000 plain tasks that do nothing");
    let percent = 100.0 * mapped / plain;
    println!("  {:<38} {mapped:>9.0}/s = {percent:.0}% of that   bar 80%", "10,000 mapped instances of one");

    let before = daemon.start_latency("one", 30).await?;
    for _ in 0..BLOCKED_RUNS {
        daemon.trigger("blocked").await?;
    }
    let behind = daemon.start_latency("one", 30).await?;
    let what = "start of a new run, nothing else waits";
    println!("  {what:<38} {:>8.1} ms (median of 30)", before * 1_000.0);
    let what = "  1,000 runs, 100,000 tasks wait";
    println!("  {what:<38} {:>8.1} ms   bar: no more than that", behind * 1_000.0);

    let (median, worst) = daemon.trigger_latency("nothing", 200, Duration::from_secs(10)).await?;
    let what = "triggers by API, 200 a second";
    let bar = if database.is_some() { 30 } else { 20 };
    println!("  {what:<38} {median:>8.1} ms median, {worst:.1} ms p99   bar {bar} ms");

    let run_id = daemon.trigger("sensors").await?;
    daemon.wait_for_state("sensors", &run_id, "up_for_reschedule", SENSORS).await?;
    let (_, with_sensors) = daemon.idle(Duration::from_secs(60))?;
    println!("  {:<38} {with_sensors:>8.2}% of a core   bar 2%", "1,000 sensors that look once a minute");
    Ok(())
}

/// Tasks that do nothing, as many as a mapped one has instances.
const INSTANCES: usize = 10_000;
const BLOCKED_RUNS: usize = 1_000;
const SENSORS: u64 = 1_000;

fn write_flow_dags(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let head = "schedule: null\nmax_active_tasks: 64\nmax_active_runs: 2000\ntasks:\n";
    // A condition is looked at in the worker itself, so that no process counts.
    let plain: String =
        (0..INSTANCES).map(|i| format!("  t{i:05}: {{ operator: short_circuit, condition: true }}\n")).collect();
    std::fs::write(folder.join("plain.yaml"), format!("{head}{plain}"))?;
    let elements = vec!["true"; INSTANCES].join(", ");
    let mapped = format!("  t: {{ operator: short_circuit, expand: {{ condition: [{elements}] }} }}\n");
    std::fs::write(folder.join("mapped.yaml"), format!("{head}{mapped}"))?;
    std::fs::write(folder.join("one.yaml"), format!("{head}  t: {{ operator: short_circuit, condition: true }}\n"))?;
    std::fs::write(folder.join("nothing.yaml"), format!("{head}  t: {{ operator: empty }}\n"))?;
    // A pool that does not exist has no slots.
    let blocked: String =
        (0..100).map(|i| format!("  t{i:03}: {{ operator: bash, bash_command: 'true', pool: closed }}\n")).collect();
    std::fs::write(folder.join("blocked.yaml"), format!("{head}{blocked}"))?;
    let files: Vec<String> = (0..SENSORS).map(|i| format!("never_{i}")).collect();
    let sensors = format!(
        "  t: {{ operator: file_sensor, mode: reschedule, poke_interval: 60s, expand: {{ filepath: [{}] }} }}\n",
        files.join(", ")
    );
    Ok(std::fs::write(folder.join("sensors.yaml"), format!("{head}{sensors}"))?)
}

/// 10,000 files: the first look at them, and one change.
async fn many_files(folder: &Path, database: Option<&str>) -> Result<()> {
    let dags = folder.join("dags");
    for i in 0..10_000 {
        let sub = dags.join(format!("{:02}", i / 100));
        std::fs::create_dir_all(&sub)?;
        let text = format!(
            "description: number {i}\nschedule: null\ntasks:\n  a: {{ operator: bash, bash_command: echo {i} }}\n  b: {{ operator: empty, dependencies: [a] }}\n"
        );
        std::fs::write(sub.join(format!("dag_{i:05}.yaml")), text)?;
    }
    let start = Instant::now();
    let daemon = Daemon::start(folder, database).await?;
    daemon.wait_for_dags(10_000).await?;
    row("10,000 DAG files, first look", start.elapsed().as_secs_f64(), "5 s", None);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let start = Instant::now();
    std::fs::write(
        dags.join("42/dag_04242.yaml"),
        "description: changed\nschedule: null\ntasks:\n  a: { operator: empty }\n",
    )?;
    while daemon.get("/api/v2/dags/dag_04242").await?["description"] != "changed" {
        anyhow::ensure!(start.elapsed() < LIMIT, "the change was not seen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    row("one of them changed", start.elapsed().as_secs_f64(), "1 s", None);
    let (megabytes, percent) = daemon.idle(Duration::from_secs(5))?;
    println!("  {:<38} {megabytes:>8.1} MB, {percent:.2}% of a core", "idle with 10,000 DAGs");
    Ok(())
}

fn write_dags(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let chain = |operator: &str, count: usize| {
        let mut text = String::from("schedule: null\ntasks:\n");
        for i in 0..count {
            let after = if i == 0 { String::new() } else { format!(", dependencies: [t{:04}]", i - 1) };
            text.push_str(&format!("  t{i:04}: {{ {operator}{after} }}\n"));
        }
        text
    };
    let wide = |operator: &str, limit: usize| {
        let mut text = format!("schedule: null\nmax_active_tasks: {limit}\ntasks:\n");
        for i in 0..1_000 {
            text.push_str(&format!("  t{i:04}: {{ {operator} }}\n"));
        }
        text
    };
    let bash = "operator: bash, bash_command: 'true'";
    let python = "operator: python, python_callable: fib.run";
    std::fs::write(
        folder.join("fib.py"),
        "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n\n\ndef run():\n    return fib(10)\n\n\n\
         def one():\n    return {'n': 1}\n\n\ndef two(ti):\n    return ti.xcom_pull(task_ids='a')['n'] + 1\n",
    )?;
    std::fs::write(folder.join("warm_up.yaml"), chain(bash, 2))?;
    std::fs::write(folder.join("warm_python.yaml"), chain(python, 2))?;
    std::fs::write(folder.join("chain.yaml"), chain(bash, 40))?;
    std::fs::write(folder.join("python_chain.yaml"), chain(python, 40))?;
    std::fs::write(folder.join("wide.yaml"), wide(bash, 16))?;
    std::fs::write(folder.join("wide_64.yaml"), wide(bash, 64))?;
    std::fs::write(
        folder.join("empty.yaml"),
        wide("operator: empty", 16) + "  end: { operator: bash, bash_command: 'true' }\n",
    )?;
    std::fs::write(
        folder.join("xcom.yaml"),
        "schedule: null\ntasks:\n  a: { operator: python, python_callable: fib.one }\n  \
         b: { operator: python, python_callable: fib.two, dependencies: [a] }\n  \
         c: { operator: bash, bash_command: \"test {{ ti.xcom_pull(task_ids='b') }} = 2\", dependencies: [b] }\n",
    )?;
    Ok(())
}

/// A daemon of its own.
struct Daemon {
    process: Child,
    url: String,
    http: reqwest::Client,
    first_answer: Duration,
}

impl Daemon {
    async fn start(folder: &Path, database: Option<&str>) -> Result<Self> {
        let start = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
        command.arg("up").args(["--listen", "127.0.0.1:0", "--no-auth"]).arg("--data-dir").arg(folder.join("data"));
        command.arg("--dags").arg(folder.join("dags")).current_dir(folder);
        if let Some(url) = database {
            command.args(["--database", url]);
        }
        let log = std::fs::File::create(folder.join("daemon.log"))?;
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn()?;
        let stdout = process.stdout.take().context("the daemon has an output")?;
        let url = tokio::task::spawn_blocking(move || first_url(stdout)).await??;
        let http = reqwest::Client::new();
        let mut daemon = Self { process, url, http, first_answer: Duration::ZERO };
        daemon.get("/health").await?;
        daemon.first_answer = start.elapsed();
        Ok(daemon)
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let reply = self.http.get(format!("{}{path}", self.url)).send().await?;
        Ok(serde_json::from_str(&reply.text().await?).unwrap_or(Value::Null))
    }

    async fn trigger(&self, dag_id: &str) -> Result<String> {
        let url = format!("{}/api/v2/dags/{dag_id}/dagRuns", self.url);
        let reply = self.http.post(url).json(&json!({"logical_date": null})).send().await?;
        let (status, text) = (reply.status(), reply.text().await?);
        let body: Value = serde_json::from_str(&text).with_context(|| format!("{status}: {text}"))?;
        Ok(body["dag_run_id"].as_str().with_context(|| format!("{status}: {text}"))?.to_owned())
    }

    /// The run, once it has ended.
    async fn ended(&self, dag_id: &str, run_id: &str) -> Result<Value> {
        let start = Instant::now();
        loop {
            let run = self.get(&format!("/api/v2/dags/{dag_id}/dagRuns/{}", run_id.replace('+', "%2B"))).await?;
            match run["state"].as_str() {
                Some("success") => return Ok(run),
                Some("failed") => bail!("a run of {dag_id} failed"),
                _ => {}
            }
            anyhow::ensure!(start.elapsed() < LIMIT, "a run of {dag_id} does not end: {run}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Seconds from trigger to success, the best of `runs`.
    async fn timed(&self, dag_id: &str, runs: usize) -> Result<f64> {
        let mut best = f64::MAX;
        for _ in 0..runs {
            let run_id = self.trigger(dag_id).await?;
            let run = self.ended(dag_id, &run_id).await?;
            best = best.min(seconds_between(&run, "queued_at", "end_date")?);
        }
        Ok(best)
    }

    /// Seconds from a trigger to the start of the DAG's one task, the median of `runs`.
    async fn start_latency(&self, dag_id: &str, runs: usize) -> Result<f64> {
        let mut waits = Vec::with_capacity(runs);
        for _ in 0..runs {
            let run_id = self.trigger(dag_id).await?;
            let run = self.ended(dag_id, &run_id).await?;
            let path = format!("/api/v2/dags/{dag_id}/dagRuns/{}/taskInstances", run_id.replace('+', "%2B"));
            let start = &self.get(&path).await?["task_instances"][0]["start_date"];
            waits.push(seconds_between(&json!({"queued_at": run["queued_at"], "start": start}), "queued_at", "start")?);
        }
        waits.sort_by(f64::total_cmp);
        Ok(waits[runs / 2])
    }

    /// Median and 99th percentile of the replies to triggers, in milliseconds. Each is sent at its time,
    /// whether those before it were answered or not, and its wait counts from then.
    async fn trigger_latency(&self, dag_id: &str, rate: u32, span: Duration) -> Result<(f64, f64)> {
        let url = format!("{}/api/v2/dags/{dag_id}/dagRuns", self.url);
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        let mut replies = tokio::task::JoinSet::new();
        for _ in 0..rate * span.as_secs() as u32 {
            let sent = ticks.tick().await;
            let request = self.http.post(&url).json(&json!({"logical_date": null}));
            replies.spawn(async move {
                let status = request.send().await?.status();
                anyhow::ensure!(status == 200, "a trigger was answered by {status}");
                Ok(sent.elapsed().as_secs_f64() * 1_000.0)
            });
        }
        let mut waits = replies.join_all().await.into_iter().collect::<Result<Vec<f64>>>()?;
        waits.sort_by(f64::total_cmp);
        Ok((waits[waits.len() / 2], waits[waits.len() * 99 / 100]))
    }

    /// Waits until so many task instances of a run are in a state.
    async fn wait_for_state(&self, dag_id: &str, run_id: &str, state: &str, count: u64) -> Result<()> {
        let start = Instant::now();
        let run_id = run_id.replace('+', "%2B");
        let path = format!("/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=1&state={state}");
        while self.get(&path).await?["total_entries"].as_u64().unwrap_or(0) < count {
            anyhow::ensure!(start.elapsed() < LIMIT, "{count} tasks of {dag_id} do not become {state}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// `empty` tasks a second, over `runs` runs of 1,000 triggered one after the other.
    async fn rate_of_empty_tasks(&self, runs: usize) -> Result<f64> {
        let start = Instant::now();
        let mut ids = Vec::new();
        for _ in 0..runs {
            ids.push(self.trigger("empty").await?);
        }
        for id in &ids {
            self.ended("empty", id).await?;
        }
        Ok(runs as f64 * 1_001.0 / start.elapsed().as_secs_f64())
    }

    async fn wait_for_dags(&self, count: u64) -> Result<()> {
        let start = Instant::now();
        while self.get("/api/v2/dags?limit=1").await?["total_entries"].as_u64().unwrap_or(0) < count {
            anyhow::ensure!(start.elapsed() < LIMIT, "{count} DAGs have not been read");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Resident memory and share of a core while nothing happens.
    fn idle(&self, span: Duration) -> Result<(f64, f64)> {
        // What the last runs needed is given back some seconds later.
        std::thread::sleep(Duration::from_secs(10));
        let proc = PathBuf::from(format!("/proc/{}", self.process.id()));
        let before = cpu_ticks(&proc)?;
        std::thread::sleep(span);
        let ticks = cpu_ticks(&proc)? - before;
        let status = std::fs::read_to_string(proc.join("status"))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS")).context("the kernel tells the memory")?;
        let kilobytes: f64 = line.split_whitespace().nth(1).context("in kB")?.parse()?;
        // The kernel counts in hundredths of a second.
        Ok((kilobytes / 1_024.0, ticks as f64 / span.as_secs_f64()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It is gone already when this fails.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn first_url(stdout: std::process::ChildStdout) -> Result<String> {
    use std::io::BufRead as _;
    for line in std::io::BufReader::new(stdout).lines() {
        if let Some(at) = line.as_ref().ok().and_then(|line| line.find("http://")) {
            let url = line?[at..].split_whitespace().next().unwrap_or_default().trim_end_matches('/').to_owned();
            return Ok(url);
        }
    }
    bail!("the daemon ended without saying its address")
}

fn seconds_between(run: &Value, from: &str, to: &str) -> Result<f64> {
    let time = |key: &str| -> Result<chrono::DateTime<chrono::Utc>> {
        Ok(run[key].as_str().with_context(|| format!("the run has a {key}"))?.parse()?)
    };
    Ok((time(to)? - time(from)?).as_seconds_f64())
}

fn cpu_ticks(proc: &Path) -> Result<u64> {
    let stat = std::fs::read_to_string(proc.join("stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
    let tick = |i: usize| -> u64 { fields.get(i).and_then(|field| field.parse().ok()).unwrap_or(0) };
    Ok(tick(11) + tick(12))
}
