-- When a run has to have succeeded, and whether it had. Dropped with the success that comes in time.
CREATE TABLE deadline (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_key       bigint NOT NULL REFERENCES dag_run ON DELETE CASCADE,
    -- Its place among the deadlines of the DAG, from 0.
    number        integer NOT NULL,
    name          text,
    -- As the file of the run's first version has it; what is written there later is for later runs.
    reference     text COLLATE "C" NOT NULL,
    interval_us   bigint NOT NULL,
    deadline_time timestamptz NOT NULL,
    -- Who is told when it is missed, as JSON.
    targets       text NOT NULL,
    missed_at     timestamptz,
    created_at    timestamptz NOT NULL,
    UNIQUE (run_key, number)
);
CREATE INDEX deadline_due ON deadline (deadline_time, id) WHERE missed_at IS NULL;

ALTER TABLE alert_outbox DROP CONSTRAINT alert_outbox_event_check;
ALTER TABLE alert_outbox ADD CONSTRAINT alert_outbox_event_check CHECK (event IN ('failure', 'retry', 'success', 'deadline'));

-- Old events are found without a look at the others.
CREATE INDEX asset_event_at ON asset_event (at);
CREATE INDEX asset_queue_event ON asset_queue (event_id);
