//! Operators that wait for something. They share arguments that say how; the rules are in [`crate::sensor`].

use super::sql;
use super::{APPEND_ENV, ArgKind, ArgSpec, CWD, ENV, MEMORY, OperatorSpec, arg};

const POKE_INTERVAL: ArgSpec = arg("poke_interval", ArgKind::Duration, "Time between two looks (default 60 s)");
const TIMEOUT: ArgSpec = arg(
    "timeout",
    ArgKind::Duration,
    "Longest wait, counted from the start of the try; after it the task fails and is not tried again (default 7 days)",
);
const MODE: ArgSpec = arg(
    "mode",
    ArgKind::Choice(&["poke", "reschedule"]),
    "`poke` keeps its slot between two looks, `reschedule` gives it back (default poke)",
);
const SOFT_FAIL: ArgSpec =
    arg("soft_fail", ArgKind::Bool, "Skip the task, instead of failing it, when the time is up (default false)");
const SILENT_FAIL: ArgSpec =
    arg("silent_fail", ArgKind::Bool, "A look that goes wrong is logged, and the wait goes on (default false)");
const NEVER_FAIL: ArgSpec =
    arg("never_fail", ArgKind::Bool, "A look that goes wrong skips the task (default false); not with soft_fail");
const EXPONENTIAL_BACKOFF: ArgSpec =
    arg("exponential_backoff", ArgKind::Bool, "Double the time between two looks with each of them (default false)");
const MAX_WAIT: ArgSpec = arg("max_wait", ArgKind::Duration, "Longest time between two looks that backoff reaches");
const DEFERRABLE: ArgSpec =
    arg("deferrable", ArgKind::Bool, "Accepted without effect: `mode: reschedule` holds no slot while it waits");

/// The arguments of a sensor: its own, then those of all.
macro_rules! sensor_args {
    ($($own:expr),+ $(,)?) => {
        &[
            $($own,)+
            POKE_INTERVAL, TIMEOUT, MODE, SOFT_FAIL, SILENT_FAIL, NEVER_FAIL, EXPONENTIAL_BACKOFF, MAX_WAIT, DEFERRABLE,
        ]
    };
}

pub(super) const FILE: OperatorSpec = OperatorSpec {
    name: "file_sensor",
    aliases: &[
        "airflow.sensors.filesystem.FileSensor",
        "airflow.contrib.sensors.file_sensor.FileSensor",
        "airflow.providers.standard.sensors.filesystem.FileSensor",
    ],
    summary: "Waits for a file, or for a folder that holds one",
    args: sensor_args![
        arg(
            "filepath",
            ArgKind::Text,
            "A file, a folder or a glob, relative to the project folder, or a URL: s3://, gs://, az://",
        )
        .required()
        .templated()
        .aka(&["path"]),
        arg("recursive", ArgKind::Bool, "`**` in a glob stands for any number of folders (default false)"),
        arg(
            "fs_conn_id",
            ArgKind::Text,
            "A connection whose extra `path` is the folder to start from, or that opens the URL",
        ),
    ],
    one_of: &[],
};

pub(super) const S3_KEY: OperatorSpec = OperatorSpec {
    name: "s3_key_sensor",
    aliases: &[
        "airflow.providers.amazon.aws.sensors.s3.S3KeySensor",
        "airflow.providers.amazon.aws.sensors.s3_key.S3KeySensor",
        "airflow.sensors.s3_key_sensor.S3KeySensor",
    ],
    summary: "Waits for objects of S3 or another object store",
    args: sensor_args![
        arg("bucket_key", ArgKind::TextList, "Keys, or URLs (s3://, gs://, az://); all of them have to be there")
            .required()
            .templated(),
        arg("bucket_name", ArgKind::Text, "The bucket of keys that are no URLs").templated(),
        arg("wildcard_match", ArgKind::Bool, "Keys are globs (default false)"),
        arg("aws_conn_id", ArgKind::Text, "The connection with the credentials; by default those of the environment")
            .aka(&["connection"]),
    ],
    one_of: &[],
};

pub(super) const HTTP: OperatorSpec = OperatorSpec {
    name: "http_sensor",
    aliases: &["airflow.providers.http.sensors.http.HttpSensor", "airflow.sensors.http_sensor.HttpSensor"],
    summary: "Waits until an HTTP endpoint answers well",
    args: sensor_args![
        arg("endpoint", ArgKind::Text, "A full URL, or a path below the connection's host").templated().aka(&["url"]),
        arg("http_conn_id", ArgKind::Text, "The connection that holds host, credentials and default headers"),
        arg(
            "method",
            ArgKind::Choice(&["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
            "The method (default GET)"
        ),
        arg("headers", ArgKind::TextMap, "Headers to send").templated(),
        arg(
            "request_params",
            ArgKind::Any,
            "Query parameters with GET, else the body: text as it is, a mapping as JSON"
        )
        .templated(),
        arg(
            "response_check",
            ArgKind::Text,
            "A template expression over `response` (`status`, `headers`, `text`, `json`) that is true when the wait is over",
        ),
        arg(
            "response_error_codes_allowlist",
            ArgKind::TextList,
            "Statuses of 400 and more that mean: not yet (default 404); others fail the look",
        ),
        arg(
            "extra_options",
            ArgKind::Map,
            "`timeout` limits one exchange, `check_response: false` accepts every status, `verify: false` every certificate",
        ),
        arg("log_response", ArgKind::Bool, "Log the body of each response (default false)"),
    ],
    one_of: &[],
};

pub(super) const BASH: OperatorSpec = OperatorSpec {
    name: "bash_sensor",
    aliases: &["airflow.sensors.bash.BashSensor", "airflow.providers.standard.sensors.bash.BashSensor"],
    summary: "Waits until a bash command exits with 0",
    args: sensor_args![
        arg("bash_command", ArgKind::Text, "The command, or a script of several lines")
            .required()
            .templated()
            .aka(&["command"]),
        arg(
            "retry_exit_code",
            ArgKind::Integer,
            "The exit code that means: not yet; then any other fails (default: any but 0)"
        ),
        ENV,
        APPEND_ENV,
        CWD,
        MEMORY,
    ],
    one_of: &[],
};

pub(super) const PYTHON: OperatorSpec = OperatorSpec {
    name: "python_sensor",
    aliases: &[
        "airflow.sensors.python.PythonSensor",
        "airflow.providers.standard.sensors.python.PythonSensor",
        "airflow.decorators.task.sensor",
        "airflow.sdk.task.sensor",
    ],
    summary: "Waits until a Python function returns something true, or a PokeReturnValue that is done",
    args: sensor_args![
        arg("python_callable", ArgKind::Text, "The function, as `module.function`"),
        arg("python_callable_name", ArgKind::Text, "The function's name in `python_callable_file`"),
        arg("python_callable_file", ArgKind::Path, "The file that defines `python_callable_name`"),
        arg("code", ArgKind::Text, "Python source to run; a variable `result` says whether the wait is over"),
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
    ],
    one_of: &["python_callable", "python_callable_name", "code"],
};

pub(super) const TIME: OperatorSpec = OperatorSpec {
    name: "time_sensor",
    aliases: &[
        "airflow.sensors.time_sensor.TimeSensor",
        "airflow.sensors.time_sensor.TimeSensorAsync",
        "airflow.providers.standard.sensors.time.TimeSensor",
        "airflow.providers.standard.sensors.time.TimeSensorAsync",
    ],
    summary: "Waits for a time of the day on which the try starts",
    args: sensor_args![
        arg("target_time", ArgKind::Text, "`HH:MM` or `HH:MM:SS`, in the DAG's time zone").required().templated(),
    ],
    one_of: &[],
};

pub(super) const TIME_DELTA: OperatorSpec = OperatorSpec {
    name: "time_delta_sensor",
    aliases: &[
        "airflow.sensors.time_delta.TimeDeltaSensor",
        "airflow.sensors.time_delta.TimeDeltaSensorAsync",
        "airflow.providers.standard.sensors.time_delta.TimeDeltaSensor",
        "airflow.providers.standard.sensors.time_delta.TimeDeltaSensorAsync",
    ],
    summary: "Waits until some time after the end of the run's data interval, or after run_after where it has none",
    args: sensor_args![arg("delta", ArgKind::Duration, "How long after").required()],
    one_of: &[],
};

pub(super) const EXTERNAL_TASK: OperatorSpec = OperatorSpec {
    name: "external_task_sensor",
    aliases: &[
        "airflow.sensors.external_task.ExternalTaskSensor",
        "airflow.sensors.external_task_sensor.ExternalTaskSensor",
        "airflow.providers.standard.sensors.external_task.ExternalTaskSensor",
    ],
    summary: "Waits for a run of another DAG, or for tasks of it, with the same logical date or one before",
    args: sensor_args![
        arg("external_dag_id", ArgKind::Text, "The DAG to wait for").required().templated(),
        arg("external_task_id", ArgKind::Text, "A task of it; without tasks the sensor waits for the run").templated(),
        arg("external_task_ids", ArgKind::TextList, "Tasks of it, all of which are waited for").templated(),
        arg("external_task_group_id", ArgKind::Text, "A group of it, all tasks of which are waited for").templated(),
        arg("allowed_states", ArgKind::TextList, "States that end the wait well (default success)"),
        arg(
            "failed_states",
            ArgKind::TextList,
            "States that fail the sensor, or skip it with soft_fail (default none)"
        ),
        arg("skipped_states", ArgKind::TextList, "States that skip the sensor (default none)"),
        arg("execution_delta", ArgKind::Duration, "How much earlier the logical date of the other run is (default 0)"),
        arg(
            "check_existence",
            ArgKind::Bool,
            "Fail at once where the DAG, task or group does not exist (default false)"
        ),
        arg("poll_interval", ArgKind::Duration, "Accepted without effect: it belongs to `deferrable`"),
    ],
    one_of: &[],
};

pub(super) const SQL: OperatorSpec = OperatorSpec {
    name: "sql_sensor",
    aliases: &[
        "airflow.providers.common.sql.sensors.sql.SqlSensor",
        "airflow.sensors.sql.SqlSensor",
        "airflow.sensors.sql_sensor.SqlSensor",
    ],
    summary: "Waits until the first cell that a query returns is neither null, 0, false nor empty",
    args: sensor_args![
        sql::CONNECTION,
        sql::DATABASE,
        sql::SQL,
        sql::PARAMETERS,
        arg("success", ArgKind::Text, "A template expression over `cell` and `row` that is true when the wait is over"),
        arg(
            "failure",
            ArgKind::Text,
            "A template expression over `cell` and `row` that fails the sensor when it is true"
        ),
        arg("fail_on_empty", ArgKind::Bool, "Fail where the query returns no row (default false)"),
    ],
    one_of: &[],
};
