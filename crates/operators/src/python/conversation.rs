//! The worker's side of one attempt: output to the log, questions answered, signals, and the end.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::protocol::{FrameKind, HEADER_BYTES, Header, LogRecord, OutletExtra, Push, Query, Reply, Report, message};
use super::services;
use super::zygote::{Event, Events, Handle};
use crate::attempt::Attempt;
use crate::log::Stream;
use crate::process::kill_group;

/// How long to wait for the end of the output of a task whose processes have all been killed.
const DRAIN: Duration = Duration::from_secs(1);
/// How long SIGKILL may take before the zygote itself is held to be stuck.
const KILL_LIMIT: Duration = Duration::from_secs(5);
const BUFFER_BYTES: usize = 64 * 1024;
/// Reads of a pipe that are remembered until the next frame.
const READS_KEPT: usize = 1024;
/// Reads after which other events get their turn.
const READS_IN_A_ROW: usize = 16;

type Answer<'a> = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

/// How an attempt's process ended.
#[derive(Debug)]
pub(super) enum End {
    Exited(ExitStatus),
    /// It could not be forked.
    Refused {
        errno: i32,
    },
    /// The zygote died before it had forked: nothing has run.
    NotStarted,
    /// The zygote died, and the process was killed.
    Orphaned {
        epitaph: String,
    },
}

/// What an attempt's process has left.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) end: End,
    pub(super) report: Option<Report>,
    pub(super) stopping: Stopping,
    /// What was wrong with its messages.
    pub(super) problem: Option<String>,
}

/// How far the process has been told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopping {
    No,
    /// It has got SIGTERM.
    Asked,
    /// It has got SIGKILL.
    Killed,
    /// Its zygote has got SIGKILL.
    ZygoteKilled,
}

pub(super) struct Conversation<'a> {
    attempt: &'a Attempt,
    handle: Handle,
    control: Option<UnixStream>,
    stdout: Pipe,
    stderr: Pipe,
    /// Received and not yet a whole frame.
    inbox: Vec<u8>,
    /// To be sent, from `sent` on.
    outbox: Vec<u8>,
    sent: usize,
    job: Vec<u8>,
    queries: VecDeque<Query>,
    buffer: Vec<u8>,
    report: Option<Report>,
    stopping: Stopping,
    escalate_at: Option<Instant>,
    problem: Option<String>,
}

/// What can be gone on with.
enum Ready {
    Control,
    Outbox,
    Output(Stream),
}

impl<'a> Conversation<'a> {
    /// `job` is sent once the process is known to the watchdog; a process without a job ends by itself.
    pub(super) fn new(
        attempt: &'a Attempt,
        handle: Handle,
        control: UnixStream,
        stdout: pipe::Receiver,
        stderr: pipe::Receiver,
        job: Vec<u8>,
    ) -> Self {
        Self {
            attempt,
            handle,
            control: Some(control),
            stdout: Pipe::new(stdout),
            stderr: Pipe::new(stderr),
            inbox: Vec::new(),
            outbox: Vec::new(),
            sent: 0,
            job,
            queries: VecDeque::new(),
            buffer: vec![0; BUFFER_BYTES],
            report: None,
            stopping: Stopping::No,
            escalate_at: None,
            problem: None,
        }
    }

    /// Follows the process to its end. Its group is gone and all that it printed is in the log when this returns.
    pub(super) async fn run(mut self, events: Events) -> (Finished, Vec<u8>) {
        let (end, pgid, rest) = self.follow(events).await;
        if rest {
            kill_group(pgid).await;
        }
        if !matches!(end, End::NotStarted | End::Refused { .. }) {
            self.drain().await;
            self.attempt.log.finish();
        }
        let finished = Finished { end, report: self.report, stopping: self.stopping, problem: self.problem };
        (finished, self.job)
    }

    async fn follow(&mut self, mut events: Events) -> (End, i32, bool) {
        let attempt = self.attempt;
        let cancelled = attempt.stop.cancelled();
        tokio::pin!(cancelled);
        let mut answering: Option<Answer<'a>> = None;
        let mut pgid = 0;
        loop {
            if answering.is_none()
                && let Some(query) = self.queries.pop_front()
            {
                answering = Some(Box::pin(services::answer(attempt, query)));
            }
            let escalate_at = self.escalate_at;
            tokio::select! {
                biased;
                event = events.recv() => match event {
                    Some(Event::Started { pgid: started }) => {
                        pgid = started;
                        self.outbox = std::mem::take(&mut self.job);
                        self.write();
                    }
                    Some(Event::Used(usage)) => attempt.spent(usage),
                    Some(Event::Refused { errno }) => return (End::Refused { errno }, pgid, false),
                    Some(Event::Ended { status, rest }) => return (End::Exited(status), pgid, rest),
                    None if pgid == 0 => return (End::NotStarted, pgid, false),
                    None => return (End::Orphaned { epitaph: self.handle.epitaph() }, pgid, false),
                },
                () = &mut cancelled, if self.stopping == Stopping::No => self.escalate(),
                () = sleep_until(escalate_at.unwrap_or_else(Instant::now)), if escalate_at.is_some() => self.escalate(),
                reply = poll_answer(&mut answering) => {
                    answering = None;
                    self.reply(&reply);
                }
                ready = self.ready() => self.go_on(&ready),
            }
        }
    }

    /// SIGTERM, after the grace time SIGKILL, and if even that does not help, the zygote's end.
    fn escalate(&mut self) {
        let (stopping, limit) = match self.stopping {
            Stopping::No => {
                self.handle.signal(Signal::SIGTERM);
                (Stopping::Asked, Some(self.attempt.supervisor.grace()))
            }
            Stopping::Asked => {
                self.handle.signal(Signal::SIGKILL);
                (Stopping::Killed, Some(KILL_LIMIT))
            }
            Stopping::Killed | Stopping::ZygoteKilled => {
                self.handle.kill_zygote();
                (Stopping::ZygoteKilled, None)
            }
        };
        self.stopping = stopping;
        self.escalate_at = limit.map(|limit| Instant::now() + limit);
    }

    /// A process that breaks the rules of the conversation is killed.
    fn give_up(&mut self, problem: String) {
        if self.problem.is_none() {
            self.problem = Some(problem);
            self.handle.signal(Signal::SIGKILL);
        }
        self.control = None;
        self.inbox.clear();
    }

    fn reply(&mut self, reply: &Reply) {
        let message =
            message(reply).or_else(|error| message(&Reply::Error(format!("the answer is too large: {error}"))));
        match message {
            Ok(message) => self.outbox.extend_from_slice(&message),
            Err(error) => return self.give_up(error),
        }
        self.write();
    }

    async fn ready(&self) -> Ready {
        tokio::select! {
            biased;
            () = ready_for(self.control.as_ref(), Interest::READABLE) => Ready::Control,
            () = ready_for(self.control.as_ref(), Interest::WRITABLE), if self.sent < self.outbox.len() => Ready::Outbox,
            () = self.stdout.ready() => Ready::Output(Stream::Stdout),
            () = self.stderr.ready() => Ready::Output(Stream::Stderr),
        }
    }

    fn go_on(&mut self, ready: &Ready) {
        match ready {
            Ready::Control => self.read_control(true),
            Ready::Outbox => self.write(),
            Ready::Output(stream) => self.read_output(*stream),
        }
    }

    fn write(&mut self) {
        while let Some(control) = self.control.as_ref().filter(|_| self.sent < self.outbox.len()) {
            match control.try_write(&self.outbox[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It does not read any more: it ends or has ended, which is an event of its own.
                Err(_) => break,
            }
        }
        self.outbox.clear();
        self.sent = 0;
    }

    /// Takes what is there. With `asked` because the runtime says so, and then it learns when there is no more.
    fn read_control(&mut self, asked: bool) {
        for _ in 0..READS_IN_A_ROW {
            let Some(control) = &self.control else { return };
            let result = if asked {
                control.try_read(&mut self.buffer)
            } else {
                let received = recv(control, &mut self.buffer[..], RecvFlags::DONTWAIT);
                received.map(|(count, _)| count).map_err(io::Error::from)
            };
            match result {
                Ok(0) => {
                    self.control = None;
                    return;
                }
                Ok(count) => {
                    self.inbox.extend_from_slice(&self.buffer[..count]);
                    self.take_frames();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.control = None;
                    return;
                }
            }
        }
    }

    fn take_frames(&mut self) {
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut start = 0;
        while let Some((head, rest)) = inbox[start..].split_first_chunk::<HEADER_BYTES>() {
            let header = match Header::decode(head) {
                Ok(header) => header,
                Err(problem) => return self.give_up(problem),
            };
            let Some(payload) = rest.get(..header.length) else { break };
            // Bytes that were in the pipes when this was sent have been written before it.
            for (stream, waiting) in [(Stream::Stdout, header.waiting_stdout), (Stream::Stderr, header.waiting_stderr)]
            {
                let until = self.pipe(stream).0.total_at(header.at_ns) + waiting as u64;
                self.pass_on(stream, Some(until));
            }
            if let Err(error) = self.take_frame(header.kind, payload) {
                return self.give_up(format!("a frame that cannot be read: {error}"));
            }
            start += HEADER_BYTES + header.length;
        }
        inbox.drain(..start);
        self.inbox = inbox;
    }

    fn pipe(&mut self, stream: Stream) -> (&mut Pipe, &mut [u8]) {
        match stream {
            Stream::Stdout => (&mut self.stdout, &mut self.buffer),
            Stream::Stderr => (&mut self.stderr, &mut self.buffer),
        }
    }

    fn take_frame(&mut self, kind: FrameKind, payload: &[u8]) -> Result<(), serde_json::Error> {
        let attempt = self.attempt;
        match kind {
            FrameKind::Stdout => attempt.log.bytes(Stream::Stdout, payload),
            FrameKind::Stderr => attempt.log.bytes(Stream::Stderr, payload),
            FrameKind::Log => {
                let record: LogRecord = serde_json::from_slice(payload)?;
                attempt.log.line(record.level, &record.logger, &record.text);
            }
            FrameKind::Query => self.queries.push_back(serde_json::from_slice(payload)?),
            FrameKind::Push => {
                let push: Push = serde_json::from_slice(payload)?;
                attempt.push_xcom(push.key, push.value);
            }
            FrameKind::Outlet => {
                let outlet: OutletExtra = serde_json::from_slice(payload)?;
                attempt.set_event_extra(outlet.name, outlet.extra);
            }
            FrameKind::Mask => attempt.log.secrets().add(&serde_json::from_slice::<String>(payload)?),
            FrameKind::Result => self.report = Some(serde_json::from_slice(payload)?),
        }
        Ok(())
    }

    /// Takes what is in a pipe, as the runtime says that there is something. It is passed on after the frames that were sent
    /// before it was written, and these have certainly arrived by now.
    fn read_output(&mut self, stream: Stream) {
        for _ in 0..READS_IN_A_ROW {
            let (pipe, buffer) = self.pipe(stream);
            if !pipe.take(buffer, true) {
                break;
            }
        }
        self.read_control(false);
        self.pass_on(stream, None);
    }

    /// Passes on a pipe's bytes up to number `until`, as far as they are there; without it, what has been read.
    fn pass_on(&mut self, stream: Stream, until: Option<u64>) {
        let log = &self.attempt.log;
        let (pipe, buffer) = self.pipe(stream);
        let until = until.unwrap_or(pipe.total);
        while pipe.total < until {
            let missing = usize::try_from(until - pipe.total).unwrap_or(usize::MAX).min(buffer.len());
            if !pipe.take(&mut buffer[..missing], false) {
                break;
            }
        }
        let passed = pipe.total - pipe.held.len() as u64;
        let count = usize::try_from(until.saturating_sub(passed)).unwrap_or(usize::MAX).min(pipe.held.len());
        if count > 0 {
            log.bytes(stream, &pipe.held[..count]);
            pipe.held.drain(..count);
        }
    }

    /// Takes what the process has left in its socket and its pipes.
    async fn drain(&mut self) {
        let deadline = Instant::now() + DRAIN;
        while self.control.is_some() || self.stdout.end.is_some() || self.stderr.end.is_some() {
            match timeout_at(deadline, self.ready()).await {
                // Nobody is left to read what is in the outbox.
                Ok(Ready::Outbox) => self.outbox.clear(),
                Ok(ready) => self.go_on(&ready),
                Err(_) => {
                    self.attempt.log.warning(
                        "a process that has left the task's process group keeps its output open; it is not followed any more",
                    );
                    return;
                }
            }
        }
    }
}

/// A pipe from the process.
struct Pipe {
    /// The reading end; `None` once the other is closed.
    end: Option<pipe::Receiver>,
    /// Bytes read so far.
    total: u64,
    /// The last of them, which have not been passed on.
    held: Vec<u8>,
    /// Of the reads that are younger than the newest frame: when they were done, and the total then.
    reads: VecDeque<(u64, u64)>,
    /// The total when the newest frame was made.
    total_at_frame: u64,
}

impl Pipe {
    fn new(end: pipe::Receiver) -> Self {
        Self { end: Some(end), total: 0, held: Vec::new(), reads: VecDeque::new(), total_at_frame: 0 }
    }

    /// Reads once; false when there is nothing. With `asked` because the runtime says that there is something, and then it
    /// learns when there is no more.
    fn take(&mut self, buffer: &mut [u8], asked: bool) -> bool {
        let Some(end) = &self.end else { return false };
        let result =
            if asked { end.try_read(buffer) } else { nix::unistd::read(end.as_fd(), buffer).map_err(io::Error::from) };
        match result {
            Ok(0) => self.end = None,
            Ok(count) => {
                self.held.extend_from_slice(&buffer[..count]);
                self.total += count as u64;
                if self.reads.len() == READS_KEPT {
                    self.total_at_frame = self.reads.pop_front().map_or(self.total_at_frame, |(_, total)| total);
                }
                self.reads.push_back((monotonic_ns(), self.total));
                return true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return true,
            Err(_) => self.end = None,
        }
        false
    }

    /// How many bytes had been read at that time, which is not before that of the last question.
    fn total_at(&mut self, at_ns: u64) -> u64 {
        while let Some((_, total)) = self.reads.pop_front_if(|(done_ns, _)| *done_ns <= at_ns) {
            self.total_at_frame = total;
        }
        self.total_at_frame
    }

    async fn ready(&self) {
        match &self.end {
            // An error shows again when it is read.
            Some(pipe) => drop(pipe.readable().await),
            None => pending().await,
        }
    }
}

/// The clock that Python calls `time.monotonic_ns`.
fn monotonic_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

async fn ready_for(control: Option<&UnixStream>, interest: Interest) {
    match control {
        Some(control) => drop(control.ready(interest).await),
        None => pending().await,
    }
}

async fn poll_answer(answering: &mut Option<Answer<'_>>) -> Reply {
    match answering {
        Some(answer) => answer.await,
        None => pending().await,
    }
}
