"""What tasks import: variables, connections, hooks, the current context, decorators."""

import functools
import json
import logging
import os
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from _towpath import times
from _towpath.channel import MASK
from _towpath.errors import AirflowConfigException, AirflowException, AirflowNotFoundException, VariableNotFound

_MISSING = object()

# Of the attempt that this process runs.
_channel = None
_context = None


def bind(channel, context):
    global _channel, _context
    _channel = channel
    _context = context


def ask(method, **arguments):
    if _channel is None:
        raise AirflowException(f"`{method}` is only known while a task runs")
    return _channel.call(method, **arguments)


def get_current_context():
    """The context of the task that runs."""
    if _context is None:
        raise AirflowException(
            "get_current_context() is only known while a task runs: call it inside of the task's function"
        )
    return _context


def get_parsing_context():
    """Airflow's way to ask what a DAG file is read for. Functions of tasks are loaded for one task."""
    from types import SimpleNamespace

    context = _context or {}
    ti = context.get("ti")
    return SimpleNamespace(dag_id=getattr(ti, "dag_id", None), task_id=getattr(ti, "task_id", None))


def mask_secret(secret, name=None):
    """Masks text, and all text in lists and mappings, in the task's log from now on."""
    if isinstance(secret, dict):
        for item in secret.values():
            mask_secret(item)
    elif isinstance(secret, (list, tuple, set, frozenset)):
        for item in secret:
            mask_secret(item)
    elif secret is not None and _channel is not None:
        _channel.require("mask_secret")
        _channel.send_json(MASK, str(secret))


class Variable:
    """Variables, as rows of `key` and `val` and as Airflow's class methods."""

    def __init__(self, key=None, val=None, description=None, value=None):
        self.key = key
        self.val = value if val is None else val
        self.description = description

    @property
    def value(self):
        return self.val

    @classmethod
    def get(cls, key, default_var=_MISSING, deserialize_json=False, *, default=_MISSING):
        if default is _MISSING:
            default = default_var
        text = ask("variable", key=key)
        if text is None:
            if default is _MISSING:
                raise VariableNotFound(f"variable `{key}` does not exist")
            return default
        if not deserialize_json:
            return text
        try:
            return json.loads(text)
        except ValueError as error:
            # The text may be a secret and is not shown.
            raise ValueError(f"variable `{key}` is not JSON: {error}") from None

    @classmethod
    def set(cls, key, value, description=None, serialize_json=False, **_ignored):
        text = json.dumps(value, indent=2) if serialize_json else str(value)
        ask("set_variable", key=key, value=text)

    @classmethod
    def setdefault(cls, key, default, description=None, deserialize_json=False):
        found = cls.get(key, default=None, deserialize_json=deserialize_json)
        if found is not None:
            return found
        if default is None:
            raise ValueError(f"variable `{key}`: the default must not be None")
        cls.set(key, default, description, serialize_json=deserialize_json)
        return default

    @classmethod
    def update(cls, key, value, serialize_json=False, **_ignored):
        cls.get(key)
        cls.set(key, value, serialize_json=serialize_json)

    @classmethod
    def delete(cls, key, **_ignored):
        """How many were deleted."""
        there = ask("variable", key=key) is not None
        ask("set_variable", key=key, value=None)
        return int(there)


class Connection:
    """How to reach another system."""

    def __init__(
        self, conn_id=None, conn_type=None, description=None, host=None, login=None, password=None, schema=None,
        port=None, extra=None, uri=None,
    ):  # fmt: skip
        self.conn_id = conn_id
        self.conn_type = conn_type
        self.description = description
        self.host = host
        self.login = login
        self.password = password
        self.schema = schema
        self.port = int(port) if port not in (None, "") else None
        self.extra = json.dumps(extra) if isinstance(extra, (dict, list)) else extra
        if uri is not None:
            self._read_uri(uri)

    @classmethod
    def get(cls, conn_id):
        found = ask("connection", conn_id=conn_id)
        if found is None:
            raise AirflowNotFoundException(f"connection `{conn_id}` does not exist")
        return cls(**found)

    @classmethod
    def get_connection_from_secrets(cls, conn_id):
        return cls.get(conn_id)

    def get_password(self):
        return self.password

    def get_extra(self):
        return self.extra

    @property
    def extra_dejson(self):
        return self.get_extra_dejson()

    def get_extra_dejson(self, nested=False):
        """The extras as a mapping; with `nested`, text in it that is JSON is read too."""
        if not self.extra:
            return {}
        extra = json.loads(self.extra)
        if nested:
            for key, value in extra.items():
                try:
                    extra[key] = json.loads(value)
                except (TypeError, ValueError):
                    pass
        return extra

    def get_uri(self):
        """The connection as Airflow writes it as a URI."""
        protocol, _, host = (self.host or "").rpartition("://")
        uri = f"{(self.conn_type or '').lower().replace('_', '-')}://"
        if protocol:
            uri += protocol + "://"
        authority = quote(self.login, safe="") if self.login is not None else ""
        if self.password is not None:
            authority += ":" + quote(self.password, safe="")
        if authority:
            uri += authority + "@"
        uri += quote(host, safe="")
        if self.port is not None:
            # A port without anything before it would be read as a host.
            uri += f":{self.port}" if host or authority else f"@:{self.port}"
        if self.schema is not None:
            uri += "/" + quote(self.schema, safe="")
        if self.extra:
            uri += ("?" if self.schema is not None else "/?") + self._query()
        return uri

    def _query(self):
        try:
            extra = self.extra_dejson
            query = urlencode(extra)
            if extra and dict(parse_qsl(query, keep_blank_values=True)) == extra:
                return query
        except (ValueError, TypeError, AttributeError):
            pass
        return urlencode({"__extra__": self.extra})

    def _read_uri(self, uri):
        scheme, _, rest = uri.partition("://")
        protocol = ""
        if "://" in rest and "@" not in rest.partition("://")[0]:
            protocol, _, rest = rest.partition("://")
        parts = urlsplit(f"x://{rest}")
        self.conn_type = {"postgresql": "postgres"}.get(scheme, scheme).replace("-", "_")
        host = unquote(parts.hostname or "") or None
        self.host = f"{protocol}://{host or ''}" if protocol else host
        self.login = unquote(parts.username) if parts.username else None
        self.password = unquote(parts.password) if parts.password is not None else None
        self.port = parts.port
        self.schema = unquote(parts.path[1:]) or None
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if query:
            self.extra = query.get("__extra__") or json.dumps(query)

    def to_dict(self):
        names = ("conn_id", "conn_type", "description", "host", "login", "password", "schema", "port")
        return {**{name: getattr(self, name) for name in names}, "extra": self.extra_dejson}

    def as_json(self):
        fields = self.to_dict()
        del fields["conn_id"]
        return json.dumps({name: value for name, value in fields.items() if value not in (None, {})})

    def get_hook(self, *, hook_params=None):
        raise AirflowException(
            f"connection `{self.conn_id}`: Towpath has no hooks; use the client library for `{self.conn_type}` "
            "with the connection's fields"
        )

    def __repr__(self):
        return self.conn_id or ""


class LoggingMixin:
    """Gives `self.log`."""

    @property
    def log(self):
        cls = type(self)
        return logging.getLogger(f"{cls.__module__}.{cls.__name__}")


class BaseHook(LoggingMixin):
    """Base of hooks: finds connections."""

    def __init__(self, logger_name=None):
        super().__init__()

    @classmethod
    def get_connection(cls, conn_id):
        return Connection.get(conn_id)

    @classmethod
    def get_connections(cls, conn_id):
        return [Connection.get(conn_id)]

    @classmethod
    def get_hook(cls, conn_id, hook_params=None):
        return cls.get_connection(conn_id).get_hook(hook_params=hook_params)

    def get_conn(self):
        raise NotImplementedError


class Conf:
    """Airflow's configuration, as far as there is one: what the task's environment sets as AIRFLOW__SECTION__KEY."""

    def get(self, section, key, fallback=_MISSING, **_ignored):
        found = os.environ.get(f"AIRFLOW__{section.replace('.', '_').upper()}__{key.upper()}")
        if found is not None:
            return found
        if fallback is _MISSING:
            raise AirflowConfigException(
                f"section/key [{section}/{key}] is not set: Towpath has no airflow.cfg; give it in the task's `env` as "
                f"AIRFLOW__{section.upper()}__{key.upper()}"
            )
        return fallback

    def has_option(self, section, key, **_ignored):
        return self.get(section, key, fallback=None) is not None

    def getboolean(self, section, key, fallback=_MISSING, **_ignored):
        found = self.get(section, key, fallback)
        return str(found).strip().lower() in ("t", "true", "1", "yes", "on") if isinstance(found, str) else found

    def getint(self, section, key, fallback=_MISSING, **_ignored):
        found = self.get(section, key, fallback)
        return int(found) if isinstance(found, str) else found

    def getfloat(self, section, key, fallback=_MISSING, **_ignored):
        found = self.get(section, key, fallback)
        return float(found) if isinstance(found, str) else found


conf = Conf()


class PokeReturnValue:
    """What the function of a sensor may return: whether the wait is over, and an XCom for then."""

    def __init__(self, is_done, xcom_value=None):
        self.is_done = is_done
        self.xcom_value = xcom_value

    def __bool__(self):
        return bool(self.is_done)


class TaskFunction:
    """A function with `@task`. In Towpath the DAG is YAML and the function is what a task of it calls."""

    def __init__(self, function, options):
        functools.update_wrapper(self, function)
        self.function = function
        self.multiple_outputs = bool(options.get("multiple_outputs"))

    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)

    def override(self, **options):
        return self

    def _no_graph(self, *_args, **_kwargs):
        raise AirflowException(
            f"`{self.function.__name__}`: tasks cannot be mapped from Python in Towpath; use `expand` and `partial` "
            "in the DAG file"
        )

    expand = partial = expand_kwargs = _no_graph


class _TaskDecorator:
    """`@task`, `@task(...)`, `@task.python` and `@task.sensor`."""

    def __call__(self, function=None, **options):
        if function is None:
            return lambda inner: TaskFunction(inner, options)
        return TaskFunction(function, options)

    @property
    def python(self):
        return self

    sensor = python

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        raise AirflowException(
            f"`@task.{name}` is not known to Towpath; use `@task`, and the operator `{name}` in the DAG file"
        )


task = _TaskDecorator()


def days_ago(n, hour=0, minute=0, second=0, microsecond=0):
    """Midnight UTC, `n` days ago, plus the given time of day."""
    from datetime import timedelta

    today = times.utcnow().replace(hour=hour, minute=minute, second=second, microsecond=microsecond)
    return times.of(today - timedelta(days=n))
