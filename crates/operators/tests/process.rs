//! Processes are run to their end and never left behind.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio_util::sync::CancellationToken;
use towpath_model::clock::SystemClock;
use towpath_operators::log::{Limits, Memory, Secrets, TaskLog};
use towpath_operators::process::{self, Command, Exit, Options, Supervisor, base_environment};

struct Fixture {
    supervisor: Supervisor,
    sink: Arc<Memory>,
    log: TaskLog,
    stop: CancellationToken,
}

impl Fixture {
    fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    fn with_limits(limits: Limits) -> Self {
        let options = Options {
            program: Some(PathBuf::from(env!("CARGO_BIN_EXE_towpath-watchdog"))),
            grace: Duration::from_millis(300),
            ..Options::default()
        };
        let sink = Arc::new(Memory::default());
        let log = TaskLog::new(sink.clone(), Arc::new(SystemClock), Arc::new(Secrets::new()), limits);
        let supervisor = Supervisor::new(options).expect("the watchdog starts");
        Self { supervisor, sink, log, stop: CancellationToken::new() }
    }

    async fn run(&self, script: &str) -> Exit {
        self.run_command(&bash(script)).await.expect("it starts")
    }

    async fn run_command(&self, command: &Command) -> Result<Exit, process::Error> {
        let exit = self.supervisor.run(command, &self.log, &self.stop).await;
        assert_eq!(self.supervisor.watched(), Vec::<i32>::new(), "nothing is left to watch");
        exit
    }
}

fn bash(script: &str) -> Command {
    Command {
        program: "bash".into(),
        args: vec!["-c".into(), script.into()],
        env: base_environment(false),
        cwd: std::env::temp_dir(),
        ..Command::default()
    }
}

/// Waits for `condition` with a limit.
async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} has not happened");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Whether a process runs; a zombie does not.
fn is_alive(pid: i32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => false,
    }
}

fn logged_pid(sink: &Memory) -> Option<i32> {
    sink.lines().iter().find_map(|line| line.event.strip_prefix("pid ")?.parse().ok())
}

#[tokio::test]
async fn output_and_end_are_reported() {
    let fixture = Fixture::new();
    let exit = fixture.run("echo one; sleep 0.1; echo two >&2; sleep 0.1; echo -n 'three  '; exit 7").await;
    let usage = exit.usage;
    assert_eq!(exit, Exit { code: Some(7), last_line: Some("three".into()), usage, ..Exit::default() });
    assert_eq!(fixture.sink.text(), "task.stdout info: one\ntask.stderr info: two\ntask.stdout info: three  \n");
    let times: Vec<_> = fixture.sink.lines().iter().map(|line| line.timestamp).collect();
    assert!(times[0] < times[1], "lines are passed on while it runs");
    let exit = fixture.run("kill -SEGV $$").await;
    assert_eq!(exit, Exit { signal: Some(Signal::SIGSEGV as i32), usage: exit.usage, ..Exit::default() });
    let exit = fixture.run("x=$(head -c 150000000 /dev/zero | tr '\\0' x); echo ${#x}").await;
    assert!(exit.usage.peak_bytes > 150_000_000, "{:?}", exit.usage);
    // What it has waited for counts with it.
    let exit = fixture.run("bash -c 'for i in {1..50000}; do :; done'; true").await;
    assert!(exit.usage.cpu > Duration::from_millis(5), "{:?}", exit.usage);
}

#[tokio::test]
async fn much_output_is_complete() {
    let fixture = Fixture::new();
    let exit = fixture.run("seq 1 200000; seq 1 1000 >&2").await;
    assert_eq!(exit.last_line.as_deref(), Some("200000"));
    let lines = fixture.sink.lines();
    let out: Vec<_> = lines.iter().filter(|line| line.logger == "task.stdout").map(|line| &line.event).collect();
    assert!(out.iter().zip(1..).all(|(line, number)| **line == number.to_string()));
    assert_eq!((out.len(), lines.len()), (200_000, 201_000));
}

#[tokio::test]
async fn input_is_given_and_otherwise_empty() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run("cat").await.last_line, None);
    let text = "x".repeat(1_000_000);
    let command = Command { stdin: Some(text.into_bytes()), ..bash("wc -c") };
    assert_eq!(fixture.run_command(&command).await.expect("it starts").last_line.as_deref(), Some("1000000"));
    // One that does not read it is no reason to wait.
    let command = Command { stdin: Some(vec![b'x'; 1_000_000]), ..bash("echo done") };
    assert_eq!(fixture.run_command(&command).await.expect("it starts").last_line.as_deref(), Some("done"));
}

#[tokio::test]
async fn background_processes_end_with_the_task() {
    let fixture = Fixture::new();
    let start = Instant::now();
    let exit = fixture.run("sleep 1000 & echo \"pid $!\"; trap '' TERM; sleep 1000 & echo end").await;
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!((exit.code, exit.last_line.as_deref()), (Some(0), Some("end")));
    let pid = logged_pid(&fixture.sink).expect("it was printed");
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn one_that_leaves_its_group_does_not_hang_the_task() {
    let fixture = Fixture::new();
    let start = Instant::now();
    let exit = fixture.run("setsid sleep 1000 & echo \"pid $!\"; sleep 0.2").await;
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(exit.code, Some(0));
    let text = fixture.sink.text();
    assert!(text.ends_with("it is not followed any more\n"), "{text}");
    let pid = logged_pid(&fixture.sink).expect("it was printed");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it is out of reach and still there");
}

#[tokio::test]
async fn stop_is_sigterm_then_sigkill() {
    for (script, code, signal) in [
        ("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done", Some(3), None),
        ("echo ready; sleep 1000", None, Some(Signal::SIGTERM as i32)),
        ("trap '' TERM; echo ready; while :; do sleep 0.01; done", None, Some(Signal::SIGKILL as i32)),
    ] {
        let fixture = Fixture::new();
        let stopper = async {
            until("ready", || fixture.sink.text().contains("ready")).await;
            fixture.stop.cancel();
        };
        let (exit, ()) = tokio::join!(fixture.run(script), stopper);
        assert_eq!((exit.code, exit.signal, exit.stopped), (code, signal, true), "{script}");
    }
}

#[tokio::test]
async fn a_stopped_attempt_starts_nothing() {
    let fixture = Fixture::new();
    fixture.stop.cancel();
    let exit = fixture.run("echo started").await;
    assert_eq!(exit, Exit { stopped: true, ..Exit::default() });
    assert_eq!(fixture.sink.text(), "");
}

#[tokio::test]
async fn endless_output_can_be_stopped() {
    let fixture = Fixture::with_limits(Limits { try_bytes: 1_000, ..Limits::default() });
    let stopper = async {
        until("output", || !fixture.sink.lines().is_empty()).await;
        fixture.stop.cancel();
    };
    let (exit, ()) = tokio::join!(fixture.run("yes"), stopper);
    assert!(exit.stopped);
}

#[tokio::test]
async fn a_dropped_run_leaves_nothing() {
    let fixture = Fixture::new();
    tokio::select! {
        _ = fixture.run("echo \"pid $$\"; sleep 1000") => panic!("it ended"),
        () = until("output", || logged_pid(&fixture.sink).is_some()) => {}
    }
    let pid = logged_pid(&fixture.sink).expect("it was printed");
    assert!(!is_alive(pid));
    assert_eq!(fixture.supervisor.watched(), Vec::<i32>::new());
}

#[tokio::test]
async fn memory_is_limited() {
    let fixture = Fixture::new();
    let hungry = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo got ${#x}";
    assert_eq!(fixture.run(hungry).await.last_line.as_deref(), Some("got 200000000"));
    let command = Command { memory_bytes: Some(50_000_000), ..bash(hungry) };
    let exit = fixture.run_command(&command).await.expect("it starts");
    assert!(exit.code != Some(0), "{exit:?}");
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let fixture = Fixture::new();
    let mut messages = String::new();
    for command in [
        Command { program: "no-such-program".into(), ..bash("") },
        Command { program: "/no/such/program".into(), ..bash("") },
        Command { program: "/etc/passwd".into(), ..bash("") },
        Command { cwd: "/no/such/folder".into(), ..bash("") },
    ] {
        let mut command = command;
        command.env = [("PATH".into(), "/usr/bin:/bin".into())].into();
        messages.push_str(&fixture.run_command(&command).await.expect_err("it cannot start").to_string());
        messages.push('\n');
    }
    insta::assert_snapshot!(messages);
}

#[tokio::test]
async fn groups_can_be_terminated() {
    let mut child = tokio::process::Command::new("bash")
        .args(["-c", "trap '' TERM; sleep 1000 & sleep 1000"])
        .process_group(0)
        .spawn()
        .expect("bash starts");
    let pgid = i32::try_from(child.id().expect("it runs")).expect("a process id");
    let ((), status) = tokio::join!(process::terminate_group(pgid, Duration::from_millis(100)), child.wait());
    assert!(!status.expect("it has ended").success());
    assert!(killpg(Pid::from_raw(pgid), None).is_err());
}

/// The supervisor is what keeps the pipe to the watchdog open, and dropping it closes the pipe as the end of the
/// process would.
#[tokio::test]
async fn the_watchdog_ends_what_a_worker_leaves() {
    let fixture = Fixture::new();
    let mut child = std::process::Command::new("bash");
    std::os::unix::process::CommandExt::process_group(&mut child, 0);
    let mut kept = child.args(["-c", "sleep 1000 & sleep 1000"]).spawn().expect("bash starts");
    let mut forgotten = child.spawn().expect("bash starts");
    let id = |child: &std::process::Child| i32::try_from(child.id()).expect("a process id");
    fixture.supervisor.watch(id(&kept));
    fixture.supervisor.watch(id(&forgotten));
    fixture.supervisor.unwatch(id(&forgotten));
    drop(fixture.supervisor);
    until("the end", || kept.try_wait().expect("it is ours").is_some()).await;
    assert!(forgotten.try_wait().expect("it is ours").is_none());
    killpg(Pid::from_raw(id(&forgotten)), Signal::SIGKILL).expect("it runs");
    forgotten.wait().expect("it has ended");
}

/// A watchdog that ends after its first message, as if it had been killed, and writes down what it was told.
#[tokio::test]
async fn a_watchdog_that_dies_is_replaced_and_told_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("watchdog");
    let told = folder.path().join("told");
    std::fs::write(&script, format!("#!/bin/bash\nhead -c 4 | od -An -td4 >> {}\n", told.display())).expect("written");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
    let options = Options { program: Some(script), ..Options::default() };
    let supervisor = Supervisor::new(options).expect("it starts");
    let read =
        || std::fs::read_to_string(&told).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    // No group has such a number, so nothing can be hurt.
    supervisor.watch(2_000_000_001);
    until("the first message", || read() == ["2000000001"]).await;
    // The pipe breaks only once the script is gone.
    until("its replacement", || {
        supervisor.unwatch(2_000_000_002);
        read().len() > 1
    })
    .await;
    assert_eq!(read(), ["2000000001", "2000000001"], "the replacement hears of what is still watched");
}
