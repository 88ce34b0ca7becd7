"""Drives a server with Airflow's own Python client, as a script of a user would.

usage: client.py URL [TOKEN]
"""

import sys
import time

import airflow_client.client as airflow
from airflow_client.client.exceptions import ApiException, NotFoundException


def main(url, token=None):
    configuration = airflow.Configuration(host=url, access_token=token or "none")
    with airflow.ApiClient(configuration) as client:
        dags = airflow.DAGApi(client)
        found = dags.get_dags(dag_id_pattern="compat")
        assert found.total_entries == 1, found
        assert dags.get_dag_details("compat").timezone == "UTC"
        dags.patch_dag("compat", airflow.DAGPatchBody(is_paused=False))
        assert dags.get_dag_tags().tags == ["x"]
        try:
            dags.get_dag("nope")
            raise AssertionError("a DAG that is not there was found")
        except NotFoundException as error:
            assert error.status == 404

        runs = airflow.DagRunApi(client)
        body = airflow.TriggerDAGRunPostBody(dag_run_id="by_client", logical_date=None, conf={"a": 1})
        assert runs.trigger_dag_run("compat", body).state in ("queued", "running")
        until = time.monotonic() + 60
        while runs.get_dag_run("compat", "by_client").state not in ("success", "failed"):
            assert time.monotonic() < until, "the run does not end"
            time.sleep(0.05)
        assert runs.get_dag_run("compat", "by_client").state == "success"
        try:
            runs.trigger_dag_run("compat", body)
            raise AssertionError("two runs have one id")
        except ApiException as error:
            assert error.status == 409
        listed = runs.get_list_dag_runs_batch("~", airflow.DAGRunsBatchBody(dag_ids=["compat"]))
        assert "by_client" in [run.dag_run_id for run in listed.dag_runs]
        runs.patch_dag_run("compat", "by_client", airflow.DAGRunPatchBody(note="seen"), update_mask=["note"])

        instances = airflow.TaskInstanceApi(client)
        assert instances.get_task_instances("compat", "by_client").total_entries == 5
        mapped = instances.get_mapped_task_instances("compat", "by_client", "sq")
        assert [it.map_index for it in mapped.task_instances] == [0, 1, 2]
        assert instances.get_task_instance("compat", "by_client", "push").state == "success"
        assert instances.get_log("compat", "by_client", "push", 1, full_content=True).content
        push = airflow.ClearTaskInstancesBodyTaskIdsInner("push")
        clear = airflow.ClearTaskInstancesBody(dag_run_id="by_client", task_ids=[push], only_failed=False)
        assert instances.post_clear_task_instances("compat", clear).total_entries == 1
        value = airflow.XComApi(client).get_xcom_entry("compat", "push", "by_client", "return_value")
        assert value.to_dict()["value"] == "42", value

        variables = airflow.VariableApi(client)
        variables.post_variable(airflow.VariableBody(key="from_client", value="v"))
        assert variables.get_variable("from_client").value == "v"
        variables.delete_variable("from_client")
        pools = airflow.PoolApi(client)
        pools.post_pool(airflow.PoolBody(name="from_client", slots=3))
        assert pools.get_pool("from_client").open_slots == 3
        pools.delete_pool("from_client")
        connections = airflow.ConnectionApi(client)
        connections.post_connection(airflow.ConnectionBody(connection_id="from_client", conn_type="http", password="p"))
        assert connections.get_connection("from_client").password == "***"
        connections.delete_connection("from_client")
        assert airflow.MonitorApi(client).get_health().metadatabase.status == "healthy"
        assert airflow.TaskApi(client).get_tasks("compat").total_entries == 3
        assert airflow.JobApi(client).get_jobs().total_entries >= 2
        assert airflow.ConfigApi(client).get_config().sections
        runs.delete_dag_run("compat", "by_client")
    print("the client is served")


if __name__ == "__main__":
    main(*sys.argv[1:])
