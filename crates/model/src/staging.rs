//! How the staging area is laid out: `dag/run/task@map index/try-...`, so that what belongs to a run is one folder.
//!
//! Ids become names of folders by escaping, which can be undone: who cleans has to know whose a folder is.

use std::path::{Path, PathBuf};

/// The folder of a DAG.
#[must_use]
pub fn dag_folder(staging: &Path, dag_id: &str) -> PathBuf {
    staging.join(name(dag_id))
}

/// The folder of a run.
#[must_use]
pub fn run_folder(staging: &Path, dag_id: &str, run_id: &str) -> PathBuf {
    dag_folder(staging, dag_id).join(name(run_id))
}

/// The folder of a task instance; its tries have folders in it. `map_index` is -1 for a task that is not mapped.
#[must_use]
pub fn task_folder(staging: &Path, dag_id: &str, run_id: &str, task_id: &str, map_index: i32) -> PathBuf {
    let run = run_folder(staging, dag_id, run_id);
    match map_index {
        -1 => run.join(name(task_id)),
        // Not in brackets: those are globs for many a library.
        index => run.join(format!("{}@{index}", name(task_id))),
    }
}

/// An id as the name of a folder, on whatever file system: other characters are written as `%` and their bytes in hex.
#[must_use]
pub fn name(id: &str) -> String {
    let mut name = String::with_capacity(id.len());
    for (at, c) in id.char_indices() {
        // Names that begin with a dot are hidden, and `..` is another folder.
        if c.is_alphanumeric() || matches!(c, '-' | '_' | '+') || (c == '.' && at > 0) {
            name.push(c);
        } else {
            let mut bytes = [0; 4];
            c.encode_utf8(&mut bytes).bytes().for_each(|byte| name.push_str(&format!("%{byte:02X}")));
        }
    }
    name
}

/// The id that a name stands for; `None` for a name that no id has.
#[must_use]
pub fn id(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        rest = others;
        if *first == b'%' {
            let (hex, others) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = others;
        } else {
            bytes.push(*first);
        }
    }
    let id = String::from_utf8(bytes).ok()?;
    (self::name(&id) == name).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_can_be_undone() {
        for (text, expected) in [
            ("flights_etl", "flights_etl"),
            ("manual__2026-11-22T06:00:00+00:00", "manual__2026-11-22T06%3A00%3A00+00%3A00"),
            ("a/../b", "a%2F..%2Fb"),
            ("..", "%2E."),
            (".hidden", "%2Ehidden"),
            ("a_b c%d", "a_b%20c%25d"),
            ("größe", "größe"),
            ("x[1]", "x%5B1%5D"),
            ("😀", "%F0%9F%98%80"),
        ] {
            assert_eq!(name(text), expected);
            assert_eq!(id(expected).as_deref(), Some(text));
        }
        for wrong in ["a:b", "%3", "%zz", ".a", "%61", "%FF"] {
            assert_eq!(id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn instances_of_mapped_tasks_have_folders_of_their_own() {
        let staging = Path::new("/s");
        assert_eq!(task_folder(staging, "d", "r:1", "g.t", -1), Path::new("/s/d/r%3A1/g.t"));
        assert_eq!(task_folder(staging, "d", "r:1", "g.t", 7), Path::new("/s/d/r%3A1/g.t@7"));
    }
}
