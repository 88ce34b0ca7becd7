//! The preview for people.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use towpath_model::timetable::ClockMark;
use towpath_scheduler::preview::calendar::Making;
use towpath_scheduler::preview::diff::Moved;
use towpath_scheduler::preview::report::{DagPreview, FirePreview, Preview, length};
use towpath_scheduler::preview::simulate::Collision;

use super::changes::{DagChanges, Presence};
use crate::output;

/// Changes of one DAG that are listed; JSON and YAML have all.
const MOST_CHANGES: usize = 20;

pub(super) fn render(preview: &Preview, changes: Option<&[DagChanges]>) -> String {
    let mut text = runs(preview);
    section(&mut text, "Not foreseen", preview.dags.iter().filter_map(remark));
    section(&mut text, "Left out by a change of clocks", preview.dags.iter().filter_map(left_out));
    if let Some(now) = &preview.now {
        let title = format!("Made at once at a first deployment at {}", short(now));
        section(&mut text, &title, preview.dags.iter().filter_map(catch_up));
    }
    match &preview.collisions {
        Some(found) if found.is_empty() => text.push_str("\nThere is room for all runs and tasks.\n"),
        Some(found) => section(&mut text, "Not enough room", found.iter().map(collision)),
        None => section(&mut text, "Not enough room", preview.collisions_unknown.iter().cloned()),
    }
    section(&mut text, "Assumed", preview.assumptions.iter().cloned());
    if let Some(changes) = changes {
        if changes.is_empty() {
            text.push_str("\nThe schedules are the same as in the other version.\n");
        } else {
            section(&mut text, "Changed since the other version", changes.iter().flat_map(change));
        }
    }
    text
}

fn section(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    if !lines.is_empty() {
        text.push_str(&format!("\n{title}:\n"));
        lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
}

fn runs(preview: &Preview) -> String {
    let mut rows: Vec<(DateTime<Utc>, &DagPreview, &FirePreview)> =
        preview.dags.iter().flat_map(|dag| dag.fires.iter().map(move |fire| (fire.at, dag, fire))).collect();
    if rows.is_empty() {
        return format!("No run is due from {} to {}.\n", short(&preview.from), short(&preview.to));
    }
    rows.sort_by_key(|(at, dag, _)| (*at, dag.dag_id.as_str()));
    let cells = rows.into_iter().map(|(at, dag, fire)| {
        let interval = if fire.data_interval_start == fire.data_interval_end {
            String::new()
        } else {
            format!("{} .. {}", short(&fire.data_interval_start), short(&fire.data_interval_end))
        };
        let local = format!("{} {}", fire.local.get(..16).unwrap_or(&fire.local).replace('T', " "), dag.timezone);
        vec![output::time(at), local, dag.dag_id.clone(), short(&fire.logical_date), interval, marks(fire)]
    });
    output::table(&["run_after", "local", "dag_id", "logical_date", "data_interval", "remarks"], cells)
}

/// What is special about a run.
fn marks(fire: &FirePreview) -> String {
    let clock = match fire.clock {
        Some(ClockMark::Skipped { asked_for }) => Some(format!("clocks skip {}", asked_for.format("%H:%M"))),
        Some(ClockMark::DoubledFirst) => Some("this time comes twice: the first".to_owned()),
        Some(ClockMark::DoubledSecond) => Some("this time comes twice: the second".to_owned()),
        None => None,
    };
    let making = match fire.making {
        Making::OnTime => None,
        Making::CatchUp => Some("made at once".to_owned()),
        Making::Missed => Some("never made".to_owned()),
    };
    clock.into_iter().chain(making).collect::<Vec<_>>().join(", ")
}

fn remark(dag: &DagPreview) -> Option<String> {
    let cut = dag.is_cut.then(|| format!("has more than {} runs; the rest is not looked at", dag.fires.len()));
    let remark = dag.remark.map(str::to_owned).or(cut)?;
    Some(format!("{} {remark}", dag.dag_id))
}

fn left_out(dag: &DagPreview) -> Option<String> {
    let times: Vec<String> = dag.left_out.iter().map(|time| time.get(..16).unwrap_or(time).replace('T', " ")).collect();
    (!times.is_empty()).then(|| format!("{}: {} ({})", dag.dag_id, times.join(", "), dag.timezone))
}

fn catch_up(dag: &DagPreview) -> Option<String> {
    let made = dag.catch_up.as_ref()?;
    let (first, last) = (short(&made.first_logical_date), short(&made.last_logical_date));
    Some(match made.runs {
        1 => format!("{}: 1 run, of {first}", dag.dag_id),
        runs => {
            let more = if made.is_cut { "more than " } else { "" };
            format!("{}: {more}{runs} runs, of {first} to {last}", dag.dag_id)
        }
    })
}

fn collision(collision: &Collision) -> String {
    match collision {
        Collision::RunsWait { dag_id, from, to, max_active_runs, runs, most_waiting, longest_wait_s } => {
            let wait = length(TimeDelta::seconds(*longest_wait_s));
            format!(
                "{} .. {}: {runs} {} up to {wait} late, {most_waiting} waiting at once (max_active_runs {max_active_runs})",
                output::time(*from),
                output::time(*to),
                if *runs == 1 { format!("run of {dag_id} starts") } else { format!("runs of {dag_id} start") },
            )
        }
        Collision::RunsDropped { dag_id, first, last, max_active_runs, runs } => format!(
            "{} .. {}: {runs} {} of {dag_id} never made, since a later one was due before there was room (max_active_runs \
             {max_active_runs}, no catchup)",
            output::time(*first),
            output::time(*last),
            if *runs == 1 { "run is" } else { "runs are" },
        ),
        Collision::PoolFull { pool, slots, from, to, most_wanted, dag_ids } => format!(
            "{} .. {}: pool `{pool}` has {slots} slots and up to {most_wanted} are wanted, by {}",
            output::time(*from),
            output::time(*to),
            dag_ids.join(", "),
        ),
        Collision::NeverStarts { dag_id, task_id, pool, pool_slots, slots } => {
            format!(
                "always: {dag_id}.{task_id} wants {pool_slots} slots of pool `{pool}`, which has {slots}: it never starts"
            )
        }
    }
}

fn change(dag: &DagChanges) -> Vec<String> {
    let changes = &dag.changes;
    let counts = [
        ("moved", changes.moved.len()),
        ("with other dates", changes.redated.len()),
        ("added", changes.added.len()),
        ("removed", changes.removed.len()),
    ];
    let mut head = counts.iter().filter(|(_, count)| *count > 0).fold(String::new(), |mut head, (what, count)| {
        let comma = if head.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(head, "{comma}{count} {what}");
        head
    });
    if head.is_empty() {
        head.push_str("no runs in this span");
    }
    let is = match dag.is {
        Presence::New => " (a new DAG)",
        Presence::Gone => " (the DAG is gone)",
        Presence::InBoth => "",
    };
    let mut details: Vec<(DateTime<Utc>, String)> = Vec::new();
    for Moved { from, to } in &changes.moved {
        let by = to.run_after - from.run_after;
        let sign = if by < TimeDelta::zero() { "-" } else { "+" };
        let by = length(by.abs());
        let (was, is) = (output::time(from.run_after), output::time(to.run_after));
        details.push((from.run_after, format!("  moved    {was} -> {is} ({sign}{by})")));
    }
    for Moved { from, to } in &changes.redated {
        let (was, is) = (output::time(from.logical_date), output::time(to.logical_date));
        let at = output::time(from.run_after);
        details.push((from.run_after, format!("  redated  {at}: logical date {was} -> {is}")));
    }
    details
        .extend(changes.added.iter().map(|run| (run.run_after, format!("  added    {}", output::time(run.run_after)))));
    details.extend(
        changes.removed.iter().map(|run| (run.run_after, format!("  removed  {}", output::time(run.run_after)))),
    );
    details.sort();
    let more = details.len().saturating_sub(MOST_CHANGES);
    let mut lines = vec![format!("{}: {head}{is}", dag.dag_id)];
    lines.extend(details.into_iter().take(MOST_CHANGES).map(|(_, line)| line));
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    lines
}

/// A time in RFC 3339 as people read it: to the minute, with a `Z`.
fn short(time: &str) -> String {
    time.get(..16).map_or_else(|| time.to_owned(), |time| format!("{}Z", time.replace('T', " ")))
}
