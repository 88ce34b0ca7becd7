//! What a change of a schedule changes: runs that come, go or move.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Serialize;

use super::Fire;

/// The difference between the runs of two versions of a DAG, each list in the order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    pub added: Vec<Fire>,
    pub removed: Vec<Fire>,
    /// At another time.
    pub moved: Vec<Moved>,
    /// At the same time, for another logical date or data interval.
    pub redated: Vec<Moved>,
    pub unchanged: usize,
}

/// A run before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Moved {
    pub from: Fire,
    pub to: Fire,
}

impl Changes {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.moved.is_empty() && self.redated.is_empty()
    }
}

/// Compares the runs of two versions within the same span. What went and what came are taken for one run that
/// has moved when both are of one logical date, or of one day in `zone` that had and has equally many, or are
/// nearest to each other and nearer than half a step of the old schedule.
#[must_use]
pub fn diff(old: &[Fire], new: &[Fire], zone: Tz) -> Changes {
    let mut changes = Changes::default();
    let by_time: HashMap<DateTime<Utc>, Fire> = new.iter().map(|fire| (fire.run_after, *fire)).collect();
    let kept: HashMap<DateTime<Utc>, Fire> = old.iter().map(|fire| (fire.run_after, *fire)).collect();
    let mut removed = Vec::new();
    for fire in old {
        match by_time.get(&fire.run_after) {
            Some(same) if same == fire => changes.unchanged += 1,
            Some(other) => changes.redated.push(Moved { from: *fire, to: *other }),
            None => removed.push(*fire),
        }
    }
    let mut added: Vec<Fire> = new.iter().filter(|fire| !kept.contains_key(&fire.run_after)).copied().collect();
    pair_by_date(&mut removed, &mut added, &mut changes.moved);
    pair_by_day(&mut removed, &mut added, zone, &mut changes.moved);
    pair_by_distance(&mut removed, &mut added, step(old) / 2, &mut changes.moved);
    changes.moved.sort_by_key(|moved| moved.from.run_after);
    changes.added = added;
    changes.removed = removed;
    changes
}

fn pair_by_date(removed: &mut Vec<Fire>, added: &mut Vec<Fire>, moved: &mut Vec<Moved>) {
    let mut by_date: HashMap<DateTime<Utc>, Fire> = added.iter().map(|fire| (fire.logical_date, *fire)).collect();
    removed.retain(|from| {
        let to = by_date.remove(&from.logical_date);
        moved.extend(to.map(|to| Moved { from: *from, to }));
        to.is_none()
    });
    added.retain(|fire| by_date.contains_key(&fire.logical_date));
}

fn pair_by_day(removed: &mut Vec<Fire>, added: &mut Vec<Fire>, zone: Tz, moved: &mut Vec<Moved>) {
    let day = |fire: &Fire| fire.run_after.with_timezone(&zone).date_naive();
    let mut days: BTreeMap<NaiveDate, (Vec<Fire>, Vec<Fire>)> = BTreeMap::new();
    for fire in removed.drain(..) {
        days.entry(day(&fire)).or_default().0.push(fire);
    }
    for fire in added.drain(..) {
        days.entry(day(&fire)).or_default().1.push(fire);
    }
    for (gone, come) in days.into_values() {
        if gone.len() == come.len() {
            moved.extend(gone.into_iter().zip(come).map(|(from, to)| Moved { from, to }));
        } else {
            removed.extend(gone);
            added.extend(come);
        }
    }
}

fn pair_by_distance(removed: &mut Vec<Fire>, added: &mut Vec<Fire>, most: TimeDelta, moved: &mut Vec<Moved>) {
    let nearest = |to: &Fire, among: &[Fire]| {
        let after = among.partition_point(|fire| fire.run_after < to.run_after);
        let near = [after.checked_sub(1), Some(after)].into_iter().flatten().filter_map(|index| among.get(index));
        near.min_by_key(|fire| (fire.run_after - to.run_after).abs()).copied()
    };
    let pairs: Vec<Moved> = removed
        .iter()
        .filter_map(|from| {
            let to = nearest(from, added)?;
            let is_mutual = nearest(&to, removed) == Some(*from);
            let is_near = (to.run_after - from.run_after).abs() < most;
            (is_mutual && is_near).then_some(Moved { from: *from, to })
        })
        .collect();
    removed.retain(|fire| pairs.iter().all(|pair| pair.from != *fire));
    added.retain(|fire| pairs.iter().all(|pair| pair.to != *fire));
    moved.extend(pairs);
}

/// The step of a schedule: the median distance between its runs; a day where there are too few.
fn step(fires: &[Fire]) -> TimeDelta {
    let mut steps: Vec<TimeDelta> = fires.windows(2).map(|pair| pair[1].run_after - pair[0].run_after).collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied().unwrap_or(TimeDelta::days(1))
}

#[cfg(test)]
mod tests {
    use towpath_model::dag::{Dag, DagSpec};
    use towpath_model::timetable::{Kind, parse};

    use super::super::{Window, fires};
    use super::*;

    fn runs(schedule: &str, kind: Kind) -> Vec<Fire> {
        let mut spec = DagSpec::new("d");
        spec.schedule = parse(schedule, Tz::UTC, kind).unwrap();
        let from = "2026-03-02T00:00:00Z".parse().unwrap();
        fires(&Dag::build(spec).unwrap(), Window { from, to: Some(from + TimeDelta::days(14)), count: 1_000 })
    }

    /// Runs that were added, removed, moved, redated and left as they are.
    #[track_caller]
    fn check(old: &str, new: &str, expected: (usize, usize, usize, usize, usize)) {
        let changes = diff(&runs(old, Kind::Trigger), &runs(new, Kind::Trigger), Tz::UTC);
        let Changes { added, removed, moved, redated, unchanged } = &changes;
        assert_eq!((added.len(), removed.len(), moved.len(), redated.len(), *unchanged), expected, "{old} {new}");
        let changed = expected.0 + expected.1 + expected.2 + expected.3;
        assert_eq!(changes.is_empty(), changed == 0, "{old} {new}");
    }

    #[test]
    fn runs_come_go_and_move() {
        check("@daily", "0 0 * * *", (0, 0, 0, 0, 14));
        check("0 6 * * *", "0 20 * * *", (0, 0, 14, 0, 0));
        check("0 6 * * *", "0 6,18 * * *", (14, 0, 0, 0, 14));
        check("0 6,18 * * *", "0 6 * * *", (0, 14, 0, 0, 14));
        check("0 6 * * 1", "0 6 * * 2", (0, 0, 2, 0, 0));
        check("0 6 * * *", "0 6 * * 1-5", (0, 4, 0, 0, 10));
        check("0 6 * * *", "none", (0, 14, 0, 0, 0));
    }

    #[test]
    fn another_timetable_gives_other_dates() {
        let changes = diff(&runs("@daily", Kind::Trigger), &runs("@daily", Kind::DataInterval), Tz::UTC);
        assert_eq!((changes.redated.len(), changes.unchanged, changes.moved.len()), (14, 0, 0));
    }
}
