//! Runs of one DAG that are asked for together are created in one step.
//!
//! Whoever creates a run holds its DAG until the commit, so one by one no more of them could be created
//! than the disk can commit. The first to ask goes ahead; what is asked for meanwhile waits for it and
//! then goes together.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Step;
use super::create_run::{Created, NewRun};
use crate::{Error, Result, Store};

/// Most runs of one step: no reply should wait for a long one.
const MOST: usize = 32;

/// A DAG, and the version of it that the runs are to have.
type Key = (String, Option<i64>);

/// What is asked for, by DAG. A key is there as long as somebody creates runs for it.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    waiting: Mutex<HashMap<Key, Turn>>,
}

/// What one creator has to do.
#[derive(Debug)]
struct Turn {
    /// Whose: a later creator of the same key has another.
    id: Uuid,
    orders: Vec<Order>,
}

#[derive(Debug)]
struct Order {
    new: NewRun,
    now: DateTime<Utc>,
    reply: oneshot::Sender<Result<Created>>,
}

impl Triggers {
    /// The turn that the caller has to take, where nobody creates runs for this key.
    fn add(&self, key: &Key, order: Order) -> Option<Uuid> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = waiting.get_mut(key) {
            turn.orders.push(order);
            return None;
        }
        let id = Uuid::new_v4();
        waiting.insert(key.clone(), Turn { id, orders: vec![order] });
        Some(id)
    }

    /// The next of a key. None are left when it is empty, and the key is gone.
    fn next(&self, key: &Key) -> Vec<Order> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Turn { orders, .. }) = waiting.get_mut(key) else { return Vec::new() };
        let next: Vec<Order> = orders.drain(..orders.len().min(MOST)).collect();
        if next.is_empty() {
            waiting.remove(key);
        }
        next
    }

    /// Drops what waits for this turn; the key may be another one's by now.
    fn abandon(&self, key: &Key, turn: Uuid) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.get(key).is_some_and(|found| found.id == turn) {
            waiting.remove(key);
        }
    }
}

/// Takes the key away when its creator breaks off: those who wait are told, and the next goes ahead.
struct Lead {
    store: Store,
    key: Key,
    turn: Uuid,
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.store.inner.triggers.abandon(&self.key, self.turn);
    }
}

impl Store {
    /// Creates a run with all its task instances. Runs of one DAG that are asked for at the same time are
    /// one transaction; each has its own outcome.
    ///
    /// # Errors
    /// [`Error::Params`] where `conf` gives a param a value that it may not have, or a required one none,
    /// [`Error::RunExists`] for a `run_id` or logical date that the DAG has a run of,
    /// [`Error::NotFound`] for an unknown DAG or version.
    pub async fn create_run(&self, new: NewRun, now: DateTime<Utc>) -> Result<Created> {
        let key = (new.dag_id.clone(), new.version_id);
        let (reply, answer) = oneshot::channel();
        if let Some(turn) = self.inner.triggers.add(&key, Order { new, now, reply }) {
            // A task of its own: who asked may go away in the middle, others wait for it.
            tokio::spawn(Lead { store: self.clone(), key: key.clone(), turn }.create_all());
        }
        answer.await.unwrap_or_else(|_| Err(Error::Stale(format!("DAG `{}`", key.0))))
    }

    /// One step for as many of them as may go together, at least one. With an error none has happened.
    async fn create_together(&self, orders: &[Order]) -> Result<Vec<Result<i64>>> {
        let now = orders.iter().map(|order| order.now).max().unwrap_or_default();
        let mut step = Step::begin(self, now).await?;
        let mut outcomes = Vec::with_capacity(orders.len());
        for order in orders {
            match step.create_run(&order.new).await {
                Err(error @ (Error::Database(_) | Error::Unreachable { .. })) => return Err(error),
                Err(error) => outcomes.push(Err(error)),
                Ok(born) => {
                    outcomes.push(Ok(born.key));
                    // It took locks that have an order, and the next would take them after it.
                    if born.was_decided {
                        break;
                    }
                }
            }
        }
        step.commit().await?;
        Ok(outcomes)
    }

    async fn created(&self, key: i64) -> Result<Created> {
        let run = self.run_by_key(key).await?.ok_or_else(|| Error::Stale(format!("run {key}")))?;
        Ok(Created { run })
    }
}

impl Lead {
    async fn create_all(self) {
        loop {
            let orders = self.store.inner.triggers.next(&self.key);
            if orders.is_empty() {
                return;
            }
            self.create(orders).await;
        }
    }

    async fn create(&self, mut orders: Vec<Order>) {
        let mut most = orders.len();
        while !orders.is_empty() {
            let together = orders.len().min(most);
            let outcomes = match self.store.create_together(&orders[..together]).await {
                Ok(outcomes) => outcomes,
                Err(error) if together == 1 => vec![Err(error)],
                // One of them may be to blame.
                Err(_) => {
                    most = 1;
                    continue;
                }
            };
            let done = outcomes.len();
            for (order, outcome) in orders.drain(..done).zip(outcomes) {
                let created = match outcome {
                    Ok(key) => self.store.created(key).await,
                    Err(error) => Err(error),
                };
                // Who asked may be gone.
                let _ = order.reply.send(created);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use towpath_model::run::TriggeredBy;

    use super::*;

    #[test]
    fn a_turn_that_has_ended_takes_nothing_from_the_next() {
        let (triggers, key) = (Triggers::default(), ("d".to_owned(), None));
        let order = || {
            let now = DateTime::UNIX_EPOCH;
            Order { new: NewRun::manual("d", now, TriggeredBy::Cli), now, reply: oneshot::channel().0 }
        };
        let first = triggers.add(&key, order()).unwrap();
        assert!(triggers.add(&key, order()).is_none(), "it joins the first");
        assert_eq!((triggers.next(&key).len(), triggers.next(&key).len()), (2, 0));
        // Just before the first lets go of the key, somebody asks.
        let second = triggers.add(&key, order()).unwrap();
        triggers.abandon(&key, first);
        assert_eq!(triggers.next(&key).len(), 1);
        triggers.abandon(&key, second);
        assert!(triggers.add(&key, order()).is_some());
    }
}
