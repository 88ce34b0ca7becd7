"""The first code in a zygote, given to the interpreter on its command line.

Its stdin is the socket to the worker, which begins with the sources of the runner. This file must stay
readable for old interpreters, so that they can say that they are too old.
"""

import os
import sys

if sys.version_info < (3, 8):
    sys.stderr.write("Python %d.%d is too old, 3.8 or newer is needed\n" % sys.version_info[:2])
    sys.exit(1)


class Sources:
    """Imports the modules of the runner from memory."""

    def __init__(self, texts):
        self.texts = texts

    def find_spec(self, name, path=None, target=None):
        if name not in self.texts:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, self, is_package=name == "_towpath")

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        name = module.__name__
        text = self.texts.pop(name)
        exec(compile(text, "<towpath>/%s.py" % name, "exec", dont_inherit=True), module.__dict__)


def start():
    import json
    import struct

    # What somebody has forgotten to close above is no business of tasks.
    for fd in os.listdir("/dev/fd"):
        if int(fd) > 2:
            try:
                os.close(int(fd))
            except OSError:
                pass
    # The runner is no script of a user's folder; tasks get a path of their own.
    sys.path[:] = [folder for folder in sys.path if folder]
    control = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)

    def read(count):
        # Not a byte more: descriptors travel with what follows.
        data = b""
        while len(data) < count:
            part = os.read(control, count - len(data))
            if not part:
                sys.exit(0)
            data += part
        return data

    (length,) = struct.unpack("<I", read(4))
    sys.meta_path.insert(0, Sources(json.loads(read(length).decode("utf-8"))))
    from _towpath import zygote

    zygote.main(control)


start()
