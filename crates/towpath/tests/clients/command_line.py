"""Drives a server with Airflow's own command line, as its user would.

usage: command_line.py URL USER PASSWORD

The commands run in this process: a start of Python for each would take longer than all of them.
"""

import contextlib
import io
import json
import os
import sys
import tempfile
import time

HOME = tempfile.mkdtemp()
os.environ["AIRFLOW_HOME"] = HOME
# Its credentials go to a file: a machine that runs tests has no keyring.
os.environ["AIRFLOW_CLI_DEBUG_MODE"] = "true"

from airflowctl.ctl import cli_parser  # noqa: E402

PARSER = cli_parser.get_parser()


class Refused(Exception):
    """A command that ended with an error."""


def airflowctl(*words):
    """What a command prints, and the JSON in it if there is some."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            arguments = PARSER.parse_args(list(words))
            arguments.func(arguments)
    except SystemExit as end:
        if end.code:
            raise Refused(f"{words}: {printed.getvalue()}") from end
    except AttributeError as error:
        # Some commands of 0.1.5 stumble when they print what they have done.
        if "no attribute 'output'" not in str(error):
            raise
    except Exception as error:
        raise Refused(f"{words}: {error!r} {printed.getvalue()}") from error
    text = printed.getvalue()
    for line in text.splitlines():
        if line.startswith(("[{", "[]", '["')):
            return json.loads(line)
    return text


def refused(*words, because):
    try:
        answer = airflowctl(*words)
    except Refused as error:
        assert because in str(error), error
    else:
        raise AssertionError(f"{words} was not refused: {answer}")


def one(*words):
    rows = airflowctl(*words)
    assert isinstance(rows, list) and len(rows) == 1, (words, rows)
    return rows[0]


def write(name, value):
    path = os.path.join(HOME, name)
    with open(path, "w") as file:
        json.dump(value, file)
    return path


def wait_for(run):
    until = time.monotonic() + 60
    while True:
        state = one("dagrun", "get", "compat", run)["state"]
        if state in ("success", "failed"):
            return state
        assert time.monotonic() < until, f"{run} does not end, it is {state}"
        time.sleep(0.05)


def log_in(url, user, password):
    login = ("auth", "login", "--api-url", url, "--username", user)
    refused(*login, "--password", "not the password", because="Login failed")
    assert "Login successful" in airflowctl(*login, "--password", password)
    token = airflowctl("auth", "token", "--api-url", url, "--username", user, "--password", password)
    assert token.strip().split()[-1].count(".") == 2, token


def dags_and_runs():
    assert {"compat", "daily"} <= {dag["dag_id"] for dag in airflowctl("dags", "list")}
    refused("dags", "get", "nope", because="was not found")
    assert one("dags", "get-details", "compat")["timezone"] == "UTC"
    assert airflowctl("dags", "list-version", "compat")[0]["version_number"] == "1"
    assert one("dags", "get-version", "compat", "1")["dag_id"] == "compat"
    assert airflowctl("dags", "list-import-errors") == []
    airflowctl("dags", "list-warning")
    airflowctl("dags", "pause", "compat")
    assert one("dags", "get", "compat")["is_paused"] == "True"
    airflowctl("dags", "unpause", "compat")
    assert one("dags", "get", "compat")["is_paused"] == "False"
    airflowctl("dags", "next-execution", "daily")

    run = one("dags", "trigger", "compat", "--dag-run-id", "by_ctl", "--note", "by hand")
    assert run["dag_run_id"] == "by_ctl" and run["note"] == "by hand", run
    assert wait_for("by_ctl") == "success"
    refused("dags", "trigger", "compat", "--dag-run-id", "by_ctl", because="already has a run")
    assert "by_ctl" in str(airflowctl("dagrun", "list", "--limit", "50", "--dag-id", "compat"))
    assert "by_ctl" not in str(airflowctl("dagrun", "list", "--limit", "50", "--dag-id", "compat", "--state", "failed"))

    assert one("xcom", "get", "compat", "by_ctl", "push", "return_value")["value"] == "42"
    airflowctl("xcom", "add", "compat", "by_ctl", "push", "mine", '{"b": 2}')
    assert "2" in str(one("xcom", "get", "compat", "by_ctl", "push", "mine")["value"])
    airflowctl("xcom", "edit", "compat", "by_ctl", "push", "mine", '"else"')
    assert "else" in str(one("xcom", "get", "compat", "by_ctl", "push", "mine")["value"])
    airflowctl("xcom", "delete", "compat", "by_ctl", "push", "mine")
    assert [entry["key"] for entry in airflowctl("xcom", "list", "compat", "by_ctl", "push")] == ["return_value"]


def backfills():
    span = ("--dag-id", "slow", "--from-date", "2026-01-01T00:00:00Z", "--to-date", "2026-01-03T00:00:00Z")
    how = ("--max-active-runs", "1", "--reprocess-behavior", "none", "--no-run-backwards")
    made = one("backfill", "create", *span, *how)
    assert made["dag_id"] == "slow", made
    assert one("backfill", "get", made["id"])["id"] == made["id"]
    assert made["id"] in [it["id"] for it in airflowctl("backfill", "list", "slow")]
    airflowctl("backfill", "pause", made["id"])
    assert one("backfill", "get", made["id"])["is_paused"] == "True"
    airflowctl("backfill", "unpause", made["id"])
    assert one("backfill", "get", made["id"])["is_paused"] == "False"
    airflowctl("backfill", "cancel", made["id"])
    assert one("backfill", "get", made["id"])["completed_at"]


def administration():
    airflowctl("variables", "create", "--key", "ctl", "--value", "v", "--description", "d")
    assert one("variables", "get", "ctl")["value"] == "v"
    airflowctl("variables", "update", "--key", "ctl", "--value", "w")
    assert one("variables", "get", "ctl")["value"] == "w"
    file = write("variables.json", {"ctl": "x", "other": "y"})
    refused("variables", "import", file, "--action-on-existing-key", "fail", because="")
    airflowctl("variables", "import", file, "--action-on-existing-key", "overwrite")
    assert one("variables", "get", "ctl")["value"] == "x"
    airflowctl("variables", "delete", "ctl")
    refused("variables", "get", "ctl", because="was not found")

    airflowctl("pools", "create", "--name", "ctl", "--slots", "3", "--description", "d", "--no-include-deferred")
    assert one("pools", "get", "ctl")["slots"] == "3"
    airflowctl("pools", "update", "--pool", "ctl", "--slots", "4", "--no-include-deferred")
    exported = os.path.join(HOME, "pools.json")
    airflowctl("pools", "export", exported)
    with open(exported) as pools:
        assert {pool["name"]: pool["slots"] for pool in json.load(pools)}["ctl"] in (4, "4")
    airflowctl("pools", "delete", "ctl")
    airflowctl("pools", "import", write("more.json", [{"name": "ctl", "slots": 5, "include_deferred": False}]))
    assert one("pools", "get", "ctl")["slots"] == "5"

    airflowctl("connections", "create", "--connection-id", "ctl", "--conn-type", "http", "--host", "h", "--password", "p")
    assert one("connections", "get", "ctl")["password"] == "***"
    airflowctl("connections", "update", "--connection-id", "ctl", "--conn-type", "http", "--host", "other")
    assert one("connections", "get", "ctl")["host"] == "other"
    airflowctl("connections", "import", write("connections.json", {"more": {"conn_type": "http", "host": "there"}}))
    assert {"ctl", "more"} <= {it["connection_id"] for it in airflowctl("connections", "list")}
    airflowctl("connections", "delete", "ctl")


def monitoring(url):
    assert len(airflowctl("jobs", "list")) >= 2
    assert "towpath" in str(airflowctl("config", "list"))
    assert "dags_dir" in str(airflowctl("config", "get", "towpath", "dags_dir"))
    assert airflowctl("plugins", "list") == [] and airflowctl("providers", "list") == []
    assert "'version':" in airflowctl("version", "--remote")
    found = one("assets", "list")
    assert found["uri"] == "s3://bucket/ctl", found
    assert one("assets", "get", found["id"])["name"] == found["name"]
    airflowctl("assets", "create-event", "--asset-id", found["id"])
    airflowctl("assets", "materialize", found["id"])
    assert "manual__" in str(airflowctl("dagrun", "list", "--limit", "5", "--dag-id", "makes"))
    assert airflowctl("assets", "list-by-alias") == []


def main(url, user, password):
    log_in(url, user, password)
    dags_and_runs()
    backfills()
    administration()
    monitoring(url)
    print("airflowctl is served")


if __name__ == "__main__":
    main(*sys.argv[1:])
