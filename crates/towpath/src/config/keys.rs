//! The keys, under the names that `towpath.toml` uses. In the environment a key is written in
//! capitals behind `TOWPATH_`.

/// One key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeySpec {
    pub(crate) name: &'static str,
    /// What it means, in one sentence without a full stop.
    pub(crate) doc: &'static str,
}

const fn key(name: &'static str, doc: &'static str) -> KeySpec {
    KeySpec { name, doc }
}

/// All of them, in the order in which they are shown.
pub(crate) const KEYS: &[KeySpec] = &[
    key("data_dir", "Folder of the embedded database, the key file, data sets and scratch space"),
    key(
        "data_staging",
        "Folder of the data sets between tasks, the same for all workers; by default staging in the data folder",
    ),
    key("data_keep", "How long data sets are kept after the end of their run, such as 7 days, or `forever`"),
    key(
        "retention_runs",
        "How long runs that are over are kept, with their tries, XComs and logs, such as 90d, or `forever`",
    ),
    key("retention_log", "How long the audit log is kept, such as 365d, or `forever`"),
    key("dags_dir", "Folder that DAG files are read from"),
    key("database_url", "The database: postgres://... or sqlite://...; by default a SQLite file in the data folder"),
    key("database_connections", "Most connections of one process to PostgreSQL"),
    key("database_wait", "How long a daemon that starts waits for a database that does not answer"),
    key("listen", "Address of the web UI and the API"),
    key("hosts", "Names, besides localhost, by which a server on a loopback address may be called"),
    key("auth", "Whether people have to log in; `false` is taken on a loopback address only"),
    key("tls_cert", "PEM file with the certificates of the web server; empty for plain HTTP"),
    key("tls_key", "PEM file with the private key that belongs to `tls_cert`"),
    key("cors_origins", "Web sites whose scripts may call the API with a token, such as https://app.example.org"),
    key("dag_upload", "Whether DAG files may be written over the API, by those with the role op"),
    key("oidc_issuer", "Address of the OpenID Connect provider that people log in at; empty for none"),
    key("oidc_client_id", "What that provider calls this server"),
    key("oidc_client_secret", "What this server shows that provider; best set by TOWPATH_OIDC_CLIENT_SECRET"),
    key("oidc_scopes", "What that provider is asked for"),
    key("oidc_name_claim", "Claim that names a user who comes for the first time"),
    key("oidc_role_claim", "Claim with the groups of a user"),
    key("oidc_roles", "Role by group, such as admins=admin,data=user; `*` stands for everybody else"),
    key("oidc_domains", "Domains of mail addresses that are let in; empty for all"),
    key("oidc_label", "What the button on the login page says"),
    key("worker_slots", "Tasks that a worker runs at once"),
    key("worker_queues", "Queues that a worker serves"),
    key("worker_lease", "How long a worker or scheduler may be silent before it counts as lost"),
    key("python", "Interpreter, or virtual environment, of Python tasks that name none"),
    key("scheduler_heartbeat", "How often a scheduler says that it is alive"),
    key("stop_grace", "How long running tasks may go on after a signal to stop"),
    key("dags_are_paused_at_creation", "Whether new DAGs start paused where their file does not say"),
    key("xcom_limit", "Largest XCom value, in bytes of JSON; from 1 MiB on it is a file in `data_staging`"),
    key("smtp_url", "Mail server for alerts: smtp://user:password@host:587 or smtps://user:password@host"),
    key("smtp_from", "Address that mails come from"),
    key("base_url", "Address of the web UI as people reach it, for links in alerts"),
    key("log_level", "What Towpath itself logs: off, error, warn, info, debug, trace, or `target=level,...`"),
    key("log_format", "How Towpath itself logs: text or json"),
];

/// The key of this name.
pub(crate) fn find(name: &str) -> Option<&'static KeySpec> {
    KEYS.iter().find(|spec| spec.name == name)
}

/// The names of all keys.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|spec| spec.name)
}
