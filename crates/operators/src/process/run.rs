//! Running one command to its end.
//!
//! Written to cost little: a `bash -c true` takes about 0.8 ms of processor time by itself. Commands without a memory limit go
//! through `posix_spawn` (the program's path is resolved here because a `PATH` in the child's environment would make the
//! standard library fork), output and end are awaited on the runtime's own epoll, and no thread or task is started.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, UsageWho, getrusage, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::AccessFlags;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use wait4::Wait4 as _;

use super::{Error, Supervisor, group_exists, kill_group, signal_group};
use crate::attempt::Usage;
use crate::log::{Stream, TaskLog};

/// How long to wait for the end of the output of a task whose processes have all been killed.
const DRAIN: Duration = Duration::from_secs(1);
/// A longer last line is not kept.
const LAST_LINE_LIMIT_BYTES: usize = 16 * 1024 * 1024;
/// Reads grow from the first size to the second, that of a pipe, when there is much to read.
const BUFFER_BYTES: (usize, usize) = (8 * 1024, 64 * 1024);
/// Bytes that the kernel counts memory in.
const MAX_RSS_UNIT: u64 = if cfg!(target_os = "macos") { 1 } else { 1_024 };
/// Full reads after which other events get their turn.
const READS_IN_A_ROW: usize = 16;

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// A path, or a name that is looked up in the `PATH` of `env`.
    pub program: OsString,
    pub args: Vec<OsString>,
    /// The whole environment; nothing is inherited.
    pub env: BTreeMap<OsString, OsString>,
    pub cwd: PathBuf,
    /// Most data memory of each process, bytes (`RLIMIT_DATA`).
    pub memory_bytes: Option<u64>,
    /// What it reads on stdin; `None` is an empty input.
    pub stdin: Option<Vec<u8>>,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exit {
    /// The exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// It was told to stop (and may have ended by itself nevertheless).
    pub stopped: bool,
    /// The last line of stdout, without white space at its end.
    pub last_line: Option<String>,
    /// The last line was longer than 16 MiB and `last_line` is only its beginning.
    pub last_line_cut: bool,
    /// What it and the processes that it has waited for have used.
    pub usage: Usage,
}

/// Where programs were found: by name and `PATH`.
#[derive(Debug, Default)]
pub(super) struct ProgramCache(Mutex<HashMap<(OsString, OsString), PathBuf>>);

impl Supervisor {
    /// Runs `command` to its end, with its output in `log`. When `stop` is cancelled its group gets SIGTERM, and SIGKILL
    /// after the grace time. Processes that it left in the background are killed when it has ended. When this
    /// returns the group is gone and everything that it printed is in the log.
    ///
    /// # Errors
    /// [`Error`], when it cannot be started or followed.
    pub async fn run(&self, command: &Command, log: &TaskLog, stop: &CancellationToken) -> Result<Exit, Error> {
        if stop.is_cancelled() {
            return Ok(Exit { stopped: true, ..Exit::default() });
        }
        let mut running = Running::start(self, command)?;
        let lost = |pid: u32| {
            move |source| Error::Lost { program: command.program.to_string_lossy().into_owned(), pid, source }
        };
        let lost = lost(running.child.id());
        let mut output = Output {
            stdout: Reader::new(running.child.stdout.take().map(Into::into)).map_err(&lost)?,
            stderr: Reader::new(running.child.stderr.take().map(Into::into)).map_err(&lost)?,
            buffer: vec![0; BUFFER_BYTES.0],
            last_line: LastLine::default(),
            log,
        };
        let stdin = running.child.stdin.take();
        let input = feed(stdin.map(Into::into), command.stdin.as_deref().unwrap_or_default());
        let stopped = running.follow(&mut output, input, stop).await.map_err(&lost)?;
        let pgid = running.pgid;
        // The leader is dead and not yet reaped, so its number cannot belong to anybody else.
        signal_group(pgid, Signal::SIGKILL);
        let (status, usage) = running.reap().map_err(&lost)?;
        output.drain().await;
        if group_exists(pgid) {
            kill_group(pgid).await;
        }
        log.finish();
        let (last_line, last_line_cut) = output.last_line.take();
        Ok(Exit { code: status.code(), signal: status.signal(), stopped, last_line, last_line_cut, usage })
    }
}

/// A started process. If it is dropped before its end, because the future that follows it was, its group is killed.
struct Running<'a> {
    supervisor: &'a Supervisor,
    child: Child,
    pgid: i32,
    reaped: bool,
}

impl<'a> Running<'a> {
    fn start(supervisor: &'a Supervisor, command: &Command) -> Result<Self, Error> {
        let path = supervisor.programs.resolve(&command.program, command.env.get(OsStr::new("PATH")))?;
        let mut spawn = std::process::Command::new(&path);
        spawn
            .arg0(&command.program)
            .args(&command.args)
            .env_clear()
            .envs(&command.env)
            .current_dir(&command.cwd)
            .stdin(if command.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if let Some(limit) = command.memory_bytes {
            limit_memory(&mut spawn, limit);
        }
        let child = spawn.spawn().map_err(|source| {
            let program = command.program.to_string_lossy().into_owned();
            supervisor.programs.forget(&command.program);
            if command.cwd.is_dir() {
                Error::Start { program, reason: source.to_string() }
            } else {
                let reason = "there is no such folder".to_owned();
                Error::Folder { program, folder: command.cwd.clone(), reason }
            }
        })?;
        let pgid = i32::try_from(child.id()).expect("process ids are positive i32");
        supervisor.watch(pgid);
        Ok(Self { supervisor, child, pgid, reaped: false })
    }

    /// Passes the output on until the process has ended; true if it was told to stop.
    async fn follow(
        &self,
        output: &mut Output<'_>,
        input: impl Future<Output = ()>,
        stop: &CancellationToken,
    ) -> io::Result<bool> {
        let ended = ended(self.child.id())?;
        tokio::pin!(ended, input);
        let cancelled = stop.cancelled();
        tokio::pin!(cancelled);
        let (mut stopping, mut feeding) = (false, true);
        let mut kill_at = None;
        loop {
            tokio::select! {
                biased;
                result = &mut ended => return result.map(|()| stopping),
                () = &mut cancelled, if !stopping => {
                    stopping = true;
                    signal_group(self.pgid, Signal::SIGTERM);
                    kill_at = Some(Instant::now() + self.supervisor.options.grace);
                }
                () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                    kill_at = None;
                    signal_group(self.pgid, Signal::SIGKILL);
                }
                () = &mut input, if feeding => feeding = false,
                () = output.pass_on() => {}
            }
        }
    }

    fn reap(mut self) -> io::Result<(ExitStatus, Usage)> {
        let ended = self.child.wait4()?;
        self.reaped = true;
        self.supervisor.unwatch(self.pgid);
        let used = ended.rusage;
        // Until it becomes another program, a process that was spawned counts with the memory of this one.
        let own = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |own| own.max_rss());
        let own = MAX_RSS_UNIT * u64::try_from(own).unwrap_or_default();
        let peak_bytes = if used.maxrss > own { used.maxrss } else { 0 };
        Ok((ended.status, Usage { cpu: used.utime + used.stime, peak_bytes }))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.reaped {
            signal_group(self.pgid, Signal::SIGKILL);
            // Nothing survives SIGKILL for long, and a process that is not waited for stays as a zombie.
            let _ = self.child.wait();
            self.supervisor.unwatch(self.pgid);
        }
    }
}

/// Limits each process's data memory. This makes the standard library fork instead of `posix_spawn`, which
/// takes time in proportion to this process's memory, hence only where a limit was asked for.
#[expect(unsafe_code, reason = "the limit has to be set between fork and exec")]
fn limit_memory(spawn: &mut std::process::Command, limit: u64) {
    // SAFETY: the closure makes one system call and touches no memory that another thread may hold locked.
    unsafe {
        spawn.pre_exec(move || setrlimit(Resource::RLIMIT_DATA, limit, limit).map_err(io::Error::from));
    }
}

/// Ready once process `pid`, a child of this one, has ended; it is left unreaped.
#[cfg(target_os = "linux")]
fn ended(pid: u32) -> io::Result<impl Future<Output = io::Result<()>>> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("process ids are positive i32"));
    let pid = pid.expect("process ids are not zero");
    let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    let handle = register(handle, Interest::READABLE)?;
    Ok(async move { handle.readable().await.map(drop) })
}

/// Ready once process `pid`, a child of this one, has ended; it is left unreaped.
#[cfg(not(target_os = "linux"))]
fn ended(pid: u32) -> io::Result<impl Future<Output = io::Result<()>>> {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("process ids are positive i32"));
    let mut children = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child())?;
    Ok(async move {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(pid), flags)? == WaitStatus::StillAlive {
            children.recv().await;
        }
        Ok(())
    })
}

/// Writes `text` to a process's stdin and closes it; gives up when the process does not want it.
async fn feed(stdin: Option<OwnedFd>, mut text: &[u8]) {
    let Some(stdin) = stdin else { return };
    let Ok(()) = set_nonblocking(&stdin) else { return };
    let Ok(stdin) = register(stdin, Interest::WRITABLE) else { return };
    while !text.is_empty() {
        let Ok(mut ready) = stdin.writable().await else { return };
        match nix::unistd::write(&stdin, text) {
            Ok(count) => text = &text[count..],
            Err(Errno::EAGAIN) => ready.clear_ready(),
            Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// Lets the runtime watch a descriptor.
#[expect(unsafe_code, reason = "tokio asks for a promise that `OwnedFd` keeps by its nature")]
fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by the `AsyncFd`, stays open as long as it lives, and never changes.
    unsafe { AsyncFd::register_with_interest(fd, interest) }.map_err(Into::into)
}

fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// One end of a pipe; `None` once the other is closed.
struct Reader(Option<AsyncFd<OwnedFd>>);

impl Reader {
    fn new(pipe: Option<OwnedFd>) -> io::Result<Self> {
        let pipe = pipe.expect("the stream is piped");
        set_nonblocking(&pipe)?;
        Ok(Self(Some(register(pipe, Interest::READABLE)?)))
    }

    /// Waits for something to read; for ever once the pipe is closed.
    async fn ready(&self) {
        match &self.0 {
            // An error shows again when it is read.
            Some(pipe) => drop(pipe.readable().await),
            None => pending().await,
        }
    }

    /// Reads what is there, a few times at most, so that a process that never stops printing can still be stopped. With `ended`
    /// the runtime is not asked, which may not have seen yet that there is something.
    /// True where it stopped before the end of what is there.
    fn read(&mut self, buffer: &mut Vec<u8>, ended: bool, mut take: impl FnMut(&[u8])) -> bool {
        let Some(pipe) = &self.0 else { return false };
        for turn in 0.. {
            if turn == READS_IN_A_ROW && !ended {
                return true;
            }
            let result = if ended {
                nix::unistd::read(pipe, buffer).map_err(io::Error::from)
            } else {
                pipe.try_io(Interest::READABLE, |pipe| nix::unistd::read(pipe, buffer).map_err(io::Error::from))
            };
            match result {
                Ok(0) => break,
                Ok(count) => {
                    take(&buffer[..count]);
                    if count == buffer.len() {
                        buffer.resize(BUFFER_BYTES.1, 0);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.0 = None;
        false
    }
}

/// What a process prints, on its way to the log.
struct Output<'a> {
    stdout: Reader,
    stderr: Reader,
    buffer: Vec<u8>,
    last_line: LastLine,
    log: &'a TaskLog,
}

impl Output<'_> {
    /// Waits for output and passes it on; never ends once both streams are closed.
    async fn pass_on(&mut self) {
        let stream = tokio::select! {
            biased;
            () = self.stdout.ready() => Stream::Stdout,
            () = self.stderr.ready() => Stream::Stderr,
        };
        if self.read(stream, false) {
            // Other attempts on this thread must not starve beside one that prints without end.
            tokio::task::yield_now().await;
        }
    }

    fn read(&mut self, stream: Stream, ended: bool) -> bool {
        let Self { stdout, stderr, buffer, last_line, log } = self;
        match stream {
            Stream::Stdout => stdout.read(buffer, ended, |chunk| {
                last_line.push(chunk);
                log.bytes(stream, chunk);
            }),
            Stream::Stderr => stderr.read(buffer, ended, |chunk| log.bytes(stream, chunk)),
        }
    }

    /// Passes on what is still in the pipes of a process that has ended.
    async fn drain(&mut self) {
        self.read(Stream::Stdout, true);
        self.read(Stream::Stderr, true);
        let deadline = Instant::now() + DRAIN;
        while self.stdout.0.is_some() || self.stderr.0.is_some() {
            if timeout_at(deadline, self.pass_on()).await.is_err() {
                self.log.warning(
                    "a process that has left the task's process group keeps its output open; it is not followed any more",
                );
                return;
            }
        }
    }
}

/// Keeps the last line of what passes by.
#[derive(Debug, Default)]
struct LastLine {
    text: Vec<u8>,
    /// `text` is a whole line: what comes next replaces it.
    ended: bool,
    seen: bool,
    cut: bool,
}

impl LastLine {
    fn push(&mut self, chunk: &[u8]) {
        self.seen = true;
        let (body, ends) = chunk.strip_suffix(b"\n").map_or((chunk, false), |body| (body, true));
        let from = memchr::memrchr(b'\n', body).map(|at| at + 1);
        if self.ended || from.is_some() {
            self.text.clear();
            self.cut = false;
        }
        let line = &body[from.unwrap_or(0)..];
        let room = LAST_LINE_LIMIT_BYTES - self.text.len();
        self.cut |= line.len() > room;
        self.text.extend_from_slice(&line[..line.len().min(room)]);
        self.ended = ends;
    }

    fn take(self) -> (Option<String>, bool) {
        (self.seen.then(|| String::from_utf8_lossy(&self.text).trim_end().to_owned()), self.cut)
    }
}

impl ProgramCache {
    /// The path of `program`, looked up as a shell does.
    fn resolve(&self, program: &OsStr, path: Option<&OsString>) -> Result<PathBuf, Error> {
        if program.as_bytes().contains(&b'/') {
            return Ok(PathBuf::from(program));
        }
        let path = path.map_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"), OsString::as_os_str);
        let key = (program.to_owned(), path.to_owned());
        if let Some(found) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(found.clone());
        }
        let found = std::env::split_paths(path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(program))
            .find(|file| file.is_file() && nix::unistd::access(file, AccessFlags::X_OK).is_ok())
            .ok_or_else(|| Error::NotFound {
                program: program.to_string_lossy().into_owned(),
                path: path.to_string_lossy().into_owned(),
            })?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found.clone());
        Ok(found)
    }

    /// Looks `program` up anew the next time: it may have been moved.
    fn forget(&self, program: &OsStr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, _), _| name != program);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_last_line_is_kept_however_it_was_cut() {
        for (text, expected) in [
            ("", None),
            ("a", Some("a")),
            ("a\n", Some("a")),
            ("a\nb", Some("b")),
            ("a\nb  \r\n", Some("b")),
            ("a\n\n", Some("")),
            ("first\nsecond line\n", Some("second line")),
        ] {
            for size in 1..=text.len().max(1) {
                let mut line = LastLine::default();
                text.as_bytes().chunks(size).for_each(|chunk| line.push(chunk));
                assert_eq!(line.take(), (expected.map(str::to_owned), false), "{text:?} in chunks of {size}");
            }
        }
    }

    #[test]
    fn a_last_line_past_the_limit_is_marked() {
        let mut line = LastLine::default();
        for _ in 0..17 {
            line.push(&vec![b'x'; 1024 * 1024]);
        }
        let (text, cut) = line.take();
        assert_eq!((text.map(|text| text.len()), cut), (Some(LAST_LINE_LIMIT_BYTES), true));
    }

    #[test]
    fn programs_are_looked_up_in_the_tasks_own_path() {
        let cache = ProgramCache::default();
        let path = |text: &str| Some(OsString::from(text));
        assert!(cache.resolve(OsStr::new("sh"), path("/bin:/usr/bin").as_ref()).expect("sh exists").is_absolute());
        assert_eq!(cache.resolve(OsStr::new("./x"), None).expect("a path is taken as it is"), Path::new("./x"));
        let error = cache.resolve(OsStr::new("no-such-program"), path("/nowhere:/bin").as_ref());
        assert_eq!(
            error.expect_err("not there").to_string(),
            "cannot start `no-such-program`: there is no such program in PATH (`/nowhere:/bin`)"
        );
    }
}
