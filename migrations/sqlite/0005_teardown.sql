-- A run that has been given up and only waits for its teardowns; it fails when they have ended.
ALTER TABLE dag_run ADD COLUMN is_failing integer NOT NULL DEFAULT 0;
