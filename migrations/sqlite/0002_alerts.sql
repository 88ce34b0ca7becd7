-- What somebody is to be told of: written in the step that records the end it speaks of, sent afterwards.
CREATE TABLE alert_outbox (
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
    event      text NOT NULL CHECK (event IN ('failure', 'retry', 'success')),
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
CREATE INDEX alert_due ON alert_outbox (next_at, id) WHERE next_at IS NOT NULL;
CREATE INDEX alert_run ON alert_outbox (run_key, id);
