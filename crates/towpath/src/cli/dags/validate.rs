//! `towpath dags validate`

mod templates;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use towpath_dagfile::{Diagnostic, Severity, is_dag_file};

use crate::cli::{dag_files, target};
use crate::exit::Outcome;
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
    let files = dag_files::find(&args.paths, is_dag_file, session)?;
    let mut report = Report { files: files.len(), ..Report::default() };
    let mut defined: BTreeMap<String, PathBuf> = BTreeMap::new();
    for file in files {
        let read = target::read(&std::path::absolute(session.project_folder.join(&file))?, session);
        report.dags += read.dags.len();
        for problem in read.diagnostics {
            report.add(&file, problem, args.output.output)?;
        }
        for dag in read.dags {
            for problem in templates::problems(&dag, &file, &read.source) {
                report.add(&file, problem, args.output.output)?;
            }
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
