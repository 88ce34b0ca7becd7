//! How the task instances of a picture come out of PostgreSQL. `../sqlite/instances.rs` has the same functions.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{Decode, Postgres, Row as _, Type};

use crate::overview::{Instance, Span};
use crate::{Error, Result};

type Time = Option<DateTime<Utc>>;

/// All are in one row, whose columns have one value for each.
pub(super) fn instances(rows: &[PgRow]) -> Result<Vec<Instance>> {
    let mut out = Vec::new();
    for row in rows {
        let keys: Vec<i64> = column(row, 0)?;
        let (mut tasks, states): (_, Vec<String>) = (column::<String>(row, 1)?.into_iter(), column(row, 2)?);
        let (map_indexes, tries): (Vec<i32>, Vec<i32>) = (column(row, 3)?, column(row, 4)?);
        let (queued, started): (Vec<Time>, Vec<Time>) = (column(row, 5)?, column(row, 6)?);
        let (ended, available): (Vec<Time>, Vec<Time>) = (column(row, 7)?, column(row, 8)?);
        out.reserve(keys.len());
        for (at, run_key) in keys.into_iter().enumerate() {
            let (state, try_number) = (&states[at], tries[at]);
            out.push(Instance {
                run_key,
                task_id: tasks.next().unwrap_or_default(),
                state: state.parse().map_err(|_| Error::Corrupt(format!("`{state}` in column state")))?,
                map_index: map_indexes[at],
                try_number: u32::try_from(try_number)
                    .map_err(|_| Error::Corrupt(format!("{try_number} in column try_number")))?,
                queued_at: queued[at],
                start_date: started[at],
                end_date: ended[at],
                available_at: available[at],
            });
        }
    }
    Ok(out)
}

/// The same.
pub(super) fn spans(rows: &[PgRow]) -> Result<Vec<Span>> {
    let mut out = Vec::new();
    for row in rows {
        let (keys, tasks): (Vec<i64>, Vec<String>) = (column(row, 0)?, column(row, 1)?);
        let (starts, ends): (Vec<DateTime<Utc>>, Vec<DateTime<Utc>>) = (column(row, 2)?, column(row, 3)?);
        let times = starts.into_iter().zip(ends);
        let spans = keys.into_iter().zip(tasks).zip(times);
        out.extend(spans.map(|((run_key, task_id), (start, end))| Span { run_key, task_id, start, end }));
    }
    Ok(out)
}

/// No array at all is what `array_agg` makes of no rows.
fn column<'r, T>(row: &'r PgRow, place: usize) -> Result<Vec<T>>
where
    Vec<T>: Decode<'r, Postgres> + Type<Postgres>,
{
    Ok(row.try_get::<Option<Vec<T>>, _>(place)?.unwrap_or_default())
}
