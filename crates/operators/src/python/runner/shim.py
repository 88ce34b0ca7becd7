"""`import airflow` and `import towpath` in tasks.

Modules with Airflow's names, made when they are imported, hold what tasks use at run time. They come first even
where Airflow itself is installed, since its own would look for its own database; other modules of an installed
Airflow, providers above all, are found as submodules. TOWPATH_AIRFLOW_SHIM=0 in the task's `env` leaves
`airflow` to what is installed.
"""

import importlib.machinery
import os
import sys

from _towpath import api, assets, context, datasets, errors, macros, times, timezones

_ERRORS = {name: value for name, value in vars(errors).items() if name.startswith("Airflow")}
_COMMON = {
    "Variable": api.Variable,
    "Connection": api.Connection,
    "BaseHook": api.BaseHook,
    "Context": context.Context,
    "get_current_context": api.get_current_context,
    "get_parsing_context": api.get_parsing_context,
    "task": api.task,
    "PokeReturnValue": api.PokeReturnValue,
    "Asset": assets.Asset,
    "Metadata": assets.Metadata,
}
_ASSETS = {"Asset": assets.Asset, "Dataset": assets.Asset, "Metadata": assets.Metadata}
_TIMES = {name: value for name, value in vars(timezones).items() if not name.startswith("_") and name != "times"}
_MACROS = {name: getattr(macros, name) for name in ("ds_add", "ds_format", "random", "datetime", "timedelta")}
_CURRENT = {"get_current_context": api.get_current_context}
_HOOK = {"BaseHook": api.BaseHook}
_POKE = {"PokeReturnValue": api.PokeReturnValue}

# The modules and their names. Packages in between are made as well.
MODULES = {
    "towpath": {**_COMMON, **_ERRORS, "mask_secret": api.mask_secret, "Dataset": datasets.Dataset},
    "airflow": {"AirflowException": errors.AirflowException, "__version__": "3.0.0"},
    "airflow.assets": _ASSETS,
    "airflow.assets.metadata": _ASSETS,
    "airflow.configuration": {"conf": api.conf},
    "airflow.datasets": _ASSETS,
    "airflow.decorators": {"task": api.task},
    "airflow.exceptions": _ERRORS,
    "airflow.hooks.base": _HOOK,
    "airflow.hooks.base_hook": _HOOK,
    "airflow.macros": _MACROS,
    "airflow.models": {
        "Variable": api.Variable,
        "Connection": api.Connection,
        "DagRun": context.DagRun,
        "TaskInstance": context.TaskInstance,
    },
    "airflow.models.connection": {"Connection": api.Connection},
    "airflow.models.dagrun": {"DagRun": context.DagRun},
    "airflow.models.taskinstance": {"TaskInstance": context.TaskInstance},
    "airflow.models.variable": {"Variable": api.Variable},
    "airflow.operators.python": _CURRENT,
    "airflow.providers.standard.operators.python": _CURRENT,
    "airflow.sdk": _COMMON,
    "airflow.sdk.bases.hook": _HOOK,
    "airflow.sdk.bases.sensor": _POKE,
    "airflow.sdk.definitions.asset": _ASSETS,
    "airflow.sdk.definitions.asset.metadata": _ASSETS,
    "airflow.sdk.definitions.connection": {"Connection": api.Connection},
    "airflow.sdk.definitions.context": {"Context": context.Context, **_CURRENT},
    "airflow.sdk.definitions.variable": {"Variable": api.Variable},
    "airflow.sdk.exceptions": _ERRORS,
    "airflow.sdk.log": {"mask_secret": api.mask_secret},
    "airflow.sdk.timezone": _TIMES,
    "airflow.sensors.base": _POKE,
    "airflow.utils.context": {"Context": context.Context},
    "airflow.utils.dates": {"days_ago": api.days_ago},
    "airflow.utils.log.logging_mixin": {"LoggingMixin": api.LoggingMixin},
    "airflow.utils.log.secrets_masker": {"mask_secret": api.mask_secret},
    "airflow.utils.timezone": _TIMES,
}
_PACKAGES = {".".join(name.split(".")[:count]) for name in MODULES for count in range(1, name.count(".") + 1)}


class Shim:
    """Finder and loader of the modules above."""

    def find_spec(self, name, path=None, target=None):
        if name not in MODULES and name not in _PACKAGES:
            return None
        if name.startswith("airflow") and os.environ.get("TOWPATH_AIRFLOW_SHIM") == "0":
            return None
        spec = importlib.machinery.ModuleSpec(name, self, origin="towpath", is_package=name in _PACKAGES)
        if name in _PACKAGES:
            # The folders of an installed Airflow, whose other modules are found there.
            installed = importlib.machinery.PathFinder.find_spec(name, path)
            spec.submodule_search_locations = list(installed.submodule_search_locations or []) if installed else []
        return spec

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        vars(module).update(MODULES.get(module.__name__, {}))
        module.__doc__ = "Towpath's stand-in for the module of the same name."


def install():
    sys.meta_path.insert(0, Shim())


def explain(error):
    """What to say about an import that failed because Towpath is not Airflow, or None."""
    name = getattr(error, "name", None) or ""
    if not isinstance(error, ImportError) or name.split(".")[0] not in ("airflow", "towpath"):
        return None
    if name in MODULES:
        return f"Towpath's `{name}` has only: {', '.join(sorted(n for n in MODULES[name] if n[0] != '_'))}"
    return (
        f"`{name}` is a part of Airflow that is not installed here and that Towpath does not stand in for. Tasks are "
        "described in the DAG file; functions can import: " + ", ".join(sorted(MODULES))
    )


# So that `from airflow.utils import timezone` gives pendulum's or Towpath's times alike.
_TIMES["DateTime"] = times.DateTime if times.pendulum is None else times.pendulum.DateTime
