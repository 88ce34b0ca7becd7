//! Ids that Airflow's wire types ask for and Towpath does not keep, made from what it does keep:
//! the same thing always has the same id.

use towpath_store::TaskKey;
use uuid::Uuid;

const NAMESPACE: Uuid = Uuid::from_u128(0x6f2c_81d4_9b0e_4f57_a3d1_58c7_e20b_74f9);

/// The id of a DAG version.
pub(crate) fn version(version_id: i64) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("dag_version/{version_id}").as_bytes())
}

/// The id of a task instance.
pub(crate) fn task_instance(key: &TaskKey) -> Uuid {
    let TaskKey { run_key, task_id, map_index } = key;
    Uuid::new_v5(&NAMESPACE, format!("task_instance/{run_key}/{map_index}/{task_id}").as_bytes())
}

/// The id of the import error of a file: 31 bits, since some clients keep ids in an `int32`.
pub(crate) fn import_error(file: &str) -> u32 {
    let (_, low) = Uuid::new_v5(&NAMESPACE, format!("import_error/{file}").as_bytes()).as_u64_pair();
    (low & 0x7fff_ffff) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_and_differ() {
        let key = |task_id: &str, map_index| TaskKey { run_key: 1, task_id: task_id.into(), map_index };
        assert_eq!(task_instance(&key("a", -1)), task_instance(&key("a", -1)));
        assert_ne!(task_instance(&key("a", -1)), task_instance(&key("a", 1)));
        assert_ne!(version(1), version(2));
        assert_ne!(import_error("a.yml"), import_error("b.yml"));
    }
}
