-- When a run has to have succeeded, and whether it had. Dropped with the success that comes in time.
CREATE TABLE deadline (
    id            integer PRIMARY KEY AUTOINCREMENT,
    run_key       integer NOT NULL REFERENCES dag_run (key) ON DELETE CASCADE,
    -- Its place among the deadlines of the DAG, from 0.
    number        integer NOT NULL,
    name          text,
    -- As the file of the run's first version has it; what is written there later is for later runs.
    reference     text NOT NULL,
    interval_us   integer NOT NULL,
    deadline_time integer NOT NULL,
    -- Who is told when it is missed, as JSON.
    targets       text NOT NULL,
    missed_at     integer,
    created_at    integer NOT NULL,
    UNIQUE (run_key, number)
) STRICT;
CREATE INDEX deadline_due ON deadline (deadline_time, id) WHERE missed_at IS NULL;

-- SQLite cannot change a CHECK: the table is made again, with one more event.
CREATE TABLE alert_outbox_new (
    id         integer PRIMARY KEY AUTOINCREMENT,
    -- Names the end and the target, so that nobody is told of one twice.
    dedup      text NOT NULL UNIQUE,
    run_key    integer NOT NULL REFERENCES dag_run (key) ON DELETE CASCADE,
    dag_id     text NOT NULL,
    run_id     text NOT NULL,
    -- NULL where it is the run that has ended.
    task_id    text,
    map_index  integer NOT NULL,
    -- How the try stood when it ended: by the time of sending, another one may have begun.
    try_number integer NOT NULL,
    max_tries  integer NOT NULL,
    event      text NOT NULL CHECK (event IN ('failure', 'retry', 'success', 'deadline')),
    start_date integer,
    end_date   integer,
    note       text,
    target     text NOT NULL,
    created_at integer NOT NULL,
    -- How often somebody has set out to send it; the number names the one who does so now.
    attempts   integer NOT NULL DEFAULT 0,
    -- When to send it; while somebody does, when they count as lost. NULL when nothing is left to do.
    next_at    integer,
    sent_at    integer,
    -- Why the last attempt to send it failed.
    error      text,
    CHECK (sent_at IS NULL OR next_at IS NULL),
    CHECK (next_at IS NOT NULL OR sent_at IS NOT NULL OR error IS NOT NULL)
) STRICT;
INSERT INTO alert_outbox_new (id, dedup, run_key, dag_id, run_id, task_id, map_index, try_number, max_tries, event, start_date,
    end_date, note, target, created_at, attempts, next_at, sent_at, error)
SELECT id, dedup, run_key, dag_id, run_id, task_id, map_index, try_number, max_tries, event, start_date,
    end_date, note, target, created_at, attempts, next_at, sent_at, error FROM alert_outbox;
DROP TABLE alert_outbox;
ALTER TABLE alert_outbox_new RENAME TO alert_outbox;
CREATE INDEX alert_due ON alert_outbox (next_at, id) WHERE next_at IS NOT NULL;
CREATE INDEX alert_run ON alert_outbox (run_key, id);

-- Old events are found without a look at the others.
CREATE INDEX asset_event_at ON asset_event (at);
CREATE INDEX asset_queue_event ON asset_queue (event_id);
