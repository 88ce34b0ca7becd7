//! A zygote: a warm interpreter, its process and the socket to it.
//!
//! One task of the runtime, the keeper, owns the process and everything that it has forked: it registers groups with
//! the watchdog, passes events on to the attempts, and when the zygote is gone, kills what it has left before
//! the attempts hear of it. An attempt that is dropped leaves nothing behind either, because its
//! entry stays with the keeper.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, sendmsg, shutdown};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Error;
use super::protocol::{RECORD_BYTES, Record};
use crate::attempt::Usage;
use crate::process::{Supervisor, base_environment, kill_group};

/// What the interpreter is given on its command line: it reads the rest from the socket. Short, since it is what
/// `ps` shows.
const COMMAND: &str = "import os;exec(os.read(0,int(os.read(0,8))))";
const BOOTSTRAP: &str = include_str!("runner/bootstrap.py");
/// The modules of the runner.
const SOURCES: &[(&str, &str)] = &[
    ("_towpath", include_str!("runner/__init__.py")),
    ("_towpath.api", include_str!("runner/api.py")),
    ("_towpath.assets", include_str!("runner/assets.py")),
    ("_towpath.call", include_str!("runner/call.py")),
    ("_towpath.channel", include_str!("runner/channel.py")),
    ("_towpath.child", include_str!("runner/child.py")),
    ("_towpath.context", include_str!("runner/context.py")),
    ("_towpath.errors", include_str!("runner/errors.py")),
    ("_towpath.macros", include_str!("runner/macros.py")),
    ("_towpath.output", include_str!("runner/output.py")),
    ("_towpath.shim", include_str!("runner/shim.py")),
    ("_towpath.times", include_str!("runner/times.py")),
    ("_towpath.timezones", include_str!("runner/timezones.py")),
    ("_towpath.xcom", include_str!("runner/xcom.py")),
    ("_towpath.zygote", include_str!("runner/zygote.py")),
];

/// How long a zygote may take to end after its socket is closed.
const END_LIMIT: Duration = Duration::from_secs(2);
/// So much of what a zygote prints is kept for messages.
const TAIL_BYTES: usize = 2048;

/// What becomes of an attempt's process. When the channel of events ends, the zygote has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// It is there; `pgid` is its process and its group, which the watchdog knows.
    Started { pgid: i32 },
    /// It could not be forked.
    Refused { errno: i32 },
    /// What it has used, before it is told that it has ended.
    Used(Usage),
    /// It has ended and been reaped. With `rest` its group has got SIGKILL but is still there.
    Ended { status: ExitStatus, rest: bool },
}

/// The events of one attempt.
pub(super) type Events = UnboundedReceiver<Event>;

/// A warm interpreter. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Zygote {
    link: Arc<Link>,
    closing: CancellationToken,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Link {
    path: PathBuf,
    pid: i32,
    stream: UnixStream,
    attempts: Mutex<Attempts>,
}

#[derive(Debug, Default)]
struct Attempts {
    closed: bool,
    /// How the zygote ended.
    end: Option<String>,
    last: u64,
    entries: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    events: UnboundedSender<Event>,
    supervisor: Arc<Supervisor>,
    pgid: Option<i32>,
}

/// The worker's way to one attempt's process.
#[derive(Debug)]
pub(super) struct Handle {
    link: Arc<Link>,
    number: u64,
}

impl Zygote {
    /// Starts the interpreter and waits until it can fork.
    pub(super) async fn start(path: &Path, limit: Duration, idle: Duration) -> Result<Self, Error> {
        let cannot = |source: io::Error| Error::Start { path: path.to_owned(), reason: source.to_string() };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(cannot)?;
        let (log, log_end) = io::pipe().map_err(cannot)?;
        let mut child = tokio::process::Command::new(path)
            .args(["-c", COMMAND, "towpath-zygote"])
            .env_clear()
            .envs(base_environment(false))
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(log_end.try_clone().map_err(cannot)?)
            .stderr(log_end)
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot)?;
        ours.set_nonblocking(true).map_err(cannot)?;
        let mut stream = UnixStream::from_std(ours).map_err(cannot)?;
        let mut log = Log { pipe: Some(pipe::Receiver::from_owned_fd(log.into()).map_err(cannot)?), tail: Vec::new() };
        let reason = match timeout(limit, greet(&mut stream)).await {
            Ok(Ok(())) => None,
            // The reason for a broken socket is how it ended and what it has said.
            Ok(Err(error)) => match timeout(END_LIMIT, child.wait()).await {
                Ok(Ok(status)) => Some(format!("it ended with {status}")),
                Ok(Err(_)) | Err(_) => Some(error.to_string()),
            },
            Err(_) => Some(format!("it was not ready within {} s", limit.as_secs_f64())),
        };
        if let Some(reason) = reason {
            let _ = child.start_kill();
            let _ = child.wait().await;
            log.read();
            return Err(Error::Start { path: path.to_owned(), reason: format!("{reason}{}", log.quote()) });
        }
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        tracing::debug!(interpreter = %path.display(), pid, "a zygote is ready");
        let link = Arc::new(Link { path: path.to_owned(), pid, stream, attempts: Mutex::default() });
        let closing = CancellationToken::new();
        let keeper = Keeper { link: Arc::clone(&link), child, log, closing: closing.clone(), idle };
        let keeper = Mutex::new(Some(tokio::spawn(keeper.run())));
        Ok(Self { link, closing, keeper })
    }

    /// Whether it can be asked for more.
    pub(super) fn is_open(&self) -> bool {
        !self.link.lock().closed
    }

    /// The process.
    pub(super) fn pid(&self) -> i32 {
        self.link.pid
    }

    /// Asks for a child with the descriptors `fds`; `None` when the zygote is gone.
    pub(super) async fn fork(&self, supervisor: Arc<Supervisor>, fds: [OwnedFd; 3]) -> Option<(Handle, Events)> {
        let (sender, events) = unbounded_channel();
        let number = {
            let mut attempts = self.link.lock();
            if attempts.closed {
                return None;
            }
            attempts.last += 1;
            let number = attempts.last;
            attempts.entries.insert(number, Entry { events: sender, supervisor, pgid: None });
            number
        };
        let handle = Handle { link: Arc::clone(&self.link), number };
        let record = Record { kind: Record::RUN, value: 0, number }.encode();
        let fds = [fds[0].as_fd(), fds[1].as_fd(), fds[2].as_fd()];
        let sent = self.link.stream.async_io(Interest::WRITABLE, || self.link.send(&record, &fds)).await;
        if let Err(error) = sent {
            tracing::debug!(%error, pid = self.link.pid, "a zygote cannot be reached");
            let mut attempts = self.link.lock();
            attempts.entries.remove(&number);
            // The keeper is about to see it, too; nobody is to be sent here until then.
            attempts.closed = true;
            return None;
        }
        Some((handle, events))
    }

    /// Ends it and all that it has forked.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(keeper) = keeper
            && let Err(error) = keeper.await
        {
            tracing::error!(%error, "the keeper of a zygote has failed");
        }
    }
}

impl Drop for Zygote {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl Handle {
    /// Sends a signal to the process group, through the zygote, which knows whether the number is still its own.
    pub(super) fn signal(&self, signal: Signal) {
        let record = Record { kind: Record::SIGNAL, value: signal as i32, number: self.number }.encode();
        if let Err(error) = self.link.send(&record, &[]) {
            tracing::warn!(%error, pid = self.link.pid, "a zygote cannot be reached to stop a task");
        }
    }

    /// For a zygote that does not answer: kills it, and with it all that it has forked.
    pub(super) fn kill_zygote(&self) {
        // It is reaped by the keeper only, after which the link is closed.
        if self.link.pid > 1 && !self.link.lock().closed {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.link.pid), Signal::SIGKILL);
        }
    }

    /// How the zygote ended, and which it was.
    pub(super) fn epitaph(&self) -> String {
        let end = self.link.lock().end.clone().unwrap_or_else(|| "closed".to_owned());
        format!("`{}`, process {}: {end}", self.link.path.display(), self.link.pid)
    }
}

/// An attempt that is dropped before its end must not run on.
impl Drop for Handle {
    fn drop(&mut self) {
        if self.link.lock().entries.contains_key(&self.number) {
            self.signal(Signal::SIGKILL);
        }
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, record: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !rights.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::Error::other("more descriptors than a record can carry"));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(&self.stream, &[IoSlice::new(record)], &mut rights, flags)? {
            count if count == record.len() => Ok(()),
            _ => Err(io::Error::other("a record was cut")),
        }
    }
}

/// Gives the interpreter its program and waits for its first record.
async fn greet(stream: &mut UnixStream) -> io::Result<()> {
    let sources: serde_json::Map<String, serde_json::Value> =
        SOURCES.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect();
    let sources = serde_json::to_vec(&sources)?;
    let length = u32::try_from(sources.len()).expect("the runner is small");
    stream.write_all(format!("{:8}", BOOTSTRAP.len()).as_bytes()).await?;
    stream.write_all(BOOTSTRAP.as_bytes()).await?;
    stream.write_all(&length.to_le_bytes()).await?;
    stream.write_all(&sources).await?;
    let mut record = [0; RECORD_BYTES];
    stream.read_exact(&mut record).await?;
    match Record::decode(&record).kind {
        Record::READY => Ok(()),
        other => Err(io::Error::other(format!("its first message is of kind {other}"))),
    }
}

/// What a zygote prints: complaints of Python itself.
struct Log {
    pipe: Option<pipe::Receiver>,
    tail: Vec<u8>,
}

impl Log {
    async fn ready(&self) {
        match &self.pipe {
            Some(pipe) => drop(pipe.readable().await),
            None => std::future::pending().await,
        }
    }

    fn read(&mut self) {
        let mut buffer = [0; TAIL_BYTES];
        while let Some(pipe) = &self.pipe {
            match pipe.try_read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => self.pipe = None,
                Ok(count) => {
                    tracing::warn!(text = %String::from_utf8_lossy(&buffer[..count]).trim_end(), "a zygote says");
                    self.tail.extend_from_slice(&buffer[..count]);
                    let excess = self.tail.len().saturating_sub(TAIL_BYTES);
                    self.tail.drain(..excess);
                }
            }
        }
    }

    fn quote(&self) -> String {
        let text = String::from_utf8_lossy(&self.tail);
        let text = text.trim();
        if text.is_empty() { String::new() } else { format!(": {text}") }
    }
}

/// Follows a zygote to its end.
struct Keeper {
    link: Arc<Link>,
    child: Child,
    log: Log,
    closing: CancellationToken,
    idle: Duration,
}

impl Keeper {
    async fn run(mut self) {
        let mut record = [0; RECORD_BYTES];
        let mut filled = 0;
        let mut idle_at = Instant::now() + self.idle;
        loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => break,
                _ = self.link.stream.readable() => {
                    match self.link.stream.try_read(&mut record[filled..]) {
                        Ok(0) => break,
                        Ok(count) => filled += count,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                    if filled == RECORD_BYTES {
                        filled = 0;
                        idle_at = Instant::now() + self.idle;
                        self.take(Record::decode(&record));
                    }
                }
                () = self.log.ready() => self.log.read(),
                () = sleep_until(idle_at) => {
                    let mut attempts = self.link.lock();
                    if attempts.entries.is_empty() {
                        attempts.closed = true;
                        break;
                    }
                    idle_at = Instant::now() + self.idle;
                }
            }
        }
        self.end().await;
    }

    fn take(&self, record: Record) {
        let mut attempts = self.link.lock();
        let event = match record.kind {
            Record::STARTED => Event::Started { pgid: record.value },
            Record::REFUSED => Event::Refused { errno: record.value },
            Record::CPU_MS => {
                let cpu = Duration::from_millis(u64::try_from(record.value).unwrap_or_default());
                Event::Used(Usage { cpu, peak_bytes: 0 })
            }
            Record::PEAK_KIB => {
                let peak_bytes = 1_024 * u64::try_from(record.value).unwrap_or_default();
                Event::Used(Usage { cpu: Duration::ZERO, peak_bytes })
            }
            Record::ENDED | Record::ENDED_WITH_REST => Event::Ended {
                status: std::os::unix::process::ExitStatusExt::from_raw(record.value),
                rest: record.kind == Record::ENDED_WITH_REST,
            },
            kind => {
                tracing::error!(kind, "a zygote has sent an unknown message");
                return;
            }
        };
        let Some(entry) = attempts.entries.get_mut(&record.number) else { return };
        if let Event::Started { pgid } = event {
            entry.supervisor.watch(pgid);
            entry.pgid = Some(pgid);
            // A dropped attempt has sent SIGKILL, and its child gets nothing to do.
            let _ = entry.events.send(event);
            return;
        }
        if let Event::Used(_) = event {
            let _ = entry.events.send(event);
            return;
        }
        let entry = attempts.entries.remove(&record.number).expect("it was there");
        if let Some(pgid) = entry.pgid {
            entry.supervisor.unwatch(pgid);
        }
        let _ = entry.events.send(event);
    }

    async fn end(mut self) {
        self.link.lock().closed = true;
        // Its children die with it when it sees the end of the socket.
        let _ = shutdown(&self.link.stream, Shutdown::Both);
        let status = match timeout(END_LIMIT, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                let _ = self.child.start_kill();
                self.child.wait().await
            }
        };
        self.log.read();
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::debug!(interpreter = %self.link.path.display(), pid = self.link.pid, status, "a zygote has ended");
        let entries = {
            let mut attempts = self.link.lock();
            attempts.end = Some(format!("{status}{}", self.log.quote()));
            std::mem::take(&mut attempts.entries)
        };
        for entry in entries.values() {
            if let Some(pgid) = entry.pgid {
                kill_group(pgid).await;
                entry.supervisor.unwatch(pgid);
            }
        }
    }
}
