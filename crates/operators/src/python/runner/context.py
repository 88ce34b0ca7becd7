"""The context of an attempt: what functions get as keywords and inline code as names."""

import json
import logging

from _towpath import api, assets, datasets, macros, times
from _towpath.channel import PUSH
from _towpath.errors import AirflowException, AirflowNotFoundException
from _towpath.xcom import encode

RETURN_VALUE = "return_value"
NEED_LOGICAL_DATE = ("logical_date", "ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz", "task_instance_key_str")
RENAMED = {
    "execution_date": "logical_date",
    "next_execution_date": "data_interval_end",
    "prev_execution_date": "prev_data_interval_start_success",
    "prev_execution_date_success": "prev_data_interval_start_success",
    "next_ds": "data_interval_end",
    "prev_ds": "prev_data_interval_start_success",
    "yesterday_ds": "macros.ds_add(ds, -1)",
    "tomorrow_ds": "macros.ds_add(ds, 1)",
}

_MISSING = object()


class Context(dict):
    """A mapping that says why a name is not there."""

    def __missing__(self, key):
        raise KeyError(why_missing(key) or key)


def why_missing(name):
    """The reason why a well-known name is not in the context, or None."""
    if name in NEED_LOGICAL_DATE:
        return f"`{name}` needs a logical date, and this run has none"
    if name in RENAMED:
        return f"`{name}` is gone since Airflow 3; use `{RENAMED[name]}`"
    return None


class DAG:
    def __init__(self, attempt):
        self.dag_id = attempt["dag_id"]
        self.description = attempt["dag_description"]
        self.tags = set(attempt["dag_tags"])
        self.params = attempt["params"]

    def __repr__(self):
        return f"<DAG: {self.dag_id}>"


class DagRun:
    def __init__(self, attempt, interval):
        self.dag_id = attempt["dag_id"]
        self.run_id = attempt["run_id"]
        self.run_type = attempt["run_type"]
        self.external_trigger = self.run_type == "manual"
        self.run_after = times.parse(attempt["run_after"])
        self.start_date = times.parse(attempt["run_start_date"])
        self.end_date = None
        self.logical_date = times.parse(attempt["logical_date"])
        self.data_interval_start, self.data_interval_end = interval
        self.conf = attempt["conf"]
        self.state = "running"

    def __repr__(self):
        return f"<DagRun {self.dag_id} @ {self.logical_date}: {self.run_id}>"


class Task:
    """The task as the DAG file has it."""

    def __init__(self, task, attempt, dag):
        self.task_id = task["task_id"]
        self.dag = dag
        self.dag_id = attempt["dag_id"]
        self.owner = attempt["owner"]
        self.operator_name = self.task_type = attempt["operator"]
        self.queue = attempt["queue"]
        self.pool = attempt["pool"]
        self.pool_slots = task.get("pool_slots", 1)
        self.priority_weight = attempt["priority_weight"]
        self.upstream_task_ids = set(task.get("upstream", ()))
        self.trigger_rule = task.get("trigger_rule")
        self.retries = (task.get("retry") or {}).get("retries")
        self.email = task.get("email", [])
        self.do_xcom_push = task.get("do_xcom_push", True)
        self.doc_md = task.get("doc_md")
        self.params = attempt["params"]
        self.op_args = task.get("args", {}).get("op_args", [])
        self.op_kwargs = task.get("args", {}).get("op_kwargs", {})

    @property
    def log(self):
        return logging.getLogger("airflow.task")

    def __repr__(self):
        return f"<Task({self.task_type}): {self.task_id}>"


class TaskInstance:
    def __init__(self, attempt, task, dag_run, channel, limit_bytes):
        for name in (
            "task_id dag_id run_id map_index try_number max_tries hostname operator queue pool priority_weight"
        ).split():
            setattr(self, name, attempt[name])
        self.start_date = times.parse(attempt["start_date"])
        self.end_date = None
        self.duration = None
        self.state = "running"
        self.logical_date = dag_run.logical_date
        self.task = task
        self.dag_run = dag_run
        self._channel = channel
        self._limit_bytes = limit_bytes

    @property
    def log(self):
        return logging.getLogger("airflow.task")

    def get_dagrun(self, *_args, **_kwargs):
        return self.dag_run

    def get_template_context(self, *_args, **_kwargs):
        return api.get_current_context()

    def xcom_push(self, key, value, *_args, **_kwargs):
        """Keeps a value for other tasks. It is visible to them when this task has ended."""
        if not isinstance(key, str) or not key:
            raise ValueError(f"the key of an XCom must be text, not {key!r}")
        data = encode(value, key, self.task_id, self._limit_bytes)
        self._channel.require("xcom_push")
        self._channel.send(PUSH, b'{"key":%s,"value":%s}' % (json.dumps(key).encode(), data))

    def xcom_pull(
        self, task_ids=None, dag_id=None, key=RETURN_VALUE, include_prior_dates=False, session=None, *,
        map_indexes=_MISSING, default=None, run_id=None,
    ):  # fmt: skip
        """Values that tasks have pushed.

        One task that is not mapped gives its value; several tasks, or one that is mapped, give a list. Without
        `task_ids` it is this task itself. What was not pushed is `default`.
        """
        if include_prior_dates:
            raise AirflowException("xcom_pull: Towpath does not look at earlier runs; name the run with `run_id`")
        single = task_ids is None or isinstance(task_ids, str)
        ids = [self.task_id if task_ids is None else task_ids] if single else list(task_ids)
        query = {"dag_id": dag_id, "run_id": run_id, "key": key}
        values = []
        if map_indexes is _MISSING:
            for task_id in ids:
                found = api.ask("xcoms", task_id=task_id, map_index=None, **query)
                values.extend(found if found else [default])
            return values[0] if single and len(values) == 1 else values
        if map_indexes is None or isinstance(map_indexes, int):
            map_indexes = [map_indexes]
        for task_id in ids:
            for map_index in map_indexes:
                found = api.ask("xcoms", task_id=task_id, map_index=map_index, **query)
                values.append(found[0] if found else default)
        return values[0] if len(values) == 1 else values

    def dataset(self, task_id, *, dag_id=None, run_id=None, map_indexes=None, key=RETURN_VALUE):
        """The data set that a task of this run has left, as a `towpath.Dataset`; of a mapped task, those of all instances
        together, or that of the instance `map_indexes`. In place of an id it takes what a mapped task gets of `task.partitions`.
        """
        return datasets.read(self, task_id, dag_id, run_id, map_indexes, key)

    def __repr__(self):
        return f"<TaskInstance: {self.dag_id}.{self.task_id} {self.run_id} [running]>"


class Lookup:
    """`var.value`, `var.json` and `conn`: names are looked up when they are used."""

    def __init__(self, get):
        self._get = get

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self._get(name)

    def __getitem__(self, name):
        return self._get(name)

    def get(self, name, default=None):
        try:
            return self._get(name)
        except AirflowNotFoundException:
            return default


class Var:
    value = Lookup(api.Variable.get)
    json = Lookup(lambda key: api.Variable.get(key, deserialize_json=True))


def build(attempt, task, args, channel, limit_bytes):
    """The context of an attempt, of what the worker sent."""
    start, end = interval(attempt["data_interval"])
    previous = interval(attempt["prev_data_interval_success"])
    dag = DAG(attempt)
    dag_run = DagRun(attempt, (start, end))
    node = Task(task, attempt, dag)
    ti = TaskInstance(attempt, node, dag_run, channel, limit_bytes)
    inlets, outlets = ([assets.asset(one) for one in attempt.get(key, ())] for key in ("inlets", "outlets"))
    context = Context(
        dag=dag,
        dag_run=dag_run,
        run_id=attempt["run_id"],
        task=node,
        ti=ti,
        task_instance=ti,
        map_index_template=None,
        expanded_ti_count=None,
        params=attempt["params"],
        var=Var,
        conn=Lookup(api.Connection.get),
        conf=api.conf,
        macros=macros,
        inlets=inlets,
        outlets=outlets,
        inlet_events=assets.InletEvents(inlets),
        outlet_events=assets.OutletEvents(outlets),
        triggering_asset_events=assets.TriggeringEvents(),
        test_mode=False,
        start_date=dag_run.start_date,
        data_interval_start=start,
        data_interval_end=end,
        prev_data_interval_start_success=previous[0],
        prev_data_interval_end_success=previous[1],
        prev_start_date_success=times.parse(attempt["prev_start_date_success"]),
        prev_end_date_success=None,
        templates_dict=args.get("templates_dict"),
    )
    if dag_run.logical_date is not None:
        context.update(logical_names(dag_run.logical_date, ti))
    return context


def logical_names(date, ti):
    ds_nodash = date.strftime("%Y%m%d")
    ts = date.isoformat()
    return {
        "logical_date": date,
        "ds": date.strftime("%Y-%m-%d"),
        "ds_nodash": ds_nodash,
        "ts": ts,
        "ts_nodash": date.strftime("%Y%m%dT%H%M%S"),
        "ts_nodash_with_tz": ts.replace("-", "").replace(":", ""),
        "task_instance_key_str": f"{ti.dag_id}__{ti.task_id}__{ds_nodash}",
    }


def interval(value):
    return (times.parse(value["start"]), times.parse(value["end"])) if value else (None, None)
