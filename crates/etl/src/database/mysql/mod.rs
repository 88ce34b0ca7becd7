//! MySQL and MariaDB, by rows that stream in and inserts of many rows.

mod read;
mod write;

pub(super) use read::read;
pub(super) use write::write;
