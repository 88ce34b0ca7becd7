//! The keys of the format: one table for reading, hints and the JSON Schema.

/// A key of a mapping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeySpec {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) kind: KeyKind,
    pub(crate) doc: &'static str,
}

/// What may stand under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Text,
    Bool,
    Integer,
    /// A boolean or a multiplier.
    Backoff,
    Duration,
    Date,
    TextList,
    Schedule,
    Params,
    DefaultArgs,
    Tasks,
    Groups,
    Alerts,
    /// Deadlines of runs, one or a list.
    Deadlines,
    /// Assets, one or a list.
    AssetList,
    /// Definitions of assets, by name or as a list.
    Assets,
    Choice(&'static [&'static str]),
    /// Known to Airflow, without effect here.
    Ignored,
    /// Known to Airflow and not supported; anything but the harmless default is an error.
    Unsupported,
    /// An operator argument that dag-factory takes apart from the others.
    Any,
}

const fn key(name: &'static str, kind: KeyKind, doc: &'static str) -> KeySpec {
    KeySpec { name, aliases: &[], kind, doc }
}

impl KeySpec {
    const fn aka(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }
}

pub(crate) const TRIGGER_RULES: &[&str] = &[
    "all_success",
    "all_failed",
    "all_done",
    "all_skipped",
    "one_success",
    "one_failed",
    "one_done",
    "none_failed",
    "none_failed_min_one_success",
    "none_skipped",
    "all_done_min_one_success",
    "all_done_setup_success",
    "always",
];
pub(crate) const WEIGHT_RULES: &[&str] = &["downstream", "upstream", "absolute"];

/// Keys of a DAG.
pub(crate) const DAG: &[KeySpec] = &[
    key("dag_id", KeyKind::Text, "Id of the DAG; by default the name of the file without its ending"),
    key("dag_display_name", KeyKind::Text, "Name that the web UI shows instead of the id"),
    key("description", KeyKind::Text, "What the DAG does, in a sentence"),
    key("doc_md", KeyKind::Text, "Documentation in Markdown"),
    key("doc_md_file_path", KeyKind::Text, "File that holds the documentation, relative to this one"),
    key("tags", KeyKind::TextList, "Words to find the DAG by"),
    key("owner", KeyKind::Text, "Owner of the tasks that do not name one"),
    key(
        "schedule",
        KeyKind::Schedule,
        "Cron expression, preset (@daily), interval (30m), list of crons or of assets, mapping, or null",
    )
    .aka(&["schedule_interval"]),
    key("assets", KeyKind::Assets, "Assets by name, so that schedules, inlets and outlets can name them"),
    key("timezone", KeyKind::Text, "IANA time zone of dates and crons that do not name their own (default UTC)"),
    key("start_date", KeyKind::Date, "No run has a logical date before it"),
    key("end_date", KeyKind::Date, "No run has a logical date after it"),
    key("catchup", KeyKind::Bool, "Make up for runs that were missed since start_date (default false)"),
    key("max_active_runs", KeyKind::Integer, "Most runs at a time (default 16)"),
    key("max_active_tasks", KeyKind::Integer, "Most queued and running tasks of a run (default 16)")
        .aka(&["concurrency"]),
    key("dagrun_timeout", KeyKind::Duration, "A run that takes longer fails").aka(&["dagrun_timeout_sec"]),
    key("default_args", KeyKind::DefaultArgs, "Settings of all tasks that do not set them themselves"),
    key(
        "params",
        KeyKind::Params,
        "Inputs of a run: a default each, or a mapping with default, type, description and other JSON Schema keywords",
    ),
    key(
        "alerts",
        KeyKind::Alerts,
        "Who is told how runs end: a list of {on, email | webhook | slack | teams | command}",
    ),
    key(
        "deadline",
        KeyKind::Deadlines,
        "Until when a run has to have succeeded, one or a list of {reference, interval, name, email | webhook | slack | teams | command}",
    )
    .aka(&["deadlines"]),
    key("is_paused_upon_creation", KeyKind::Bool, "Start paused; by default the configuration decides"),
    key(
        "render_template_as_native_obj",
        KeyKind::Bool,
        "A template that is one expression keeps the type of its value",
    ),
    key("tasks", KeyKind::Tasks, "The tasks: a list with task_ids or a mapping"),
    key("task_groups", KeyKind::Groups, "Groups of tasks: a list with group_names or a mapping"),
    key("default_view", KeyKind::Ignored, ""),
    key("orientation", KeyKind::Ignored, ""),
    key("fail_fast", KeyKind::Bool, "The first task that fails ends the run; teardowns still run (default false)")
        .aka(&["fail_stop"]),
    key("max_consecutive_failed_dag_runs", KeyKind::Ignored, ""),
    key("access_control", KeyKind::Ignored, ""),
    key("owner_links", KeyKind::Ignored, ""),
    key("auto_register", KeyKind::Ignored, ""),
    key("sla_miss_callback", KeyKind::Unsupported, ""),
    key("on_success_callback", KeyKind::Unsupported, ""),
    key("on_failure_callback", KeyKind::Unsupported, ""),
    key("on_success_callback_name", KeyKind::Unsupported, ""),
    key("on_success_callback_file", KeyKind::Unsupported, ""),
    key("on_failure_callback_name", KeyKind::Unsupported, ""),
    key("on_failure_callback_file", KeyKind::Unsupported, ""),
    key("template_searchpath", KeyKind::Unsupported, ""),
    key("user_defined_macros", KeyKind::Unsupported, ""),
    key("user_defined_filters", KeyKind::Unsupported, ""),
];

/// Keys of a task, whatever its operator; `default_args` take them as well.
pub(crate) const TASK: &[KeySpec] = &[
    key("task_id", KeyKind::Text, "Id of the task, where tasks are a list"),
    key("operator", KeyKind::Text, "What it does: bash, python, http, empty, or Airflow's class path")
        .aka(&["decorator"]),
    key("dependencies", KeyKind::TextList, "Tasks and groups that must end before it").aka(&["upstream", "depends_on"]),
    key("input", KeyKind::TextList, "Tasks whose result it reads; implies the dependency"),
    key("task_group_name", KeyKind::Text, "The group that it belongs to").aka(&["group"]),
    key("trigger_rule", KeyKind::Choice(TRIGGER_RULES), "Which ends of its upstream let it run (default all_success)"),
    key("retries", KeyKind::Integer, "Tries after the first one (default 0)"),
    key("retry_delay", KeyKind::Duration, "Time between two tries (default 5m)").aka(&["retry_delay_sec"]),
    key(
        "retry_exponential_backoff",
        KeyKind::Backoff,
        "Multiply the delay with each try: true for 2, or the multiplier",
    ),
    key("max_retry_delay", KeyKind::Duration, "Longest delay that backoff reaches").aka(&["max_retry_delay_sec"]),
    key("execution_timeout", KeyKind::Duration, "A try that takes longer is ended and fails")
        .aka(&["execution_timeout_sec"]),
    key("pool", KeyKind::Text, "Pool whose slots it uses (default default_pool)"),
    key("pool_slots", KeyKind::Integer, "How many slots it uses (default 1)"),
    key("queue", KeyKind::Text, "Queue; workers serve the queues that they are started with (default default)"),
    key("priority_weight", KeyKind::Integer, "Larger goes first (default 1)"),
    key("weight_rule", KeyKind::Choice(WEIGHT_RULES), "Whose weights are added to its own (default downstream)"),
    key("owner", KeyKind::Text, "Who answers for it"),
    key("email", KeyKind::TextList, "Addresses for alerts"),
    key("email_on_failure", KeyKind::Bool, "Send an alert when it fails (default true)"),
    key("email_on_retry", KeyKind::Bool, "Send an alert when it is tried again (default true)"),
    key("email_on_success", KeyKind::Bool, "Send an alert when it succeeds (default false)"),
    key(
        "alerts",
        KeyKind::Alerts,
        "Who is told how its tries end: a list of {on, email | webhook | slack | teams | command}",
    ),
    key("do_xcom_push", KeyKind::Bool, "Keep its result as an XCom (default true)"),
    key("doc_md", KeyKind::Text, "Documentation in Markdown").aka(&["doc", "doc_json", "doc_yaml", "doc_rst"]),
    key("params", KeyKind::Params, "Params of this task; they win over those of the DAG"),
    key(
        "depends_on_past",
        KeyKind::Bool,
        "Start only where it has succeeded, or was skipped, in the run before (default false)",
    ),
    key(
        "wait_for_downstream",
        KeyKind::Bool,
        "As depends_on_past, and also what is directly downstream of it there (default false)",
    ),
    key(
        "expand",
        KeyKind::Any,
        "Run once for each element: {argument: list, mapping or task.output}; several make a product",
    ),
    key("expand_zip", KeyKind::Any, "As expand, but the first elements together, then the second ones"),
    key(
        "expand_kwargs",
        KeyKind::Any,
        "Run once for each mapping of arguments in a list, in the result of a task or in the rows of its data set (`task.rows`)",
    ),
    key("setup", KeyKind::Bool, "It makes what the tasks between it and its teardowns need (default false)"),
    key("teardown", KeyKind::Bool, "It takes away what setups have made, also after failures (default false)"),
    key("setups", KeyKind::TextList, "Tasks that a teardown is for: they become setups, and it waits for them"),
    key(
        "on_failure_fail_dagrun",
        KeyKind::Bool,
        "Of a teardown: its failure is one of the run, which else ends without regard to it (default false)",
    ),
    key("partial", KeyKind::Any, "Arguments that all instances of a mapped task share"),
    key(
        "map_index_template",
        KeyKind::Text,
        "Template for the names of a mapped task's instances, with `task` (its arguments) and `result`",
    ),
    key(
        "variables_as_arguments",
        KeyKind::Any,
        "Arguments whose values are variables: a list of {variable, attribute}",
    ),
    key("inlets", KeyKind::AssetList, "Assets that it reads: names, URIs or {name, uri, group, extra}"),
    key(
        "outlets",
        KeyKind::AssetList,
        "Assets that it updates when it succeeds: names, URIs or {name, uri, group, extra, event_extra}",
    ),
    key("on_success_callback", KeyKind::Unsupported, ""),
    key("on_failure_callback", KeyKind::Unsupported, ""),
    key("on_retry_callback", KeyKind::Unsupported, ""),
    key("on_execute_callback", KeyKind::Unsupported, ""),
    key("on_skipped_callback", KeyKind::Unsupported, ""),
    key("sla", KeyKind::Ignored, ""),
    key("ui_color", KeyKind::Ignored, ""),
    key("task_display_name", KeyKind::Ignored, ""),
    key("run_as_user", KeyKind::Unsupported, ""),
    key("max_active_tis_per_dag", KeyKind::Integer, "Most queued and running instances of it in all runs"),
    key("max_active_tis_per_dagrun", KeyKind::Integer, "Most queued and running instances of it in one run"),
];

/// Keys of [`TASK`] that are a task's own: `default_args` cannot hold them.
pub(crate) const TASKS_OWN: &[&str] = &[
    "task_id",
    "operator",
    "dependencies",
    "input",
    "task_group_name",
    "expand",
    "expand_zip",
    "expand_kwargs",
    "setup",
    "teardown",
    "setups",
    "on_failure_fail_dagrun",
    "partial",
    "variables_as_arguments",
];

/// Keys of `default_args` that speak of the DAG.
pub(crate) const DEFAULT_ARGS_OF_DAG: &[&str] = &["start_date", "end_date"];

/// Keys of a task group.
pub(crate) const GROUP: &[KeySpec] = &[
    key("group_name", KeyKind::Text, "Name of the group, where groups are a list").aka(&["group_id"]),
    key("tooltip", KeyKind::Text, "What the group is for"),
    key("dependencies", KeyKind::TextList, "Tasks and groups that must end before its first tasks"),
    key("parent_group_name", KeyKind::Text, "The group that it belongs to"),
    key("prefix_group_id", KeyKind::Bool, "Put `group.` before the ids of its tasks (default true)"),
    key("default_args", KeyKind::DefaultArgs, "Settings of its tasks that do not set them themselves"),
    key(
        "expand",
        KeyKind::Any,
        "Run all its tasks once for each element: {name: list, mapping or task.output}, read as {{ group.name }}",
    ),
    key("expand_zip", KeyKind::Any, "As expand, but the first elements together, then the second ones"),
    key("expand_kwargs", KeyKind::Any, "Run all its tasks once for each mapping in a list or in the result of a task"),
    key("ui_color", KeyKind::Ignored, ""),
    key("ui_fgcolor", KeyKind::Ignored, ""),
];

/// The key that `name` stands for.
pub(crate) fn find(table: &'static [KeySpec], name: &str) -> Option<&'static KeySpec> {
    table.iter().find(|key| key.name == name || key.aliases.contains(&name))
}
