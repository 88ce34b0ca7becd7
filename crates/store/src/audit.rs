//! The audit log: what was done, by whom, to what.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::records::Page;
use crate::{Result, Store};

/// Something that was done, to be kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct NewEvent {
    /// What was done, in the words of Airflow's API: `trigger_dag_run`.
    pub event: String,
    /// By whom.
    pub owner: Option<String>,
    pub dag_id: Option<String>,
    pub task_id: Option<String>,
    pub run_id: Option<String>,
    pub map_index: Option<i32>,
    pub try_number: Option<i32>,
    #[serde(serialize_with = "in_micros")]
    pub logical_date: Option<DateTime<Utc>>,
    /// Details, as JSON.
    pub extra: Option<String>,
}

impl NewEvent {
    /// PostgreSQL's text cannot hold a zero byte, and what people send can hold anything.
    fn storable(mut self) -> Self {
        let texts = [&mut self.owner, &mut self.dag_id, &mut self.task_id, &mut self.run_id, &mut self.extra];
        for text in texts.into_iter().flatten().filter(|text| text.contains('\0')) {
            *text = text.replace('\0', "\u{fffd}");
        }
        self
    }
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub what: NewEvent,
}

/// Which events to list; every `Some` or non-empty field narrows it.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only entries with a smaller id: those before one that is known.
    pub below: Option<i64>,
    pub id: Option<i64>,
    pub dag_id: Option<String>,
    pub task_id: Option<String>,
    pub run_id: Option<String>,
    pub map_index: Option<i32>,
    pub try_number: Option<i32>,
    pub owner: Option<String>,
    pub event: Option<String>,
    pub included: Vec<String>,
    pub excluded: Vec<String>,
    pub before: Option<DateTime<Utc>>,
    pub after: Option<DateTime<Utc>>,
    pub like: Vec<(EventColumn, Like)>,
    /// Only events that are about a DAG.
    pub of_dags: bool,
    pub order: Vec<(EventColumn, bool)>,
    pub limit: u32,
    pub offset: u32,
}

/// A part of a text to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Like {
    /// Anywhere in it, in capitals or not.
    Part(String),
    /// At its beginning, as it is.
    Start(String),
}

/// A column of the audit log that can be sorted and searched by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
pub enum EventColumn {
    #[strum(serialize = "e.id")]
    Id,
    #[strum(serialize = "e.at")]
    At,
    #[strum(serialize = "e.event")]
    Event,
    #[strum(serialize = "e.owner")]
    Owner,
    #[strum(serialize = "e.dag_id")]
    DagId,
    #[strum(serialize = "e.task_id")]
    TaskId,
    #[strum(serialize = "e.run_id")]
    RunId,
    #[strum(serialize = "e.logical_date")]
    LogicalDate,
    #[strum(serialize = "e.extra")]
    Extra,
}

/// An event with its time, as batches have it.
#[derive(Debug, Serialize)]
pub(crate) struct EventRow<'a> {
    pub(crate) at: i64,
    #[serde(flatten)]
    pub(crate) event: &'a NewEvent,
}

impl Store {
    /// Adds to the audit log, all of it or nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn record_events(&self, events: &[(DateTime<Utc>, NewEvent)]) -> Result<()> {
        let events: Vec<(i64, NewEvent)> =
            events.iter().map(|(at, event)| (at.timestamp_micros(), event.clone().storable())).collect();
        let rows: Vec<EventRow<'_>> = events.iter().map(|(at, event)| EventRow { at: *at, event }).collect();
        if rows.is_empty() { Ok(()) } else { self.inner.backend.insert_events(&rows).await }
    }

    /// Entries of the audit log, without a count of all.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn some_events(&self, filter: &EventFilter) -> Result<Vec<EventRecord>> {
        self.inner.backend.events(filter).await
    }

    /// Entries of the audit log.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn events(&self, filter: &EventFilter) -> Result<Page<EventRecord>> {
        let items = self.inner.backend.events(filter).await?;
        // The page tells how many there are where it is the last one.
        let is_last = items.len() < filter.limit as usize && (filter.offset == 0 || !items.is_empty());
        let total = if is_last {
            u64::from(filter.offset) + items.len() as u64
        } else {
            let counted = EventFilter { order: Vec::new(), limit: 0, offset: 0, ..filter.clone() };
            self.count(crate::counts::Counted::Events(Box::new(counted))).await?
        };
        Ok(Page { items, total })
    }
}

fn in_micros<S: serde::Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    crate::time::micros(*time).serialize(serializer)
}
