//! Lines of a task's log, as they are printed.

use towpath_operators::log::{LOGGER, LogLine, Stream};

/// A line for people: `06:00:00.123Z INFO    text`, with the date, and the logger where it says something.
pub(crate) fn line(line: &LogLine) -> String {
    let known = [LOGGER, Stream::Stdout.logger(), Stream::Stderr.logger()];
    let logger = if known.contains(&line.logger.as_str()) { String::new() } else { format!("[{}] ", line.logger) };
    let level = line.level.to_string().to_uppercase();
    format!("{} {level:<7} {logger}{}", line.timestamp.format("%Y-%m-%d %H:%M:%S%.3fZ"), line.event)
}

/// The lines of a stored chunk. One that is no log line is left out: it could not be shown as one.
pub(crate) fn parse(chunk: &str) -> impl Iterator<Item = LogLine> + '_ {
    chunk.lines().filter_map(|line| serde_json::from_str(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_people() {
        let chunk = r#"{"timestamp":"2026-11-22T06:00:00.123456Z","level":"info","logger":"task.stdout","event":"hello"}
{"timestamp":"2026-11-22T06:00:01Z","level":"warning","logger":"my.module","event":"careful"}
not json
{"timestamp":"2026-11-22T06:00:02Z","level":"error","logger":"towpath","event":"exit code 1"}
"#;
        insta::assert_snapshot!(parse(chunk).map(|parsed| line(&parsed) + "\n").collect::<String>());
    }
}
