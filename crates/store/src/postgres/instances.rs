//! How the task instances of a picture come out of PostgreSQL. `../sqlite/instances.rs` has the same function.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::overview::Instance;
use crate::{Error, Result};

/// One in each row; columns by their place, since there are many of them.
pub(super) fn instances(rows: &[PgRow]) -> Result<Vec<Instance>> {
    rows.iter()
        .map(|row| {
            let (state, try_number): (&str, i32) = (row.try_get(2)?, row.try_get(4)?);
            Ok(Instance {
                run_key: row.try_get(0)?,
                task_id: row.try_get(1)?,
                state: state.parse().map_err(|_| Error::Corrupt(format!("`{state}` in column state")))?,
                map_index: row.try_get(3)?,
                try_number: u32::try_from(try_number)
                    .map_err(|_| Error::Corrupt(format!("{try_number} in column try_number")))?,
                queued_at: row.try_get(5)?,
                start_date: row.try_get(6)?,
                end_date: row.try_get(7)?,
                available_at: row.try_get(8)?,
            })
        })
        .collect()
}
