//! Addresses of pages. Ids may hold anything, so every part is encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use towpath_store::TaskKey;

const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The list of DAGs.
pub(crate) const DAGS: &str = "/dags";
/// The list of runs of all DAGs.
pub(crate) const RUNS: &str = "/runs";
/// Connections, variables, pools and so on.
pub(crate) const ADMIN: &str = "/admin";

/// A part of a path, or a value of a query.
pub(crate) fn part(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
}

/// `path` with a query of those `values` that are not empty.
pub(crate) fn query(path: &str, values: &[(&str, &str)]) -> String {
    let values: Vec<String> = values
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}", part(value)))
        .collect();
    let joint = if path.contains('?') { '&' } else { '?' };
    if values.is_empty() { path.to_owned() } else { format!("{path}{joint}{}", values.join("&")) }
}

pub(crate) fn dag(dag_id: &str) -> String {
    format!("/dags/{}", part(dag_id))
}

pub(crate) fn run(dag_id: &str, run_id: &str) -> String {
    format!("/dags/{}/runs/{}", part(dag_id), part(run_id))
}

pub(crate) fn task(dag_id: &str, run_id: &str, key: &TaskKey) -> String {
    let path = format!("{}/tasks/{}", run(dag_id, run_id), part(&key.task_id));
    if key.map_index < 0 { path } else { format!("{path}?map_index={}", key.map_index) }
}

/// `back` if it is an address of this site, as a form says where to go on; `otherwise` if not.
pub(crate) fn back(back: Option<&str>, otherwise: String) -> String {
    let is_ours = |path: &&str| {
        path.starts_with('/') && !path.starts_with("//") && !path.contains(|c: char| c == '\\' || c.is_control())
    };
    back.filter(is_ours).map_or(otherwise, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_encoded() {
        assert_eq!(
            run("a/b?c", "manual__2026-11-22T23:55:56+00:00"),
            "/dags/a%2Fb%3Fc/runs/manual__2026-11-22T23%3A55%3A56%2B00%3A00"
        );
        assert_eq!(dag("\"><script>"), "/dags/%22%3E%3Cscript%3E");
        let key = TaskKey { run_key: 1, task_id: "é".into(), map_index: 2 };
        assert_eq!(task("d", "r", &key), "/dags/d/runs/r/tasks/%C3%A9?map_index=2");
    }

    #[test]
    fn queries() {
        assert_eq!(query("/dags", &[("q", ""), ("tag", "a&b")]), "/dags?tag=a%26b");
        assert_eq!(query("/dags?q=1", &[("tag", "x")]), "/dags?q=1&tag=x");
        assert_eq!(query("/dags", &[("q", "")]), "/dags");
    }

    #[test]
    fn ways_back_stay_here() {
        for (given, expected) in [
            (Some("/dags?q=a"), "/dags?q=a"),
            (Some("//evil.example"), "/dags"),
            (Some("https://evil.example"), "/dags"),
            (Some("/\\evil.example"), "/dags"),
            (Some("/a\r\nb"), "/dags"),
            (None, "/dags"),
        ] {
            assert_eq!(back(given, "/dags".to_owned()), expected, "{given:?}");
        }
    }
}
