//! The `schedule` of a DAG.

use chrono_tz::Tz;
use towpath_model::timetable::{self, Kind as Timetable, Schedule};

use crate::diagnostic::Reporter;
use crate::fields::{duration_of, wrong};
use crate::node::{Kind, Node};

const KEYS: &[&str] = &["cron", "interval", "timezone", "timetable"];

/// Reads a schedule; `zone` is that of crons that do not name one.
pub(crate) fn read(node: &Node, zone: Tz, report: &mut Reporter) -> Option<Schedule> {
    match &node.kind {
        Kind::Null => Some(Schedule::Never),
        Kind::Text(text) => parse(text, node, zone, Timetable::Trigger, report),
        Kind::Int(_) | Kind::Float(_) => every(node, Timetable::Trigger, report),
        Kind::List(items) => several(items, node, zone, Timetable::Trigger, report),
        Kind::Map(_) if node.get("__type__").is_some() => object(node, zone, report),
        Kind::Map(_) => mapping(node, zone, report),
        Kind::Bool(_) => {
            wrong(
                report,
                node,
                "schedule",
                "a cron expression, a preset such as @daily, an interval such as 30m, or null",
            );
            None
        }
    }
}

fn parse(text: &str, node: &Node, zone: Tz, timetable: Timetable, report: &mut Reporter) -> Option<Schedule> {
    match timetable::parse(text, zone, timetable) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            let unknown = matches!(error, timetable::ParseError::Unknown(_));
            let reported = report.error(node.span, format!("`schedule`: {error}"));
            if unknown {
                reported.help(format!("if `{text}` is an asset whose updates start runs, write {{assets: [{text}]}}"));
            }
            None
        }
    }
}

fn every(node: &Node, timetable: Timetable, report: &mut Reporter) -> Option<Schedule> {
    let every = duration_of(node, "schedule", report)?;
    if every.is_zero() {
        report.error(node.span, "`schedule`: an interval has to be longer than nothing");
        return None;
    }
    Some(Schedule::Interval { every, timetable })
}

/// Several crons: the DAG runs whenever one of them fires.
fn several(items: &[Node], node: &Node, zone: Tz, timetable: Timetable, report: &mut Reporter) -> Option<Schedule> {
    let mut all = Vec::new();
    for item in items {
        let Some(text) = item.scalar_text() else {
            wrong(report, item, "schedule", "a cron expression");
            return None;
        };
        match parse(&text, item, zone, timetable, report)? {
            Schedule::Cron { expressions, .. } => all.extend(expressions),
            Schedule::Never | Schedule::Once | Schedule::Continuous | Schedule::Interval { .. } => {
                report
                    .error(item.span, format!("`{text}` cannot stand in a list of schedules"))
                    .help("a list takes cron expressions only");
                return None;
            }
        }
    }
    if all.is_empty() {
        report
            .error(node.span, "`schedule` is an empty list")
            .help("write null for a DAG that runs only when it is triggered");
        return None;
    }
    Some(Schedule::Cron { expressions: all, timezone: zone, timetable })
}

fn mapping(node: &Node, zone: Tz, report: &mut Reporter) -> Option<Schedule> {
    let mut zone = zone;
    let mut timetable = Timetable::Trigger;
    for (key, value) in node.as_map().unwrap_or_default() {
        match key.text.as_str() {
            "timezone" => zone = zone_of(value, "timezone", report)?,
            "timetable" => {
                timetable = match value.as_text() {
                    Some("trigger") => Timetable::Trigger,
                    Some("data_interval") => Timetable::DataInterval,
                    _ => {
                        wrong(report, value, "timetable", "trigger or data_interval");
                        return None;
                    }
                }
            }
            "cron" | "interval" | "every" => {}
            other => {
                report.error(key.span, format!("a schedule has no `{other}`")).suggest(other, KEYS.iter().copied());
                return None;
            }
        }
    }
    if let (Some(_), Some(second)) = (node.get("interval"), node.get("every")) {
        report.error(second.span, "`interval` and `every` mean the same: keep one of them");
        return None;
    }
    match (node.get("cron"), node.get("interval").or_else(|| node.get("every"))) {
        (Some(cron), None) => match &cron.kind {
            Kind::List(items) => several(items, cron, zone, timetable, report),
            _ => cron_of(cron, zone, timetable, report),
        },
        (None, Some(interval)) => every(interval, timetable, report),
        (Some(_), Some(second)) => {
            report.error(second.span, "a schedule has either `cron` or `interval`, not both");
            None
        }
        (None, None) => {
            report
                .error(node.span, "a schedule needs `cron` or `interval`")
                .help("for example {cron: \"0 6 * * 1-5\", timezone: Europe/Berlin}");
            None
        }
    }
}

/// A cron expression, and nothing else that a schedule may be.
fn cron_of(node: &Node, zone: Tz, timetable: Timetable, report: &mut Reporter) -> Option<Schedule> {
    match node.as_text() {
        Some(text) => parse(text, node, zone, timetable, report),
        None => {
            wrong(report, node, "cron", "a cron expression such as \"0 6 * * 1-5\"");
            None
        }
    }
}

/// dag-factory's `{__type__: ...}`: Airflow's timetables and timedelta.
fn object(node: &Node, zone: Tz, report: &mut Reporter) -> Option<Schedule> {
    let class = node.get("__type__").and_then(Node::as_text).unwrap_or_default();
    let short = class.rsplit('.').next().unwrap_or_default();
    let (timetable, what) = match short {
        "timedelta" | "duration" => return every(node, Timetable::Trigger, report),
        "CronTriggerTimetable" => (Timetable::Trigger, "cron"),
        "MultipleCronTriggerTimetable" => (Timetable::Trigger, "crons"),
        "DeltaTriggerTimetable" => (Timetable::Trigger, "delta"),
        "CronDataIntervalTimetable" => (Timetable::DataInterval, "cron"),
        "DeltaDataIntervalTimetable" => (Timetable::DataInterval, "delta"),
        _ => {
            report
                .error(node.span, format!("`schedule` cannot be made from `{class}`"))
                .help("known are datetime.timedelta and Airflow's Cron and Delta timetables");
            return None;
        }
    };
    let known = ["__type__", "__args__", "timezone", what];
    if let Some((key, _)) = node.as_map()?.iter().find(|(key, _)| !known.contains(&key.text.as_str())) {
        report.error(key.span, format!("`{}` of `{short}` is not supported", key.text)).suggest_or(
            &key.text,
            known,
            || Some(format!("what is read of it is `{what}` and `timezone`")),
        );
        return None;
    }
    let args = node.get("__args__").and_then(Node::as_list).unwrap_or_default();
    // `MultipleCronTriggerTimetable(*crons, timezone=...)`; the others take what they are about, and then the zone.
    let (first, second) = if what == "crons" { (None, None) } else { (args.first(), args.get(1)) };
    if let Some(extra) = args.get(2).filter(|_| what != "crons") {
        report.error(extra.span, format!("`{short}` takes at most two arguments: `{what}` and `timezone`"));
        return None;
    }
    let zone = match node.get("timezone").or(second) {
        Some(value) => zone_of(value, "timezone", report)?,
        None => zone,
    };
    let missing = |report: &mut Reporter| {
        report.error(node.span, format!("`{short}` needs `{what}`"));
        None
    };
    match what {
        "crons" => several(node.get("crons").and_then(Node::as_list).unwrap_or(args), node, zone, timetable, report),
        "delta" => match node.get("delta").or(first) {
            Some(delta) => every(delta, timetable, report),
            None => missing(report),
        },
        _ => match node.get("cron").or(first) {
            Some(cron) => cron_of(cron, zone, timetable, report),
            None => missing(report),
        },
    }
}

/// A time zone.
pub(crate) fn zone_of(node: &Node, name: &str, report: &mut Reporter) -> Option<Tz> {
    let text = node.scalar_text().unwrap_or_default();
    match Tz::from_str_insensitive(&text) {
        Ok(zone) => Some(zone),
        Err(_) => {
            report
                .error(node.span, format!("`{name}`: there is no time zone `{text}`"))
                .suggest(&text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
            None
        }
    }
}
