"""Assets in tasks: what they read and update, and what is told with an update."""

import collections.abc
import json
from types import SimpleNamespace

from _towpath import api, times
from _towpath.channel import OUTLET
from _towpath.errors import AirflowException
from _towpath.xcom import encode


class Asset:
    """Some data, by name and place."""

    def __init__(self, name=None, uri=None, *, group="asset", extra=None, watchers=None):
        if not name and not uri:
            raise TypeError("an asset needs a name or a uri")
        self.name = name or uri
        self.uri = uri or name
        self.group = group or "asset"
        self.extra = dict(extra or {})

    def is_named(self, text):
        return text in (self.name, self.uri)

    def __eq__(self, other):
        return isinstance(other, Asset) and (self.name, self.uri) == (other.name, other.uri)

    def __hash__(self):
        return hash((self.name, self.uri))

    def __repr__(self):
        return f"Asset(name={self.name!r}, uri={self.uri!r})"


class Metadata:
    """What a function that yields tells with the update of an asset."""

    def __init__(self, asset, extra=None, **_ignored):
        self.asset = asset
        self.extra = dict(extra or {})


class AssetEvent:
    """An update of an asset."""

    def __init__(self, event):
        self.asset = asset(event["asset"])
        self.name, self.uri, self.group = self.asset.name, self.asset.uri, self.asset.group
        self.timestamp = times.parse(event["timestamp"])
        self.extra = event["extra"]
        self.source_dag_id = event["source_dag_id"]
        self.source_run_id = event["source_run_id"]
        self.source_task_id = event["source_task_id"]
        self.source_map_index = event["source_map_index"]

    @property
    def source_dag_run(self):
        return SimpleNamespace(dag_id=self.source_dag_id, run_id=self.source_run_id)

    def __repr__(self):
        return f"<AssetEvent of {self.name} at {self.timestamp}>"


def asset(value):
    return Asset(value["name"], value["uri"], group=value.get("group"), extra=value.get("extra"))


def text_of(key):
    """The name that a key stands for: an asset's, or a text."""
    return key.name if isinstance(key, Asset) else str(key)


def pick(assets, key, what):
    """The one of `assets` that a place, an asset or a text means."""
    if isinstance(key, int):
        return assets[key]
    wanted = key if isinstance(key, Asset) else Asset(str(key))
    for one in assets:
        if one == wanted or one.is_named(wanted.name) or one.is_named(wanted.uri):
            return one
    known = ", ".join(one.name for one in assets) or "none"
    raise KeyError(f"`{text_of(key)}` is not among the {what} of this task: {known}")


class TriggeringEvents(collections.abc.Mapping):
    """The events that the run was started for, by asset. They are fetched when they are looked at."""

    def __init__(self):
        self._found = None

    def _events(self):
        if self._found is None:
            self._found = {}
            for event in api.ask("triggering_asset_events"):
                event = AssetEvent(event)
                self._found.setdefault(event.asset, []).append(event)
        return self._found

    def __getitem__(self, key):
        events = self._events()
        return events[pick(list(events), key, "assets that have started this run")]

    def __iter__(self):
        return iter(self._events())

    def __len__(self):
        return len(self._events())

    def __repr__(self):
        return repr(self._events())


class InletEvents:
    """The events of what the task reads, oldest first. They are fetched when they are looked at."""

    def __init__(self, inlets):
        self._inlets = inlets
        self._found = {}

    def __getitem__(self, key):
        one = pick(self._inlets, key, "inlets")
        if one not in self._found:
            self._found[one] = [AssetEvent(event) for event in api.ask("asset_events", asset=one.name)]
        return self._found[one]


class OutletEvent:
    """What is told with the update of an asset."""

    def __init__(self, asset):
        self.asset = asset
        self.extra = {}

    def add(self, *_args, **_kwargs):
        raise AirflowException("asset aliases are not supported; name the asset among the task's outlets")


class OutletEvents:
    """`outlet_events[asset].extra`, for each of what the task updates."""

    def __init__(self, outlets):
        self._outlets = outlets
        self._events = {}

    def __getitem__(self, key):
        one = pick(self._outlets, key, "outlets")
        return self._events.setdefault(one, OutletEvent(one))

    def send(self, channel, task_id, limit_bytes):
        """Tells the worker; the events themselves are made when the task has succeeded."""
        for one, event in self._events.items():
            if not isinstance(event.extra, dict):
                raise TypeError(f"outlet_events[{one.name!r}].extra must be a dict, not a {type(event.extra).__name__}")
            if event.extra:
                data = encode(event.extra, f"outlet_events.{one.name}", task_id, limit_bytes)
                channel.send(OUTLET, b'{"name":%s,"extra":%s}' % (json.dumps(one.name).encode(), data))


def take_metadata(value, outlet_events):
    """What is left of the values that a function has yielded once `Metadata` among them has been told."""
    if not isinstance(value, list) or not any(isinstance(item, Metadata) for item in value):
        return value
    for item in value:
        if isinstance(item, Metadata):
            outlet_events[item.asset].extra.update(item.extra)
    return [item for item in value if not isinstance(item, Metadata)] or None
