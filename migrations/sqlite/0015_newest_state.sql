-- How DAGs are, and the days of a calendar, are read from the index alone.
DROP INDEX dag_run_by_dag;
CREATE INDEX dag_run_by_dag ON dag_run (dag_id, run_after DESC, key DESC, state, logical_date);
