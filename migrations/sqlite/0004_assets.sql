-- Data that tasks update and DAGs wait for. It is known from when a DAG names it first.
CREATE TABLE asset (
    id          integer PRIMARY KEY AUTOINCREMENT,
    name        text NOT NULL UNIQUE,
    uri         text NOT NULL,
    asset_group text NOT NULL,
    extra       text NOT NULL,
    created_at  integer NOT NULL,
    updated_at  integer NOT NULL
) STRICT;
CREATE INDEX asset_by_uri ON asset (uri);

-- Who speaks of an asset in the current version of a DAG. task_id is empty where it is the schedule.
CREATE TABLE asset_reference (
    dag_id     text NOT NULL REFERENCES dag (dag_id) ON DELETE CASCADE,
    role       text NOT NULL CHECK (role IN ('schedule', 'inlet', 'outlet')),
    task_id    text NOT NULL,
    asset_id   integer NOT NULL REFERENCES asset (id),
    created_at integer NOT NULL,
    PRIMARY KEY (dag_id, role, task_id, asset_id),
    CHECK ((role = 'schedule') = (task_id = ''))
) STRICT;
CREATE INDEX asset_reference_by_asset ON asset_reference (asset_id, role, dag_id);

-- Updates. The source is NULL where it was no task.
CREATE TABLE asset_event (
    id               integer PRIMARY KEY AUTOINCREMENT,
    asset_id         integer NOT NULL REFERENCES asset (id),
    at               integer NOT NULL,
    extra            text NOT NULL,
    source_dag_id    text,
    source_run_id    text,
    source_task_id   text,
    source_map_index integer NOT NULL,
    CHECK ((source_dag_id IS NULL) = (source_run_id IS NULL) AND (source_dag_id IS NULL) = (source_task_id IS NULL))
) STRICT;
CREATE INDEX asset_event_by_asset ON asset_event (asset_id, id DESC);
CREATE INDEX asset_event_by_source ON asset_event (source_dag_id, source_run_id) WHERE source_dag_id IS NOT NULL;

-- Events that a waiting DAG has not run for yet.
CREATE TABLE asset_queue (
    dag_id     text NOT NULL REFERENCES dag (dag_id) ON DELETE CASCADE,
    asset_id   integer NOT NULL REFERENCES asset (id),
    event_id   integer NOT NULL REFERENCES asset_event (id),
    -- False for one that came while the DAG was paused: it goes along with the next run and starts none.
    is_counted integer NOT NULL CHECK (is_counted IN (0, 1)),
    -- No scheduler has decided about it.
    is_new     integer NOT NULL CHECK (is_new IN (0, 1)),
    PRIMARY KEY (dag_id, asset_id, event_id)
) STRICT;
CREATE INDEX asset_queue_counted ON asset_queue (dag_id, asset_id, event_id) WHERE is_counted;
CREATE INDEX asset_queue_new ON asset_queue (dag_id) WHERE is_new;

-- The events that a run was started for.
CREATE TABLE asset_run_event (
    run_key  integer NOT NULL REFERENCES dag_run (key) ON DELETE CASCADE,
    event_id integer NOT NULL REFERENCES asset_event (id),
    PRIMARY KEY (run_key, event_id)
) STRICT;
CREATE INDEX asset_run_event_by_event ON asset_run_event (event_id);
