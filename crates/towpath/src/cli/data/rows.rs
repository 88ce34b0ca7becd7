//! `towpath data head` and `towpath data rejects`

use serde_json::{Value, json};
use towpath_model::etl::look::{Bounds, Reader as _, Rows, rules};

use super::loads;
use super::which::{self, Form, harmless};
use crate::exit::Outcome;
use crate::output;
use crate::session::Session;

/// Most rows that are shown.
const MOST_ROWS: i64 = 100_000;
/// Bytes of all values together.
const MOST_BYTES: usize = 256 * 1024 * 1024;
/// Characters of a value in a table.
const CELL_CHARS: usize = 60;
/// Characters of a value elsewhere.
const WHOLE_CHARS: usize = 1024 * 1024;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads no more of the files than it takes. A table cuts long values (…); the other forms have them in full.
Of a load it shows what its files or its table hold now.

Examples:
  towpath data head flights_etl checked
  towpath data head flights_etl checked manual__2026-11-22 --rows 1000 -o csv > checked.csv")]
pub(crate) struct Args {
    #[command(flatten)]
    which: which::Args,
    /// Rows that are shown
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(i64).range(1..=MOST_ROWS))]
    rows: i64,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Rows that `validate` has put aside (`on_error: reject`), as they came, with the rules that each one broke in `_rejected_by`.

Examples:
  towpath data rejects flights_etl checked
  towpath data rejects flights_etl checked --rows 100 -o json")]
pub(crate) struct RejectsArgs {
    #[command(flatten)]
    which: which::Args,
    /// Rows that are shown
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(i64).range(1..=MOST_ROWS))]
    rows: i64,
}

fn bounds(form: Form, rows: i64) -> Bounds {
    Bounds {
        rows: usize::try_from(rows).unwrap_or(usize::MAX),
        bytes: MOST_BYTES,
        cell_chars: if form == Form::Table { CELL_CHARS } else { WHOLE_CHARS },
        columns: usize::MAX,
    }
}

pub(crate) async fn head(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let which = &args.which;
    let bounds = bounds(which.output, args.rows);
    if let Some(loaded) = loads::head(which, session, &bounds).await? {
        print(which.output, &loaded.rows, &loaded.rows.objects())?;
        if which.output == Form::Table {
            let about = format!("the first {} rows that are in `{}` now", loaded.rows.rows.len(), loaded.place);
            output::remark(format!("{about}; task `{}` loads into it", which.task_id));
        }
        return Ok(Outcome::Success);
    }
    let set = which.set(session).await?;
    let found = set.inspector.head(which.owner(), &set.manifest, &bounds)?;
    print(which.output, &found, &found.objects())?;
    which.remark(&set, &format!("{} of {} rows", found.rows.len(), found.total_rows));
    Ok(Outcome::Success)
}

pub(crate) async fn rejects(args: &RejectsArgs, session: &Session) -> anyhow::Result<Outcome> {
    let which = &args.which;
    let set = which.set(session).await?;
    let bounds = bounds(which.output, args.rows);
    let found = set.inspector.rejects(which.owner(), &set.manifest, &bounds)?;
    let rules = rules(&set.manifest);
    if which.output == Form::Table {
        for rule in &rules {
            output::remark(format!("{:>10} rows broke {}", rule.count, harmless(&rule.value)));
        }
    }
    if found.rows.is_empty() && matches!(which.output, Form::Table | Form::Csv) {
        which.remark(&set, "no row was rejected: 0 rejects");
        return Ok(Outcome::Success);
    }
    let told: Vec<Value> = rules.iter().map(|rule| json!({"rule": rule.value, "rows": rule.count})).collect();
    print(which.output, &found, &json!({"rejected": found.total_rows, "rules": told, "rows": found.objects()}))?;
    which.remark(&set, &format!("{} of {} rejects", found.rows.len(), found.total_rows));
    Ok(Outcome::Success)
}

fn print(form: Form, found: &Rows, data: &impl serde::Serialize) -> anyhow::Result<()> {
    let names: Vec<String> = match form {
        Form::Table => found.columns.iter().map(|column| harmless(&column.name)).collect(),
        Form::Json | Form::Yaml | Form::Csv => found.columns.iter().map(|column| column.name.clone()).collect(),
    };
    let headings: Vec<&str> = names.iter().map(String::as_str).collect();
    which::print(form, &headings, found.rows.iter().cloned(), data)
}
