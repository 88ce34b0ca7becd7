//! Publishes what Python tasks return: frames that their own libraries have written as Parquet, and files.

use std::path::PathBuf;

use async_trait::async_trait;
use serde_json::json;
use towpath_model::etl::Source;
use towpath_operators::attempt::{Attempt, Outcome};
use towpath_operators::data_sets::{DataSets, Draft, Left};
use towpath_operators::process::WorkFolder;

use crate::database::Connections;
use crate::error::{Error, Result};
use crate::job::{Job, Output};
use crate::operator::{Options, location, owner, run_process};

/// Publishes data sets of tasks that are no data tasks.
#[derive(Debug, Clone)]
pub struct Publisher(pub Options);

#[async_trait]
impl DataSets for Publisher {
    fn draft(&self, attempt: &Attempt) -> Draft {
        let location = location(&self.0, attempt);
        let name = location.file_name().unwrap_or_default().to_string_lossy();
        Draft { folder: location.with_file_name(format!(".{name}.part")), location }
    }

    async fn publish(&self, attempt: &Attempt, draft: &Draft, left: Left) -> Outcome {
        match self.run(attempt, draft, left).await {
            Ok(outcome) => outcome,
            Err(Error { message, retry }) => {
                Outcome::Failed { error: format!("what the task has returned is no data set: {message}"), retry }
            }
        }
    }
}

impl Publisher {
    async fn run(&self, attempt: &Attempt, draft: &Draft, left: Left) -> Result<Outcome> {
        let path = attempt.next_scratch();
        let folder =
            WorkFolder::create(&path).map_err(|error| Error::io("create the working folder", &path, &error))?;
        let (paths, format, output) = match left {
            Left::Draft => {
                let Draft { folder, location } = draft.clone();
                let paths = vec![folder.display().to_string()];
                (paths, "parquet".to_owned(), Output::Adopted { draft: folder, location })
            }
            // A file stays its owner's, who may change it: the data set is a copy.
            Left::Files { paths, format } => (paths, format, Output::DataSet(draft.location.clone())),
        };
        let source: Source = serde_json::from_value(json!({ format: paths }))
            .map_err(|error| Error::lasting(format!("its files cannot be read: {error}")))?;
        let job = job(attempt, source, output, folder.path().join("spill"));
        run_process(&self.0, attempt, &folder, job).await
    }
}

fn job(attempt: &Attempt, source: Source, output: Output, scratch: PathBuf) -> Job {
    Job {
        inputs: vec![("returned".to_owned(), source)],
        connections: Connections::default(),
        condition: None,
        columns: Vec::new(),
        steps: Vec::new(),
        sql: None,
        output,
        folder: attempt.project_folder.clone(),
        scratch,
        memory_bytes: None,
        cores: Some(2),
        explain: false,
        partition_by: Vec::new(),
        rows_to: None,
        owner: owner(attempt),
        instance: None,
    }
}
