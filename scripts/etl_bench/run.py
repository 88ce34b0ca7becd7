"""Runs every case by every tool, each as a process of its own from a cold start, in turns, and prints medians.

Not for: choosing what is fair to a tool; its own file says how a case is written in it. No library is imported here, since a
child's peak memory begins with that of the process it was forked from.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
TOOLS = ["towpath", "pandas", "polars", "duckdb", "dask", "pyspark"]
IMPORTS = {"dask": "dask.dataframe"}
CASES = {
    "dedupe": "dedupe, keep last, to Parquet",
    "validate": "validate with rejects",
    "aggregate": "aggregate to partitioned Parquet",
    "convert": "CSV to Parquet",
    "groups": "4 million groups, cap 256 MB",
    "sqlite": "1 million rows to SQLite",
    "postgres": "1 million rows to PostgreSQL",
    "flights": "aggregate of flights",
}
# Dask and Spark write to databases by pandas and by a JDBC driver.
WITHOUT = {("dask", "sqlite"), ("dask", "postgres"), ("pyspark", "sqlite"), ("pyspark", "postgres")}
LIMIT_SECONDS = 600

ORDERS = {"csv": "orders.csv", "null_values": ["n/a"]}
RULES = {
    "order_id": {"type": "int64", "required": True},
    "quantity": {"type": "int64", "required": True, "between": [1, 100]},
    "price": {"type": "float64", "required": True, "ge": 0},
    "country": {"one_of": "AT BE CH CZ DE DK ES FI FR GB HU IE IT NL NO PL PT SE SK US".split()},
    "product": {"pattern": r"^P\d{5}$"},
    "ordered_at": {"type": "timestamp", "required": True},
}
BY_PRODUCT = {
    "orders": "count(*)", "units": "sum(quantity)", "revenue": "sum(quantity * price)", "mean_price": "avg(price)"}
BY_ORDER = {"orders": "count(*)", "total": "coalesce(sum(price), 0.0)"}
BY_CARRIER = {"flights": "count(*)", "mean_delay": "avg(dep_delay)", "miles": "sum(distance)"}


def towpath_job(case, data, out, url):
    """What the operators `transform` and `load` send to the process of an attempt."""
    snappy = {"compression": "snappy", "mode": "overwrite"}
    steps, source, memory, connections = [], ORDERS, None, {}
    target = {"parquet": str(out / "result.parquet"), **snappy}
    output = None
    if case == "dedupe":
        steps = [{"dedupe": {"subset": ["order_id"], "keep": "last"}}]
    elif case == "validate":
        source = {"csv": "orders.csv"}
        steps = [{"validate": {"columns": RULES, "on_error": "reject"}}]
        output = {"data_set": str(out / "result")}
    elif case == "aggregate":
        steps = [{"aggregate": {"by": ["country", "product"], "columns": BY_PRODUCT}}]
        target = {"parquet": str(out / "result"), "partition_by": ["country"], **snappy}
    elif case == "groups":
        steps, memory = [{"aggregate": {"by": ["order_id"], "columns": BY_ORDER}}], 256 * 1000 * 1000
    elif case == "flights":
        source = {"csv": "flights.csv", "null_values": ["NA"]}
        steps = [{"aggregate": {"by": ["carrier", "month"], "columns": BY_CARRIER}}]
    elif case in ("sqlite", "postgres"):
        source = {"csv": "million.csv", "null_values": ["n/a"]}
        target = {"table": "orders", "connection": "db", "mode": "overwrite"}
        connections = {"db": connection_of(url) if case == "postgres" else
                       {"conn_type": "sqlite", "schema": str(out / "result.db")}}
    return {
        "inputs": [["input", source]], "steps": steps, "output": output or {"target": target}, "folder": str(data),
        "scratch": str(out / "scratch"), "memory_bytes": memory, "connections": connections}


def connection_of(url):
    login, place = url.removeprefix("postgres://").split("@")
    host, port = place.split("/")[0].split(":")
    return {"conn_type": "postgres", "host": host, "port": int(port), "login": login, "schema": place.split("/")[1]}


def peak_of_group(leader, peak, done):
    """The memory of a process and all that it has started, looked at twenty times a second: Spark's is not Python's."""
    while not done.wait(0.05):
        total = 0
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if os.getpgid(int(entry.name)) == leader:
                    status = (entry / "status").read_text()
                    total += int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
            except (OSError, StopIteration):
                continue
        peak[0] = max(peak[0], total)


def measure(command, stdin=None, cpu=False):
    """Seconds, of the clock or of all cores, and peak memory in MB, or the end of what it said where it failed."""
    log = Path(os.environ.get("TMPDIR", "/tmp")) / f"etl-bench-{os.getpid()}.log"
    peak, done = [0], threading.Event()
    with log.open("w+b") as said:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=said, stderr=said,
                                 start_new_session=True, cwd=HERE)
        if stdin:
            child.stdin.write(stdin)
            child.stdin.close()
        watch = None
        if "with_pyspark.py" in " ".join(map(str, command)):
            watch = threading.Thread(target=peak_of_group, args=(child.pid, peak, done))
            watch.start()
        timer = threading.Timer(LIMIT_SECONDS, child.kill)
        timer.start()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        timer.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
        done.set()
        if watch:
            watch.join()
        said.seek(0)
        text = said.read().decode(errors="replace").strip()
    log.unlink()
    if child.returncode != 0:
        return None, None, (text.splitlines() or [f"ended with {child.returncode}"])[-1][:300]
    if cpu:
        seconds = usage.ru_utime + usage.ru_stime
    return seconds, max(usage.ru_maxrss, peak[0]) / 1000, None


def run(tool, case, options, out):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if tool == "towpath":
        order = {"job": towpath_job(case, options.data, out, options.postgres), "result": str(out / "result.json")}
        return measure([options.towpath, "etl-attempt"], json.dumps(order).encode(), options.cpu)
    program = HERE / f"with_{tool}.py"
    return measure([options.python, program, case, options.data, out, options.postgres], cpu=options.cpu)


def digest(case, options, out):
    command = [options.python, HERE / "digest.py", case, out, options.postgres]
    found = subprocess.run(command, capture_output=True, text=True, cwd=HERE)
    return found.stdout.strip() if found.returncode == 0 else f"no result: {found.stderr.strip().splitlines()[-1]}"


def installed(options):
    for tool in options.tools:
        if tool == "towpath" or not subprocess.run(
                [options.python, "-c", f"import {IMPORTS.get(tool, tool)}"], capture_output=True).returncode:
            if tool == "pyspark" and not shutil.which("java"):
                print("pyspark is left out: there is no `java`", file=sys.stderr)
                continue
            yield tool
        else:
            print(f"{tool} is left out: it is not installed", file=sys.stderr)


def cell(times, own):
    seconds, megabytes = statistics.median(s for s, _ in times), statistics.median(m for _, m in times)
    ratio = "" if own is None else f" ({seconds / own:.2f} x)"
    return f"{seconds:.2f} s, {megabytes:.0f} MB{ratio}"


def main():
    parser = argparse.ArgumentParser(description="Compares Towpath's ETL engine with the tools that it replaces.")
    parser.add_argument("--towpath", required=True, help="the release binary")
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has the other tools")
    parser.add_argument("--data", type=lambda text: Path(text).resolve(), required=True, help="folder of the data")
    parser.add_argument("--out", type=lambda text: Path(text).resolve(), required=True, help="folder for results; emptied")
    parser.add_argument("--postgres", default=os.environ.get("TOWPATH_TEST_POSTGRES", ""))
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--cases", type=lambda text: text.split(","), default=list(CASES))
    parser.add_argument("--tools", type=lambda text: text.split(","), default=TOOLS)
    parser.add_argument("--cpu", action="store_true", help="CPU seconds, for a machine that is busy with other things")
    options = parser.parse_args()
    tools, cores = list(installed(options)), os.cpu_count()
    kind = "CPU seconds" if options.cpu else "seconds"
    print(f"{options.tries} tries of each in turns, medians; {cores} cores; {kind} and peak memory; in brackets: times what Towpath needs\n")
    print("| case | " + " | ".join(tools) + " |\n|---|" + "---|" * len(tools))
    lost = 0
    for case in options.cases:
        if case == "postgres" and not options.postgres or case == "flights" and not (options.data / "flights.csv").exists():
            print(f"{case} is left out: what it reads or writes is not there", file=sys.stderr)
            continue
        times, digests, failures = {tool: [] for tool in tools}, {}, {}
        for attempt in range(options.tries):
            for tool in tools:
                if (tool, case) in WITHOUT or tool in failures:
                    continue
                out = options.out / tool
                seconds, megabytes, failure = run(tool, case, options, out)
                if failure:
                    failures[tool] = failure
                    continue
                times[tool].append((seconds, megabytes))
                if attempt == 0:
                    digests[tool] = digest(case, options, out)
                shutil.rmtree(out)
        own = statistics.median(s for s, _ in times["towpath"]) if times.get("towpath") else None
        cells = ["failed" if tool in failures else cell(times[tool], own if tool != "towpath" else None) if times[tool] else "-"
                 for tool in tools]
        print(f"| {CASES[case]} | " + " | ".join(cells) + " |", flush=True)
        for tool, failure in failures.items():
            print(f"  {tool} failed at {case}: {failure}", file=sys.stderr)
        reference = digests.get("towpath") or next(iter(digests.values()), None)
        for tool, found in digests.items():
            if found != reference:
                lost += 1
                print(f"  {tool} has another result for {case}:\n    {found}\n    {reference}", file=sys.stderr)
    if not lost:
        print("\nAll results are equal.")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
