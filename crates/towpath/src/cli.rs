//! The command line: a folder per noun, a file per verb.
//!
//! Each verb is a struct of arguments with a `run`. Results go to stdout through [`crate::output`],
//! everything else to stderr, and the exit code tells how it went ([`crate::exit`]).

mod arguments;
mod assets;
mod audit;
mod backfills;
mod completions;
mod config;
mod connections;
mod dag_files;
mod dags;
mod data;
mod db;
mod explain;
mod follow;
mod log_text;
mod order;
mod pools;
mod run;
mod runs;
mod schedule;
mod scheduler;
mod selection;
mod target;
pub(crate) mod tasks;
mod tokens;
mod trail;
mod up;
mod users;
mod variables;
mod version;
mod webhooks;
mod worker;
mod xcom;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{Config, Given, Layer, Source};
use crate::exit::Outcome;
use crate::session::Session;
use crate::{lifecycle, logging, output};

/// Runs data pipelines: DAGs of tasks, on a schedule, with retries, logs and results.
///
/// Towpath reads DAGs from YAML files, runs their tasks on workers, passes results between them, keeps
/// everything in a database (a SQLite file, or PostgreSQL) and shows it in a web UI. The words are
/// Airflow's.
#[derive(Debug, Parser)]
#[command(
    name = "towpath",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Start here:
  towpath up                        scheduler, worker and web UI in one process, for dags/
  towpath run dags/etl.yaml         run one file to its end, here and now
  towpath dags validate             check all files
  towpath dags trigger etl --wait   start a run on a server that is up

Settings come from towpath.toml, the environment (TOWPATH_DATA_DIR, TOWPATH_DATABASE_URL, ...) and flags, the later \
ones winning; `towpath config show` lists them all. Exit codes: 0 it went well, 1 it failed, 2 the input is wrong, \
130 interrupted."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Configuration file [default: towpath.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE", env = "TOWPATH_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Folder of the embedded database and the key file [default: .towpath]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Folder of the DAG files [default: dags]
    #[arg(long, global = true, value_name = "DIR")]
    dags: Option<String>,
    /// Database, postgres:// or sqlite:// [default: a SQLite file in the data folder]
    #[arg(long, global = true, value_name = "URL")]
    database: Option<String>,
    /// What goes to stderr: off, error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// In which form: text or json
    #[arg(long, global = true, value_name = "FORM")]
    log_format: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything in one process: scheduler, worker, web UI and API
    Up(up::Args),
    /// Run one DAG to its end in the foreground
    Run(run::Args),
    /// Start a scheduler alone
    Scheduler(scheduler::Args),
    /// Start a worker alone
    Worker(worker::Args),
    /// List, check, trigger, pause and delete DAGs
    #[command(subcommand)]
    Dags(dags::Command),
    /// Look at schedules before they run
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// List, look at, rerun, cancel and delete DAG runs, decide how they ended
    #[command(subcommand)]
    Runs(runs::Command),
    /// Make up for the runs of a span of time
    #[command(subcommand)]
    Backfills(backfills::Command),
    /// Look at assets, their updates and what waits for them
    #[command(subcommand)]
    Assets(assets::Command),
    /// Say why a DAG, a run or a task does not run, and what to do about it
    Explain(explain::Args),
    /// List and test tasks, read their logs, let them run again
    #[command(subcommand)]
    Tasks(tasks::Command),
    /// Read what tasks have passed on
    #[command(subcommand)]
    Xcom(xcom::Command),
    /// Look at the data sets between tasks, and clean up behind them
    #[command(subcommand)]
    Data(data::Command),
    /// Keep variables that tasks can read
    #[command(subcommand)]
    Variables(variables::Command),
    /// Keep connections to other systems
    #[command(subcommand)]
    Connections(connections::Command),
    /// Keep pools, which limit how many tasks run at once
    #[command(subcommand)]
    Pools(pools::Command),
    /// Keep the users who may log in, and what each may do
    #[command(subcommand)]
    Users(users::Command),
    /// Keep API tokens, with which programs log in
    #[command(subcommand)]
    Tokens(tokens::Command),
    /// Keep webhooks, by which other systems start runs
    #[command(subcommand)]
    Webhooks(webhooks::Command),
    /// Show who has changed what
    Audit(audit::Args),
    /// Prepare and check the database
    #[command(subcommand)]
    Db(db::Command),
    /// Show the settings and where they come from
    #[command(subcommand)]
    Config(config::Command),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Print the version
    Version,
}

/// Reads the command line and does what it says.
///
/// # Errors
/// Whatever the command could not do.
pub(crate) fn main() -> anyhow::Result<Outcome> {
    let parsed = Cli::command().try_get_matches().and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            error.print()?;
            return Ok(if error.use_stderr() { Outcome::Invalid } else { Outcome::Success });
        }
    };
    match &cli.command {
        Command::Completions(args) => return completions::run(args, &mut Cli::command()),
        Command::Version => return version::run(),
        Command::Dags(dags::Command::Schema) => return dags::schema(),
        _ => {}
    }
    let cwd = std::env::current_dir().context("the current folder cannot be found")?;
    let file = cli.global.config.as_deref().filter(|path| !path.as_os_str().is_empty());
    let config = Config::load(&cwd, file, cli.flags()).map_err(|error| crate::exit::usage(format!("{error:#}")))?;
    let is_daemon = matches!(cli.command, Command::Up(_) | Command::Scheduler(_) | Command::Worker(_));
    // Who asks one question wants the answer and what is wrong, not how it went along.
    let quiet = !is_daemon && config.log_level.source == Source::Default;
    logging::init(if quiet { "warn" } else { &config.log_level.value }, config.log_format.value)?;
    if is_daemon {
        config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    }
    let session = Session::new(config, cwd);
    let outcome = cli.dispatch(&session)?;
    if outcome == Outcome::Success {
        trail::leave(&matches, &session);
    }
    Ok(outcome)
}

impl Cli {
    /// The flags that are settings.
    fn flags(&self) -> Layer {
        let global = &self.global;
        let mut flags = vec![
            ("data_dir", "--data-dir", &global.data_dir),
            ("dags_dir", "--dags", &global.dags),
            ("database_url", "--database", &global.database),
            ("log_level", "--log-level", &global.log_level),
            ("log_format", "--log-format", &global.log_format),
        ];
        let mut server = [const { ("", "", None) }; 3];
        match &self.command {
            Command::Up(args) => {
                flags.push(("listen", "--listen", &args.listen));
                flags.extend(args.worker.flags());
                server = args.server.flags();
            }
            Command::Scheduler(args) => {
                flags.push(("listen", "--listen", &args.listen));
                server = args.server.flags();
            }
            Command::Worker(args) => flags.extend(args.worker.flags()),
            Command::Run(args) => flags.push(("worker_slots", "--slots", &args.slots)),
            _ => {}
        }
        flags.extend(server.iter().map(|(key, flag, text)| (*key, *flag, text)));
        flags
            .into_iter()
            .filter_map(|(key, flag, text)| Some((key, Given { text: text.clone()?, source: Source::Flag(flag) })))
            .collect()
    }

    fn dispatch(self, session: &Session) -> anyhow::Result<Outcome> {
        match self.command {
            Command::Up(_) => lifecycle::runtime()?.block_on(up::run(session)),
            Command::Scheduler(args) => lifecycle::runtime()?.block_on(scheduler::run(&args, session)),
            Command::Worker(_) => lifecycle::runtime()?.block_on(worker::run(session)),
            Command::Run(args) => lifecycle::runtime()?.block_on(run::run(&args, session)),
            Command::Tasks(command) => lifecycle::runtime()?.block_on(tasks::run(command, session)),
            Command::Explain(args) => lifecycle::small_runtime()?.block_on(explain::run(&args, session)),
            Command::Dags(command) => lifecycle::small_runtime()?.block_on(dags::run(command, session)),
            Command::Runs(command) => lifecycle::small_runtime()?.block_on(runs::run(command, session)),
            Command::Backfills(command) => lifecycle::small_runtime()?.block_on(backfills::run(command, session)),
            Command::Assets(command) => lifecycle::small_runtime()?.block_on(assets::run(command, session)),
            Command::Xcom(command) => lifecycle::small_runtime()?.block_on(xcom::run(command, session)),
            Command::Data(command) => lifecycle::small_runtime()?.block_on(data::run(command, session)),
            Command::Variables(command) => lifecycle::small_runtime()?.block_on(variables::run(command, session)),
            Command::Connections(command) => lifecycle::small_runtime()?.block_on(connections::run(command, session)),
            Command::Pools(command) => lifecycle::small_runtime()?.block_on(pools::run(command, session)),
            Command::Users(command) => lifecycle::small_runtime()?.block_on(users::run(command, session)),
            Command::Tokens(command) => lifecycle::small_runtime()?.block_on(tokens::run(command, session)),
            Command::Webhooks(command) => lifecycle::small_runtime()?.block_on(webhooks::run(command, session)),
            Command::Audit(args) => lifecycle::small_runtime()?.block_on(audit::run(&args, session)),
            Command::Db(command) => lifecycle::small_runtime()?.block_on(db::run(command, session)),
            Command::Config(command) => config::run(command, session),
            Command::Schedule(command) => schedule::run(command, session),
            Command::Completions(_) | Command::Version => unreachable!("answered before the settings are read"),
        }
    }
}

/// Says that a list is empty, and what to do about it.
fn empty_list(format: output::Format, text: &str) {
    if format == output::Format::Table {
        output::remark(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// A verb that cannot be read from its help cannot be learnt.
    #[test]
    fn every_command_and_argument_has_help() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "`{}` has no description", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "`{}` of `{}`", argument.get_id(), command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        let mut command = Cli::command();
        command.build();
        check(&command);
    }
}
