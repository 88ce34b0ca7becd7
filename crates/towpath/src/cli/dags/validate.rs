//! `towpath dags validate`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use towpath_dagfile::{Diagnostic, Severity, is_dag_file};

use crate::cli::target;
use crate::exit::{Outcome, usage};
use crate::output::{self, Format, OutputArgs};
use crate::session::Session;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit code 1 when there are errors; warnings alone are no failure. Needs no database.

Examples:
  towpath dags validate
  towpath dags validate pipelines/etl.yaml pipelines/reports -o json")]
pub(crate) struct Args {
    /// Files and folders to check [default: the DAGs folder]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// A problem as it is shown to programs.
#[derive(Debug, Serialize)]
struct Problem {
    file: String,
    line: u32,
    column: u32,
    severity: &'static str,
    message: String,
    snippet: String,
    help: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    files: usize,
    dags: usize,
    errors: usize,
    warnings: usize,
    diagnostics: Vec<Problem>,
}

pub(crate) fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let files = find(args, session)?;
    let mut report = Report { files: files.len(), ..Report::default() };
    let mut defined: BTreeMap<String, PathBuf> = BTreeMap::new();
    for file in files {
        let read = target::read(&std::path::absolute(session.project_folder.join(&file))?, session);
        report.dags += read.dags.len();
        for problem in read.diagnostics {
            report.add(&file, problem, args.output.output)?;
        }
        for dag in read.dags {
            if let Some(first) = defined.insert(dag.id().to_owned(), file.clone()) {
                report.add(&file, defined_twice(dag.id(), &file, &first), args.output.output)?;
            }
        }
    }
    match args.output.output {
        Format::Table => output::line(report.summary())?,
        format => output::data(format, &report)?,
    }
    Ok(if report.errors == 0 { Outcome::Success } else { Outcome::Failure })
}

/// The files to check, in order, as they are named in messages.
fn find(args: &Args, session: &Session) -> anyhow::Result<Vec<PathBuf>> {
    let cwd = &session.project_folder;
    let mut files = Vec::new();
    if args.paths.is_empty() {
        let folder = &session.config.dags_dir.value;
        if !folder.is_dir() {
            return Err(usage(format!(
                "there is no DAGs folder `{}`; name files or folders, or use --dags",
                folder.display()
            )));
        }
        walk(folder, &mut files)?;
        // Shorter names read better, and editors find them as well.
        return Ok(files.iter().map(|file| file.strip_prefix(cwd).unwrap_or(file).to_owned()).collect());
    }
    for path in &args.paths {
        if path.is_dir() {
            walk(path, &mut files)?;
        } else if path.exists() {
            files.push(path.clone());
        } else {
            return Err(usage(format!("there is no file or folder `{}`", path.display())));
        }
    }
    Ok(files)
}

/// The DAG files below `folder`, by the same rules as the scheduler's: no hidden names, no defaults.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let unreadable = || format!("cannot read the folder `{}`", folder.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        entries.push(entry.with_context(unreadable)?.path());
    }
    entries.sort();
    for path in entries {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') {
            continue;
        }
        // A link to a folder is not followed: it may lead back here.
        if path.is_dir() && !path.is_symlink() {
            walk(&path, files)?;
        } else if path.is_file() && is_dag_file(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn defined_twice(dag_id: &str, file: &Path, first: &Path) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        message: format!("DAG `{dag_id}` is defined by `{}` as well", first.display()),
        file: Some(file.to_owned()),
        line: 1,
        column: 1,
        snippet: String::new(),
        help: Some("give one of them another `dag_id`".to_owned()),
    }
}

impl Report {
    /// Counts a problem, and prints it for people.
    fn add(&mut self, file: &Path, problem: Diagnostic, format: Format) -> anyhow::Result<()> {
        let severity = match problem.severity {
            Severity::Error => {
                self.errors += 1;
                "error"
            }
            Severity::Warning => {
                self.warnings += 1;
                "warning"
            }
        };
        if format == Format::Table {
            output::line(format!("{problem}\n"))?;
        }
        self.diagnostics.push(Problem {
            file: problem.file.as_deref().unwrap_or(file).display().to_string(),
            line: problem.line,
            column: problem.column,
            severity,
            message: problem.message,
            snippet: problem.snippet,
            help: problem.help,
        });
        Ok(())
    }

    fn summary(&self) -> String {
        let count = |number: usize, thing: &str| match number {
            1 => format!("1 {thing}"),
            number => format!("{number} {thing}s"),
        };
        let problems = match (self.errors, self.warnings) {
            (0, 0) => "no problems".to_owned(),
            (errors, 0) => count(errors, "error"),
            (0, warnings) => count(warnings, "warning"),
            (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
        };
        format!("{}, {}: {problems}", count(self.files, "file"), count(self.dags, "DAG"))
    }
}
