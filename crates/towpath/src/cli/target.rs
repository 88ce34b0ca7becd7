//! `FILE_OR_DAG`: a DAG in a file, or one that the store or else the DAGs folder knows.
//!
//! What ends like a DAG file or exists as a path is a file; everything else is the id of a DAG.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use towpath_dagfile::{CompiledFile, Limits, Severity, is_dag_file};
use towpath_model::dag::Dag;
use towpath_store::{DagRecord, DagUpsert, Store};

use super::dag_files;
use crate::exit::usage;
use crate::names;
use crate::output;
use crate::session::{Session, find_dag};

/// The arguments.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// A DAG file, or the id of a DAG
    #[arg(value_name = "FILE_OR_DAG")]
    target: String,
    /// Which DAG, for a file that defines more than one
    #[arg(value_name = "DAG_ID")]
    dag_id: Option<String>,
}

/// What the arguments name.
#[derive(Debug)]
pub(crate) enum Target {
    File(FileDag),
    /// An id that has not been looked up yet.
    Id(String),
}

/// A DAG from a file.
#[derive(Debug)]
pub(crate) struct FileDag {
    pub(crate) dag: Arc<Dag>,
    pub(crate) path: PathBuf,
    /// How the store calls the file: relative to the DAGs folder, or absolute when it lies elsewhere.
    pub(crate) stored_name: String,
    pub(crate) is_in_dags_folder: bool,
    source: Arc<str>,
}

impl FileDag {
    /// What puts it into the store.
    pub(crate) fn upsert(&self) -> DagUpsert {
        DagUpsert { dag: Arc::clone(&self.dag), file: self.stored_name.clone(), source: Arc::clone(&self.source) }
    }
}

impl Args {
    /// Reads the file, if it is one.
    ///
    /// # Errors
    /// As [`load`].
    pub(crate) fn load(&self, session: &Session) -> anyhow::Result<Target> {
        load(&self.target, self.dag_id.as_deref(), session)
    }

    /// The DAG, wherever it is.
    ///
    /// # Errors
    /// As [`load`], and for an id that the store does not know.
    pub(crate) async fn dag(&self, session: &Session) -> anyhow::Result<Arc<Dag>> {
        match self.load(session)? {
            Target::File(file) => Ok(file.dag),
            Target::Id(dag_id) => {
                let store = session.store().await?;
                match unknown_to(&store, &dag_id, session).await? {
                    Some(file) => Ok(file.dag),
                    None => Ok(stored(&store, &dag_id).await?.1),
                }
            }
        }
    }
}

/// Reads the file that `target` names, if it names one; `dag_id` chooses among its DAGs.
///
/// # Errors
/// For a file that is not there or has errors, which are printed, and when `dag_id` does not choose one DAG.
pub(crate) fn load(target: &str, dag_id: Option<&str>, session: &Session) -> anyhow::Result<Target> {
    let path = session.project_folder.join(target);
    if !is_dag_file(Path::new(target)) && !path.is_file() {
        return match dag_id {
            None => Ok(Target::Id(target.to_owned())),
            Some(dag_id) => Err(usage(format!("`{target}` is not a file, so it has no DAG `{dag_id}`"))),
        };
    }
    if !path.exists() {
        return Err(usage(format!("there is no file `{target}`")));
    }
    let absolute = std::path::absolute(&path)?;
    let read = read(&absolute, session);
    let errors = read.diagnostics.iter().filter(|problem| problem.severity == Severity::Error).count();
    for problem in &read.diagnostics {
        output::remark(problem.to_string());
    }
    if errors > 0 {
        let what = if errors == 1 { "one error".to_owned() } else { format!("{errors} errors") };
        return Err(usage(format!("`{target}` has {what}")));
    }
    let dag = choose(read.dags, dag_id, target)?;
    Ok(Target::File(file_dag(dag, absolute, read.source, session)))
}

/// The DAG of a file in the DAGs folder, if the store does not know its id: nobody has started a scheduler yet, or it has not
/// looked. A file with errors defines nothing here.
///
/// # Errors
/// When the folder cannot be read, or the database does not answer.
pub(crate) async fn unknown_to(store: &Store, dag_id: &str, session: &Session) -> anyhow::Result<Option<FileDag>> {
    if store.dag(dag_id).await?.is_some() { Ok(None) } else { in_folder(dag_id, session) }
}

fn in_folder(dag_id: &str, session: &Session) -> anyhow::Result<Option<FileDag>> {
    if !session.config.dags_dir.value.is_dir() {
        return Ok(None);
    }
    for file in dag_files::find(&[], is_dag_file, session)? {
        let absolute = std::path::absolute(session.project_folder.join(file))?;
        let mut read = read(&absolute, session);
        if let Some(position) = read.dags.iter().position(|dag| dag.id() == dag_id) {
            let dag = read.dags.swap_remove(position);
            return Ok(Some(file_dag(dag, absolute, read.source, session)));
        }
    }
    Ok(None)
}

fn file_dag(dag: Dag, path: PathBuf, source: String, session: &Session) -> FileDag {
    let inside = path.strip_prefix(&session.config.dags_dir.value).ok();
    FileDag {
        dag: Arc::new(dag),
        is_in_dags_folder: inside.is_some(),
        stored_name: inside.unwrap_or(&path).to_string_lossy().into_owned(),
        source: source.into(),
        path,
    }
}

/// Reads a file as the scheduler does, which needs its absolute path. Diagnostics name files relative to the
/// current folder, as people and editors do.
pub(crate) fn read(path: &Path, session: &Session) -> CompiledFile {
    let limits = Limits::default();
    let mut read = towpath_dagfile::load_file(path, &session.config.dags_dir.value, session.now(), &limits);
    for problem in &mut read.diagnostics {
        if let Some(file) = &mut problem.file
            && let Ok(short) = file.strip_prefix(&session.project_folder)
        {
            *file = short.to_owned();
        }
    }
    read
}

fn choose(mut dags: Vec<Dag>, dag_id: Option<&str>, target: &str) -> anyhow::Result<Dag> {
    let ids: Vec<&str> = dags.iter().map(Dag::id).collect();
    let position = match dag_id {
        Some(dag_id) => ids.iter().position(|id| *id == dag_id).ok_or_else(|| {
            usage(format!("`{target}` defines no DAG `{dag_id}`{}", names::hint(dag_id, ids.iter().copied())))
        })?,
        None if ids.len() == 1 => 0,
        None if ids.is_empty() => return Err(usage(format!("`{target}` defines no DAG"))),
        None => {
            let (count, ids) = (ids.len(), ids.join(", "));
            return Err(usage(format!("`{target}` defines {count} DAGs; write the id of one behind it: {ids}")));
        }
    };
    Ok(dags.swap_remove(position))
}

/// A DAG of the store in its current version.
///
/// # Errors
/// When there is none; the message then names the nearest id.
pub(crate) async fn stored(store: &Store, dag_id: &str) -> anyhow::Result<(DagRecord, Arc<Dag>)> {
    let record = find_dag(store, dag_id).await?;
    let dag = store.dag_of_version(record.version_id).await?;
    Ok((record, dag))
}
