//! The table `towpath_loads` in the database of a target: which loads are committed.
//!
//! A load of a task instance adds its row in the transaction that brings the data, so one is there exactly when the other is. Whoever
//! loads for the same task instance afterwards finds it (see [`crate::instance`] for the rule). The table is made where it is missing, beside
//! the table of the target; a role that may not make it, or not write to it, loads without it and is told so. Rows are of use until the
//! end of the task instance is recorded, and go after [`KEEP_DAYS`].

use towpath_operators::database::{Error, Kind};

use super::{Done, name};
use crate::instance::Instance;

/// The name of the table.
pub(super) const TABLE: &str = "towpath_loads";
/// How long rows are kept.
const KEEP_DAYS: u32 = 90;

/// What a load writes into the table, and with which statements.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    kind: Kind,
    /// The table as SQL has it.
    pub(super) table: String,
    pub(super) key: String,
    pub(super) task: String,
    pub(super) target: String,
    pub(super) try_number: i64,
    pub(super) settled: i64,
}

/// The note of a load that is committed: try, rows, whether the table was made.
pub(super) type Found = (i64, i64, i64);

impl Ledger {
    pub(super) fn new(kind: Kind, instance: &Instance, target: &str) -> Result<Self, Error> {
        let mut parts = name::parts(target)?;
        parts.pop();
        parts.push(TABLE.to_owned());
        let table = parts.iter().map(|part| kind.quote(part)).collect::<Vec<_>>().join(".");
        Ok(Self {
            kind,
            table,
            key: instance.key_of(target),
            task: instance.name.clone(),
            target: target.to_owned(),
            try_number: instance.try_number.into(),
            settled: instance.settled.into(),
        })
    }

    /// What there is left to do where the table has this note: nothing, if nobody was told of that load.
    pub(super) fn done(&self, found: Option<Found>) -> Option<Done> {
        let (_, rows, created) = found.filter(|(by_try, ..)| *by_try > self.settled)?;
        Some(Done { rows: rows.cast_unsigned(), created: created != 0, noted: super::Noted::Earlier })
    }

    pub(super) fn create(&self) -> String {
        let table = &self.table;
        let (key, text, time) = match self.kind {
            Kind::Postgres => ("text", "text", "timestamptz NOT NULL DEFAULT now()"),
            Kind::Sqlite => ("text", "text", "timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP"),
            Kind::MySql => ("char(32)", "text", "timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP"),
        };
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (load_id {key} NOT NULL PRIMARY KEY, task {text} NOT NULL, target {text} NOT NULL, \
             try_number bigint NOT NULL, loaded_rows bigint NOT NULL, created bigint NOT NULL, committed_at {time})"
        )
    }

    /// Reads the note with the key.
    pub(super) fn select(&self) -> String {
        format!("SELECT try_number, loaded_rows, created FROM {} WHERE load_id = {}", self.table, self.mark(1))
    }

    /// Writes the note: key, task, target, try, rows, whether the table was made.
    pub(super) fn insert(&self) -> String {
        let marks = (1..=6).map(|number| self.mark(number)).collect::<Vec<_>>().join(", ");
        format!("INSERT INTO {} (load_id, task, target, try_number, loaded_rows, created) VALUES ({marks})", self.table)
    }

    /// The same in place of a note of a load whose success was recorded, the last try of which is the seventh value. No row is changed
    /// where there is one that counts.
    pub(super) fn replace(&self) -> String {
        format!(
            "{} ON CONFLICT (load_id) DO UPDATE SET try_number = excluded.try_number, loaded_rows = excluded.loaded_rows, \
             created = excluded.created, committed_at = excluded.committed_at WHERE {TABLE}.try_number <= {}",
            self.insert(),
            self.mark(7)
        )
    }

    /// Removes old notes; `None` mostly, since it reads the whole table.
    pub(super) fn prune(&self) -> Option<String> {
        if !self.key.starts_with('0') {
            return None;
        }
        let before = match self.kind {
            Kind::Postgres => format!("now() - interval '{KEEP_DAYS} days'"),
            Kind::Sqlite => format!("datetime('now', '-{KEEP_DAYS} days')"),
            Kind::MySql => format!("CURRENT_TIMESTAMP - INTERVAL {KEEP_DAYS} DAY"),
        };
        Some(format!("DELETE FROM {} WHERE committed_at < {before}", self.table))
    }

    fn mark(&self, number: usize) -> String {
        match self.kind {
            Kind::Postgres => format!("${number}"),
            Kind::Sqlite => format!("?{number}"),
            Kind::MySql => "?".to_owned(),
        }
    }
}
