//! Alerts as commands: the shell runs one beside the scheduler, with the news as JSON on stdin.

use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::Failure;

/// Most characters of what a command writes to stderr that are kept as the reason.
const MOST_WORDS: usize = 500;

/// Ends the command and what it has started, when it is dropped: nobody waits for it any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended just now.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Runs `command` in `folder`. Its exit code tells whether somebody was told.
pub(crate) async fn run(command: &str, folder: &Path, news: &Value) -> Result<(), Failure> {
    let passing = |error: std::io::Error| Failure::Passing(format!("the command cannot be run: {error}"));
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(passing)?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    let mut stdin = child.stdin.take().expect("it is piped");
    let text = format!("{news}\n");
    let write = async move {
        // A command may well end without having read it.
        let _ = stdin.write_all(text.as_bytes()).await;
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output.map_err(passing)?;
    // What it has left running in the background goes on, as with any shell.
    group.0 = None;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words: String = words.trim().chars().take(MOST_WORDS).collect();
    let colon = if words.is_empty() { "" } else { ": " };
    Err(Failure::Passing(format!("the command ended with {}{colon}{words}", output.status)))
}
