//! Settings: where each value comes from, and what it means.
//!
//! Layers, from low to high: the default, `towpath.toml`, the environment, flags. All four speak of
//! the same keys ([`keys::KEYS`]) in the same text form, so a value reads alike wherever it stands
//! and [`Config::resolve`] is the only place that gives it a type.

mod environment;
mod file;
mod keys;
mod text;
mod values;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) use keys::{KEYS, KeySpec};
pub(crate) use values::{LogFormat, Secret};

/// The file that is read when there is one.
pub(crate) const FILE: &str = "towpath.toml";
/// The database's file in the data folder.
const DATABASE_FILE: &str = "towpath.db";

/// A time without end.
const FOREVER: &str = "forever";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File { path: PathBuf, line: usize },
    Environment(String),
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value in text form. Lists are separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) text: String,
    pub(crate) source: Source,
}

/// Values by key.
pub(crate) type Layer = HashMap<&'static str, Given>;

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

/// All settings of a process. Paths are absolute.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) data_dir: Setting<PathBuf>,
    pub(crate) dags_dir: Setting<PathBuf>,
    /// Holds a password as a rule.
    pub(crate) database_url: Setting<Secret>,
    pub(crate) database_connections: Setting<u32>,
    pub(crate) database_wait: Setting<Duration>,
    pub(crate) listen: Setting<SocketAddr>,
    pub(crate) hosts: Setting<Vec<String>>,
    pub(crate) auth: Setting<bool>,
    /// Empty for plain HTTP.
    pub(crate) tls_cert: Setting<String>,
    pub(crate) tls_key: Setting<String>,
    pub(crate) cors_origins: Setting<Vec<String>>,
    pub(crate) dag_upload: Setting<bool>,
    /// Empty for none.
    pub(crate) oidc_issuer: Setting<String>,
    pub(crate) oidc_client_id: Setting<String>,
    pub(crate) oidc_client_secret: Setting<Secret>,
    pub(crate) oidc_scopes: Setting<Vec<String>>,
    pub(crate) oidc_name_claim: Setting<String>,
    pub(crate) oidc_role_claim: Setting<String>,
    /// Group and role, in the order of preference.
    pub(crate) oidc_roles: Setting<Vec<String>>,
    pub(crate) oidc_domains: Setting<Vec<String>>,
    pub(crate) oidc_label: Setting<String>,
    pub(crate) worker_slots: Setting<u32>,
    pub(crate) worker_queues: Setting<Vec<String>>,
    pub(crate) worker_lease: Setting<Duration>,
    pub(crate) python: Setting<String>,
    pub(crate) scheduler_heartbeat: Setting<Duration>,
    pub(crate) stop_grace: Setting<Duration>,
    pub(crate) dags_are_paused_at_creation: Setting<bool>,
    pub(crate) xcom_limit: Setting<u64>,
    /// The folder for data sets between tasks.
    pub(crate) data_staging: Setting<PathBuf>,
    /// `None`: for ever.
    pub(crate) data_keep: Setting<Option<Duration>>,
    /// `None`: for ever.
    pub(crate) retention_runs: Setting<Option<Duration>>,
    /// `None`: for ever.
    pub(crate) retention_log: Setting<Option<Duration>>,
    /// Holds a password as a rule; empty for none.
    pub(crate) smtp_url: Setting<Secret>,
    pub(crate) smtp_from: Setting<String>,
    /// Empty for none.
    pub(crate) base_url: Setting<String>,
    pub(crate) log_level: Setting<String>,
    pub(crate) log_format: Setting<LogFormat>,
    /// What looks like a setting and is none.
    pub(crate) warnings: Vec<String>,
}

/// One line of `config show`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Shown {
    pub(crate) key: &'static str,
    pub(crate) value: Value,
    pub(crate) source: String,
    pub(crate) description: &'static str,
}

impl Config {
    /// The settings of a process that was started in `cwd` with these `flags`. `file` is the one that
    /// `--config` names; without it, [`FILE`] in `cwd` is read if it is there.
    ///
    /// # Errors
    /// When the file cannot be read or has unknown keys, and for the first value that does not fit its key.
    pub(crate) fn load(cwd: &Path, file: Option<&Path>, flags: Layer) -> anyhow::Result<Self> {
        let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self::from_layers(cwd, file, variables, flags)
    }

    fn from_layers(
        cwd: &Path,
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, std::ffi::OsString)>,
        flags: Layer,
    ) -> anyhow::Result<Self> {
        let file = match file {
            Some(path) => Some(cwd.join(path)),
            None => Some(cwd.join(FILE)).filter(|path| path.exists()),
        };
        let mut given = Layer::new();
        let mut file_folder = cwd.to_owned();
        if let Some(path) = file {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read the configuration file `{}`", path.display()))?;
            let shown = path.strip_prefix(cwd).unwrap_or(&path);
            given.extend(file::read(shown, &text).map_err(|problems| anyhow!(problems.join("\n")))?);
            if let Some(folder) = path.parent() {
                folder.clone_into(&mut file_folder);
            }
        }
        let (environment, warnings) = environment::read(variables)?;
        given.extend(environment);
        given.extend(flags);
        Resolver { given, cwd: cwd.to_owned(), file_folder }.resolve(warnings)
    }

    /// The folder for scratch space of attempts.
    pub(crate) fn scratch_dir(&self) -> PathBuf {
        self.data_dir.value.join("scratch")
    }

    /// The file with the key that encrypts secrets at rest.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.data_dir.value.join("secret.key")
    }

    /// Whether the database is a file (or the memory) of this machine.
    pub(crate) fn is_embedded(&self) -> bool {
        self.database_url.value.expose().starts_with("sqlite:")
    }

    /// Every value with its source, in the order of [`KEYS`]. Passwords are not shown.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        KEYS.iter().map(|spec| self.show(spec)).collect()
    }

    fn show(&self, spec: &KeySpec) -> Shown {
        let (value, source) = match spec.name {
            "data_dir" => (json!(self.data_dir.value), &self.data_dir.source),
            "data_staging" => (json!(self.data_staging.value), &self.data_staging.source),
            "data_keep" => {
                let keep = self.data_keep.value.map_or_else(|| json!(FOREVER), shown_duration);
                (keep, &self.data_keep.source)
            }
            "retention_runs" => {
                let keep = self.retention_runs.value.map_or_else(|| json!(FOREVER), shown_duration);
                (keep, &self.retention_runs.source)
            }
            "retention_log" => {
                let keep = self.retention_log.value.map_or_else(|| json!(FOREVER), shown_duration);
                (keep, &self.retention_log.source)
            }
            "dags_dir" => (json!(self.dags_dir.value), &self.dags_dir.source),
            "database_url" => {
                (json!(towpath_store::redact(self.database_url.value.expose())), &self.database_url.source)
            }
            "database_connections" => (json!(self.database_connections.value), &self.database_connections.source),
            "database_wait" => (shown_duration(self.database_wait.value), &self.database_wait.source),
            "listen" => (json!(self.listen.value), &self.listen.source),
            "hosts" => (json!(self.hosts.value), &self.hosts.source),
            "auth" => (json!(self.auth.value), &self.auth.source),
            "tls_cert" => (json!(self.tls_cert.value), &self.tls_cert.source),
            "tls_key" => (json!(self.tls_key.value), &self.tls_key.source),
            "cors_origins" => (json!(self.cors_origins.value), &self.cors_origins.source),
            "dag_upload" => (json!(self.dag_upload.value), &self.dag_upload.source),
            "oidc_issuer" => (json!(self.oidc_issuer.value), &self.oidc_issuer.source),
            "oidc_client_id" => (json!(self.oidc_client_id.value), &self.oidc_client_id.source),
            "oidc_client_secret" => {
                let shown = if self.oidc_client_secret.value.expose().is_empty() { "" } else { "***" };
                (json!(shown), &self.oidc_client_secret.source)
            }
            "oidc_scopes" => (json!(self.oidc_scopes.value), &self.oidc_scopes.source),
            "oidc_name_claim" => (json!(self.oidc_name_claim.value), &self.oidc_name_claim.source),
            "oidc_role_claim" => (json!(self.oidc_role_claim.value), &self.oidc_role_claim.source),
            "oidc_roles" => (json!(self.oidc_roles.value), &self.oidc_roles.source),
            "oidc_domains" => (json!(self.oidc_domains.value), &self.oidc_domains.source),
            "oidc_label" => (json!(self.oidc_label.value), &self.oidc_label.source),
            "worker_slots" => (json!(self.worker_slots.value), &self.worker_slots.source),
            "worker_queues" => (json!(self.worker_queues.value), &self.worker_queues.source),
            "worker_lease" => (shown_duration(self.worker_lease.value), &self.worker_lease.source),
            "python" => (json!(self.python.value), &self.python.source),
            "scheduler_heartbeat" => (shown_duration(self.scheduler_heartbeat.value), &self.scheduler_heartbeat.source),
            "stop_grace" => (shown_duration(self.stop_grace.value), &self.stop_grace.source),
            "dags_are_paused_at_creation" => {
                (json!(self.dags_are_paused_at_creation.value), &self.dags_are_paused_at_creation.source)
            }
            "xcom_limit" => (json!(self.xcom_limit.value), &self.xcom_limit.source),
            "smtp_url" => (json!(towpath_store::redact(self.smtp_url.value.expose())), &self.smtp_url.source),
            "smtp_from" => (json!(self.smtp_from.value), &self.smtp_from.source),
            "base_url" => (json!(self.base_url.value), &self.base_url.source),
            "log_level" => (json!(self.log_level.value), &self.log_level.source),
            "log_format" => (json!(self.log_format.value), &self.log_format.source),
            name => unreachable!("`{name}` is in KEYS and not in Config"),
        };
        Shown { key: spec.name, value, source: source.to_string(), description: spec.doc }
    }
}

/// `1h30m`, a form that the same key reads back.
fn shown_duration(duration: Duration) -> Value {
    let (s, ms) = (duration.as_secs(), duration.subsec_millis());
    let mut text: String =
        [("d", s / 86_400), ("h", s / 3_600 % 24), ("m", s / 60 % 60), ("s", s % 60), ("ms", ms.into())]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(unit, count)| format!("{count}{unit}"))
            .collect();
    if text.is_empty() {
        text.push_str("0s");
    }
    Value::String(text)
}

/// Gives values their types.
struct Resolver {
    given: Layer,
    cwd: PathBuf,
    file_folder: PathBuf,
}

impl Resolver {
    fn resolve(&self, warnings: Vec<String>) -> anyhow::Result<Config> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u32;
        let data_dir = self.path("data_dir", ".towpath")?;
        let default_url = sqlite_url(&data_dir.value.join(DATABASE_FILE));
        let seconds = Duration::from_secs;
        let config = Config {
            data_staging: self.path("data_staging", &data_dir.value.join("staging").display().to_string())?,
            data_keep: self.get("data_keep", || Some(seconds(7 * 86_400)), text::keep)?,
            retention_runs: self.get("retention_runs", || None, text::keep)?,
            retention_log: self.get("retention_log", || None, text::keep)?,
            dags_dir: self.path("dags_dir", "dags")?,
            database_url: self.get("database_url", || Secret::new(default_url), text::database_url)?,
            database_connections: self.get("database_connections", || 16, |text| text::whole(text, 1, 10_000))?,
            database_wait: self.get("database_wait", || seconds(60), text::duration)?,
            listen: self.get("listen", || SocketAddr::from(([127, 0, 0, 1], 8080)), text::address)?,
            hosts: self.get("hosts", Vec::new, text::list)?,
            auth: self.get("auth", || true, text::switch)?,
            tls_cert: self.file("tls_cert")?,
            tls_key: self.file("tls_key")?,
            cors_origins: self.get("cors_origins", Vec::new, text::origins)?,
            dag_upload: self.get("dag_upload", || false, text::switch)?,
            oidc_issuer: self.get("oidc_issuer", String::new, text::issuer)?,
            oidc_client_id: self.get("oidc_client_id", || "towpath".to_owned(), |text| Ok(text.to_owned()))?,
            oidc_client_secret: self.get("oidc_client_secret", || Secret::new(""), |text| Ok(Secret::new(text)))?,
            oidc_scopes: self.get("oidc_scopes", || ["email", "profile"].map(str::to_owned).to_vec(), text::list)?,
            oidc_name_claim: self.get(
                "oidc_name_claim",
                || "preferred_username".to_owned(),
                |text| Ok(text.to_owned()),
            )?,
            oidc_role_claim: self.get("oidc_role_claim", || "groups".to_owned(), |text| Ok(text.to_owned()))?,
            oidc_roles: self.get("oidc_roles", Vec::new, text::oidc_roles)?,
            oidc_domains: self.get("oidc_domains", Vec::new, text::list)?,
            oidc_label: self.get(
                "oidc_label",
                || "Log in with single sign-on".to_owned(),
                |text| Ok(text.to_owned()),
            )?,
            worker_slots: self.get("worker_slots", || (16 * cores).max(32), |text| text::whole(text, 1, 100_000))?,
            worker_queues: self.get(
                "worker_queues",
                || vec![towpath_model::dag::DEFAULT_QUEUE.to_owned()],
                text::names,
            )?,
            worker_lease: self.get(
                "worker_lease",
                || seconds(30),
                |text| text::between(text, seconds(1), seconds(86_400)),
            )?,
            python: self.get("python", || "python3".to_owned(), |text| Ok(text.to_owned()))?,
            scheduler_heartbeat: self.get(
                "scheduler_heartbeat",
                || seconds(5),
                |text| text::between(text, seconds(1), seconds(3_600)),
            )?,
            stop_grace: self.get("stop_grace", || seconds(30), text::duration)?,
            dags_are_paused_at_creation: self.get("dags_are_paused_at_creation", || false, text::switch)?,
            xcom_limit: self.get("xcom_limit", || 32 * 1024 * 1024, values::bytes)?,
            smtp_url: self.get("smtp_url", || Secret::new(""), text::smtp_url)?,
            smtp_from: self.get(
                "smtp_from",
                || "Towpath <towpath@localhost>".to_owned(),
                |text| Ok(text.to_owned()),
            )?,
            base_url: self.get("base_url", String::new, text::base_url)?,
            log_level: self.get("log_level", || "info".to_owned(), text::log_level)?,
            log_format: self.get("log_format", LogFormat::default, LogFormat::read)?,
            data_dir,
            warnings,
        };
        Ok(config)
    }

    /// The value of `key`, or its default.
    fn get<T>(
        &self,
        key: &'static str,
        default: impl FnOnce() -> T,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> anyhow::Result<Setting<T>> {
        let Some(given) = self.given.get(key) else {
            return Ok(Setting { value: default(), source: Source::Default });
        };
        match read(given.text.trim()) {
            Ok(value) => Ok(Setting { value, source: given.source.clone() }),
            Err(reason) => bail!("{}: `{key}` {reason}", given.source),
        }
    }

    /// The path of a file, or nothing.
    fn file(&self, key: &'static str) -> anyhow::Result<Setting<String>> {
        if self.given.get(key).is_none_or(|given| given.text.trim().is_empty()) {
            return self.get(key, String::new, |text| Ok(text.to_owned()));
        }
        let Setting { value, source } = self.path(key, "")?;
        Ok(Setting { value: value.display().to_string(), source })
    }

    /// Paths in the file are relative to its folder, others to the current one.
    fn path(&self, key: &'static str, default: &str) -> anyhow::Result<Setting<PathBuf>> {
        let base = match self.given.get(key).map(|given| &given.source) {
            Some(Source::File { .. }) => &self.file_folder,
            Some(Source::Default | Source::Environment(_) | Source::Flag(_)) | None => &self.cwd,
        };
        let read = |text: &str| match text {
            "" => Err("is empty; write the path of a folder".to_owned()),
            path => std::path::absolute(base.join(path)).map_err(|error| format!("is not a path: {error}")),
        };
        let default = std::path::absolute(self.cwd.join(default)).context("cannot tell the current folder")?;
        self.get(key, || default, read)
    }
}

/// The address of a SQLite file; what would end the path of a URL is escaped.
fn sqlite_url(path: &Path) -> String {
    let path = path.display().to_string().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    format!("sqlite://{path}")
}

#[cfg(test)]
mod tests;
