"""The socket between a task's process and the worker.

Everything that Python code prints or logs goes through it, so that it keeps its order. A frame says how much
was waiting in the pipes behind descriptors 1 and 2 when it was sent: the output of subprocesses and of C code,
which the worker then puts before it.
"""

import collections
import fcntl
import json
import os
import signal
import struct
import termios
import threading
import time

from _towpath.errors import AirflowRuntimeError, AirflowTaskTerminated

HEADER = struct.Struct("<IBIIQ")
LENGTH = struct.Struct("<I")

# Kinds of frames; the worker has the same numbers.
STDOUT, STDERR, LOG, QUERY, PUSH, MASK, RESULT, OUTLET = 1, 2, 3, 4, 5, 6, 7, 8


class Channel:
    def __init__(self, fd):
        self._fd = fd
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._call_lock = threading.Lock()
        self._local = threading.local()
        self._later = collections.deque()
        self._rest = b""
        self._pending = bytearray(4)
        self._terminate = False
        self._terminated = False
        self.detached = False

    def send(self, kind, payload):
        local = self._local
        if getattr(local, "sending", False):
            # A signal handler or a destructor speaks while this thread is in the middle of a frame.
            self._later.append((kind, bytes(payload)))
            return
        local.sending = True
        try:
            with self._lock:
                self._write(kind, payload)
                while self._later:
                    self._write(*self._later.popleft())
        finally:
            local.sending = False
        if self._terminate:
            self._terminate_now()

    def send_json(self, kind, value):
        self.send(kind, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))

    def call(self, method, **arguments):
        """Asks the worker and waits for the answer."""
        self.require(method)
        arguments["method"] = method
        with self._call_lock:
            self._local.calling = True
            try:
                self.send_json(QUERY, arguments)
                reply = self.receive()
            finally:
                self._local.calling = False
        if self._terminate:
            self._terminate_now()
        if reply is None:
            raise AirflowRuntimeError(f"the worker has gone away while `{method}` was asked for")
        if "error" in reply:
            raise AirflowRuntimeError(reply["error"])
        return reply["ok"]

    def require(self, method):
        """Fails in a process that the task has forked."""
        if self.detached:
            raise AirflowRuntimeError(
                f"`{method}` was asked for in a process that the task has forked; only the task's own process can: "
                "ask before the fork and pass the value on"
            )

    def receive(self):
        """The next message of the worker; None when it is gone."""
        head = self._read(LENGTH.size)
        if head is None:
            return None
        body = self._read(LENGTH.unpack(head)[0])
        return None if body is None else json.loads(body)

    def on_terminate(self, signum, frame):
        """Handler of SIGTERM: the task gets an exception, once, and not inside of a frame."""
        if os.getpid() != self._pid:
            # A process that the task has just forked, and that has not come to `detach` yet.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        if self._terminated:
            return
        self._terminate = True
        local = self._local
        if not getattr(local, "sending", False):
            self._terminate_now()

    def _terminate_now(self):
        if getattr(self._local, "calling", False) or threading.current_thread() is not threading.main_thread():
            return
        self._terminate = False
        self._terminated = True
        raise AirflowTaskTerminated("the task was told to stop")

    def detach(self):
        """In a process that the task has forked: the socket is the task's alone."""
        self.detached = True
        self._lock = threading.Lock()
        self._call_lock = threading.Lock()
        self._local = threading.local()
        self._terminate = False
        try:
            # It ends quietly by SIGTERM, as a pool's worker should.
            if signal.getsignal(signal.SIGTERM) == self.on_terminate:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
        except ValueError:
            pass
        try:
            os.close(self._fd)
        except OSError:
            pass

    def _write(self, kind, payload):
        head = HEADER.pack(len(payload), kind, self._waiting(1), self._waiting(2), time.monotonic_ns())
        # If the user's own signal handler raises an exception in the middle, the next frame completes this one.
        self._rest = memoryview(b"".join((self._rest, head, payload)))
        while self._rest:
            self._rest = self._rest[os.write(self._fd, self._rest) :]

    def _waiting(self, fd):
        try:
            fcntl.ioctl(fd, termios.FIONREAD, self._pending, True)
        except OSError:
            return 0
        return int.from_bytes(self._pending, "little")

    def _read(self, count):
        parts = []
        while count:
            part = os.read(self._fd, min(count, 1 << 20))
            if not part:
                return None
            parts.append(part)
            count -= len(part)
        return b"".join(parts)
