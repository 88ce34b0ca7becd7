//! How the task instances of a picture come out of SQLite. `../postgres/instances.rs` has the same functions.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use towpath_model::state::TaskState;

use crate::overview::{Instance, Span};
use crate::{Error, Result};

type Micros = Option<i64>;
/// As the statements name the columns.
type Row = (i64, String, TaskState, i32, u32, Micros, Micros, Micros, Micros);

/// All are in one row.
pub(super) fn instances(rows: &[SqliteRow]) -> Result<Vec<Instance>> {
    let mut out = Vec::new();
    for row in rows {
        let found: Vec<Row> = serde_json::from_str(row.try_get(0)?)
            .map_err(|error| Error::Corrupt(format!("task instances: {error}")))?;
        out.reserve(found.len());
        for (run_key, task_id, state, map_index, try_number, queued_at, start_date, end_date, available_at) in found {
            out.push(Instance {
                run_key,
                task_id,
                state,
                map_index,
                try_number,
                queued_at: time(queued_at),
                start_date: time(start_date),
                end_date: time(end_date),
                available_at: time(available_at),
            });
        }
    }
    Ok(out)
}

/// The same.
pub(super) fn spans(rows: &[SqliteRow]) -> Result<Vec<Span>> {
    let mut out = Vec::new();
    for row in rows {
        let found: Vec<(i64, String, i64, i64)> = serde_json::from_str(row.try_get(0)?)
            .map_err(|error| Error::Corrupt(format!("times of task instances: {error}")))?;
        out.reserve(found.len());
        for (run_key, task_id, start, end) in found {
            let Some((start, end)) = time(Some(start)).zip(time(Some(end))) else { continue };
            out.push(Span { run_key, task_id, start, end });
        }
    }
    Ok(out)
}

fn time(micros: Micros) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros?)
}
