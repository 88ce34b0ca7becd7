//! `towpath data schema`, `towpath data profile` and `towpath data plan`

use serde_json::{Value, json};
use towpath_model::etl::look::{Reader as _, profile};

use super::which::{self, Form};
use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  towpath data schema flights_etl checked
  towpath data schema flights_etl checked -o json")]
pub(crate) struct SchemaArgs {
    #[command(flatten)]
    which: which::Args,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The profile was taken while the data was written, of all its rows. Different values are counted up to 1,000, beyond that they are \
estimated to about 2%.

Examples:
  towpath data profile flights_etl checked
  towpath data profile flights_etl checked -o csv")]
pub(crate) struct ProfileArgs {
    #[command(flatten)]
    which: which::Args,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What each operator of a data task has done in its last try, from the writer down to the sources; what an operator reads from stands \
below it, further in. Time is that of its own work, of all threads together.

Examples:
  towpath data plan flights_etl checked")]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    which: which::Args,
}

pub(crate) async fn schema(args: &SchemaArgs, session: &Session) -> anyhow::Result<Outcome> {
    let which = &args.which;
    let set = which.set(session).await?;
    let columns = set.inspector.columns(which.owner(), &set.manifest)?;
    let cells = columns.iter().map(|it| vec![json!(it.name), json!(it.sql), text(&it.arrow), yes(it.nullable)]);
    which::print(which.output, &["column", "type", "arrow", "nulls"], cells, &columns)?;
    which.remark(&set, &format!("{} columns", columns.len()));
    Ok(Outcome::Success)
}

pub(crate) async fn profile_of(args: &ProfileArgs, session: &Session) -> anyhow::Result<Outcome> {
    let which = &args.which;
    let set = which.set(session).await?;
    let columns = profile(&set.manifest);
    let cells = columns.iter().map(|it| {
        let top: Vec<String> = it.top.iter().map(|top| format!("{} ({})", top.value, top.count)).collect();
        let mean = it.mean.map_or(Value::String(String::new()), |mean| json!(rounded(mean)));
        let known = |value: &Option<Value>| value.clone().unwrap_or_else(|| json!(""));
        vec![
            json!(it.name),
            json!(it.kind),
            json!(it.nulls),
            json!(it.distinct),
            known(&it.min),
            known(&it.max),
            mean,
            json!(top.join(", ")),
        ]
    });
    let headings = ["column", "type", "nulls", "distinct", "min", "max", "mean", "top"];
    which::print(which.output, &headings, cells, &columns)?;
    which.remark(&set, &format!("{} rows", set.manifest.rows));
    Ok(Outcome::Success)
}

pub(crate) async fn plan(args: &PlanArgs, session: &Session) -> anyhow::Result<Outcome> {
    let which = &args.which;
    let found = which.run(session).await?;
    let (_, plan) = match found.store.measured_plan(&found.run, &which.task_id, which.map_index).await? {
        Ok(found_plan) => found_plan,
        Err(trouble) => return Err(which.told(trouble, &found.dag)),
    };
    let cells = plan.operators.iter().map(|it| {
        vec![
            json!(it.rows_out),
            json!(format!("{:.1} ms", it.elapsed_ms)),
            json!(it.memory_bytes),
            json!(it.spilled_bytes),
            json!(format!("{}{}", "  ".repeat(it.depth), it.name)),
            json!(it.detail),
        ]
    });
    which::print(which.output, &["rows", "time", "memory", "spilled", "operator", "detail"], cells, &plan)?;
    if which.output == Form::Table {
        output::remark(format!(
            "{} rows and {} bytes in, {:.3} s, at most {} bytes in memory, in run `{}`",
            plan.rows_in, plan.bytes_in, plan.seconds, plan.peak_memory_bytes, found.run.run_id
        ));
    }
    Ok(Outcome::Success)
}

fn text(given: &Option<String>) -> Value {
    json!(given.as_deref().unwrap_or_default())
}

fn yes(given: Option<bool>) -> Value {
    json!(match given {
        Some(true) => "yes",
        Some(false) => "no",
        None => "",
    })
}

/// Six digits are enough for people.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}
