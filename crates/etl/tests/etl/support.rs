//! A folder, a job in it, and its result as text.

use std::path::Path;

use serde_json::{Value, json};
use towpath_etl::job::Job;

/// A folder to work in.
pub(crate) struct Kitchen {
    pub(crate) folder: tempfile::TempDir,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Kitchen {
    fn drop(&mut self) {
        // As the process of an attempt does.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Kitchen {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { folder: tempfile::tempdir().unwrap(), runtime: Some(runtime) }
    }

    /// Waits until every thread and task that jobs have started has ended.
    pub(crate) fn ends_within(mut self, limit: std::time::Duration) {
        let runtime = self.runtime.take().unwrap();
        let (sender, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            drop(runtime);
            let _ = sender.send(());
        });
        ended.recv_timeout(limit).expect("some thread of a job goes on and on");
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Waits for something.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(work)
    }

    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Runs a job. `parts` has `inputs` (name to source) and whatever else differs from nothing.
    pub(crate) fn run(&self, parts: &Value) -> Result<Value, String> {
        self.run_logged(parts, &|_| {})
    }

    /// The same; `log` gets what it says.
    pub(crate) fn run_logged(&self, parts: &Value, log: &(dyn Fn(&str) + Sync)) -> Result<Value, String> {
        let mut job =
            json!({"folder": self.path(), "scratch": self.path().join("scratch"), "inputs": [], "output": null});
        for (key, value) in parts.as_object().unwrap() {
            job[key] = value.clone();
        }
        let job: Job = serde_json::from_value(job).unwrap();
        let result = self.runtime.as_ref().unwrap().block_on(job.run(log)).map_err(|error| error.message);
        // What is stopped in the middle ends a moment later.
        let start = std::time::Instant::now();
        while !self.spilled().is_empty() {
            assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", self.spilled());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        result
    }

    /// The folders with rows that operators have put aside.
    fn spilled(&self) -> Vec<std::fs::DirEntry> {
        let Ok(leftovers) = std::fs::read_dir(self.path().join("scratch")) else { return Vec::new() };
        let own = leftovers.flatten().filter(|entry| entry.file_name() != "_rejects");
        own.filter(|entry| std::fs::read_dir(entry.path()).is_ok_and(|mut files| files.next().is_some())).collect()
    }

    /// The rows of `source` after `steps`, as CSV, or the error.
    pub(crate) fn steps(&self, source: &Value, steps: &Value) -> String {
        self.csv(&json!({"inputs": [["input", source]], "steps": steps}))
    }

    /// The rows of a job, as CSV with `NULL`, or the error.
    pub(crate) fn csv(&self, parts: &Value) -> String {
        let mut parts = parts.clone();
        parts["output"] = json!({"target": {"csv": "result.csv", "null_value": "NULL"}});
        match self.run(&parts) {
            Ok(_) => std::fs::read_to_string(self.path().join("result.csv")).unwrap(),
            Err(error) => format!("error: {}", error.replace(&self.path().display().to_string(), "FOLDER")),
        }
    }
}

/// One CSV text through steps.
pub(crate) fn through(csv: &str, steps: &Value) -> String {
    let kitchen = Kitchen::new();
    kitchen.file("in.csv", csv);
    kitchen.steps(&json!({"csv": "in.csv"}), steps)
}
