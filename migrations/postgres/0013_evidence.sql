-- What processes of an attempt have used: milliseconds of processor time, and the largest memory of any of them.
ALTER TABLE task_instance ADD COLUMN cpu_ms bigint, ADD COLUMN peak_bytes bigint;
ALTER TABLE task_try ADD COLUMN cpu_ms bigint, ADD COLUMN peak_bytes bigint;

-- The arguments of the last try as its operator got them, where they are not what the DAG file says. Secrets are masked.
CREATE TABLE rendered_fields (
    run_key    bigint NOT NULL,
    task_id    text COLLATE "C" NOT NULL,
    map_index  integer NOT NULL,
    try_number integer NOT NULL,
    -- Whose newest runs keep them.
    dag_id     text COLLATE "C" NOT NULL,
    fields     text NOT NULL,
    PRIMARY KEY (run_key, task_id, map_index),
    FOREIGN KEY (run_key, task_id, map_index) REFERENCES task_instance ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX rendered_fields_by_dag ON rendered_fields (dag_id, run_key);

-- Counts of what ended lately are read from the index alone; runs of a rare type are found among a million others.
DROP INDEX dag_run_ended;
CREATE INDEX dag_run_ended ON dag_run (end_date DESC, key DESC, state) WHERE end_date IS NOT NULL;
CREATE INDEX dag_run_by_type ON dag_run (run_type, run_after DESC, key DESC);
