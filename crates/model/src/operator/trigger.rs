//! The operator that starts runs of other DAGs.

use super::{ArgKind, OperatorSpec, arg};

pub(super) const TRIGGER_DAG: OperatorSpec = OperatorSpec {
    name: "trigger_dag",
    aliases: &[
        "airflow.operators.trigger_dagrun.TriggerDagRunOperator",
        "airflow.operators.dagrun_operator.TriggerDagRunOperator",
        "airflow.providers.standard.operators.trigger_dagrun.TriggerDagRunOperator",
    ],
    summary: "Starts a run of another DAG and, if asked to, waits for its end without holding a slot",
    args: &[
        arg("trigger_dag_id", ArgKind::Text, "The DAG to start a run of").required().templated(),
        arg("trigger_run_id", ArgKind::Text, "Id of the run; by default one is made from this task instance")
            .templated(),
        arg("conf", ArgKind::Map, "Configuration of the run").templated(),
        arg(
            "logical_date",
            ArgKind::Text,
            "Logical date of the run as ISO 8601, or `none` for a run without one (default now)",
        )
        .templated(),
        arg(
            "reset_dag_run",
            ArgKind::Bool,
            "Let a run that exists, by its id or logical date, run again as a whole, instead of failing (default false)",
        )
        .templated(),
        arg("wait_for_completion", ArgKind::Bool, "Wait until the run has ended (default false)").templated(),
        arg("poke_interval", ArgKind::Duration, "Time between two looks at the run (default 60 s)"),
        arg("allowed_states", ArgKind::TextList, "States of the run that end the wait well (default success)"),
        arg("failed_states", ArgKind::TextList, "States of the run that fail the task (default failed)"),
        arg(
            "skip_when_already_exists",
            ArgKind::Bool,
            "Skip the task, instead of failing it, where the run exists already (default false)",
        )
        .templated(),
        arg("fail_when_dag_is_paused", ArgKind::Bool, "Fail where the DAG is paused (default false)"),
        arg("deferrable", ArgKind::Bool, "Accepted without effect: waiting holds no slot in any case"),
    ],
    one_of: &[],
};
