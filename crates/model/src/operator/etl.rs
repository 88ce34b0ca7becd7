//! Operators that move data. What their arguments hold is described in [`crate::etl`].

use super::{ArgKind, ArgSpec, OperatorSpec, arg};

const MEMORY: ArgSpec = arg(
    "memory",
    ArgKind::Bytes,
    "Most data memory that the task may have, such as 500MB; what does not fit goes to disk",
);
const CORES: ArgSpec = arg("cores", ArgKind::Integer, "Most processor cores that it uses (default all)");
const EXPLAIN: ArgSpec =
    arg("explain", ArgKind::Bool, "Write the plan to the log, before it runs and as measured (default false)");
const STEPS: ArgSpec = arg(
    "steps",
    ArgKind::List,
    "What happens to the rows, in order: validate, dedupe, filter, select, derive, rename, drop, fill_null, cast, \
     aggregate, join, union, sort, limit, window, pivot, unpivot, sample",
)
.templated();

pub(super) const EXTRACT: OperatorSpec = OperatorSpec {
    name: "extract",
    aliases: &[],
    summary: "Reads files, tables or rows into a data set for other tasks",
    args: &[
        arg(
            "source",
            ArgKind::Map,
            "One of csv, json, ndjson, parquet, arrow, avro, rows, table, query, and how to read it",
        )
        .required()
        .templated(),
        arg("where", ArgKind::Text, "An SQL condition; rows for which it is not true are left out").templated(),
        arg("columns", ArgKind::TextList, "The columns to keep; by default all").templated(),
        STEPS,
        MEMORY,
        CORES,
        EXPLAIN,
    ],
    one_of: &[],
};

pub(super) const TRANSFORM: OperatorSpec = OperatorSpec {
    name: "transform",
    aliases: &[],
    summary: "Makes a data set of others, by steps or by SQL",
    args: &[
        arg("input", ArgKind::Any, "A task, a source, a list of them, or a mapping of names to them").templated(),
        STEPS,
        arg("sql", ArgKind::Text, "A query over the inputs as tables, instead of steps").templated(),
        MEMORY,
        CORES,
        EXPLAIN,
    ],
    one_of: &["steps", "sql"],
};

pub(super) const LOAD: OperatorSpec = OperatorSpec {
    name: "load",
    aliases: &[],
    summary: "Writes a data set to files or to a table, whole or not at all",
    args: &[
        arg("input", ArgKind::Any, "A task, or a source").templated(),
        arg("target", ArgKind::Map, "One of parquet, csv, ndjson, arrow, table, and how to write it")
            .required()
            .templated(),
        STEPS,
        MEMORY,
        CORES,
        EXPLAIN,
    ],
    one_of: &[],
};
