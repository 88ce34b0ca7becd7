-- Runs that were deleted and whose data sets are still to be removed from the staging area.
CREATE TABLE staging_removal (
    dag_id text NOT NULL,
    run_id text NOT NULL,
    at     integer NOT NULL,
    PRIMARY KEY (dag_id, run_id)
) STRICT;
