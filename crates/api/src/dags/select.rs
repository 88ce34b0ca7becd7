//! Which DAGs: the filters that lists and changes of many DAGs share.
//!
//! What the database can do alone is left to it; anything else is applied to the DAGs that are left.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use strum::IntoEnumIterator;
use towpath_auth::Visible;
use towpath_model::dag::ASSET_SCHEDULE;
use towpath_model::state::RunState;
use towpath_store::{Compare, DagFilter, DagRecord, Page, RunRecord};

use crate::pattern::Pattern;
use crate::query::{Query, Window};
use crate::versions::BUNDLE_NAME;
use crate::{Problem, Result, State, filter};

/// Every non-empty part narrows.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    ids: Vec<Pattern>,
    names: Vec<Pattern>,
    tags: Vec<String>,
    all_tags: bool,
    owners: Vec<String>,
    paused: Option<bool>,
    with_stale: bool,
    broken: Option<bool>,
    bundle: Option<String>,
    bundle_version: Option<String>,
    timetables: Vec<String>,
    asset_schedule: Option<bool>,
    favorite: Option<bool>,
    last_state: Option<RunState>,
    run_states: Vec<RunState>,
    run_start: Vec<(Compare, DateTime<Utc>)>,
    run_end: Vec<(Compare, DateTime<Utc>)>,
    order: Vec<(&'static str, bool)>,
    /// Those that the caller may see; [`None`] for all.
    among: Option<Vec<String>>,
}

const ORDERS: &[&str] = &[
    "dag_id",
    "dag_display_name",
    "is_paused",
    "next_dagrun",
    "last_run_state",
    "last_run_start_date",
    "last_parsed_time",
];

impl Selection {
    pub(crate) fn read(query: &mut Query) -> Result<Self> {
        let states: Vec<&str> = RunState::iter().map(Into::into).collect();
        let mode = query.text("tags_match_mode");
        if let Some(other) = mode.as_deref().filter(|mode| !["any", "all"].contains(mode)) {
            query.problem(Problem::word("query", "tags_match_mode", &["any", "all"], other.into()));
        }
        Ok(Self {
            order: query.order(ORDERS)?,
            ids: filter::patterns(query, "dag_id"),
            names: filter::patterns(query, "dag_display_name"),
            tags: query.texts("tags"),
            all_tags: mode.as_deref() == Some("all"),
            owners: query.texts("owners"),
            paused: query.flag("paused"),
            with_stale: !query.flag("exclude_stale").unwrap_or(true),
            broken: query.flag("has_import_errors"),
            bundle: query.text("bundle_name"),
            bundle_version: query.text("bundle_version"),
            timetables: query.texts("timetable_type"),
            asset_schedule: query.flag("has_asset_schedule"),
            favorite: query.flag("is_favorite"),
            last_state: query.words("last_dag_run_state", &states).pop(),
            run_states: query.words("dag_run_state", &states),
            run_start: filter::times(query, "dag_run_start_date"),
            run_end: filter::times(query, "dag_run_end_date"),
            among: None,
        })
    }

    /// Only what the caller may see.
    pub(crate) fn visible_to(self, visible: Visible) -> Self {
        Self { among: visible.among, ..self }
    }

    /// Whether the database can do all of it.
    fn is_plain(&self) -> bool {
        self.ids.is_empty()
            && self.names.is_empty()
            && self.tags.is_empty()
            && self.owners.is_empty()
            && self.broken.is_none()
            && self.bundle.is_none()
            && self.bundle_version.is_none()
            && self.timetables.is_empty()
            && self.asset_schedule.is_none()
            && self.favorite != Some(true)
            && !self.needs_runs()
            && matches!(self.order.as_slice(), [] | [("dag_id", false)])
    }

    fn needs_runs(&self) -> bool {
        self.last_state.is_some()
            || !self.run_states.is_empty()
            || !self.run_start.is_empty()
            || !self.run_end.is_empty()
            || self.order.iter().any(|(name, _)| name.starts_with("last_run"))
    }

    pub(crate) async fn find(
        &self,
        state: &State,
        window: Window,
        broken: &HashSet<String>,
    ) -> Result<Page<DagRecord>> {
        let mut plain = DagFilter {
            id_contains: None,
            paused: self.paused,
            include_stale: self.with_stale,
            among: self.among.clone(),
            limit: window.limit,
            offset: window.offset,
        };
        if self.is_plain() {
            return Ok(state.store.dags(&plain).await?);
        }
        (plain.limit, plain.offset) = (i32::MAX as u32, 0);
        let mut records = state.store.dags(&plain).await?.items;
        records.retain(|record| self.fits(record, broken));
        let names = self.names(state, &records).await?;
        records.retain(|record| {
            self.names.iter().all(|pattern| names.get(&record.dag_id).is_some_and(|name| pattern.fits(name)))
        });
        let mut runs = HashMap::new();
        if self.needs_runs() {
            let ids: Vec<String> = records.iter().map(|record| record.dag_id.clone()).collect();
            for (dag_id, mut newest) in state.store.run_stats(&ids, 1).await? {
                runs.extend(newest.pop().map(|run| (dag_id, run)));
            }
            records.retain(|record| self.fits_run(runs.get(&record.dag_id)));
        }
        records.sort_by(|a, b| self.compare(a, b, &names, &runs));
        let total = records.len() as u64;
        Ok(Page { items: window.of(records), total })
    }

    fn fits(&self, record: &DagRecord, broken: &HashSet<String>) -> bool {
        let has_tag = |tag: &String| record.tags.contains(tag);
        let tagged = match (self.tags.is_empty(), self.all_tags) {
            (true, _) => true,
            (false, true) => self.tags.iter().all(has_tag),
            (false, false) => self.tags.iter().any(has_tag),
        };
        tagged
            && self.ids.iter().all(|pattern| pattern.fits(&record.dag_id))
            && (self.owners.is_empty() || self.owners.iter().any(|owner| record.owners.contains(owner)))
            && self.broken.is_none_or(|asked| asked == broken.contains(&record.file))
            && self.bundle.as_ref().is_none_or(|name| name == BUNDLE_NAME)
            // DAG files have no versions but their own.
            && self.bundle_version.is_none()
            // Nobody has favourites.
            && self.favorite != Some(true)
            && (self.timetables.is_empty() || self.timetables.iter().any(|name| record.schedule.contains(name.as_str())))
            && self.asset_schedule.is_none_or(|asked| asked == record.schedule.starts_with(ASSET_SCHEDULE))
    }

    fn fits_run(&self, run: Option<&RunRecord>) -> bool {
        let in_state = |states: &[RunState]| run.is_some_and(|run| states.contains(&run.state));
        self.last_state.is_none_or(|state| in_state(&[state]))
            && (self.run_states.is_empty() || in_state(&self.run_states))
            && filter::within(&self.run_start, run.and_then(|run| run.start_date))
            && filter::within(&self.run_end, run.and_then(|run| run.end_date))
    }

    /// What DAGs are shown as, where that is asked about.
    async fn names(&self, state: &State, records: &[DagRecord]) -> Result<HashMap<String, String>> {
        let mut names = HashMap::new();
        if self.names.is_empty() && !self.order.iter().any(|(name, _)| *name == "dag_display_name") {
            return Ok(names);
        }
        for record in records {
            let dag = state.store.dag_of_version(record.version_id).await?;
            let name = dag.spec().display_name.clone().unwrap_or_else(|| record.dag_id.clone());
            names.insert(record.dag_id.clone(), name);
        }
        Ok(names)
    }

    fn compare(
        &self,
        a: &DagRecord,
        b: &DagRecord,
        names: &HashMap<String, String>,
        runs: &HashMap<String, RunRecord>,
    ) -> Ordering {
        let run = |record: &DagRecord| runs.get(&record.dag_id);
        self.order
            .iter()
            .map(|(name, descends)| {
                let ordering = match *name {
                    "dag_display_name" => names.get(&a.dag_id).cmp(&names.get(&b.dag_id)),
                    "is_paused" => a.is_paused.cmp(&b.is_paused),
                    "next_dagrun" => a.next_run.map(|run| run.run_after).cmp(&b.next_run.map(|run| run.run_after)),
                    "last_run_state" => run(a).map(|run| run.state.as_ref()).cmp(&run(b).map(|run| run.state.as_ref())),
                    "last_run_start_date" => run(a).map(|run| run.start_date).cmp(&run(b).map(|run| run.start_date)),
                    "last_parsed_time" => a.last_parsed_at.cmp(&b.last_parsed_at),
                    _ => a.dag_id.cmp(&b.dag_id),
                };
                if *descends { ordering.reverse() } else { ordering }
            })
            .find(|ordering| ordering.is_ne())
            .unwrap_or_else(|| a.dag_id.cmp(&b.dag_id))
    }
}
