"""Replays what Airflow's own clients were recorded to send, and holds every reply against the contract.

usage: contract.py URL WHEEL [TOKEN]

WHEEL is apache-airflow-core's, which carries the contract. The server has a DAG `compat` (see
clients.rs) with a run `first` that has succeeded.
"""

import io
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile

import jsonschema
import yaml

CONTRACT = "airflow/api_fastapi/core_api/openapi/v2-rest-api-generated.yaml"
RUN = "/api/v2/dags/compat/dagRuns/first"
PUSH = RUN + "/taskInstances/push"

# Method, path, body, status, and what the reply must have in it.
EXCHANGES = [
    ("GET", "/api/v2/version", None, 200, {}),
    ("GET", "/api/v2/monitor/health", None, 200, {"metadatabase": {"status": "healthy"}}),
    ("GET", "/api/v2/nope", None, 404, {}),
    # Variables
    ("POST", "/api/v2/variables", {"key": "myvar", "value": "hello"}, 201,
     {"key": "myvar", "value": "hello", "description": None, "is_encrypted": True}),
    ("POST", "/api/v2/variables", {"key": "myvar", "value": "again"}, 409, {}),
    ("GET", "/api/v2/variables/myvar", None, 200, {"value": "hello"}),
    ("POST", "/api/v2/variables", {"key": "tmp", "value": {"a": 1}}, 201, {"value": '{"a": 1}'}),
    ("DELETE", "/api/v2/variables/tmp", None, 204, None),
    ("DELETE", "/api/v2/variables/tmp", None, 404, {}),
    ("PATCH", "/api/v2/variables/myvar?update_mask=description",
     {"key": "myvar", "value": "unused", "description": "told"}, 200, {"value": "hello", "description": "told"}),
    ("PATCH", "/api/v2/variables", {"actions": [
        {"action": "create", "entities": [{"key": "b1", "value": "1"}, {"key": "b2", "value": {"x": 1}}],
         "action_on_existence": "overwrite"},
        {"action": "delete", "entities": ["b1", "zz"], "action_on_non_existence": "skip"}]}, 200,
     {"create": {"success": ["b1", "b2"], "errors": []}, "update": None, "delete": {"success": ["b1"], "errors": []}}),
    ("GET", "/api/v2/variables?limit=1&variable_key_pattern=my%25", None, 200, {"total_entries": 1}),
    # Connections and pools
    ("POST", "/api/v2/connections", {"connection_id": "myconn", "conn_type": "http", "host": "example.org", "login": "u",
     "password": "hidden", "port": 80, "extra": '{"a": 1}'}, 201, {"password": "***", "extra": '{"a": 1}', "port": 80}),
    ("GET", "/api/v2/connections", None, 200, {"total_entries": 1}),
    ("PATCH", "/api/v2/connections/myconn?update_mask=host", {"connection_id": "myconn", "conn_type": "http", "host": "h"},
     200, {"host": "h", "login": "u", "password": "***"}),
    ("POST", "/api/v2/connections", {"connection_id": "no spaces", "conn_type": "http"}, 422, {}),
    ("DELETE", "/api/v2/connections/myconn", None, 204, None),
    ("GET", "/api/v2/pools", None, 200, {"total_entries": 1}),
    ("POST", "/api/v2/pools", {"name": "p1", "slots": 2}, 201, {"slots": 2, "open_slots": 2}),
    ("PATCH", "/api/v2/pools/p1?update_mask=slots", {"include_deferred": False, "pool": "p1", "slots": 4}, 200,
     {"name": "p1", "slots": 4, "open_slots": 4}),
    ("DELETE", "/api/v2/pools/default_pool", None, 400, {}),
    ("DELETE", "/api/v2/pools/p1", None, 204, None),
    # DAGs
    ("GET", "/api/v2/dags?tags=x&paused=false", None, 200, {"total_entries": 1}),
    ("GET", "/api/v2/dags?limit=-1", None, 422, {"detail": [
        {"type": "greater_than_equal", "loc": ["query", "limit"], "input": "-1", "ctx": {"ge": 0},
         "msg": "Input should be greater than or equal to 0"}]}),
    ("GET", "/api/v2/dags?order_by=bogus", None, 400, {}),
    ("GET", "/api/v2/dags/nope", None, 404, {"detail": "The Dag with ID: `nope` was not found"}),
    ("PATCH", "/api/v2/dags/nope", {"is_paused": False}, 404, {"detail": "Dag with id: nope was not found"}),
    ("PATCH", "/api/v2/dags/compat", {"is_paused": False}, 200, {"is_paused": False}),
    ("PATCH", "/api/v2/dags?dag_id_pattern=comp", {"is_paused": False}, 200, {"total_entries": 1}),
    ("GET", "/api/v2/dags/compat/details", None, 200, {"catchup": False, "timezone": "UTC", "concurrency": 16}),
    ("GET", "/api/v2/dags/compat/tasks", None, 200, {"total_entries": 3}),
    ("GET", "/api/v2/dags/compat/tasks/push", None, 200,
     {"retries": 1.0, "operator_name": "BashOperator", "pool_slots": 1.0, "downstream_task_ids": ["pull"],
      "retry_delay": {"__type": "TimeDelta", "days": 0, "seconds": 3, "microseconds": 0}}),
    ("GET", "/api/v2/dagTags", None, 200, {"tags": ["x"], "total_entries": 1}),
    ("GET", "/api/v2/dagStats?dag_ids=compat", None, 200, {"total_entries": 1}),
    ("GET", "/api/v2/dagWarnings", None, 200, {"total_entries": 0}),
    ("GET", "/api/v2/dagSources/compat", None, 200, {"dag_id": "compat", "version_number": 1}),
    ("GET", "/api/v2/dags/compat/dagVersions", None, 200, {"total_entries": 1}),
    ("GET", "/api/v2/dags/compat/dagVersions/1", None, 200, {"version_number": 1, "bundle_name": "dags-folder"}),
    ("GET", "/api/v2/importErrors", None, 200, {"total_entries": 0}),
    # Runs
    ("POST", "/api/v2/dags/nope/dagRuns", {"logical_date": None}, 404, {"detail": "Dag with dag_id: 'nope' not found"}),
    ("POST", "/api/v2/dags/compat/dagRuns", {"logical_date": "garbage", "bogus": 1}, 422, {"detail": [
        {"type": "datetime_from_date_parsing", "loc": ["body", "logical_date"], "input": "garbage",
         "msg": "Input should be a valid datetime or date, input is too short", "ctx": {"error": "input is too short"}},
        {"type": "extra_forbidden", "loc": ["body", "bogus"], "msg": "Extra inputs are not permitted", "input": 1}]}),
    ("POST", "/api/v2/dags/compat/dagRuns", {"conf": {"z": 1}, "dag_run_id": "my-run",
     "logical_date": "2026-02-04T00:00:00+00:00"}, 200, {"dag_run_id": "my-run", "run_type": "manual",
     "data_interval_start": "2026-02-04T00:00:00Z", "triggered_by": "rest_api", "conf": {"z": 1}}),
    ("POST", "/api/v2/dags/compat/dagRuns", {"dag_run_id": "my-run", "logical_date": None}, 409, {}),
    ("GET", "/api/v2/dags/compat/dagRuns/my-run/wait?interval=1", None, 200, None),
    ("GET", "/api/v2/dags/compat/dagRuns?limit=10&order_by=-run_after", None, 200, {"total_entries": 2}),
    ("GET", "/api/v2/dags/~/dagRuns?limit=100", None, 200, {"total_entries": 2}),
    ("GET", "/api/v2/dags/~/dagRuns?cursor=&limit=1", None, 200, {"total_entries": 2, "total_entries_limit": 1000}),
    ("GET", "/api/v2/dags/compat/dagRuns?logical_date_gte=2026-02-01T00:00:00Z&logical_date_lte=2026-02-28T00:00:00Z",
     None, 200, {"total_entries": 2}),
    ("POST", "/api/v2/dags/~/dagRuns/list", {"dag_ids": ["compat"], "page_limit": 100, "page_offset": 0}, 200,
     {"total_entries": 2}),
    ("PATCH", "/api/v2/dags/compat/dagRuns/my-run", {"note": "seen"}, 200, {"note": "seen"}),
    ("POST", "/api/v2/dags/compat/dagRuns/my-run/clear", {"dry_run": True}, 200, {"total_entries": 5}),
    ("DELETE", "/api/v2/dags/compat/dagRuns/my-run", None, 204, None),
    # Task instances
    ("GET", RUN, None, 200, {"state": "success"}),
    ("GET", RUN + "/taskInstances", None, 200, {"total_entries": 5}),
    ("GET", "/api/v2/dags/~/dagRuns/~/taskInstances?state=success&limit=2", None, 200, {"total_entries": 5}),
    ("POST", "/api/v2/dags/~/dagRuns/~/taskInstances/list", {"dag_ids": ["compat"], "state": ["success", None]}, 200,
     {"total_entries": 5}),
    ("GET", PUSH, None, 200, {"state": "success", "operator": "BashOperator", "map_index": -1}),
    ("GET", RUN + "/taskInstances/sq", None, 404, {}),
    ("GET", RUN + "/taskInstances/sq/1", None, 200, {"map_index": 1, "rendered_map_index": "1"}),
    ("GET", RUN + "/taskInstances/sq/listMapped", None, 200, {"total_entries": 3}),
    ("GET", RUN + "/taskInstances/pull/dependencies", None, 200, {"dependencies": []}),
    ("GET", PUSH + "/tries", None, 200, {"total_entries": 1}),
    ("GET", PUSH + "/tries/1", None, 200, {"try_number": 1}),
    ("GET", PUSH + "/links", None, 200, {"extra_links": {}, "total_entries": 0}),
    ("GET", PUSH + "/logs/1?full_content=true", None, 200, {"continuation_token": None}),
    ("PATCH", RUN + "/taskInstances/pull/dry_run", {"new_state": "failed"}, 200, {"total_entries": 1}),
    ("PATCH", RUN + "/taskInstances/pull", {"note": "looked at"}, 200, {"total_entries": 1}),
    ("POST", "/api/v2/dags/compat/clearTaskInstances", {"dag_run_id": "first", "task_ids": ["push"],
     "include_downstream": True, "dry_run": True, "only_failed": False}, 200, {"total_entries": 5}),
    # XComs
    ("GET", RUN + "/taskInstances/~/xcomEntries", None, 200, {}),
    ("GET", PUSH + "/xcomEntries/return_value", None, 200, {"value": "42", "task_id": "push"}),
    ("GET", PUSH + "/xcomEntries/k?deserialize=true", None, 404, {"detail": "XCom entry with key: `k` not found"}),
    ("POST", PUSH + "/xcomEntries", {"key": "new", "map_index": -1, "value": {"q": [1, None]}}, 201,
     {"value": {"q": [1, None]}}),
    ("POST", PUSH + "/xcomEntries", {"key": "new", "value": 1}, 409, {}),
    ("PATCH", PUSH + "/xcomEntries/new", {"value": "zz", "map_index": -1}, 200, {"value": "zz"}),
    ("DELETE", PUSH + "/xcomEntries/new", None, 204, None),
    ("POST", RUN + "/taskInstances/nope/xcomEntries", {"key": "new", "value": 1}, 404,
     {"detail": "Task with ID: `nope` not found in dag: `compat`"}),
    # Backfills
    ("POST", "/api/v2/backfills/dry_run", {"dag_id": "daily", "from_date": "2026-02-01T00:00:00Z",
     "to_date": "2026-02-03T00:00:00Z"}, 200, {"total_entries": 3}),
    ("POST", "/api/v2/backfills", {"dag_id": "daily", "from_date": "2026-02-01T00:00:00+00:00", "max_active_runs": 2,
     "reprocess_behavior": "none", "run_backwards": False, "to_date": "2026-02-03T00:00:00+00:00"}, 200,
     {"dag_id": "daily", "is_paused": False, "max_active_runs": 2, "dag_run_conf": None}),
    ("GET", "/api/v2/backfills?dag_id=daily&limit=50", None, 200, {"total_entries": 1}),
    ("GET", "/api/v2/backfills/1", None, 200, {"id": 1}),
    ("GET", "/api/v2/backfills", None, 422, {}),
    ("POST", "/api/v2/backfills/77/pause", None, 404, {}),
    # The rest
    ("GET", "/api/v2/jobs?limit=50", None, 200, {}),
    ("GET", "/api/v2/config", None, 200, {}),
    ("GET", "/api/v2/config/section/towpath/option/worker_slots", None, 200, {}),
    ("GET", "/api/v2/plugins", None, 200, {"plugins": [], "total_entries": 0}),
    ("GET", "/api/v2/plugins/importErrors", None, 200, {"total_entries": 0}),
    ("GET", "/api/v2/providers?limit=2", None, 200, {"providers": [], "total_entries": 0}),
]


def contract(wheel):
    with zipfile.ZipFile(wheel) as archive:
        spec = yaml.safe_load(io.TextIOWrapper(archive.open(CONTRACT), "utf-8"))
    # A task instance has all that a new task has, so that no reply would be exactly one of the two.
    items = spec["components"]["schemas"]["ClearTaskInstanceCollectionResponse"]["properties"]["task_instances"]["items"]
    items["anyOf"] = items.pop("oneOf")
    return spec


def operation(spec, method, path):
    """The operation of a path; one without placeholders wins."""
    path = path.split("?")[0]
    found = []
    for template, operations in spec["paths"].items():
        pattern = re.sub(r"\{[^}]*\}", "[^/]+", template)
        if re.fullmatch(pattern, path) and method.lower() in operations:
            found.append((template.count("{"), operations[method.lower()]))
    return min(found, key=lambda it: it[0])[1] if found else None


def send(url, method, path, body, token):
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = "Bearer " + token
    data = None
    if body is not None:
        data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    request = urllib.request.Request(url + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def differs(expected, found, place="reply"):
    """What of `expected` is not in `found`."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [it for key in expected for it in
                ([f"{place}.{key} is missing"] if key not in found else differs(expected[key], found[key], f"{place}.{key}"))]
    return [] if expected == found else [f"{place} is {found!r}, expected {expected!r}"]


def main(url, wheel, token=None):
    spec = contract(wheel)
    mistakes = []
    validated = 0
    for method, path, body, status, expected in EXCHANGES:
        found, text = send(url, method, path, body, token)
        name = f"{method} {path}"
        if found != status:
            mistakes.append(f"{name}: status {found}, expected {status}: {text[:300]}")
            continue
        if expected is None:
            continue
        value = json.loads(text)
        mistakes += [f"{name}: {it}" for it in differs(expected, value)]
        known = operation(spec, method, path)
        reply = (known or {}).get("responses", {}).get(str(status), {})
        schema = reply.get("content", {}).get("application/json", {}).get("schema")
        if schema:
            validated += 1
            whole = {**schema, "components": spec["components"]}
            for error in jsonschema.Draft202012Validator(whole).iter_errors(value):
                mistakes.append(f"{name}: {error.json_path}: {error.message[:300]}")
    for mistake in mistakes:
        print(mistake)
    print(f"{len(EXCHANGES)} exchanges, {validated} replies held against the contract, {len(mistakes)} mistakes")
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
