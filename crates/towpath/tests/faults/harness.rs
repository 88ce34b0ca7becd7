//! The real binary in a folder of its own.

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// A client for plain HTTP; the provider of TLS has to be there all the same.
fn client() -> reqwest::Client {
    // It is installed already when this fails.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// A project: DAGs, data folder, database.
pub(crate) struct Project {
    folder: tempfile::TempDir,
    database: Option<towpath_testkit::TestDb>,
}

/// A running process of Towpath; killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// Address of its HTTP server, for those that have one.
    pub(crate) url: String,
}

impl Project {
    pub(crate) async fn new(dialect: &str) -> Self {
        let database = if dialect == "postgres" { Some(towpath_testkit::postgres().await) } else { None };
        let project = Self { folder: tempfile::tempdir().unwrap(), database };
        std::fs::create_dir_all(project.path("dags")).unwrap();
        project
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The address of the database, where it is not the embedded one.
    pub(crate) fn database_url(&self) -> Option<&str> {
        self.database.as_ref().map(|db| db.url.as_str())
    }

    /// Copies an example with what belongs to it, changed by `edit`.
    pub(crate) fn copy_example(&self, names: &[&str], edit: impl Fn(&str) -> String) {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dags");
        for name in names {
            let target = self.path("dags").join(name);
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            let text = std::fs::read_to_string(examples.join(name)).unwrap();
            std::fs::write(target, if name.ends_with(".yaml") { edit(&text) } else { text }).unwrap();
        }
    }

    pub(crate) fn write_dag(&self, name: &str, text: &str) {
        std::fs::write(self.path("dags").join(name), text).unwrap();
    }

    /// The command with a cleared environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.folder.path());
        // Shorter than the outage that a test makes: nobody may be declared lost for that.
        command.env("TOWPATH_WORKER_LEASE", "5s");
        command.args(arguments).arg("--data-dir").arg(self.path("data"));
        command.arg("--dags").arg(self.path("dags")).current_dir(self.folder.path());
        if let Some(url) = self.database_url() {
            command.args(["--database", url]);
        }
        command
    }

    /// Starts a process; its log is kept in the project's folder.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        self.start_with(arguments, &[])
    }

    /// As [`Project::start`], with more in its environment.
    pub(crate) fn start_with(&self, arguments: &[&str], environment: &[(&str, PathBuf)]) -> Process {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut child = self
            .command(arguments)
            .envs(environment.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut url = String::new();
        if !arguments.contains(&"worker") {
            let lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                if let Some(at) = line.find("http://") {
                    url = line[at..].split_whitespace().next().unwrap().trim_end_matches('/').to_owned();
                    break;
                }
            }
            if url.is_empty() {
                panic!("no address was printed, it ended with {:?}\n{}", child.wait(), self.log());
            }
        }
        Process { child, url }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A panic or an internal error of any process so far fails the test.
    pub(crate) fn assert_no_panic(&self) {
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

impl Process {
    pub(crate) fn up(project: &Project) -> Self {
        project.start(&["up", "--listen", "127.0.0.1:0", "--no-auth"])
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits; its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < LIMIT, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, reqwest::Error> {
        let text = client().get(format!("{}{path}", self.url)).send().await?.text().await?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Triggers a DAG as soon as it is known; the run id.
    pub(crate) async fn trigger(&self, dag_id: &str) -> String {
        let url = format!("{}/api/v2/dags/{dag_id}/dagRuns", self.url);
        let start = Instant::now();
        loop {
            let reply = client().post(&url).json(&serde_json::json!({"logical_date": null})).send().await;
            let text = reply.unwrap().text().await.unwrap();
            let body: Value = serde_json::from_str(&text).unwrap_or_default();
            if let Some(id) = body["dag_run_id"].as_str() {
                return id.to_owned();
            }
            assert!(start.elapsed() < LIMIT, "{text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All runs of a DAG.
    pub(crate) async fn runs(&self, dag_id: &str) -> Vec<Value> {
        let page = self.get(&format!("/api/v2/dags/{dag_id}/dagRuns?limit=100")).await;
        page.ok().and_then(|page| page["dag_runs"].as_array().cloned()).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It is gone already when this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Small numbers that look random and can be replayed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(test: &str) -> Self {
        let seed = std::env::var("TOWPATH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(2_013);
        eprintln!("{test}: TOWPATH_SEED={seed}");
        Self(seed)
    }

    /// A number from `from` up to, not including, `to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        // Knuth's constants for a linear congruential generator of 64 bits.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        from + (self.0 >> 33) % (to - from)
    }
}
