//! What operators there are and which arguments they take: the one table that DAG files are
//! checked against, that the JSON Schema is made from and that the implementations read.

mod etl;
mod sensor;
mod sql;
mod trigger;

/// The signature of an operator.
#[derive(Debug, Clone, Copy)]
pub struct OperatorSpec {
    /// The short name that DAG files use.
    pub name: &'static str,
    /// Other names: Airflow's class paths and decorators.
    pub aliases: &'static [&'static str],
    /// What it does, in one sentence without a full stop.
    pub summary: &'static str,
    /// Its arguments.
    pub args: &'static [ArgSpec],
    /// Arguments of which exactly one must be given; empty where there is no such choice.
    pub one_of: &'static [&'static str],
}

/// One argument of an operator.
#[derive(Debug, Clone, Copy)]
pub struct ArgSpec {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub kind: ArgKind,
    pub required: bool,
    /// Text in it is rendered as a template before the task runs.
    pub templated: bool,
    /// What it means, in one sentence without a full stop.
    pub doc: &'static str,
}

/// The type of an argument. Wherever text that holds `{{` or `{%` stands in a templated argument,
/// its type is checked after rendering instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgKind {
    Text,
    Bool,
    Integer,
    Number,
    /// Kept as seconds (a JSON number).
    Duration,
    /// Bytes: an integer or `500MB`, `2GiB`; kept as an integer.
    Bytes,
    /// A file or folder; relative ones are relative to the DAG file.
    Path,
    TextMap,
    TextList,
    IntegerList,
    Map,
    List,
    Any,
    Choice(&'static [&'static str]),
}

const fn arg(name: &'static str, kind: ArgKind, doc: &'static str) -> ArgSpec {
    ArgSpec { name, aliases: &[], kind, required: false, templated: false, doc }
}

impl ArgSpec {
    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn templated(mut self) -> Self {
        self.templated = true;
        self
    }

    const fn aka(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }
}

/// Arguments of every operator that starts a process.
const ENV: ArgSpec = arg("env", ArgKind::TextMap, "Environment variables of the process").templated();
const APPEND_ENV: ArgSpec = arg(
    "append_env",
    ArgKind::Bool,
    "Also pass the worker's own environment (default: only PATH, HOME, LANG and the like)",
);
const CWD: ArgSpec =
    arg("cwd", ArgKind::Path, "Working directory; by default a fresh one that is removed afterwards").templated();
const MEMORY: ArgSpec =
    arg("memory", ArgKind::Bytes, "Most data memory that each process of the task may allocate, such as 500MB");
const SKIP_ON_EXIT_CODE: ArgSpec =
    arg("skip_on_exit_code", ArgKind::IntegerList, "Exit codes that skip the task instead of failing it (default 99)");

/// The arguments of an operator that calls a Python function, after its own.
macro_rules! python_args {
    ($($own:expr),* $(,)?) => {
        &[
            $($own,)*
            arg("python_callable", ArgKind::Text, "The function, as `module.function`"),
            arg("python_callable_name", ArgKind::Text, "The function's name in `python_callable_file`"),
            arg("python_callable_file", ArgKind::Path, "The file that defines `python_callable_name`"),
            arg("code", ArgKind::Text, "Python source to run; the value of a variable `result` is its XCom"),
            arg("op_args", ArgKind::List, "Positional arguments of the function").templated(),
            arg("op_kwargs", ArgKind::Map, "Keyword arguments of the function").templated(),
            arg("templates_dict", ArgKind::Map, "Values that are rendered and passed as the keyword `templates_dict`")
                .templated(),
            arg("python", ArgKind::Text, "The interpreter, or the folder of a virtual environment")
                .templated()
                .aka(&["venv"]),
            arg("show_return_value_in_logs", ArgKind::Bool, "Log the returned value (default true)"),
            ENV,
            APPEND_ENV,
            CWD,
            MEMORY,
        ]
    };
}

/// Every operator.
pub const SPECS: &[OperatorSpec] = &[
    OperatorSpec {
        name: "empty",
        aliases: &[
            "dummy",
            "airflow.operators.empty.EmptyOperator",
            "airflow.operators.dummy.DummyOperator",
            "airflow.operators.dummy_operator.DummyOperator",
            "airflow.providers.standard.operators.empty.EmptyOperator",
        ],
        summary: "Does nothing; joins and forks branches of the graph without using a worker",
        args: &[],
        one_of: &[],
    },
    OperatorSpec {
        name: "bash",
        aliases: &[
            "airflow.operators.bash.BashOperator",
            "airflow.operators.bash_operator.BashOperator",
            "airflow.providers.standard.operators.bash.BashOperator",
            "airflow.decorators.task.bash",
            "airflow.sdk.task.bash",
        ],
        summary: "Runs a command in bash; the last line it prints is its XCom",
        args: &[
            arg("bash_command", ArgKind::Text, "The command, or a script of several lines")
                .required()
                .templated()
                .aka(&["command"]),
            ENV,
            APPEND_ENV,
            CWD,
            MEMORY,
            SKIP_ON_EXIT_CODE,
        ],
        one_of: &[],
    },
    OperatorSpec {
        name: "python",
        aliases: &[
            "airflow.operators.python.PythonOperator",
            "airflow.operators.python_operator.PythonOperator",
            "airflow.providers.standard.operators.python.PythonOperator",
            "airflow.operators.python.ExternalPythonOperator",
            "airflow.providers.standard.operators.python.ExternalPythonOperator",
            "airflow.decorators.task",
            "airflow.decorators.task.python",
            "airflow.decorators.setup",
            "airflow.decorators.teardown",
            "airflow.sdk.task",
            "airflow.sdk.definitions.decorators.task",
        ],
        summary: "Calls a Python function in a process forked from a warm interpreter; the returned value is its XCom",
        args: python_args![],
        one_of: &["python_callable", "python_callable_name", "code"],
    },
    OperatorSpec {
        name: "branch",
        aliases: &[
            "airflow.operators.python.BranchPythonOperator",
            "airflow.providers.standard.operators.python.BranchPythonOperator",
            "airflow.decorators.task.branch",
            "airflow.sdk.task.branch",
        ],
        summary: "Goes on with the tasks or groups that it names and skips the others behind it",
        args: python_args![
            arg("follow", ArgKind::Any, "The task or tasks to go on with, as an expression instead of a function")
                .templated()
        ],
        one_of: &["follow", "python_callable", "python_callable_name", "code"],
    },
    OperatorSpec {
        name: "short_circuit",
        aliases: &[
            "airflow.operators.python.ShortCircuitOperator",
            "airflow.providers.standard.operators.python.ShortCircuitOperator",
            "airflow.decorators.task.short_circuit",
            "airflow.sdk.task.short_circuit",
        ],
        summary: "Skips everything behind it unless its condition is true",
        args: python_args![
            arg("condition", ArgKind::Any, "An expression instead of a function").templated(),
            arg(
                "ignore_downstream_trigger_rules",
                ArgKind::Bool,
                "Skip all that is downstream, not only what is directly behind (default true)"
            )
        ],
        one_of: &["condition", "python_callable", "python_callable_name", "code"],
    },
    OperatorSpec {
        name: "latest_only",
        aliases: &[
            "airflow.operators.latest_only.LatestOnlyOperator",
            "airflow.operators.latest_only_operator.LatestOnlyOperator",
            "airflow.providers.standard.operators.latest_only.LatestOnlyOperator",
        ],
        summary: "Skips what is directly behind it unless the run is the newest of its schedule",
        args: &[],
        one_of: &[],
    },
    OperatorSpec {
        name: "http",
        aliases: &[
            "airflow.providers.http.operators.http.HttpOperator",
            "airflow.providers.http.operators.http.SimpleHttpOperator",
        ],
        summary: "Sends an HTTP request; the body of the response is its XCom",
        args: &[
            arg("endpoint", ArgKind::Text, "A full URL, or a path below the connection's host")
                .templated()
                .aka(&["url"]),
            arg("http_conn_id", ArgKind::Text, "The connection that holds host, credentials and default headers"),
            arg(
                "method",
                ArgKind::Choice(&["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
                "The method (default GET)",
            ),
            arg("headers", ArgKind::TextMap, "Headers to send").templated(),
            arg("data", ArgKind::Any, "The body: text is sent as it is, a mapping as JSON; with GET, query parameters")
                .templated(),
            arg("timeout", ArgKind::Duration, "Longest time for the whole exchange (default 60 s)"),
            arg(
                "response_filter",
                ArgKind::Text,
                "A template expression over `response` (`status`, `headers`, `text`, `json`) whose value is the XCom",
            ),
            arg("response_check", ArgKind::Text, "A template expression over `response` that must be true"),
            arg(
                "extra_options",
                ArgKind::Map,
                "`check_response: false` accepts every status, `verify: false` every certificate",
            ),
            arg("log_response", ArgKind::Bool, "Log the body of the response (default false)"),
        ],
        one_of: &[],
    },
    sql::SQL_OPERATOR,
    sql::SQL_BRANCH,
    OperatorSpec {
        name: "list_files",
        aliases: &[],
        summary: "Lists the files or objects that globs name; the sorted list is its XCom, to expand tasks over",
        args: &[
            arg(
                "files",
                ArgKind::TextList,
                "Globs, relative to the project folder, or URLs: s3://, gs://, az://; `**` stands for any number of folders",
            )
            .required()
            .templated(),
            arg("conn_id", ArgKind::Text, "The connection that opens the URLs").templated(),
        ],
        one_of: &[],
    },
    trigger::TRIGGER_DAG,
    sensor::FILE,
    sensor::S3_KEY,
    sensor::HTTP,
    sensor::BASH,
    sensor::PYTHON,
    sensor::TIME,
    sensor::TIME_DELTA,
    sensor::EXTERNAL_TASK,
    sensor::SQL,
    etl::EXTRACT,
    etl::TRANSFORM,
    etl::LOAD,
];

/// The operator that `name` (short or a class path) stands for.
#[must_use]
pub fn find(name: &str) -> Option<&'static OperatorSpec> {
    SPECS.iter().find(|spec| spec.name == name || spec.aliases.contains(&name))
}

impl OperatorSpec {
    /// The argument that `name` (canonical or an alias) stands for.
    #[must_use]
    pub fn arg(&self, name: &str) -> Option<&'static ArgSpec> {
        self.args.iter().find(|arg| arg.name == name || arg.aliases.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = SPECS.iter().flat_map(|s| s.aliases.iter().copied().chain([s.name])).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
