//! Operators that run statements on a database.

use super::{ArgKind, ArgSpec, OperatorSpec, arg};

pub(super) const CONNECTION: ArgSpec =
    arg("connection", ArgKind::Text, "The connection of the database: postgres, mysql or sqlite")
        .required()
        .templated()
        .aka(&["conn_id", "postgres_conn_id", "mysql_conn_id", "sqlite_conn_id"]);
pub(super) const DATABASE: ArgSpec =
    arg("database", ArgKind::Text, "Another database than the connection's").templated();
pub(super) const SQL: ArgSpec = arg(
    "sql",
    ArgKind::Any,
    "A statement, several separated by semicolons, a list of them, or a `.sql` file beside the DAG file",
)
.required()
.templated();
pub(super) const PARAMETERS: ArgSpec = arg(
    "parameters",
    ArgKind::Any,
    "Values to bind: a list for `%s`, `?` or `$1`, a mapping for `%(name)s` or `:name`",
)
.templated();

pub(super) const SQL_OPERATOR: OperatorSpec = OperatorSpec {
    name: "sql",
    aliases: &[
        "airflow.providers.common.sql.operators.sql.SQLExecuteQueryOperator",
        "airflow.providers.postgres.operators.postgres.PostgresOperator",
        "airflow.operators.postgres_operator.PostgresOperator",
        "airflow.providers.mysql.operators.mysql.MySqlOperator",
        "airflow.operators.mysql_operator.MySqlOperator",
        "airflow.providers.sqlite.operators.sqlite.SqliteOperator",
        "airflow.operators.sqlite_operator.SqliteOperator",
    ],
    summary: "Runs SQL on a database; the rows of the last statement are its XCom",
    args: &[
        CONNECTION,
        DATABASE,
        SQL,
        PARAMETERS,
        arg(
            "autocommit",
            ArgKind::Bool,
            "Each statement is a transaction of its own (default false: all of them are one)",
        )
        .templated(),
        arg("split_statements", ArgKind::Bool, "Send text with semicolons statement by statement (default true)"),
        arg(
            "return_last",
            ArgKind::Bool,
            "The XCom is what the last statement returns (default true); else a list with one item for each",
        ),
        arg(
            "handler",
            ArgKind::Choice(&[
                "all",
                "first",
                "scalar",
                "none",
                "airflow.providers.common.sql.hooks.handlers.fetch_all_handler",
                "airflow.providers.common.sql.hooks.handlers.fetch_one_handler",
                "airflow.providers.common.sql.hooks.sql.fetch_all_handler",
                "airflow.providers.common.sql.hooks.sql.fetch_one_handler",
            ]),
            "What becomes the XCom: `all` rows, the `first` row, its first cell (`scalar`) or `none` (default all)",
        ),
        arg(
            "rows_as",
            ArgKind::Choice(&["lists", "mappings"]),
            "A row is a list of its values (as in Airflow, the default) or a mapping by column",
        ),
        arg("max_rows", ArgKind::Integer, "The task fails where there are more rows for the XCom (default 10000)"),
        arg("show_return_value_in_logs", ArgKind::Bool, "Log the rows (default false)"),
    ],
    one_of: &[],
};

pub(super) const SQL_BRANCH: OperatorSpec = OperatorSpec {
    name: "sql_branch",
    aliases: &[
        "airflow.providers.common.sql.operators.sql.BranchSQLOperator",
        "airflow.operators.sql.BranchSQLOperator",
        "airflow.operators.sql_branch_operator.BranchSqlOperator",
    ],
    summary: "Goes on with some tasks or with others, as the first cell of a query is true or false",
    args: &[
        CONNECTION,
        DATABASE,
        SQL,
        PARAMETERS,
        arg("follow_task_ids_if_true", ArgKind::TextList, "The tasks or groups to go on with when the cell is true")
            .required()
            .templated(),
        arg("follow_task_ids_if_false", ArgKind::TextList, "The tasks or groups to go on with when it is false")
            .required()
            .templated(),
    ],
    one_of: &[],
};
