-- What `map_index_template` made of an instance: its name beside its number.
ALTER TABLE task_instance ADD COLUMN rendered_map_index text;
