//! Which operator runs a task: by the short names of [`towpath_model::operator::SPECS`].

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::attempt::{Attempt, Operator, Outcome};
use crate::bash::Bash;
use crate::branch::{Branch, LatestOnly, ShortCircuit};
use crate::http::Http;
use crate::list_files::ListFiles;
use crate::sensor::{
    BashSensor, ExternalTaskSensor, FileSensor, HttpSensor, ObjectSensor, PythonSensor, Sensing, SqlSensor,
    TimeDeltaSensor, TimeSensor,
};
use crate::sql::{Sql, SqlBranch};
use crate::trigger_dag::TriggerDag;

/// Operators by name.
#[derive(Debug, Clone, Default)]
pub struct Registry(HashMap<&'static str, Arc<dyn Operator>>);

impl Registry {
    /// No operators.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that this crate has. `python` needs a pool of interpreters, which belongs to the worker and is given by it.
    #[must_use]
    pub fn standard(python: Arc<dyn Operator>) -> Self {
        Self::new()
            .with("empty", Arc::new(Empty))
            .with("bash", Arc::new(Bash))
            .with("http", Arc::new(Http::new()))
            .with("branch", Arc::new(Branch(Arc::clone(&python))))
            .with("short_circuit", Arc::new(ShortCircuit(Arc::clone(&python))))
            .with("latest_only", Arc::new(LatestOnly))
            .with("sql", Arc::new(Sql))
            .with("sql_branch", Arc::new(SqlBranch))
            .with("sql_sensor", Arc::new(Sensing(SqlSensor)))
            .with("list_files", Arc::new(ListFiles))
            .with("trigger_dag", Arc::new(TriggerDag))
            .with("file_sensor", Arc::new(Sensing(FileSensor)))
            .with("s3_key_sensor", Arc::new(Sensing(ObjectSensor)))
            .with("http_sensor", Arc::new(Sensing(HttpSensor::default())))
            .with("bash_sensor", Arc::new(Sensing(BashSensor)))
            .with("python_sensor", Arc::new(Sensing(PythonSensor::new(Arc::clone(&python)))))
            .with("time_sensor", Arc::new(Sensing(TimeSensor)))
            .with("time_delta_sensor", Arc::new(Sensing(TimeDeltaSensor)))
            .with("external_task_sensor", Arc::new(Sensing(ExternalTaskSensor)))
            .with("python", python)
    }

    /// Adds an operator; one of the same name gives way.
    #[must_use]
    pub fn with(mut self, name: &'static str, operator: Arc<dyn Operator>) -> Self {
        self.0.insert(name, operator);
        self
    }

    /// The operator of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Operator>> {
        self.0.get(name)
    }
}

/// The operator `empty`: succeeds at once. The store ends such tasks without a worker; this is for those that
/// reach one nevertheless.
#[derive(Debug, Clone, Copy, Default)]
pub struct Empty;

#[async_trait]
impl Operator for Empty {
    async fn execute(&self, _: &Attempt) -> Outcome {
        Outcome::Success { value: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_of_the_model_is_there() {
        let registry = Registry::standard(Arc::new(Empty));
        for spec in towpath_model::operator::SPECS {
            // Those of the ETL engine are added by the binary.
            let is_elsewhere = matches!(spec.name, "extract" | "transform" | "load");
            assert_eq!(registry.get(spec.name).is_some(), !is_elsewhere, "{}", spec.name);
        }
        assert!(registry.get("no such").is_none());
    }
}
