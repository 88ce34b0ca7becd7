//! How the process ends: one line of explanation on stderr, and a code that scripts can rely on.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use crate::output::ReaderGone;

/// How a command ended that did what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 0
    Success,
    /// 1: it found something wrong (a failed run, a broken file) and has said so.
    Failure,
    /// 2: what it was given cannot be used, and it has said so.
    Invalid,
    /// 130: interrupted from the keyboard.
    Interrupted,
}

/// An error in what the user wrote rather than in what happened: exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An [`anyhow::Error`] that ends with exit code 2.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

/// The exit code of `result`; an error is printed.
pub(crate) fn code(result: anyhow::Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::Failure) => ExitCode::from(1),
        Ok(Outcome::Invalid) => ExitCode::from(2),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Err(error) if is_of_reader(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // When stderr is gone as well there is nobody left to tell.
            let _ = writeln!(std::io::stderr(), "error: {}", told(&error));
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// The error and its causes; one that the text before it ends with is not told twice.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Whether it is our own output that could not be written, since nobody reads it.
fn is_of_reader(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.get_ref().and_then(|inner| inner.downcast_ref::<ReaderGone>()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn only_a_reader_that_has_gone_is_forgiven() {
        use std::io::{Error, ErrorKind};
        let of = |error: Error| is_of_reader(&anyhow::Error::from(error).context("writing"));
        assert!(of(Error::new(ErrorKind::BrokenPipe, ReaderGone)));
        // A pipe to a process of ours, or a connection.
        assert!(!of(ErrorKind::BrokenPipe.into()));
        assert!(!of(ErrorKind::StorageFull.into()));
    }

    #[test]
    fn no_cause_is_told_twice() {
        let cause = || anyhow::anyhow!("permission denied");
        assert_eq!(told(&cause().context("reading the key")), "reading the key: permission denied");
        let twice = cause().context("the key cannot be read: permission denied").context("starting");
        assert_eq!(told(&twice), "starting: the key cannot be read: permission denied");
    }

    #[test]
    fn a_usage_error_is_found_under_context() {
        let error = Err::<(), _>(usage("no")).context("reading arguments").expect_err("it is an error");
        assert!(error.is::<Usage>());
    }
}
