"""Finding the function that a task calls, and calling it."""

import difflib
import importlib
import importlib.util
import inspect
import itertools
import linecache
import logging
import os
import sys
import textwrap
import types

from _towpath import api
from _towpath.context import why_missing
from _towpath.errors import SetupError

LOG = logging.getLogger("towpath")


def run(args, context, folders):
    """What the task's code returns, and whether its mapping is to be pushed key by key."""
    if args.get("code") is not None:
        return run_code(args["code"], context, args.get("op_kwargs")), False
    if args.get("python_callable") is not None:
        function = import_function(args["python_callable"], folders)
    else:
        function = load_function(args["python_callable_name"], args.get("python_callable_file"), folders)
    multiple_outputs = bool(args.get("multiple_outputs"))
    if isinstance(function, api.TaskFunction):
        multiple_outputs = multiple_outputs or function.multiple_outputs
        function = function.function
    positional = args.get("op_args") or []
    keywords = arguments(function, positional, args.get("op_kwargs") or {}, context)
    return resolve(function(*positional, **keywords)), multiple_outputs


def run_code(code, context, keywords=None):
    """Runs inline code, which sees `keywords` as names; its result is what it leaves in `result`."""
    name = f"<code of task {context['ti'].task_id}>"
    code = textwrap.dedent(code)
    # Tracebacks show lines that are found here. Without a time of change they are never dropped.
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    # It is the main program, so that its functions can be pickled for the processes of a pool.
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    names = vars(module)
    names.update(context)
    names["context"] = context
    names.update(keywords or {})
    try:
        exec(compile(code, name, "exec", dont_inherit=True), names)
    except NameError as error:
        reason = why_missing(getattr(error, "name", None))
        if reason:
            error.args = (f"{error.args[0]}: {reason}",)
        raise
    return resolve(names.get("result"))


def import_function(path, folders):
    """The object `module.function`, or `module.Class.method`."""
    parts = path.split(".")
    if len(parts) < 2 or not all(parts):
        raise SetupError(f"python_callable `{path}` is not of the form `module.function`")
    module = None
    for count in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:count])
        try:
            module = importlib.import_module(name)
            break
        except ModuleNotFoundError as error:
            # Only if it is this module that is missing, and not one that it imports.
            if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
                raise
    if module is None:
        looked = ", ".join(f"`{folder}`" for folder in folders)
        raise SetupError(
            f"python_callable `{path}`: there is no module `{'.'.join(parts[:-1])}` in {looked} or among the packages "
            f"of `{sys.executable}`"
        )
    return attribute(module, parts[count:], f"python_callable `{path}`", f"module `{module.__name__}`")


def load_function(name, file, folders):
    """The function `name` of a file."""
    if not file:
        raise SetupError(f"python_callable_name `{name}` needs `python_callable_file`, the file that defines it")
    given = os.path.expanduser(os.path.expandvars(file))
    candidates = [os.path.join(folder, given) for folder in folders]
    path = next((candidate for candidate in candidates if os.path.isfile(candidate)), None)
    if path is None:
        looked = ", ".join(f"`{candidate}`" for candidate in dict.fromkeys(candidates))
        raise SetupError(f"python_callable_file `{file}` does not exist; looked for {looked}")
    path = os.path.abspath(path)
    # Files beside it can be imported, as they can by a script.
    if os.path.dirname(path) not in sys.path:
        sys.path.insert(0, os.path.dirname(path))
    stem = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(stem, path)
    if spec is None:
        raise SetupError(f"python_callable_file `{file}` is not a Python file; its name must end in `.py`")
    module = importlib.util.module_from_spec(spec)
    sys.modules[stem] = module
    spec.loader.exec_module(module)
    return attribute(module, [name], f"python_callable_name `{name}`", f"`{path}`")


def attribute(holder, names, what, where):
    found = holder
    for name in names:
        try:
            found = getattr(found, name)
        except AttributeError:
            known = [n for n, value in vars(found).items() if callable(value)] if hasattr(found, "__dict__") else []
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise SetupError(f"{what}: {where} has no `{name}`{hint}") from None
    if not callable(found):
        raise SetupError(f"{what}: it is not a function but of type `{type(found).__name__}`")
    return found


def arguments(function, positional, op_kwargs, context):
    """The keywords for a function: those of `op_kwargs`, and of the context what it asks for, as in Airflow."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        # Some functions written in C do not say what they take.
        return dict(op_kwargs)
    offered = {**context, **op_kwargs}
    for position, name in enumerate(itertools.islice(parameters, len(positional)), 1):
        if name in offered:
            source = "op_kwargs" if name in op_kwargs else "the context"
            raise ValueError(f"op_args: value {position} is for the parameter `{name}`, which {source} has as well")
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return offered
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [name for name, parameter in parameters.items() if parameter.kind in by_name]
    label = getattr(function, "__name__", repr(function))
    dropped = [name for name in op_kwargs if name not in names]
    if dropped:
        LOG.warning("op_kwargs: %s has no parameter %s; not passed", label, ", ".join(f"`{name}`" for name in dropped))
    covered = list(parameters)[: len(positional)]
    for name in names:
        missing = name not in offered and name not in covered and parameters[name].default is inspect.Parameter.empty
        if missing:
            reason = why_missing(name) or f"`{name}` is neither in op_args or op_kwargs nor a name of the context"
            raise TypeError(f"{label}() cannot be called: {reason}")
    return {name: offered[name] for name in names if name in offered}


def resolve(value):
    """Coroutines are awaited, generators are run to their end and give a list."""
    if inspect.isgenerator(value):
        return list(value)
    if inspect.iscoroutine(value):
        import asyncio

        return resolve(asyncio.run(value))
    if inspect.isasyncgen(value):
        import asyncio

        return asyncio.run(collect(value))
    return value


async def collect(generator):
    return [item async for item in generator]
