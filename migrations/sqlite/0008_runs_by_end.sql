-- What has ended lately, whatever its logical date: catch-up and backfills as well.
CREATE INDEX dag_run_ended ON dag_run (end_date DESC, key DESC) WHERE end_date IS NOT NULL;
