//! The loop: one report in flight, everything that has come in since in the next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use towpath_operators::StopReason;
use towpath_store::{Claim, ClaimedTask, LogChunk, LogKey, Reply, Report, TaskKey, Topic};

use crate::attempt::{Job, Stop};
use crate::log_buffer::LogBuffer;
use crate::{Error, Options};

/// How long a line of a log may wait for company.
const LOG_DELAY: Duration = Duration::from_millis(200);
/// How often work is looked for without a wake-up.
const POLL: Duration = Duration::from_secs(10);
/// Waits between tries while the database is away.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

pub(crate) struct Loop {
    options: Arc<Options>,
    soft: CancellationToken,
    hard: CancellationToken,
    job_id: i64,
    running: HashMap<(TaskKey, i64), Stop>,
    /// What goes into the next report.
    batch: Batch,
    logs: Arc<LogBuffer>,
    ended_tx: mpsc::UnboundedSender<Ended>,
    ended_rx: mpsc::UnboundedReceiver<Ended>,
    work: watch::Receiver<u64>,
    stop: watch::Receiver<u64>,
    next_heartbeat: Instant,
    next_poll: Instant,
    /// Set while lines wait to be sent.
    next_flush: Option<Instant>,
    /// There may be work: a wake-up has come, or slots have become free.
    look: bool,
}

/// An attempt that is over, with the rest of its log.
struct Ended {
    report: Report,
    logs: Vec<LogChunk>,
}

/// What a report carries; kept until it is taken.
#[derive(Default)]
struct Batch {
    reports: Vec<Report>,
    logs: Vec<LogChunk>,
}

impl Loop {
    pub(crate) async fn start(
        options: Options,
        soft: CancellationToken,
        hard: CancellationToken,
    ) -> Result<Self, Error> {
        let job_id = register(&options, &soft).await?;
        let (ended_tx, ended_rx) = mpsc::unbounded_channel();
        let wakes = options.store.wakes();
        let now = Instant::now();
        Ok(Self {
            work: wakes.subscribe(Topic::Work),
            stop: wakes.subscribe(Topic::Stop),
            next_heartbeat: now + options.lease / 3,
            next_poll: now + POLL,
            options: Arc::new(options),
            soft,
            hard,
            job_id,
            running: HashMap::new(),
            batch: Batch::default(),
            logs: Arc::default(),
            ended_tx,
            ended_rx,
            next_flush: None,
            look: true,
        })
    }

    pub(crate) async fn run(mut self) -> Result<(), Error> {
        loop {
            let batch = self.gather();
            let draining = self.soft.is_cancelled() || self.hard.is_cancelled();
            if self.hard.is_cancelled() {
                self.stop_all(StopReason::Shutdown);
            }
            if draining && self.running.is_empty() && batch.reports.is_empty() && batch.logs.is_empty() {
                break;
            }
            let free = if draining || !self.look { 0 } else { self.free_slots() };
            if free > 0 || !batch.reports.is_empty() || !batch.logs.is_empty() {
                self.exchange(batch, free).await?;
            } else {
                self.wait(draining).await;
            }
            if Instant::now() >= self.next_heartbeat || self.stop.has_changed().unwrap_or(false) {
                self.heartbeat().await?;
            }
        }
        let now = self.options.clock.now();
        if let Err(error) = self.options.store.end_job(self.job_id, now).await {
            tracing::warn!("the worker could not say goodbye: {error}");
        }
        Ok(())
    }

    fn free_slots(&self) -> u32 {
        self.options.job.slots.saturating_sub(self.running.len() as u32)
    }

    /// Everything that has ended, and the lines whose time has come.
    fn gather(&mut self) -> Batch {
        while let Ok(ended) = self.ended_rx.try_recv() {
            self.take(ended);
        }
        let mut batch = std::mem::take(&mut self.batch);
        if self.next_flush.is_some_and(|at| at <= Instant::now()) {
            self.next_flush = None;
            batch.logs.extend(self.logs.take());
        }
        batch
    }

    fn take(&mut self, ended: Ended) {
        let key = (ended.report.key.clone(), ended.report.attempt);
        // What is not in the table was taken from this worker: its end is nobody's business.
        if self.running.remove(&key).is_some() {
            self.look = true;
            self.batch.reports.push(ended.report);
            self.batch.logs.extend(ended.logs);
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self, draining: bool) {
        let mut until = self.next_heartbeat.min(self.next_poll);
        if let Some(flush) = self.next_flush {
            until = until.min(flush);
        }
        tokio::select! {
            Some(ended) = self.ended_rx.recv() => self.take(ended),
            Ok(()) = self.work.changed(), if !draining => self.look = true,
            Ok(()) = self.stop.changed() => self.next_heartbeat = Instant::now(),
            () = self.logs.dirty.notified(), if self.next_flush.is_none() => {
                self.next_flush = Some(Instant::now() + LOG_DELAY);
            }
            () = tokio::time::sleep_until(until) => {
                if Instant::now() >= self.next_poll {
                    self.next_poll = Instant::now() + POLL;
                    self.look = true;
                }
            }
            () = self.soft.cancelled(), if !draining => {}
            () = self.hard.cancelled(), if !self.hard.is_cancelled() => {}
        }
    }

    /// Reports, and claims into `free` slots, until the store has taken it.
    async fn exchange(&mut self, batch: Batch, free: u32) -> Result<(), Error> {
        let mut backoff = Backoff::default();
        loop {
            // What is committed after this line wakes us, whatever the claim sees.
            self.work.mark_unchanged();
            self.look = false;
            let claim = Claim {
                worker: self.job_id,
                slots: if self.soft.is_cancelled() { 0 } else { free },
                queues: self.options.job.queues.clone(),
                hostname: self.options.job.hostname.clone(),
                pid: self.options.job.pid,
            };
            match self.options.store.report(&batch.reports, &batch.logs, &claim, self.options.clock.now()).await {
                Ok(reply) => {
                    backoff.over();
                    self.accept(&batch, reply, free);
                    return Ok(());
                }
                Err(error) if error.is_transient() => backoff.wait(&error, &self.hard).await,
                Err(error) if batch.reports.len() > 1 => {
                    tracing::error!(
                        "{} reports were refused together and are sent one by one: {error}",
                        batch.reports.len()
                    );
                    self.split(batch).await;
                    return Ok(());
                }
                Err(error) => {
                    tracing::error!("a report was refused: {error}");
                    self.give_up(&batch).await;
                    return Ok(());
                }
            }
            if self.hard.is_cancelled() && backoff.tries > 5 {
                tracing::error!("{} ended attempts could not be reported: the database is away", batch.reports.len());
                return Ok(());
            }
        }
    }

    fn accept(&mut self, batch: &Batch, reply: Reply, free: u32) {
        for (report, _) in batch.reports.iter().zip(&reply.accepted).filter(|(_, accepted)| !**accepted) {
            tracing::warn!(task = %report.key.task_id, "the end of an attempt came too late: somebody else has taken it over");
        }
        // Slots are left: a wake-up will tell of the next work. All taken: look again when one is free.
        self.look = self.look || (free > 0 && reply.claimed.len() as u32 == free);
        self.next_poll = Instant::now() + POLL;
        for claimed in reply.claimed {
            self.spawn(claimed);
        }
    }

    fn spawn(&mut self, claimed: ClaimedTask) {
        let stop = Stop::new();
        self.running.insert((claimed.key.clone(), claimed.attempt), stop.clone());
        let key = LogKey { task: claimed.key.clone(), try_number: claimed.try_number };
        let job = Job { options: Arc::clone(&self.options), claimed, stop, logs: Arc::clone(&self.logs) };
        let (logs, ended) = (Arc::clone(&self.logs), self.ended_tx.clone());
        tokio::spawn(async move {
            let report = job.run().await;
            let logs = logs.finish(&key);
            // Nobody listens only when the worker is gone.
            let _ = ended.send(Ended { report, logs });
        });
    }

    /// Sends each report of a batch alone, so that one that cannot be taken spoils no other.
    async fn split(&mut self, batch: Batch) {
        let mut logs: HashMap<LogKey, Vec<LogChunk>> = HashMap::new();
        for chunk in batch.logs {
            logs.entry(chunk.key.clone()).or_default().push(chunk);
        }
        for report in batch.reports {
            let own: Vec<LogKey> = logs.keys().filter(|key| key.task == report.key).cloned().collect();
            let logs = own.into_iter().filter_map(|key| logs.remove(&key)).flatten().collect();
            let single = Batch { reports: vec![report], logs };
            Box::pin(self.exchange_single(single)).await;
        }
        let rest = Batch { reports: Vec::new(), logs: logs.into_values().flatten().collect() };
        if !rest.logs.is_empty() {
            Box::pin(self.exchange_single(rest)).await;
        }
    }

    async fn exchange_single(&mut self, batch: Batch) {
        if let Err(error) = self.exchange(batch, 0).await {
            tracing::error!("a report was lost: {error}");
        }
    }

    /// A report that the store refuses for good: the attempt ends as failed with the reason, so
    /// that the task does not look as if it ran forever.
    async fn give_up(&mut self, batch: &Batch) {
        let now = self.options.clock.now();
        let claim = Claim { worker: self.job_id, slots: 0, queues: Vec::new(), hostname: String::new(), pid: 0 };
        for report in &batch.reports {
            let bare = Report {
                outcome: towpath_store::ReportOutcome::Failed { retry: true },
                note: Some("the store refused its report; see the worker's log".to_owned()),
                xcoms: Vec::new(),
                asset_extra: serde_json::Map::new(),
                evidence: Default::default(),
                ..report.clone()
            };
            if let Err(error) = self.options.store.report(&[bare], &[], &claim, now).await {
                tracing::error!(task = %report.key.task_id, "the attempt cannot be ended: {error}");
            }
        }
    }

    /// Renews the lease and stops what the store wants stopped.
    async fn heartbeat(&mut self) -> Result<(), Error> {
        self.stop.mark_unchanged();
        let running: Vec<(TaskKey, i64)> = self.running.keys().cloned().collect();
        let now = self.options.clock.now();
        self.next_heartbeat = Instant::now() + self.options.lease / 3;
        match self.options.store.heartbeat(self.job_id, self.options.lease, &running, now).await {
            Ok(answer) if answer.alive => {
                for order in answer.stop {
                    if let Some(stop) = self.running.get(&(order.key, order.attempt)) {
                        stop.stop(StopReason::Cancelled);
                    }
                }
            }
            Ok(_) => {
                tracing::warn!(
                    "this worker counts as lost: its {} attempts are stopped and it registers anew",
                    running.len()
                );
                self.stop_all(StopReason::Lost);
                self.running.clear();
                self.job_id = register(&self.options, &self.soft).await?;
                self.look = true;
            }
            Err(error) => {
                tracing::debug!("no heartbeat: {error}");
                self.next_heartbeat = Instant::now() + Duration::from_secs(1);
            }
        }
        Ok(())
    }

    fn stop_all(&self, reason: StopReason) {
        for stop in self.running.values() {
            stop.stop(reason);
        }
    }
}

/// Waits that grow while the database is away; the outage is told once, and its end.
#[derive(Default)]
struct Backoff {
    tries: u32,
}

impl Backoff {
    async fn wait(&mut self, error: &towpath_store::Error, hard: &CancellationToken) {
        if self.tries == 0 {
            tracing::warn!("the database does not take reports, they wait: {error}");
        }
        let delay = BACKOFF.0.saturating_mul(1 << self.tries.min(6)).min(BACKOFF.1);
        self.tries += 1;
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = hard.cancelled(), if self.tries > 1 => tokio::time::sleep(BACKOFF.0).await,
        }
    }

    fn over(&self) {
        if self.tries > 0 {
            tracing::info!("the database takes reports again");
        }
    }
}

/// Registers the worker, however long the database is away.
async fn register(options: &Options, soft: &CancellationToken) -> Result<i64, Error> {
    let mut backoff = Backoff::default();
    loop {
        match options.store.register_job(options.job.clone(), options.lease, options.clock.now()).await {
            Ok(id) => {
                backoff.over();
                return Ok(id);
            }
            Err(error) if error.is_transient() && !soft.is_cancelled() => backoff.wait(&error, soft).await,
            Err(error) => return Err(error.into()),
        }
    }
}
