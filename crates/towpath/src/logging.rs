//! What Towpath itself logs: to stderr, so that stdout stays for results.
//!
//! The logs of tasks are another matter; they live in the store.

use std::io::IsTerminal;

use anyhow::{Context, ensure};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// Levels that a person may name.
pub(crate) const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// Starts logging at `level`: a level for Towpath (libraries then stay at `warn`), or a list of
/// `target=level` as `tracing` reads it.
///
/// # Errors
/// When `level` is neither.
pub(crate) fn init(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let registry = tracing_subscriber::registry().with(targets(level)?);
    let terminal = std::io::stderr().is_terminal();
    match format {
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
        LogFormat::Text => {
            let layer = tracing_subscriber::fmt::layer()
                .compact()
                .with_ansi(terminal)
                .with_target(false)
                .with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
    }
    .context("logging was started twice")
}

/// The filter that `level` stands for.
///
/// # Errors
/// When it is neither a level nor a list of `target=level`.
pub(crate) fn targets(level: &str) -> anyhow::Result<Targets> {
    let level = level.trim().to_ascii_lowercase();
    let directives = if LEVELS.contains(&level.as_str()) {
        let libraries = if level == "off" || level == "error" { level.as_str() } else { "warn" };
        format!("{libraries},towpath={level}")
    } else {
        level
    };
    let expected =
        || format!("`{directives}` is not a log level; write one of {} or `target=level,...`", LEVELS.join(", "));
    // A name alone would be read as a target, and a misspelt level as one that nothing has.
    let is_known = |part: &str| LEVELS.contains(&part.trim()) || part.contains('=');
    ensure!(directives.split(',').all(is_known), expected());
    directives.parse().with_context(expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[track_caller]
    fn check(level: &str, target: &str, at: Level, expected: bool) {
        assert_eq!(targets(level).unwrap().would_enable(target, &at), expected, "{level} {target} {at}");
    }

    #[test]
    fn a_level_is_for_towpath_alone() {
        check("info", "towpath_store::engine", Level::INFO, true);
        check("info", "sqlx::query", Level::INFO, false);
        check("info", "sqlx::query", Level::WARN, true);
        check("DEBUG", "towpath", Level::DEBUG, true);
        check("error", "sqlx", Level::WARN, false);
        check("off", "towpath", Level::ERROR, false);
        check("warn,sqlx=debug", "sqlx::query", Level::DEBUG, true);
        assert!(targets("loud").is_err());
    }
}
