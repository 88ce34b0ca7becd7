//! What this process uses.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// What this process uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// User and system time since its start.
    pub(crate) cpu_seconds: f64,
    /// `None` where the system does not tell.
    pub(crate) resident_bytes: Option<u64>,
}

pub(crate) fn usage() -> Usage {
    let cpu_seconds = getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
    });
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    Usage { cpu_seconds, resident_bytes: resident_bytes(&status) }
}

/// `VmRSS` of `/proc/self/status`, which counts in kibibytes.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_resident_memory() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2_097_152));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        assert!(usage().cpu_seconds >= 0.0);
    }
}
