//! How far a job is, said in its log every few seconds.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, StatisticsContext};

use super::plan::{bytes, count};
use super::{Meter, Stages};

/// Between two lines; what is done sooner says nothing.
const EVERY: Duration = Duration::from_secs(5);

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Progress {
    /// Rows that sources have given.
    rows: u64,
    bytes: u64,
    /// Of the input, from 0 to 1, where its size is known.
    part: Option<f64>,
    written: u64,
}

impl Progress {
    fn line(self, seconds: u64) -> String {
        let Self { rows, bytes: count, part, written } = self;
        let part = part.map_or_else(String::new, |part| format!("{:.0}%, ", (part * 100.0).floor()));
        let read = if count > 0 { format!(" ({})", bytes(count)) } else { String::new() };
        format!("progress: {part}{rows} rows{read} read, {written} rows written, {seconds} s")
    }
}

/// Does `work`; meanwhile `log` is told how far it is.
pub(crate) fn watch<T>(meter: &Meter, log: &(dyn Fn(&str) + Sync), work: impl FnOnce() -> T) -> T {
    let done = (Mutex::new(false), Condvar::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (is_done, changed) = &done;
            let mut is_done = is_done.lock().unwrap_or_else(PoisonError::into_inner);
            while !*is_done {
                let (guard, waited) = changed.wait_timeout(is_done, EVERY).unwrap_or_else(PoisonError::into_inner);
                is_done = guard;
                if waited.timed_out() && !*is_done {
                    log(&meter.progress().line(meter.start.elapsed().as_secs()));
                }
            }
        });
        let _finish = Finish(&done);
        work()
    })
}

/// Ends the thread that watches, also where the work panics.
struct Finish<'a>(&'a (Mutex<bool>, Condvar));

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        let (is_done, changed) = self.0;
        *is_done.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }
}

/// What the leaves of plans have read.
#[derive(Debug, Default)]
struct Leaves {
    rows: u64,
    bytes: u64,
    /// Rows that those have in all whose number is known.
    of_rows: u64,
    /// One's number is not known.
    is_open: bool,
    of_plans: u64,
}

impl Meter {
    /// How far the job is.
    pub(crate) fn progress(&self) -> Progress {
        let stages = self.lock();
        let mut leaves = Leaves::default();
        if let Some(root) = &stages.root {
            look(&stages, root, &mut leaves);
        }
        let read = self.read_bytes.load(Ordering::Relaxed);
        let (own, other) = (self.own_bytes.load(Ordering::Relaxed), self.other_bytes.load(Ordering::Relaxed));
        let open = self.is_open.load(Ordering::Relaxed) || (leaves.is_open && other > 0);
        let of_plans = if leaves.of_rows == 0 { 0.0 } else { leaves.of_plans as f64 / leaves.of_rows as f64 };
        let part = (!open && own + other > 0)
            .then(|| ((read as f64 + other as f64 * of_plans.min(1.0)) / (own + other) as f64).min(1.0));
        Progress { rows: leaves.rows, bytes: read + leaves.bytes, part, written: self.writing.rows() }
    }
}

fn look(stages: &Stages, plan: &Arc<dyn ExecutionPlan>, leaves: &mut Leaves) {
    if let Some(stage) = stages.of(plan) {
        match &stage.input {
            Some(input) => look(stages, input, leaves),
            None => leaves.rows += stage.measure.rows(),
        }
        return;
    }
    let children = plan.children();
    if !children.is_empty() {
        children.into_iter().for_each(|child| look(stages, child, leaves));
        return;
    }
    let metrics = plan.metrics().unwrap_or_default();
    let rows = metrics.output_rows().unwrap_or_default() as u64;
    leaves.rows += rows;
    leaves.bytes += count(&metrics, &["bytes_scanned"]).unwrap_or_default();
    let known = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new());
    let known = known.ok().and_then(|found| found.num_rows.get_value().copied());
    match known {
        Some(all) => {
            leaves.of_rows += all as u64;
            leaves.of_plans += rows;
        }
        None => leaves.is_open = true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known() {
        let whole = Progress { rows: 12, bytes: 3_400, part: Some(0.509), written: 3 };
        assert_eq!(whole.line(5), "progress: 50%, 12 rows (3.4 kB) read, 3 rows written, 5 s");
        let little = Progress { rows: 12, ..Progress::default() };
        assert_eq!(little.line(10), "progress: 12 rows read, 0 rows written, 10 s");
    }

    #[test]
    fn the_size_of_the_input_gives_the_part() {
        let meter = Meter::default();
        assert_eq!(meter.progress().part, None);
        meter.expects(Some(200));
        meter.read_bytes().fetch_add(50, Ordering::Relaxed);
        assert_eq!(meter.progress().part, Some(0.25));
        meter.expects(None);
        assert_eq!(meter.progress().part, None);
    }
}
