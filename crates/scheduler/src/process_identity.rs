//! Which process a job row stands for, and whether that process still lives.
//!
//! A lease tells that a process is gone, but only when it runs out. On the same machine `/proc`
//! tells it at once: a process is named by the boot of the machine, the namespace of its pid and
//! the moment at which it started, so that neither a reused pid nor a restart deceives. Not here:
//! what follows from it, which is the store's business.

use std::fmt;
use std::path::Path;

use towpath_store::{JobType, NewJob};

const PROC: &str = "/proc";
/// In place of what `/proc` does not tell; nothing is concluded from it.
const UNKNOWN: &str = "unknown";

/// A process as its job row names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessIdentity {
    pub hostname: String,
    pub pid: u32,
    /// See [`ProcessMark`]; [`NewJob::process_mark`] holds its text.
    pub mark: ProcessMark,
}

/// What tells a process from all others of its machine, past and future. Its text is
/// `boot id/pid namespace/start time`, the start time in clock ticks since boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessMark {
    /// Changes whenever the machine starts; the same for all its containers.
    boot: String,
    /// A pid says nothing outside of its namespace.
    pid_namespace: String,
    started: String,
}

/// Whether a process still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    Alive,
    /// There is no such process any more, or it is a zombie, or its pid belongs to another one.
    Dead,
    /// It is out of sight: another machine, boot or container, or `/proc` is not there.
    Unknown,
}

impl ProcessIdentity {
    /// The calling process.
    #[must_use]
    pub fn current() -> Self {
        let pid = std::process::id();
        let hostname = read(&Path::new(PROC).join("sys/kernel/hostname")).unwrap_or_else(|| "localhost".to_owned());
        Self { hostname, pid, mark: ProcessMark::current() }
    }

    /// A job that this process does.
    #[must_use]
    pub fn job(&self, job_type: JobType, queues: Vec<String>, slots: u32) -> NewJob {
        NewJob {
            job_type,
            hostname: self.hostname.clone(),
            pid: self.pid,
            process_mark: self.mark.to_string(),
            queues,
            slots,
        }
    }

    /// Whether `job` is done by this very process.
    #[must_use]
    pub fn does(&self, job: &NewJob) -> bool {
        self.hostname == job.hostname && self.pid == job.pid && self.mark.to_string() == job.process_mark
    }

    /// Whether the process that registered `job` still runs, as far as this one can see.
    #[must_use]
    pub fn liveness_of(&self, job: &NewJob) -> Liveness {
        if self.hostname != job.hostname {
            return Liveness::Unknown;
        }
        let Some(theirs) = ProcessMark::parse(&job.process_mark) else { return Liveness::Unknown };
        liveness(&self.mark, &theirs, || Stat::read(job.pid))
    }
}

impl ProcessMark {
    fn current() -> Self {
        let unknown = || UNKNOWN.to_owned();
        let namespace = std::fs::read_link(Path::new(PROC).join("self/ns/pid"));
        Self {
            boot: read(&Path::new(PROC).join("sys/kernel/random/boot_id")).unwrap_or_else(unknown),
            pid_namespace: namespace
                .ok()
                .and_then(|link| Some(link.to_str()?.trim_start_matches("pid:[").trim_end_matches(']').to_owned()))
                .unwrap_or_else(unknown),
            started: match Stat::read(std::process::id()) {
                Stat::Found { started, .. } => started,
                Stat::Missing | Stat::Unreadable => unknown(),
            },
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/').map(str::to_owned);
        let mark = Self { boot: parts.next()?, pid_namespace: parts.next()?, started: parts.next()? };
        parts.next().is_none().then_some(mark)
    }

    fn is_known(&self) -> bool {
        [&self.boot, &self.pid_namespace, &self.started].into_iter().all(|part| part != UNKNOWN && !part.is_empty())
    }
}

impl fmt::Display for ProcessMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.boot, self.pid_namespace, self.started)
    }
}

/// Whether no process `pid` runs in sight of this one; false as well when that cannot be told.
#[must_use]
pub fn has_ended(pid: u32) -> bool {
    matches!(Stat::read(pid), Stat::Missing | Stat::Found { is_over: true, .. })
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stat {
    Found {
        /// Its state is zombie or dead.
        is_over: bool,
        /// In clock ticks since boot.
        started: String,
    },
    Missing,
    Unreadable,
}

impl Stat {
    fn read(pid: u32) -> Self {
        match std::fs::read_to_string(Path::new(PROC).join(pid.to_string()).join("stat")) {
            Ok(text) => Self::parse(&text),
            // Without /proc itself nothing is known about anybody.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && Path::new(PROC).join("self").exists() => {
                Self::Missing
            }
            Err(_) => Self::Unreadable,
        }
    }

    /// The command's name stands in parentheses and may hold spaces and parentheses itself, so the
    /// fields are counted from the last one. The state is field 3, the start time field 22.
    fn parse(text: &str) -> Self {
        let Some((_, rest)) = text.rsplit_once(')') else { return Self::Unreadable };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        match (fields.first(), fields.get(19)) {
            (Some(state), Some(started)) => {
                Self::Found { is_over: matches!(*state, "Z" | "X" | "x"), started: (*started).to_owned() }
            }
            _ => Self::Unreadable,
        }
    }
}

fn liveness(ours: &ProcessMark, theirs: &ProcessMark, stat: impl FnOnce() -> Stat) -> Liveness {
    if !ours.is_known() || !theirs.is_known() || ours.boot != theirs.boot || ours.pid_namespace != theirs.pid_namespace
    {
        return Liveness::Unknown;
    }
    match stat() {
        Stat::Found { is_over: false, started } if started == theirs.started => Liveness::Alive,
        Stat::Found { .. } | Stat::Missing => Liveness::Dead,
        Stat::Unreadable => Liveness::Unknown,
    }
}

fn read(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(state: char, started: &str) -> Stat {
        Stat::Found { is_over: state == 'Z', started: started.to_owned() }
    }

    #[test]
    fn only_what_is_in_sight_can_be_dead() {
        for (theirs, stat, expected) in [
            ("boot/1/77", found('S', "77"), Liveness::Alive),
            ("boot/1/77", found('Z', "77"), Liveness::Dead),
            ("boot/1/77", found('S', "78"), Liveness::Dead),
            ("boot/1/77", Stat::Missing, Liveness::Dead),
            ("boot/1/77", Stat::Unreadable, Liveness::Unknown),
            ("other/1/77", Stat::Missing, Liveness::Unknown),
            ("boot/2/77", Stat::Missing, Liveness::Unknown),
            ("unknown/1/77", Stat::Missing, Liveness::Unknown),
        ] {
            let ours = ProcessMark::parse("boot/1/5").unwrap();
            let mark = ProcessMark::parse(theirs).unwrap();
            assert_eq!(liveness(&ours, &mark, || stat.clone()), expected, "{theirs} {stat:?}");
        }
        assert_eq!(ProcessMark::parse("no mark"), None);
        assert_eq!(ProcessMark::parse("a/b/c/d"), None);
    }

    #[test]
    fn a_name_with_parentheses_does_not_deceive() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21";
        assert_eq!(Stat::parse(&format!("7 (a) R 9 (b)) {fields}")), found('S', "4242"));
        assert_eq!(Stat::parse("7 (cut off) S 1 2"), Stat::Unreadable);
        assert_eq!(Stat::parse(""), Stat::Unreadable);
    }

    #[test]
    fn a_real_process_lives_and_dies() {
        let ours = ProcessIdentity::current();
        assert!(ours.mark.is_known(), "{ours:?}");
        let own = ours.job(JobType::Scheduler, Vec::new(), 0);
        assert!(ours.does(&own));
        assert_eq!(ours.liveness_of(&own), Liveness::Alive);

        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let Stat::Found { started, .. } = Stat::read(child.id()) else { panic!("the child is not in /proc") };
        let mark = ProcessMark { started, ..ours.mark.clone() };
        let job = NewJob { pid: child.id(), process_mark: mark.to_string(), ..own };
        assert_eq!(ours.liveness_of(&job), Liveness::Alive);
        assert!(!ours.does(&job));
        child.kill().unwrap();
        // Killed and waited for, it is gone from /proc.
        child.wait().unwrap();
        assert_eq!(ours.liveness_of(&job), Liveness::Dead);
        let elsewhere = NewJob { hostname: "elsewhere".to_owned(), ..job };
        assert_eq!(ours.liveness_of(&elsewhere), Liveness::Unknown);
    }
}
