//! A folder to run the binary in, and what came of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Longest wait for anything; reached only when a test fails.
const LIMIT: Duration = Duration::from_secs(60);

/// A DAG of three bash tasks in a row that succeeds.
pub(crate) const GOOD: &str = "\
dag_id: good
schedule: '@daily'
start_date: 2026-01-01
params:
  name: { type: string, default: world }
tasks:
  first:
    operator: bash
    bash_command: echo \"hello {{ params.name }}\"
  second:
    operator: bash
    bash_command: echo \"got {{ ti.xcom_pull(task_ids='first') }}\"
    dependencies: [first]
  third:
    operator: empty
    dependencies: [second]
";

/// A DAG whose task fails.
pub(crate) const BAD: &str = "\
dag_id: bad
tasks:
  fails:
    operator: bash
    bash_command: echo 'the last words'; exit 3
  after:
    operator: bash
    bash_command: echo never
    dependencies: [fails]
";

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The result as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A folder to run the binary in.
pub(crate) struct Environment {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
    /// Whether `up` asks people to log in.
    pub(crate) asks_for_login: bool,
}

impl Environment {
    /// An empty DAGs folder and nothing else.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("dags")).unwrap();
        Self { folder, variables: Vec::new(), asks_for_login: false }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Writes a file, with the folders above it.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("LANG", "C.UTF-8")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&*self.path().to_string_lossy(), "[DIR]");
        Ended {
            code: output.status.code().expect("it was not killed"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.code, 0, "{arguments:?}: {ended:#?}");
        ended
    }

    /// Starts `towpath up` on a free port and waits for its address.
    pub(crate) fn up(&self, arguments: &[&str]) -> Daemon {
        let mut all = vec!["up", "--listen", "127.0.0.1:0"];
        all.extend(arguments);
        if !self.asks_for_login {
            all.push("--no-auth");
        }
        let mut child = self
            .command(&all)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(self.path().join("up.log")).unwrap())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.rsplit_once("://").map(|(_, address)| address.trim().to_owned());
        let log = || std::fs::read_to_string(self.path().join("up.log")).unwrap();
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}; log:\n{}", log()));
        Daemon { child, stdout, line, address }
    }
}

/// `towpath up`, killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) line: String,
    pub(crate) address: String,
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Status and body of a GET.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.request(&format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address))
    }

    /// Status and body of a POST of JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, String) {
        let body = body.to_string();
        self.request(&format!(
            "POST {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        ))
    }

    fn request(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply: {reply:?}"));
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Asks until `done` likes the answer.
    #[track_caller]
    pub(crate) fn until(&self, path: &str, done: impl Fn(u16, &Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let (status, body) = self.get(path);
            let value = serde_json::from_str(&body).unwrap_or(Value::Null);
            if done(status, &value) {
                return value;
            }
            assert!(start.elapsed() < LIMIT, "{path}: {status} {body}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// The next line that it prints.
    pub(crate) fn next_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// Status, head and body of a request with these further lines in its head.
    pub(crate) fn send(&self, method: &str, path: &str, head: &[&str], body: &str) -> (u16, String, String) {
        let head: String = head.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Length: {}\r\n{head}\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply: {reply:?}"));
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
    }

    /// Waits for the end; what else it has printed.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended already where the test got that far.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
