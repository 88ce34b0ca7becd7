//! The `towpath` binary: command line, configuration, logging, start and stop.
//!
//! What a command does stands in [`cli`], one file a verb; the settings it runs with come from
//! [`config`]; [`daemon`] puts the long-running parts together. Nothing here decides about DAGs.

mod cli;
mod config;
mod daemon;
mod exit;
mod heap;
mod http;
mod lifecycle;
mod lock;
mod logging;
mod names;
mod output;
mod session;
mod tls;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the watchdog must stay a process without threads, and an argument
    // that no person types is not the business of the command line.
    if std::env::args_os().nth(1).is_some_and(|arg| arg == towpath_operators::watchdog::ARG) {
        towpath_operators::watchdog::run();
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().nth(1).is_some_and(|arg| arg == towpath_etl::attempt::ARG) {
        return towpath_etl::attempt::main();
    }
    heap::share();
    exit::code(cli::main())
}
