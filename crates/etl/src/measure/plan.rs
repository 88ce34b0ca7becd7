//! The plan of a job as one tree, before and after it has run.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use towpath_model::etl::{MeasuredPlan, Operator};

use super::{Measure, Meter, Stage, Stages};

/// Longest detail of an operator, in characters.
const DETAIL_CHARS: usize = 400;

/// The plan alone, as lines.
pub(crate) fn outline(plan: &MeasuredPlan) -> String {
    let mut text = String::from("plan:");
    for operator in &plan.operators {
        let _ = write!(text, "\n{}{}", "  ".repeat(operator.depth + 1), line(operator));
    }
    text
}

/// The plan with what was measured, as lines.
pub(crate) fn table(plan: &MeasuredPlan) -> String {
    let mut text = format!(
        "measured plan: {} rows and {} bytes in, {:.3} s, at most {} in memory\n{:>14} {:>12} {:>10} {:>10}  operator",
        plan.rows_in,
        plan.bytes_in,
        plan.seconds,
        bytes(plan.peak_memory_bytes),
        "rows",
        "time",
        "memory",
        "spilled"
    );
    for operator in &plan.operators {
        let Operator { rows_out, elapsed_ms, memory_bytes, spilled_bytes, depth, .. } = operator;
        let _ = write!(
            text,
            "\n{rows_out:>14} {:>12} {:>10} {:>10}  {}{}",
            format!("{elapsed_ms:.1} ms"),
            bytes(*memory_bytes),
            bytes(*spilled_bytes),
            "  ".repeat(*depth),
            line(operator)
        );
    }
    text
}

fn line(operator: &Operator) -> String {
    let Operator { name, detail, .. } = operator;
    if detail.is_empty() { name.clone() } else { format!("{name}: {detail}") }
}

/// A size for people.
pub(super) fn bytes(count: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1_000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", units[unit]) }
}

impl Meter {
    /// What was done until now.
    #[must_use]
    pub fn plan(&self) -> MeasuredPlan {
        let stages = self.lock();
        let mut operators = Vec::new();
        if !stages.target.is_empty() {
            operators.push(of_measure("Write", &stages.target, 0, &self.writing));
        }
        let mut sums = Sums::default();
        if let Some(root) = &stages.root {
            self.walk(&stages, root, 1, &mut operators, &mut sums);
        }
        MeasuredPlan {
            operators,
            rows_in: sums.rows,
            bytes_in: sums.bytes + self.read_bytes.load(Ordering::Relaxed),
            seconds: self.start.elapsed().as_secs_f64(),
            peak_memory_bytes: peak_memory_bytes(),
        }
    }

    fn walk(
        &self,
        stages: &Stages,
        plan: &Arc<dyn ExecutionPlan>,
        depth: usize,
        operators: &mut Vec<Operator>,
        sums: &mut Sums,
    ) {
        if let Some(stage) = stages.of(plan) {
            operators.push(of_measure(&stage.name, &stage.detail, depth, &stage.measure));
            match &stage.input {
                Some(input) => self.walk(stages, input, depth + 1, operators, sums),
                None => sums.rows += stage.measure.rows(),
            }
            return;
        }
        let metrics = plan.metrics().unwrap_or_default();
        let children = plan.children();
        if children.is_empty() {
            sums.rows += metrics.output_rows().unwrap_or_default() as u64;
            sums.bytes += count(&metrics, &["bytes_scanned"]).unwrap_or_default();
        }
        // What only hands rows from thread to thread is of no interest to whoever looks for a slow step.
        let is_plumbing = matches!(plan.name(), "CoalesceBatchesExec" | "CoalescePartitionsExec" | "CooperativeExec");
        let below = if is_plumbing { depth } else { depth + 1 };
        if !is_plumbing {
            operators.push(self.operator(plan, &metrics, depth));
        }
        for child in children {
            self.walk(stages, child, below, operators, sums);
        }
    }

    fn operator(&self, plan: &Arc<dyn ExecutionPlan>, metrics: &MetricsSet, depth: usize) -> Operator {
        let computing = metrics.elapsed_compute().map(|nanos| nanos as u64);
        // What reads files tells how long that took as well.
        let nanos = computing.max(count(metrics, &["time_elapsed_processing"]));
        let nanos = nanos.max(count(metrics, &["time_elapsed_scanning_total"])).unwrap_or_default();
        let held = count(metrics, &["peak_mem_used", "build_mem_used"]).filter(|bytes| *bytes > 0);
        let text = without_places(&crate::error::without_step_names(&Shown(plan.as_ref()).to_string()));
        let held = held.unwrap_or_else(|| self.of_pool(plan.name(), &text) as u64);
        let detail = text.strip_prefix(plan.name()).unwrap_or(&text).trim_start_matches(':').trim();
        Operator {
            name: plan.name().trim_end_matches("Exec").to_owned(),
            detail: shorten(detail),
            depth,
            rows_out: metrics.output_rows().unwrap_or_default() as u64,
            elapsed_ms: nanos as f64 / 1e6,
            memory_bytes: held,
            spilled_bytes: metrics.spilled_bytes().unwrap_or_default() as u64,
        }
    }

    /// What the consumers of an operator have reserved, for those that do not say so themselves. Several operators of one kind share
    /// their consumers' name, so this is the most that all of them had together.
    fn of_pool(&self, name: &str, detail: &str) -> usize {
        let kinds: &[&str] = match name {
            "SortExec" => &["ExternalSorter", "TopK"],
            "SortPreservingMergeExec" => &["SortPreservingMergeExec"],
            "RepartitionExec" => &["RepartitionExec"],
            "HashJoinExec" => &["HashJoinInput"],
            "AggregateExec" if detail.contains("mode=Partial,") => &["PartialHashAggregateStream"],
            "AggregateExec" => &["SingleHashAggregateStream", "FinalHashAggregateStream", "rows in buckets"],
            _ => &[],
        };
        let pool = self.pool.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        pool.as_ref().map_or(0, |pool| kinds.iter().map(|kind| pool.peak(kind)).sum())
    }
}

impl Stages {
    /// The source or pass that a leaf of a plan stands for.
    pub(super) fn of(&self, plan: &Arc<dyn ExecutionPlan>) -> Option<&Stage> {
        let leaf = plan.downcast_ref::<StreamingTableExec>()?;
        let stream = leaf.partitions().first()?;
        self.stages.iter().find(|stage| std::ptr::addr_eq(Arc::as_ptr(&stage.stream), Arc::as_ptr(stream)))
    }
}

#[derive(Debug, Default)]
struct Sums {
    rows: u64,
    bytes: u64,
}

fn of_measure(name: &str, detail: &str, depth: usize, measure: &Measure) -> Operator {
    Operator {
        name: name.to_owned(),
        detail: shorten(detail),
        depth,
        rows_out: measure.rows(),
        elapsed_ms: measure.nanos.load(Ordering::Relaxed) as f64 / 1e6,
        memory_bytes: measure.memory_bytes.load(Ordering::Relaxed),
        spilled_bytes: measure.spilled_bytes.load(Ordering::Relaxed),
    }
}

/// The text in one line, without the places of columns (`k@0`).
fn without_places(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut in_name = false;
    while let Some(c) = chars.next() {
        if c == '@' && in_name && chars.peek().is_some_and(char::is_ascii_digit) {
            while chars.next_if(char::is_ascii_digit).is_some() {}
            continue;
        }
        in_name = !c.is_whitespace();
        short.push(if c == '\n' { ' ' } else { c });
    }
    short
}

/// The sum of the first of these metrics that is there.
pub(super) fn count(metrics: &MetricsSet, names: &[&str]) -> Option<u64> {
    names.iter().find_map(|name| metrics.sum_by_name(name)).map(|value| value.as_usize() as u64)
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(DETAIL_CHARS).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

/// A plan as its own display has it.
struct Shown<'a>(&'a dyn ExecutionPlan);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt_as(DisplayFormatType::Default, f)
    }
}

/// The most memory that this process has held, bytes; 0 where the system does not say.
fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_no_places() {
        let text = "expr=[k@0 as k, sum(x)@12 ASC],\n a @ 3 = 'x'";
        assert_eq!(without_places(text), "expr=[k as k, sum(x) ASC],  a @ 3 = 'x'");
    }

    #[test]
    fn sizes_are_short() {
        for (count, expected) in
            [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (1_234_567, "1.2 MB"), (999_960_000, "1.0 GB")]
        {
            assert_eq!(bytes(count), expected, "{count}");
        }
    }
}
