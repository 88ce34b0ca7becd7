-- Times are integers: microseconds since 1970, UTC. Tables are STRICT, so that a wrong type is an error here too.

CREATE TABLE dag (
    dag_id              text PRIMARY KEY,
    file                text NOT NULL,
    is_paused           integer NOT NULL,
    is_active           integer NOT NULL,
    version_id          integer,
    description         text,
    owners              text NOT NULL,
    tags                text NOT NULL,
    schedule            text NOT NULL,
    max_active_runs     integer NOT NULL CHECK (max_active_runs > 0),
    -- The version that next_* was computed for; another one means: compute again.
    next_for_version    integer,
    next_run_after      integer,
    next_logical_date   integer,
    next_interval_start integer,
    next_interval_end   integer,
    last_parsed_at      integer NOT NULL
) STRICT;
CREATE INDEX dag_due ON dag (next_run_after) WHERE is_active AND NOT is_paused AND next_run_after IS NOT NULL;
CREATE INDEX dag_continuous ON dag (dag_id) WHERE schedule = '@continuous';
CREATE INDEX dag_to_plan ON dag (dag_id) WHERE is_active AND NOT is_paused AND next_for_version IS NOT version_id;

CREATE TABLE dag_version (
    id         integer PRIMARY KEY AUTOINCREMENT,
    dag_id     text NOT NULL REFERENCES dag (dag_id),
    number     integer NOT NULL,
    hash       text NOT NULL,
    file       text NOT NULL,
    spec       text NOT NULL,
    source     text NOT NULL,
    created_at integer NOT NULL,
    UNIQUE (dag_id, number),
    UNIQUE (dag_id, hash)
) STRICT;

CREATE TABLE import_error (
    file    text PRIMARY KEY,
    message text NOT NULL,
    at      integer NOT NULL
) STRICT;

-- Runs that somebody wants made up for. Whether it is over follows from its runs.
CREATE TABLE backfill (
    id              integer PRIMARY KEY AUTOINCREMENT,
    dag_id          text NOT NULL REFERENCES dag (dag_id),
    from_date       integer NOT NULL,
    to_date         integer NOT NULL,
    reprocess       text NOT NULL CHECK (reprocess IN ('none', 'failed', 'completed')),
    max_active_runs integer NOT NULL CHECK (max_active_runs > 0),
    backwards       integer NOT NULL,
    conf            text NOT NULL,
    is_paused       integer NOT NULL DEFAULT 0,
    is_cancelled    integer NOT NULL DEFAULT 0,
    created_at      integer NOT NULL,
    triggering_user text
);
CREATE INDEX backfill_by_dag ON backfill (dag_id, id DESC);

CREATE TABLE dag_run (
    key              integer PRIMARY KEY AUTOINCREMENT,
    dag_id           text NOT NULL REFERENCES dag (dag_id),
    run_id           text NOT NULL,
    run_type         text NOT NULL CHECK (run_type IN ('scheduled', 'manual', 'backfill', 'asset_triggered', 'operator_triggered')),
    state            text NOT NULL CHECK (state IN ('queued', 'running', 'success', 'failed')),
    logical_date     integer,
    interval_start   integer,
    interval_end     integer,
    run_after        integer NOT NULL,
    queued_at        integer NOT NULL,
    start_date       integer,
    end_date         integer,
    -- When dagrun_timeout ends it.
    deadline         integer,
    conf             text NOT NULL,
    note             text,
    triggered_by     text NOT NULL,
    triggering_user  text,
    version_id       integer NOT NULL REFERENCES dag_version (id),
    max_active_tasks integer NOT NULL CHECK (max_active_tasks > 0),
    queue            text,
    backfill_id      integer REFERENCES backfill (id),
    -- Its place in the backfill, from 0.
    backfill_order   integer,
    UNIQUE (dag_id, run_id),
    UNIQUE (dag_id, logical_date),
    CHECK ((interval_start IS NULL) = (interval_end IS NULL)),
    CHECK (state <> 'queued' OR end_date IS NULL),
    CHECK (state NOT IN ('success', 'failed') OR end_date IS NOT NULL)
) STRICT;
CREATE INDEX dag_run_active ON dag_run (dag_id, state, run_after) WHERE state IN ('queued', 'running');
CREATE INDEX dag_run_backfill ON dag_run (backfill_id, state) WHERE backfill_id IS NOT NULL;
CREATE INDEX dag_run_deadline ON dag_run (deadline) WHERE state = 'running' AND deadline IS NOT NULL;
CREATE INDEX dag_run_scheduled ON dag_run (dag_id, run_after DESC, key DESC) WHERE run_type = 'scheduled';
CREATE INDEX dag_run_by_dag ON dag_run (dag_id, run_after DESC, key DESC);
CREATE INDEX dag_run_by_time ON dag_run (run_after DESC, key DESC);

CREATE TABLE job (
    id           integer PRIMARY KEY AUTOINCREMENT,
    job_type     text NOT NULL CHECK (job_type IN ('scheduler', 'worker')),
    hostname     text NOT NULL,
    pid          integer NOT NULL,
    process_mark text NOT NULL,
    queues       text NOT NULL,
    slots        integer NOT NULL,
    state        text NOT NULL CHECK (state IN ('running', 'ended', 'lost')),
    started_at   integer NOT NULL,
    heartbeat_at integer NOT NULL,
    lease_until  integer NOT NULL
) STRICT;
CREATE INDEX job_lease ON job (lease_until) WHERE state = 'running';

CREATE TABLE task_instance (
    run_key            integer NOT NULL REFERENCES dag_run (key) ON DELETE CASCADE,
    task_id            text NOT NULL,
    map_index          integer NOT NULL,
    state              text NOT NULL CHECK (state IN ('none', 'scheduled', 'queued', 'running', 'success', 'failed', 'up_for_retry',
                           'up_for_reschedule', 'upstream_failed', 'skipped', 'removed', 'restarting', 'deferred')),
    try_number         integer NOT NULL DEFAULT 0,
    max_tries          integer NOT NULL,
    -- Names the current attempt; a report that names another is late.
    attempt            integer,
    worker             integer,
    hostname           text,
    pid                integer,
    pool               text NOT NULL,
    pool_slots         integer NOT NULL CHECK (pool_slots > 0),
    queue              text NOT NULL,
    priority           integer NOT NULL,
    -- Tasks of equal priority start in the order of their runs.
    run_order          integer NOT NULL,
    -- The limit that a scheduled one waits for.
    blocked_by         text CHECK (blocked_by IN ('run', 'pool', 'gate')),
    available_at       integer,
    queued_at          integer,
    start_date         integer,
    end_date           integer,
    up_total           integer NOT NULL,
    up_success         integer NOT NULL,
    up_failed          integer NOT NULL,
    up_skipped         integer NOT NULL,
    up_upstream_failed integer NOT NULL,
    up_removed         integer NOT NULL,
    -- The branch that ruled it out; survives clearing.
    skipped_by         text,
    -- The arguments of a mapped instance, as JSON.
    map_value          text,
    note               text,
    PRIMARY KEY (run_key, task_id, map_index),
    CHECK ((state IN ('running', 'restarting')) = (attempt IS NOT NULL)),
    CHECK ((state = 'scheduled') = (blocked_by IS NOT NULL)),
    CHECK ((state IN ('up_for_retry', 'up_for_reschedule')) = (available_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX task_instance_queued ON task_instance (priority DESC, run_order, run_key, task_id, map_index) WHERE state = 'queued';
CREATE INDEX task_instance_run ON task_instance (run_key, priority DESC, task_id, map_index) WHERE state = 'scheduled' AND blocked_by = 'run';
CREATE INDEX task_instance_pool ON task_instance (pool, priority DESC, run_order, run_key, task_id) WHERE state = 'scheduled' AND blocked_by = 'pool';
CREATE INDEX task_instance_gate ON task_instance (run_key) WHERE state = 'scheduled' AND blocked_by = 'gate';
CREATE INDEX task_instance_live ON task_instance (run_key, pool, pool_slots) WHERE state IN ('queued', 'running', 'restarting');
CREATE INDEX task_instance_worker ON task_instance (worker) WHERE state IN ('running', 'restarting');
CREATE INDEX task_instance_timer ON task_instance (available_at) WHERE state IN ('up_for_retry', 'up_for_reschedule');
CREATE INDEX task_instance_unfinished ON task_instance (run_key)
    WHERE state IN ('none', 'scheduled', 'queued', 'running', 'up_for_retry', 'up_for_reschedule', 'restarting', 'deferred');

-- Tries that were followed by another; the last try of a task instance is in its own row.
CREATE TABLE task_try (
    run_key    integer NOT NULL,
    task_id    text NOT NULL,
    map_index  integer NOT NULL,
    try_number integer NOT NULL,
    state      text NOT NULL,
    queued_at  integer,
    start_date integer,
    end_date   integer,
    hostname   text,
    pid        integer,
    note       text,
    PRIMARY KEY (run_key, task_id, map_index, try_number),
    FOREIGN KEY (run_key, task_id, map_index) REFERENCES task_instance (run_key, task_id, map_index) ON DELETE CASCADE
) STRICT;

CREATE TABLE xcom (
    run_key   integer NOT NULL REFERENCES dag_run (key) ON DELETE CASCADE,
    task_id   text NOT NULL,
    map_index integer NOT NULL,
    key       text NOT NULL,
    value     text NOT NULL,
    at        integer NOT NULL,
    PRIMARY KEY (run_key, task_id, map_index, key)
) STRICT;

-- data is NDJSON, one line of the log a line; encoding says whether it is compressed.
CREATE TABLE log_chunk (
    run_key    integer NOT NULL REFERENCES dag_run (key) ON DELETE CASCADE,
    task_id    text NOT NULL,
    map_index  integer NOT NULL,
    try_number integer NOT NULL,
    seq        integer NOT NULL,
    lines      integer NOT NULL,
    encoding   text NOT NULL CHECK (encoding IN ('plain', 'zstd')),
    data       blob NOT NULL,
    PRIMARY KEY (run_key, task_id, map_index, try_number, seq)
) STRICT;

CREATE TABLE pool (
    name        text PRIMARY KEY,
    slots       integer NOT NULL CHECK (slots >= 0),
    description text
) STRICT;
INSERT INTO pool (name, slots, description) VALUES ('default_pool', 128, 'Default pool');

-- value is encrypted with the key file.
CREATE TABLE variable (
    key         text PRIMARY KEY,
    value       text NOT NULL,
    description text,
    updated_at  integer NOT NULL
) STRICT;

-- password and extra are encrypted with the key file.
CREATE TABLE connection (
    conn_id     text PRIMARY KEY,
    conn_type   text NOT NULL,
    description text,
    host        text,
    login       text,
    password    text,
    schema      text,
    port        integer,
    extra       text,
    updated_at  integer NOT NULL
) STRICT;
