//! Reads a password that nobody else should see.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use crate::exit::usage;
use crate::output;

/// Reads a line from stdin and hashes it; on a terminal it is asked for and not shown.
///
/// # Errors
/// When there is none, or it is too short or too long.
pub(super) async fn read() -> anyhow::Result<String> {
    let line = if std::io::stdin().is_terminal() { ask()? } else { line()? };
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(usage("no password was given; type it, or pipe it in: towpath users set-password NAME < file"));
    }
    towpath_auth::password::hash(password).await.map_err(|unfit| usage(unfit.to_string()))
}

fn ask() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    let shown = tcgetattr(&stdin).context("the terminal cannot be asked")?;
    let mut hidden = shown.clone();
    hidden.local_flags.remove(LocalFlags::ECHO);
    // Nothing depends on the question.
    let _ = write!(std::io::stderr(), "Password: ");
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &hidden).context("the terminal cannot be told to hide the password")?;
    let line = line();
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &shown).context("the terminal cannot be set back; type `reset`")?;
    output::remark("");
    line
}

fn line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("cannot read stdin")?;
    Ok(line)
}
