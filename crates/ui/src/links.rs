//! Addresses of pages. Ids may hold anything, so every part is encoded.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use towpath_store::TaskKey;

const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A part of a path, or a value of a query.
pub(crate) fn part(text: &str) -> String {
    utf8_percent_encode(text, PART).to_string()
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
}
