"""What a task prints and logs, and its tracebacks."""

import io
import json
import logging
import os
import sys
import traceback

from _towpath.channel import LOG, STDERR, STDOUT

# Longer frames are cut, so that one print does not keep others waiting.
CHUNK_BYTES = 64 * 1024
# Longer records are cut.
RECORD_CHARS = 4 * 1024 * 1024
ERROR_CHARS = 8 * 1024


class Stream(io.RawIOBase):
    """Standard output or error: frames of the channel, and in forked processes the pipe."""

    def __init__(self, channel, kind, fd):
        self._channel = channel
        self._kind = kind
        self._fd = fd

    def writable(self):
        return True

    def fileno(self):
        return self._fd

    def write(self, data):
        view = memoryview(data).cast("B")[:CHUNK_BYTES]
        if self._channel.detached:
            return os.write(self._fd, view)
        self._channel.send(self._kind, view)
        return len(view)


class Handler(logging.Handler):
    """Sends records to the worker."""

    def __init__(self, channel):
        super().__init__()
        self._channel = channel
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record):
        try:
            text = self.format(record)
            if self._channel.detached:
                print(f"{record.levelname} {record.name}: {text}", file=sys.stderr)
            else:
                write_record(self._channel, level_name(record.levelno), record.name, text)
        except Exception:
            self.handleError(record)


def write_record(channel, level, logger, text):
    if len(text) > RECORD_CHARS:
        text = f"{text[:RECORD_CHARS]} [cut: the record has {len(text)} characters]"
    channel.send_json(LOG, {"level": level, "logger": printable(logger), "text": printable(text)})


def level_name(number):
    for least, name in ((50, "critical"), (40, "error"), (30, "warning"), (20, "info")):
        if number >= least:
            return name
    return "debug"


def printable(text):
    """Text that UTF-8 can hold."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def install(channel):
    """Python's output and log records go to the channel from now on."""
    for name, kind, fd in (("stdout", STDOUT, 1), ("stderr", STDERR, 2)):
        raw = io.BufferedWriter(Stream(channel, kind, fd), CHUNK_BYTES)
        text = io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    root = logging.getLogger()
    root.handlers[:] = [Handler(channel)]
    level = os.environ.get("AIRFLOW__LOGGING__LOGGING_LEVEL", "INFO").upper()
    root.setLevel(level if level in logging._nameToLevel else "INFO")


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            # It may be closed or replaced; the task has ended anyhow.
            pass


def format_exception(error):
    """The traceback, with the user's frames only."""
    found = traceback.TracebackException.from_exception(error)
    strip(found, set())
    return "".join(found.format()).rstrip("\n")


def strip(found, seen):
    """Takes the runner's frames out of a traceback and of those that it was caused by."""
    if found is None or id(found) in seen:
        return
    seen.add(id(found))
    found.stack[:] = [frame for frame in found.stack if not hidden(frame.filename)]
    strip(found.__cause__, seen)
    strip(found.__context__, seen)
    for inner in getattr(found, "exceptions", None) or ():
        strip(inner, seen)


def hidden(filename):
    return filename.startswith(("<towpath>", "<frozen importlib"))


def describe(error):
    """The error in a line: `ValueError: what it says`."""
    cls = type(error)
    name = cls.__qualname__
    if cls.__module__ not in ("builtins", "airflow.exceptions") and not cls.__module__.startswith("_towpath"):
        name = f"{cls.__module__}.{name}"
    try:
        if isinstance(error, SyntaxError):
            text = f"{error.msg} ({error.filename}, line {error.lineno})"
        else:
            text = str(error)
    except Exception:
        text = "(its text cannot be had)"
    line = printable(f"{name}: {text}" if text else name)
    return line if len(line) <= ERROR_CHARS else line[:ERROR_CHARS] + " ..."


def encode_json(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
