//! The watchdog: a tiny process beside a worker that ends the worker's tasks when the worker dies.
//!
//! It is the worker's own binary, started again with [`ARG`]. Its stdin is a pipe from the worker that tells it
//! which process groups run. When the worker is gone, by whatever means, the kernel closes the pipe, and the
//! watchdog kills the groups that are still registered and ends. It has no threads, opens nothing and
//! writes nothing.
//!
//! A message is a process group id, four bytes in native order: positive to watch it, negative to forget it.

use std::collections::HashSet;
use std::io::{ErrorKind, Read};
use std::time::Duration;

use nix::sys::signal::{SigHandler, Signal, killpg, signal};
use nix::unistd::Pid;

/// The hidden argument that makes the binary a watchdog.
pub const ARG: &str = "__watchdog";

/// How long messages may wait unread while tasks come and go. The pipe keeps them, so only the end of orphaned
/// tasks is delayed by it, while a worker with a thousand short tasks a second does not wake this process
/// a thousand times.
const REST: Duration = Duration::from_millis(20);

/// Watches until the worker is gone. To be called first thing in `main`, before any thread is started.
pub fn run() {
    ignore_signals();
    watch(std::io::stdin().lock());
}

/// The signals that end a worker in an orderly way reach the watchdog too when they are sent by name or to a whole
/// container; it must outlast the worker.
#[expect(unsafe_code, reason = "a signal's disposition can only be set through an unsafe call")]
fn ignore_signals() {
    for name in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        // SAFETY: ignoring a signal runs no handler. It fails only for signals that cannot be ignored.
        let _ = unsafe { signal(name, SigHandler::SigIgn) };
    }
}

fn watch(mut input: impl Read) {
    let mut groups = HashSet::new();
    let mut buffer = [0; 4096];
    let mut filled = 0;
    loop {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        }
        let whole = filled - filled % size_of::<i32>();
        for message in buffer[..whole].chunks_exact(size_of::<i32>()) {
            match i32::from_ne_bytes(message.try_into().expect("chunks have this size")) {
                group @ 1.. => groups.insert(group),
                group => groups.remove(&group.saturating_neg()),
            };
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
        std::thread::sleep(REST);
    }
    for group in groups {
        // It may have ended by itself.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
}
