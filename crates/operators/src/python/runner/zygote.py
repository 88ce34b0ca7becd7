"""The loop of the zygote: fork a child for each attempt, pass signals on, reap, report.

It has one thread, holds nothing of an attempt but its number, and ends when the worker does.
"""

import array
import errno
import gc
import os
import select
import signal
import socket
import struct
import sys

from _towpath import child

RECORD = struct.Struct("<IiQ")

# Kinds of records; the worker has the same numbers.
RUN, SIGNAL = 1, 2
READY, STARTED, REFUSED, ENDED, ENDED_WITH_REST, CPU_MS, PEAK_KIB = 11, 12, 13, 14, 15, 16, 17

# The largest value of a record.
LARGEST = 2**31 - 1

# The worker ends a zygote by closing its socket. These come when a whole container or terminal is told
# to stop, and then running tasks still have their grace time.
DEFERRED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

CLOSE_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Zygote:
    def __init__(self, control):
        self.control = socket.socket(fileno=control)
        self.children = {}
        self.pids = {}
        self.wake_read, self.wake_write = os.pipe()
        os.set_blocking(self.wake_read, False)
        os.set_blocking(self.wake_write, False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)

    def tell(self, kind, value, number):
        self.control.sendall(RECORD.pack(kind, value, number))

    def loop(self):
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wake_read, select.POLLIN)
        version = sys.version_info
        self.tell(READY, version.major << 16 | version.minor << 8 | version.micro, os.getpid())
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if self.wake_read in ready:
                self.reap()
            if self.control.fileno() in ready and not self.obey():
                return

    def obey(self):
        """Does what one record says; false when the worker is gone."""
        room = socket.CMSG_SPACE(3 * array.array("i").itemsize)
        data, ancillary, _, _ = self.control.recvmsg(RECORD.size, room, CLOSE_ON_EXEC)
        fds = array.array("i")
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
        while data and len(data) < RECORD.size:
            more = self.control.recv(RECORD.size - len(data))
            data = data + more if more else b""
        if not data:
            return False
        kind, value, number = RECORD.unpack(data)
        if kind == RUN:
            self.run(number, fds)
        elif kind == SIGNAL and number in self.pids:
            # It is not reaped yet, so the number of its group is its own.
            signal_group(self.pids[number], value)
        return True

    def run(self, number, fds):
        try:
            pid = os.fork()
        except OSError as error:
            close_all(fds)
            self.tell(REFUSED, error.errno or errno.EAGAIN, number)
            return
        if pid == 0:
            child.main(fds, [self.control.detach(), self.wake_read, self.wake_write], DEFERRED)
        close_all(fds)
        try:
            # The child does the same; whoever is first, a signal to the group finds it.
            os.setpgid(pid, pid)
        except OSError:
            pass
        self.children[pid] = number
        self.pids[number] = pid
        self.tell(STARTED, pid, number)

    def reap(self):
        try:
            while os.read(self.wake_read, 4096):
                pass
        except BlockingIOError:
            pass
        while self.children:
            pid = ended_child()
            if pid is None:
                return
            # What a task leaves in the background ends with it. Until the leader is reaped, its number
            # cannot belong to another group.
            signal_group(pid, signal.SIGKILL)
            _, status, used = os.wait4(pid, 0)
            number = self.children.pop(pid, None)
            if number is None:
                continue
            del self.pids[number]
            self.tell(CPU_MS, min(int((used.ru_utime + used.ru_stime) * 1000), LARGEST), number)
            # Bytes on macOS, KiB elsewhere.
            peak = used.ru_maxrss // 1024 if sys.platform == "darwin" else used.ru_maxrss
            self.tell(PEAK_KIB, min(peak, LARGEST), number)
            self.tell(ENDED_WITH_REST if group_exists(pid) else ENDED, status, number)

    def end(self):
        for pid in self.children:
            signal_group(pid, signal.SIGKILL)


def close_all(fds):
    for fd in fds:
        os.close(fd)


def ended_child():
    """A child that has ended, still to be reaped, or None."""
    found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found.si_pid if found is not None else None


def signal_group(pid, signum):
    try:
        os.killpg(pid, signum)
    except ProcessLookupError:
        pass
    except PermissionError:
        # Some systems answer so for a group of zombies.
        pass


def group_exists(pid):
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def main(control):
    try:
        # A session of its own: no terminal, and nobody's Ctrl-C.
        os.setsid()
    except OSError:
        pass
    signal.pthread_sigmask(signal.SIG_BLOCK, DEFERRED)
    zygote = Zygote(control)
    # What is loaded by now is shared with all children; a collection in one of them would copy it.
    gc.disable()
    gc.collect()
    gc.freeze()
    try:
        zygote.loop()
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        zygote.end()
    os._exit(0)
