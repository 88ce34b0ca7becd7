//! Forms of arguments that several commands share.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use clap::Args;
use serde_json::Value;

/// Options of commands that run a worker.
#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// Tasks to run at once [default: 16 per core, at least 32]
    #[arg(long, value_name = "COUNT")]
    slots: Option<String>,
    /// Queues to serve, separated by commas [default: default]
    #[arg(long, value_name = "NAMES")]
    queues: Option<String>,
    /// Folder of the data sets between tasks; all workers and schedulers have to see it [default: staging in the data folder]
    #[arg(long, value_name = "DIR")]
    staging: Option<String>,
}

impl WorkerArgs {
    /// The settings among them: key, flag and value.
    pub(crate) fn flags(&self) -> [(&'static str, &'static str, &Option<String>); 3] {
        [
            ("worker_slots", "--slots", &self.slots),
            ("worker_queues", "--queues", &self.queues),
            ("data_staging", "--staging", &self.staging),
        ]
    }
}

/// Options of commands that run a web server.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Ask nobody to log in; only on a loopback address
    #[arg(long)]
    no_auth: bool,
    /// PEM file with certificates: serve HTTPS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<String>,
    /// PEM file with the private key of --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<String>,
}

impl ServerArgs {
    /// The settings among them: key, flag and value.
    pub(crate) fn flags(&self) -> [(&'static str, &'static str, Option<String>); 3] {
        [
            ("auth", "--no-auth", self.no_auth.then(|| "false".to_owned())),
            ("tls_cert", "--tls-cert", self.tls_cert.clone()),
            ("tls_key", "--tls-key", self.tls_key.clone()),
        ]
    }
}

/// Reads a time: `2026-11-22`, `2026-11-22T06:00`, with seconds, with a zone. Without one it is UTC.
///
/// # Errors
/// When it has none of the forms.
pub(crate) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(&text.replacen(' ', "T", 1)) {
        return Ok(time.to_utc());
    }
    let naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .or_else(|| Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN)));
    naive.map(|naive| naive.and_utc()).ok_or_else(|| {
        format!("`{text}` is not a time; write 2026-11-22, 2026-11-22T06:00 or 2026-11-22T06:00:00+01:00")
    })
}

/// Reads `key=value`.
///
/// # Errors
/// When there is no `=`, or nothing before it.
pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not of the form key=value")),
    }
}

/// Reads a JSON object, or the file that `@path` names.
///
/// # Errors
/// When it is something else, or the file cannot be read.
pub(crate) fn json_object(text: &str) -> Result<serde_json::Map<String, Value>, String> {
    let file = text.strip_prefix('@');
    let text = match file {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("cannot read `{path}`: {error}"))?,
        None => text.to_owned(),
    };
    let place = file.map(|path| format!(" in `{path}`")).unwrap_or_default();
    match serde_json::from_str(&text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(format!("expected a JSON object such as {{\"key\": 1}}{place}")),
        Err(error) => Err(format!("not JSON{place}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, expected) in [
            ("2026-11-22", Some("2026-11-22T00:00:00+00:00")),
            ("2026-11-22T06:00", Some("2026-11-22T06:00:00+00:00")),
            ("2026-11-22 06:00:01.5", Some("2026-11-22T06:00:01.500+00:00")),
            ("2026-11-22T06:00:00+01:00", Some("2026-11-22T05:00:00+00:00")),
            ("2026-11-22 06:00:00Z", Some("2026-11-22T06:00:00+00:00")),
            ("2026-13-01", None),
            ("tomorrow", None),
        ] {
            assert_eq!(time(text).ok().map(|time| time.to_rfc3339()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn pairs() {
        assert_eq!(key_value("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(key_value("a="), Ok(("a".to_owned(), String::new())));
        assert!(key_value("a").is_err() && key_value("=b").is_err());
    }

    #[test]
    fn objects() {
        assert_eq!(json_object("{\"a\": 1}").unwrap().len(), 1);
        assert!(json_object("[1]").unwrap_err().contains("a JSON object"));
        assert!(json_object("{").unwrap_err().starts_with("not JSON"));
        assert!(json_object("@/nowhere/at/all").unwrap_err().contains("/nowhere/at/all"));
    }
}
