-- Runs that were deleted and whose data sets are still to be removed from the staging area.
CREATE TABLE staging_removal (
    dag_id text COLLATE "C" NOT NULL,
    run_id text COLLATE "C" NOT NULL,
    at     timestamptz NOT NULL,
    PRIMARY KEY (dag_id, run_id)
);
