//! `towpath dags test`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use towpath_dagfile::{Diagnostic, Limits, Severity, is_dag_file, is_test_file};
use towpath_dagtest::{Case, Difference, dag_file_of};
use towpath_model::dag::Dag;

use crate::cli::{dag_files, target};
use crate::exit::{Outcome, usage};
use crate::output::{self, Format, OutputArgs};
use crate::session::Session;

/// A longer value is shown on lines of its own.
const SHORT_CHARS: usize = 60;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Tests of dags/etl.yaml stand beside it in dags/etl.test.yaml (or etl_test.yaml), which the scheduler does not read:

  cases:
    a failed load is tried again:
      logical_date: 2026-01-31
      tasks:                          # what is not here succeeds
        extract: { return_value: { rows: 3 } }
        load: [failed, success]       # one try after the other
      expect:
        state: success
        order: [extract, load]
        tries: { load: 2 }
        rendered: { load: { bash_command: load 3 rows of 2026-01-31 } }

A task ends with success, failed or skipped, or with a mapping of state, return_value, xcom, duration, message and \
retry. A case is given logical_date, now, conf, params, variables, connections, pools, dag and render_templates; it \
expects state, states, order, tries, xcom, xcoms, rendered and next_runs. Runs are made by the scheduler's own code on a \
database in memory, with a clock that jumps; no task is carried out.

Exit code 1 when a case fails or a file has errors.

Examples:
  towpath dags test
  towpath dags test dags/etl.yaml pipelines -o json")]
pub(crate) struct Args {
    /// DAG files, test files and folders [default: the DAGs folder]
    #[arg(value_name = "FILE_OR_FOLDER")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// One case that was run.
#[derive(Debug, Serialize)]
struct Ran {
    file: String,
    line: u32,
    case: String,
    dag_id: String,
    passed: bool,
    took_ms: f64,
    differences: Vec<Differing>,
    /// Why it could not be run to its end.
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Differing {
    what: String,
    expected: String,
    got: String,
    note: Option<String>,
}

/// What keeps a file from being run.
#[derive(Debug, Serialize)]
struct Broken {
    file: String,
    line: u32,
    column: u32,
    message: String,
    help: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    files: usize,
    passed: usize,
    failed: usize,
    /// Files that could not be used.
    broken: usize,
    took_ms: f64,
    cases: Vec<Ran>,
    diagnostics: Vec<Broken>,
}

pub(crate) async fn run(args: &Args, session: &Session) -> anyhow::Result<Outcome> {
    let files = test_files(&args.paths, session)?;
    let start = Instant::now();
    let mut report = Report { files: files.len(), ..Report::default() };
    for file in &files {
        match load(file, session)? {
            Ok(cases) => {
                for case in cases {
                    report.ran(run_case(file, &case).await, args.output.output)?;
                }
            }
            Err(problems) => report.broken(file, problems, args.output.output)?,
        }
    }
    report.took_ms = milliseconds(start);
    match args.output.output {
        Format::Table => output::line(report.summary())?,
        format => output::data(format, &report)?,
    }
    Ok(if report.failed + report.broken == 0 { Outcome::Success } else { Outcome::Failure })
}

/// The test files that the arguments stand for.
fn test_files(paths: &[PathBuf], session: &Session) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in dag_files::find(paths, is_test_file, session)? {
        if is_test_file(&path) {
            files.push(path);
        } else if is_dag_file(&path) {
            let beside = beside(&path);
            if beside.is_empty() {
                let stem = path.with_extension("");
                return Err(usage(format!(
                    "`{}` has no tests; write them to `{}.test.yaml`",
                    path.display(),
                    stem.display()
                )));
            }
            files.extend(beside);
        } else {
            return Err(usage(format!("`{}` is neither a DAG file nor a test file", path.display())));
        }
    }
    let mut seen = std::collections::HashSet::new();
    files.retain(|file| seen.insert(file.clone()));
    if files.is_empty() {
        let remedy = "tests of `etl.yaml` stand beside it in `etl.test.yaml`; see `towpath dags test --help`";
        return Err(usage(format!("there are no test files here; {remedy}")));
    }
    Ok(files)
}

/// The test files of a DAG file.
fn beside(dag_file: &Path) -> Vec<PathBuf> {
    let stem = dag_file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let names = [".test.yaml", ".test.yml", "_test.yaml", "_test.yml"];
    names.iter().map(|end| dag_file.with_file_name(format!("{stem}{end}"))).filter(|path| path.is_file()).collect()
}

/// The cases of a file, or what is wrong with it or with its DAG file.
fn load(file: &Path, session: &Session) -> anyhow::Result<Result<Vec<Case>, Vec<Diagnostic>>> {
    let Some(dag_file) = dag_file_of(file) else {
        let stem = towpath_dagfile::tested_stem(file).unwrap_or_default();
        return Ok(Err(vec![Diagnostic {
            severity: Severity::Error,
            message: format!("there is no DAG file `{stem}.yaml` beside it"),
            file: Some(file.to_owned()),
            line: 1,
            column: 1,
            snippet: String::new(),
            help: Some("a test file is named like the DAG file that it tests".to_owned()),
        }]));
    };
    let read = target::read(&std::path::absolute(session.project_folder.join(&dag_file))?, session);
    if read.has_errors() {
        return Ok(Err(read.diagnostics));
    }
    let dags: Vec<Arc<Dag>> = read.dags.into_iter().map(Arc::new).collect();
    let loaded = towpath_dagtest::load(file, &dags, session.now(), &Limits::default());
    Ok(if loaded.diagnostics.is_empty() { Ok(loaded.cases) } else { Err(loaded.diagnostics) })
}

async fn run_case(file: &Path, case: &Case) -> Ran {
    let start = Instant::now();
    let ended = towpath_dagtest::run(case).await;
    let (differences, error) = match ended {
        Ok(differences) => (differences, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    Ran {
        file: file.display().to_string(),
        line: case.line,
        case: case.name.clone(),
        dag_id: case.dag.id().to_owned(),
        passed: differences.is_empty() && error.is_none(),
        took_ms: milliseconds(start),
        differences: differences.into_iter().map(Differing::from).collect(),
        error,
    }
}

/// To a tenth.
fn milliseconds(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 10_000.0).round() / 10.0
}

impl From<Difference> for Differing {
    fn from(difference: Difference) -> Self {
        let Difference { what, expected, got, note } = difference;
        Self { what, expected, got, note }
    }
}

impl Report {
    fn ran(&mut self, ran: Ran, format: Format) -> anyhow::Result<()> {
        if ran.passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        if format == Format::Table {
            output::text(&ran.text())?;
        }
        self.cases.push(ran);
        Ok(())
    }

    fn broken(&mut self, file: &Path, problems: Vec<Diagnostic>, format: Format) -> anyhow::Result<()> {
        self.broken += 1;
        for problem in problems {
            if format == Format::Table {
                output::line(format!("{problem}\n"))?;
            }
            self.diagnostics.push(Broken {
                file: problem.file.as_deref().unwrap_or(file).display().to_string(),
                line: problem.line,
                column: problem.column,
                message: problem.message,
                help: problem.help,
            });
        }
        Ok(())
    }

    fn summary(&self) -> String {
        let cases = self.passed + self.failed;
        let plural = if cases == 1 { "" } else { "s" };
        let mut summary = format!("{cases} case{plural}: {} passed, {} failed", self.passed, self.failed);
        match self.broken {
            0 => {}
            1 => summary.push_str(", 1 file has errors"),
            broken => summary.push_str(&format!(", {broken} files have errors")),
        }
        format!("{summary}, {} ms", self.took_ms)
    }
}

impl Ran {
    /// One line, and one or more for each difference.
    fn text(&self) -> String {
        let verdict = if self.passed { "ok  " } else { "FAIL" };
        let mut text = format!("{verdict}  {}:{}  {}  {} ms\n", self.file, self.line, self.case, self.took_ms);
        for difference in &self.differences {
            text.push_str(&difference.text());
        }
        if let Some(error) = &self.error {
            text.push_str(&format!("      {error}\n"));
        }
        text
    }
}

impl Differing {
    fn text(&self) -> String {
        let note = self.note.as_ref().map(|note| format!("\n        {note}")).unwrap_or_default();
        let is_short = |text: &str| text.chars().count() <= SHORT_CHARS && !text.trim_end().contains('\n');
        if is_short(&self.expected) && is_short(&self.got) {
            return format!("      {}: expected {}, got {}{note}\n", self.what, self.expected, self.got);
        }
        let block = |text: &str| text.trim_end().replace('\n', "\n          ");
        format!(
            "      {}\n        expected:\n          {}\n        got:\n          {}{note}\n",
            self.what,
            block(&self.expected),
            block(&self.got)
        )
    }
}
