-- Lists of the REST API that are long in any but the smallest installation.
CREATE INDEX dag_run_newest_of_dag ON dag_run (dag_id, key DESC);
CREATE INDEX dag_run_by_logical_date ON dag_run (logical_date, key);
CREATE INDEX dag_run_failed ON dag_run (run_after DESC, key DESC) WHERE state = 'failed';
CREATE INDEX task_instance_failed ON task_instance (run_key, task_id, map_index) WHERE state = 'failed';
