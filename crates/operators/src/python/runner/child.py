"""A child of the zygote: one attempt, from the fork to the end of the process."""

import atexit
import faulthandler
import gc
import logging
import os
import resource
import signal
import site
import sys
import threading
import time

from _towpath import api, assets, call, datasets, output, shim
from _towpath.channel import RESULT, Channel
from _towpath.context import RETURN_VALUE, build
from _towpath.errors import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
    AirflowTaskTerminated,
    SetupError,
)
from _towpath.xcom import XComError, encode

LOG = logging.getLogger("towpath")
# The logger of tracebacks.
TASK_LOGGER = "task"
SHOWN_CHARS = 4096
# The states of a result that mean success.
GOOD = ("success", "data_set")


def site_folders():
    """The folders of installed packages, with the times of their last change."""
    found = {}
    for folder in sys.path:
        if folder.endswith(("site-packages", "dist-packages")):
            try:
                found[folder] = os.stat(folder).st_mtime_ns
            except OSError:
                pass
    return found


SITE_FOLDERS = site_folders()


def main(fds, others, blocked):
    """Runs the attempt behind `fds`: channel, stdout, stderr. Never returns."""
    code = 70
    try:
        try:
            os.setpgid(0, 0)
        except OSError:
            # The zygote has done it already.
            pass
        signal.set_wakeup_fd(-1)
        for fd in others:
            os.close(fd)
        control, out, err = fds
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        os.set_inheritable(control, False)
        channel = Channel(control)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, channel.on_terminate)
        gc.enable()
        job = channel.receive()
        if job is not None:
            # Until here a signal would meet nobody who could handle it; it has been kept.
            code = Attempt(channel, job).run(blocked)
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        os._exit(code)


class Attempt:
    def __init__(self, channel, job):
        self.channel = channel
        self.job = job
        self.args = job["args"]
        self.memory_bytes = self.args.get("memory")

    def run(self, blocked):
        """The exit code, after the result has been sent."""
        result = self.guarded(self.work, blocked)
        # As the interpreter does at its end: wait for threads, then call what was registered.
        late = self.guarded(self.finish)
        if late is not None and result["state"] in GOOD:
            result = late
        output.flush()
        head = {name: value for name, value in result.items() if name != "value"}
        data = output.encode_json(head)
        if result.get("value") is not None:
            data = b'%s,"value":%s}' % (data[:-1], result["value"])
        self.channel.send(RESULT, data)
        return 0 if result["state"] in GOOD else 1

    def guarded(self, step, *args):
        """The result of a step, whatever it raises."""
        try:
            return step(*args)
        except BaseException as error:
            # After a stop the rest of the task's code has its grace time; a second signal would cut it short.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self.lift_memory_limit()
            try:
                return self.judge(error)
            finally:
                # The frames may hold large values, and sockets that are to be closed.
                error.__traceback__ = None

    def work(self, blocked):
        job = self.job
        set_environment(job["env"])
        output.install(self.channel)
        os.register_at_fork(after_in_child=self.channel.detach)
        faulthandler.enable(2)
        context = build(job["context"], job["task"], self.args, self.channel, job["xcom_limit_bytes"])
        api.bind(self.channel, context)
        shim.install()
        sys.argv = ["towpath"]
        folders = [job["dag_folder"], job["project_folder"]]
        set_path(folders)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        try:
            os.chdir(job["cwd"])
        except OSError as error:
            raise SetupError(f"cannot work in the folder `{job['cwd']}`: {error.strerror}") from None
        if self.memory_bytes:
            hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
            soft = self.memory_bytes if hard == resource.RLIM_INFINITY else min(self.memory_bytes, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        value, multiple_outputs = call.run(self.args, context, folders)
        value = assets.take_metadata(value, context["outlet_events"])
        context["outlet_events"].send(self.channel, context["ti"].task_id, job["xcom_limit_bytes"])
        return self.success(value, multiple_outputs, context)

    def success(self, value, multiple_outputs, context):
        if value is not None and self.args.get("show_return_value_in_logs", True):
            LOG.info("Returned value: %s", shown(value))
        if self.job["task"]["operator"] == "python_sensor":
            return self.verdict(value, context)
        if value is None or not self.job["task"].get("do_xcom_push", True):
            return {"state": "success"}
        if self.job.get("draft"):
            left = datasets.leave(value, self.job["draft"])
            if left is not None:
                return left
        if isinstance(value, datasets.Dataset) and value._records is not None:
            value = value._records
        if multiple_outputs:
            if not isinstance(value, dict):
                raise TypeError(f"multiple_outputs: the function must return a dict, not a {type(value).__name__}")
            for key, item in value.items():
                context["ti"].xcom_push(str(key), item)
        data = encode(value, RETURN_VALUE, context["ti"].task_id, self.job["xcom_limit_bytes"])
        return {"state": "success", "value": data}

    def verdict(self, value, context):
        """What the function of a sensor says: whether the wait is over, and the XCom for then."""
        item = value.xcom_value if isinstance(value, api.PokeReturnValue) else None
        data = encode(item, RETURN_VALUE, context["ti"].task_id, self.job["xcom_limit_bytes"])
        done = b"true" if value else b"false"
        return {"state": "success", "value": b'{"done":%s,"value":%s}' % (done, data)}

    def finish(self):
        threading._shutdown()
        atexit._run_exitfuncs()

    def judge(self, error):
        """What an exception means for the task."""
        if isinstance(error, AirflowSkipException):
            return {"state": "skipped", "reason": output.printable(str(error))}
        if isinstance(error, AirflowRescheduleException):
            return {"state": "reschedule", "at": error.reschedule_date.isoformat()}
        if isinstance(error, (SetupError, XComError)):
            return failed(output.printable(str(error)))
        if isinstance(error, SystemExit):
            return failed(f"SystemExit: the task called sys.exit({'' if error.code is None else repr(error.code)})")
        message = output.describe(error)
        if isinstance(error, MemoryError) and self.memory_bytes:
            message = f"MemoryError: the task needed more than its `memory` of {self.memory_bytes} bytes"
        output.flush()
        level = "warning" if isinstance(error, AirflowTaskTerminated) else "error"
        text = output.format_exception(error)
        hint = shim.explain(error)
        output.write_record(self.channel, level, TASK_LOGGER, f"{text}\n{hint}" if hint else text)
        return failed(message, retry=not isinstance(error, AirflowFailException))

    def lift_memory_limit(self):
        """What is left to do must not fail for want of memory."""
        if self.memory_bytes:
            hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
            resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def failed(error, retry=True):
    return {"state": "failed", "error": error, "retry": retry}


def shown(value):
    try:
        text = repr(value)
    except Exception as error:
        return f"(its repr() fails: {output.describe(error)})"
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]} ... ({len(text)} characters)"


def set_environment(env):
    """Makes the environment what the worker says, touching only what differs."""
    zone = os.environ.get("TZ")
    for name in list(os.environ):
        if name not in env:
            del os.environ[name]
    for name, value in env.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
    if os.environ.get("TZ") != zone:
        time.tzset()


def set_path(folders):
    """The folders of the DAG and PYTHONPATH come first, as they would for a script."""
    folders = folders + [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:0] = [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
    for folder, changed in site_folders().items():
        if SITE_FOLDERS.get(folder) != changed:
            # Packages have come since the zygote was started; some are found through files that are read here.
            site.addsitedir(folder)
