//! What each route asks of who comes: one table, by method and path.
//!
//! A route that is not in the table is refused for everybody ([`crate::guard`]), so a new one does nothing until
//! somebody has decided who may use it.

mod airflow;
mod own;

use std::collections::HashMap;
use std::sync::LazyLock;

use towpath_store::{Access, Role};

/// What a route asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing.
    Open,
    /// No login: the action checks that the request is signed with a secret of the DAG, and writes its own entries.
    Signature,
    /// Nothing on loopback, a viewer elsewhere.
    Metrics,
    /// To be logged in.
    SignedIn,
    /// To be logged in; the action shows only the DAGs of [`crate::Visible`].
    Listed,
    /// To be allowed this with the DAG that the path names as `dag_id`; with all DAGs where that is `~`.
    Dag(Access),
    /// As [`Rule::Dag`]; where `dag_id` is `~`, as [`Rule::Listed`].
    DagOrListed(Access),
    /// A role: all else, and whatever is about more than one DAG.
    AtLeast(Role),
}

/// Method, path, rule, and the name of the change.
pub(crate) type Row = (&'static str, &'static str, Rule, Option<&'static str>);

/// A rule with what the audit log calls the change that the route makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub rule: Rule,
    /// `None` for what changes nothing, or writes its own entries.
    pub event: Option<&'static str>,
}

/// Why there is no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The path has none at all.
    Path,
    /// It has some, but not for this method.
    Method,
}

static TABLE: LazyLock<HashMap<String, Vec<(&'static str, Found)>>> = LazyLock::new(|| {
    let mut table: HashMap<String, Vec<(&'static str, Found)>> = HashMap::new();
    for (method, path, rule, event) in rows() {
        table.entry(shape(path)).or_default().push((method, Found { rule, event }));
    }
    table
});

/// All rows of the table.
pub fn rows() -> impl Iterator<Item = Row> {
    airflow::ROWS.iter().chain(own::ROWS).copied()
}

/// The rule of a route, by its method and its path as it was registered; names of parameters do not matter.
///
/// # Errors
/// [`Missing`], where there is none.
pub fn find(method: &str, path: &str) -> Result<Found, Missing> {
    let rules = TABLE.get(&shape(path)).ok_or(Missing::Path)?;
    // Whoever may have the page may ask how long it is.
    let method = if method == "HEAD" { "GET" } else { method };
    rules.iter().find(|(known, _)| *known == method).map(|(_, found)| *found).ok_or(Missing::Method)
}

/// A path with the names of its parameters taken out.
fn shape(path: &str) -> String {
    let mut parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shape, part| shape + "/" + part)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_is_reasonable() {
        let mut seen = HashSet::new();
        for (method, path, rule, event) in rows() {
            assert!(seen.insert((method, shape(path))), "{method} {path} is there twice");
            let is_of_a_dag = path.contains("{dag_id}");
            let asks_for_dag = matches!(rule, Rule::Dag(_) | Rule::DagOrListed(_) | Rule::Signature);
            assert_eq!(asks_for_dag, is_of_a_dag, "{method} {path}");
            if method == "GET" {
                assert_eq!(event, None, "{path}: reading is no event");
            }
            // What is listed by POST stands in the place of an id.
            let is_list = path.ends_with("/list") || (method == "POST" && path.ends_with("_id}"));
            let changes_nothing = path.ends_with("/dry_run") || path.ends_with("/validate");
            let is_known = event.is_some() || changes_nothing || is_list || rule == Rule::Signature;
            let writes_its_own = !path.starts_with("/api/") && !path.starts_with("/dags/");
            assert!(method == "GET" || is_known || writes_its_own, "{method} {path} leaves no trace");
            if event.is_some() {
                let may_look = [Rule::Open, Rule::Metrics, Rule::Listed, Rule::AtLeast(Role::Viewer)];
                assert!(!may_look.contains(&rule), "{method} {path} lets viewers change something");
            }
        }
    }

    #[test]
    fn rules_are_found_by_shape() {
        let found = find("GET", "/api/v2/dags/{dag_id}/dagRuns/{run_id}").unwrap();
        assert_eq!(found.rule, Rule::Dag(Access::Read));
        assert_eq!(find("HEAD", "/").unwrap().rule, Rule::Listed);
        assert_eq!(find("DELETE", "/health"), Err(Missing::Method));
        assert_eq!(find("GET", "/nowhere"), Err(Missing::Path));
        assert_eq!(find("GET", "/api/v2/dags/{dag_id}/new"), Err(Missing::Path));
    }
}
