"""Prints Airflow's contract, from its wheel, with the operations alone that our table says are served.

usage: fuzz_contract.py FOLDER_OF_THE_WHEEL TABLE

What the contract leaves open is filled in: which DAG and run there is to ask for, so that not every
reply is 404.
"""

import glob
import os
import re
import sys
import zipfile

import yaml

CONTRACT = "airflow/api_fastapi/core_api/openapi/v2-rest-api-generated.yaml"
THERE = {
    "dag_id": ["fuzzed"],
    "dag_run_id": ["first"],
    "task_id": ["say", "each", "data"],
    "try_number": [1],
    "task_try_number": [1],
    "map_index": [-1, 0, 1],
    "version_number": [1],
    "asset_id": [1],
}

# What Airflow itself answers although its contract does not say so: 400 to an order that there is
# not and to a token of another server, 406 to a form that logs do not have, 404 where no event is queued.
UNDOCUMENTED = {"order_by": "400", "token": "400", "accept": "406"}
BY_PATH = {"/queuedEvents": "404", "/dagRuns/list": "400", "/taskInstances/list": "400"}


def main(folder, table):
    (wheel,) = glob.glob(os.path.join(folder, "apache_airflow_core-*.whl"))
    contract = yaml.safe_load(zipfile.ZipFile(wheel).read(CONTRACT))
    served = set()
    with open(table) as lines:
        for line in lines:
            row = re.match(r"\| `([A-Z]+) (/\S+)` \| (\S[^|]*) \|", line)
            if row and row.group(3).strip() in ("served", "empty", "event log"):
                served.add((row.group(1).lower(), "/api/v2" + row.group(2)))
    paths = {}
    for path, item in contract["paths"].items():
        kept = {method: operation for method, operation in item.items() if (method, path) in served}
        for operation in kept.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path" and parameter["name"] in THERE:
                    values = THERE[parameter["name"]]
                    # Half of the requests ask for what there is.
                    parameter["schema"] = {"anyOf": [{"enum": values}, parameter["schema"]]}
                if parameter["name"] in UNDOCUMENTED:
                    operation["responses"][UNDOCUMENTED[parameter["name"]]] = operation["responses"]["401"]
            for end, status in BY_PATH.items():
                if path.endswith(end):
                    operation["responses"][status] = operation["responses"]["401"]
        if kept:
            paths[path] = kept
    contract["paths"] = paths
    # Whatever is the first of these is the second as well, so `oneOf` fits nothing.
    instances = contract["components"]["schemas"]["ClearTaskInstanceCollectionResponse"]["properties"]["task_instances"]
    instances["items"]["anyOf"] = instances["items"].pop("oneOf")
    yaml.safe_dump(contract, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
