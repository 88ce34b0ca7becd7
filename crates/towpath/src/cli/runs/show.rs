//! `towpath runs show`

use chrono::{DateTime, Utc};
use serde::Serialize;
use towpath_model::state::TaskState;
use towpath_store::{DeadlineRecord, TaskInstanceRecord};

use super::Shown;
use crate::exit::Outcome;
use crate::output::{self, Format, OutputArgs, Row};
use crate::session::{Session, find_run};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The DAG
    dag_id: String,
    /// The run [default: the newest of the DAG]
    run_id: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// A task instance as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct Instance {
    task_id: String,
    map_index: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    rendered_map_index: Option<String>,
    #[serde(skip)]
    shown_index: Option<String>,
    state: String,
    try_number: u32,
    max_tries: u32,
    start_date: Option<String>,
    end_date: Option<String>,
    duration_s: Option<f64>,
    available_at: Option<String>,
    pool: String,
    queue: String,
    hostname: Option<String>,
    note: Option<String>,
    #[serde(skip)]
    duration: String,
}

/// The word for a state in a sentence; most tasks have none before their turn.
pub(crate) fn state_word(state: TaskState) -> String {
    if state == TaskState::None { "it waits for its turn".to_owned() } else { format!("it is {state}") }
}

impl Instance {
    pub(crate) fn new(instance: TaskInstanceRecord, now: DateTime<Utc>) -> Self {
        // What ended without a try has been decided, and that takes no time.
        let start_date = instance.start_date.filter(|_| instance.try_number > 0);
        let span = output::span(start_date, instance.end_date, now);
        let shown_index = instance.shown_index();
        Self {
            task_id: instance.key.task_id,
            shown_index,
            map_index: instance.key.map_index,
            rendered_map_index: instance.rendered_map_index,
            state: instance.state.to_string(),
            try_number: instance.try_number,
            max_tries: instance.max_tries,
            start_date: instance.start_date.map(output::rfc3339),
            end_date: instance.end_date.map(output::rfc3339),
            duration_s: output::seconds(span),
            available_at: instance.available_at.map(output::rfc3339),
            pool: instance.pool,
            queue: instance.queue,
            hostname: instance.hostname,
            note: instance.note,
            duration: output::humanize(span),
        }
    }
}

impl Row for Instance {
    const HEADINGS: &'static [&'static str] = &["task_id", "state", "try", "duration", "note"];

    fn cells(&self) -> Vec<String> {
        let task_id = match &self.shown_index {
            None => self.task_id.clone(),
            Some(index) => format!("{}[{index}]", self.task_id),
        };
        let tried = if self.try_number == 0 { String::new() } else { self.try_number.to_string() };
        vec![task_id, self.state.clone(), tried, self.duration.clone(), self.note.clone().unwrap_or_default()]
    }
}

/// A run with its tasks, for programs.
#[derive(Debug, Serialize)]
struct Whole {
    #[serde(flatten)]
    run: Shown,
    deadlines: Vec<Deadline>,
    task_instances: Vec<Instance>,
}

/// A deadline that the run has missed, or may miss yet.
#[derive(Debug, Serialize)]
struct Deadline {
    name: Option<String>,
    deadline_time: String,
    /// What it counts from, and how long after.
    reference: String,
    interval_s: f64,
    missed_at: Option<String>,
    #[serde(skip)]
    words: String,
}

impl From<DeadlineRecord> for Deadline {
    fn from(deadline: DeadlineRecord) -> Self {
        Self {
            words: deadline.words(),
            name: deadline.name,
            deadline_time: output::rfc3339(deadline.deadline_time),
            reference: deadline.reference,
            interval_s: deadline.interval_us as f64 / 1e6,
            missed_at: deadline.missed_at.map(output::rfc3339),
        }
    }
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let store = session.store().await?;
    let run = find_run(&store, &args.dag_id, args.run_id.as_deref()).await?;
    let now = session.now();
    let instances: Vec<Instance> =
        store.task_instances(run.key).await?.into_iter().map(|instance| Instance::new(instance, now)).collect();
    let deadlines: Vec<Deadline> = store.deadlines_of_run(run.key).await?.into_iter().map(Deadline::from).collect();
    let run = Shown::new(run, now);
    match args.output.output {
        Format::Table => {
            output::text(&output::fields(&fields(&run, &deadlines)))?;
            output::line("")?;
            output::list(Format::Table, &instances)?;
        }
        format => output::data(format, &Whole { run, deadlines, task_instances: instances })?,
    }
    Ok(Outcome::Success)
}

fn fields(run: &Shown, deadlines: &[Deadline]) -> Vec<(&'static str, String)> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let interval = match (&run.data_interval_start, &run.data_interval_end) {
        (Some(start), Some(end)) => format!("{start} .. {end}"),
        _ => String::new(),
    };
    let deadlines = deadlines.iter().map(|deadline| {
        let missed = if deadline.missed_at.is_some() { "missed, " } else { "" };
        format!("{} ({missed}{})", deadline.deadline_time, deadline.words)
    });
    vec![
        ("dag_id", run.dag_id.clone()),
        ("run_id", run.run_id.clone()),
        ("state", run.state.clone()),
        ("type", format!("{}, by {}", run.run_type, run.triggered_by)),
        ("logical_date", text(&run.logical_date)),
        ("data_interval", interval),
        ("run_after", run.run_after.clone()),
        ("start_date", text(&run.start_date)),
        ("end_date", text(&run.end_date)),
        ("deadline", deadlines.collect::<Vec<_>>().join(", ")),
        ("duration", run.times.duration.clone()),
        ("version", run.version.to_string()),
        (
            "conf",
            if run.conf.is_empty() { String::new() } else { serde_json::Value::from(run.conf.clone()).to_string() },
        ),
        ("note", text(&run.note)),
    ]
}
