//! What running a command through [`Supervisor::run`] costs beyond the command itself.
//!
//! `cargo run --release -p towpath-operators --example spawn_cost -- 2000 2 bash -c true`: runs it 2,000 times, two at a
//! time, once as an attempt does and once with nothing but spawn and wait, and prints the ratio.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tokio_util::sync::CancellationToken;
use towpath_model::clock::SystemClock;
use towpath_operators::log::{Limits, Memory, Secrets, TaskLog};
use towpath_operators::process::{Command, Options, Supervisor, base_environment};

fn cpu() -> Duration {
    let total = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
        .into_iter()
        .map(|who| getrusage(who).expect("usage can always be read"))
        .map(|usage| usage.user_time().num_microseconds() + usage.system_time().num_microseconds())
        .sum::<i64>();
    Duration::from_micros(u64::try_from(total).expect("time is positive"))
}

fn report(name: &str, count: usize, start: Instant, cpu_before: Duration) -> f64 {
    let per = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    let (wall, busy) = (per(start.elapsed()), per(cpu() - cpu_before));
    println!("{name:<12} {wall:>8.1} us each, {busy:>8.1} us of processor time each");
    busy
}

fn main() {
    let mut args = std::env::args_os().skip(1);
    let number = |arg: Option<OsString>, default: usize| {
        arg.map_or(default, |text| text.to_str().and_then(|text| text.parse().ok()).expect("a number"))
    };
    let count = number(args.next(), 2_000);
    let parallel = number(args.next(), 2);
    let mut line: Vec<OsString> = args.collect();
    if line.is_empty() {
        line = ["bash", "-c", "true"].map(OsString::from).to_vec();
    }
    let command = Command {
        program: line.remove(0),
        args: line,
        env: base_environment(false),
        cwd: std::env::temp_dir(),
        ..Command::default()
    };
    let (start, before) = (Instant::now(), cpu());
    std::thread::scope(|scope| {
        for _ in 0..parallel {
            scope.spawn(|| {
                for _ in 0..count / parallel {
                    let status = std::process::Command::new(&command.program).args(&command.args).status();
                    status.expect("the command runs");
                }
            });
        }
    });
    let bare = report("bare", count, start, before);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let watchdog = std::env::current_exe().expect("a path").with_file_name("../towpath-watchdog");
    let options = Options { program: Some(watchdog), ..Options::default() };
    let supervisor = Arc::new(Supervisor::new(options).expect("build the binary towpath-watchdog first"));
    let left = Arc::new(AtomicUsize::new(count));
    let (start, before) = (Instant::now(), cpu());
    runtime.block_on(async {
        let tasks: Vec<_> = (0..parallel)
            .map(|_| {
                let (supervisor, left, command) = (Arc::clone(&supervisor), Arc::clone(&left), command.clone());
                tokio::spawn(async move {
                    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
                        let sink = Arc::new(Memory::default());
                        let secrets = Arc::new(Secrets::new());
                        let log = TaskLog::new(sink, Arc::new(SystemClock), secrets, Limits::default());
                        supervisor.run(&command, &log, &CancellationToken::new()).await.expect("the command runs");
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
    });
    let ours = report("supervised", count, start, before);
    println!("ratio        {:>8.2}", ours / bare);
}
