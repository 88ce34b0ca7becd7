-- The tries of a task instance stay with it when it gets another map index.
CREATE TABLE task_try_new (
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
        ON UPDATE CASCADE
) STRICT;
INSERT INTO task_try_new SELECT * FROM task_try;
DROP TABLE task_try;
ALTER TABLE task_try_new RENAME TO task_try;
