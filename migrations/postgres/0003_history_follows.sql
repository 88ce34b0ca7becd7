-- The tries of a task instance stay with it when it gets another map index.
ALTER TABLE task_try DROP CONSTRAINT task_try_run_key_task_id_map_index_fkey;
ALTER TABLE task_try ADD FOREIGN KEY (run_key, task_id, map_index) REFERENCES task_instance
    ON DELETE CASCADE ON UPDATE CASCADE;
