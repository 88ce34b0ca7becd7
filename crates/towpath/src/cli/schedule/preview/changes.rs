//! What differs between two versions of DAG files.

use std::collections::BTreeMap;

use serde::Serialize;
use towpath_model::dag::Dag;
use towpath_scheduler::preview::calendar::{MOST_FIRES, Span};
use towpath_scheduler::preview::diff::{Changes, diff};
use towpath_scheduler::preview::report::zone;
use towpath_scheduler::preview::{Fire, Window, fires};

use super::Found;

/// How the runs of a DAG have changed.
#[derive(Debug, Serialize)]
pub(super) struct DagChanges {
    pub(super) dag_id: String,
    pub(super) is: Presence,
    #[serde(flatten)]
    pub(super) changes: Changes,
}

/// In which of the versions a DAG is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Presence {
    New,
    Gone,
    InBoth,
}

/// The changes by DAG; those without any are left out.
pub(super) fn between(old: &[Found], new: &[Found], span: Span) -> Vec<DagChanges> {
    let by_id = |found: &[Found]| found.iter().map(|found| found.dag.id().to_owned()).collect::<Vec<_>>();
    let mut ids: Vec<String> = by_id(old).into_iter().chain(by_id(new)).collect();
    ids.sort_unstable();
    ids.dedup();
    let index = |found| -> BTreeMap<&str, &Dag> { index(found) };
    let (old, new) = (index(old), index(new));
    let mut changed = Vec::new();
    for dag_id in ids {
        let (before, after) = (old.get(dag_id.as_str()), new.get(dag_id.as_str()));
        let is = match (before, after) {
            (Some(_), Some(_)) => Presence::InBoth,
            (None, _) => Presence::New,
            (_, None) => Presence::Gone,
        };
        let Some(shown) = after.or(before) else { continue };
        let runs = |dag: Option<&&Dag>| dag.map(|dag| runs(dag, span)).unwrap_or_default();
        let changes = diff(&runs(before), &runs(after), zone(shown));
        if is != Presence::InBoth || !changes.is_empty() {
            changed.push(DagChanges { dag_id, is, changes });
        }
    }
    changed
}

fn index(found: &[Found]) -> BTreeMap<&str, &Dag> {
    found.iter().map(|found| (found.dag.id(), &found.dag)).collect()
}

fn runs(dag: &Dag, span: Span) -> Vec<Fire> {
    fires(dag, Window { from: span.from, to: Some(span.to), count: MOST_FIRES })
}
