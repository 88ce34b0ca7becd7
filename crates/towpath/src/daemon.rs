//! The long-running parts, put together from the settings, started and stopped.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use tokio_util::sync::CancellationToken;
use towpath_alerts::Smtp;
use towpath_auth::{Auth, Mode};
use towpath_operators::process::{Options as SupervisorOptions, Supervisor};
use towpath_operators::python::{Options as PythonOptions, PythonOperator};
use towpath_operators::registry::Registry;
use towpath_scheduler::retention;
use towpath_scheduler::staging::Janitor;
use towpath_scheduler::{ProcessIdentity, Scheduler};
use towpath_store::{JobType, Store};
use towpath_worker::Worker;

use crate::exit::{Outcome, usage};
use crate::http::Server;
use crate::lifecycle::Stop;
use crate::lock::DataFolderLock;
use crate::output;
use crate::session::Session;
use crate::tls;

/// How often every DAG file is looked at, whatever the kernel tells.
const RESCAN: Duration = Duration::from_secs(60);
/// How long a connection may take to answer where it is tested in the browser.
const CONNECTION_TEST: Duration = Duration::from_secs(10);

/// Which parts a process has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) scheduler: bool,
    pub(crate) worker: bool,
    /// Web UI and API.
    pub(crate) server: bool,
}

/// Runs these parts until a signal ends them. What listens does so before any work starts, and says where.
///
/// # Errors
/// When a part cannot be started, or ends before it is told to.
pub(crate) async fn run(session: &Session, parts: Parts) -> anyhow::Result<Outcome> {
    let config = &session.config;
    let stop = Stop::on_signals(config.stop_grace.value)?;
    crate::heap::give_back_now_and_then();
    let mut smtp = None;
    if parts.scheduler {
        dags_folder(session)?;
        smtp = self::smtp(session)?;
    }
    session.create_data_folder()?;
    // Schedulers and workers of their own may share a folder, as they may share a database; two processes that
    // each believe to be the whole are a mistake.
    let is_whole = parts.scheduler && parts.worker && config.is_embedded();
    let _lock = if is_whole { Some(DataFolderLock::acquire(&config.data_dir.value)?) } else { None };
    let server = if parts.server { Some(listen(session).await?) } else { None };
    let mut announced = false;
    let waiting = || {
        announced = true;
        announce("waits for its database", server.as_ref())
    };
    let Some(store) = session.await_store(&stop.soft, waiting).await? else {
        close(server).await;
        return Ok(Outcome::Success);
    };
    let worker = if parts.worker { Some(worker(session, &store, config.worker_queues.value.clone())?) } else { None };
    let scheduler = if parts.scheduler { Some(scheduler(session, &store)?) } else { None };
    let alerts = if parts.scheduler { Some(alerts(session, &store, smtp)?) } else { None };
    // It ends with the rest.
    if parts.scheduler {
        tokio::spawn(janitor(session, &store).run(stop.soft.clone()));
        tokio::spawn(retention::run(retention(session, &store), stop.soft.clone()));
    }
    if let Some(server) = &server {
        let auth = door(session, &store, server);
        provider(session, server, &auth)?;
        server.open(router(session, &store, server, &auth, stop.soft.clone()));
        if !announced {
            announce("is up", Some(server))?;
        }
        welcome(session, server, &auth).await?;
    } else if !announced {
        announce("is up", None)?;
    }
    let (scheduled, worked, alerted) = tokio::join!(
        supervise("scheduler", scheduler.map(|scheduler| scheduler.run(stop.soft.clone())), &stop),
        supervise("worker", worker.map(|worker| worker.run(stop.soft.clone(), stop.hard.clone())), &stop),
        supervise("alert sender", alerts.map(|alerts| alerts.run(stop.soft.clone(), stop.hard.clone())), &stop),
    );
    close(server).await;
    store.close().await;
    scheduled.and(worked).and(alerted)?;
    Ok(Outcome::Success)
}

/// Says how things stand, on stdout with the address where there is one.
fn announce(how: &str, server: Option<&Server>) -> anyhow::Result<()> {
    match server {
        Some(server) => output::line(format!("Towpath {how}: {}", server.url()))?,
        None => tracing::info!("Towpath {how}"),
    }
    Ok(())
}

/// Binds the web server.
///
/// # Errors
/// When the address or the certificate cannot be used, or everybody who reaches the address could do everything.
async fn listen(session: &Session) -> anyhow::Result<Server> {
    let config = &session.config;
    let (listen, auth) = (&config.listen, &config.auth);
    let is_loopback = listen.value.ip().is_loopback();
    if !auth.value && !is_loopback {
        return Err(usage(format!(
            "without login ({}), whoever reaches {} could run commands as you; listen on 127.0.0.1, or let people log in",
            auth.source, listen.value
        )));
    }
    let tls = tls::acceptor(config)?;
    if tls.is_none() && !is_loopback && !config.base_url.value.starts_with("https://") {
        tracing::warn!(
            "{} is served without encryption: passwords and tokens can be read on the way; set --tls-cert and \
             --tls-key, or put a proxy with HTTPS in front and set `base_url`",
            listen.value
        );
    }
    Server::bind(listen.value, tls).await
}

/// Who comes in, and how.
fn door(session: &Session, store: &Store, server: &Server) -> Auth {
    let config = &session.config;
    Auth::new(towpath_auth::Options {
        store: store.clone(),
        clock: Arc::clone(&session.clock),
        mode: if config.auth.value { Mode::Users } else { Mode::Everybody },
        port: server.address().port(),
        is_https: session.base_url(server.url()).starts_with("https://"),
        metrics_are_open: server.address().ip().is_loopback(),
        page: towpath_ui::denied,
    })
}

/// Lets people log in at an identity provider, if one is set.
///
/// # Errors
/// When it cannot be asked.
fn provider(session: &Session, server: &Server, auth: &Auth) -> anyhow::Result<()> {
    let config = &session.config;
    if config.oidc_issuer.value.is_empty() {
        return Ok(());
    }
    // The form was checked when it was read.
    let role = |pair: &String| {
        let (group, role) = pair.rsplit_once('=')?;
        Some((group.trim().to_owned(), role.trim().parse().ok()?))
    };
    auth.set_provider(towpath_auth::Provider {
        issuer: config.oidc_issuer.value.clone(),
        client_id: config.oidc_client_id.value.clone(),
        client_secret: config.oidc_client_secret.value.expose().to_owned(),
        scopes: config.oidc_scopes.value.clone(),
        name_claim: config.oidc_name_claim.value.clone(),
        role_claim: config.oidc_role_claim.value.clone(),
        roles: config.oidc_roles.value.iter().filter_map(role).collect(),
        domains: config.oidc_domains.value.clone(),
        label: config.oidc_label.value.clone(),
        base_url: session.base_url(server.url()).trim_end_matches('/').to_owned(),
    })
    .with_context(|| {
        format!("people cannot log in at {} (set by {})", config.oidc_issuer.value, config.oidc_issuer.source)
    })
}

/// Says how to log in, as long as links are the only way to.
///
/// # Errors
/// When the database does not answer.
async fn welcome(session: &Session, server: &Server, auth: &Auth) -> anyhow::Result<()> {
    if auth.mode() == Mode::Everybody {
        tracing::info!("nobody is asked to log in: every user of this machine can run commands as you");
        return Ok(());
    }
    if let Some((name, link)) = auth.first_login().await? {
        let url = session.base_url(server.url());
        output::line(format!("Log in as {name} (once, within 15 minutes): {url}/login/link?token={}", link.text))?;
    }
    Ok(())
}

async fn close(server: Option<Server>) {
    if let Some(server) = server {
        server.close().await;
    }
}

/// Waits for a part. One that ends while nobody has told it to is the end of the process, so the others are
/// told to stop.
async fn supervise<E>(
    name: &'static str,
    part: Option<impl Future<Output = Result<(), E>>>,
    stop: &Stop,
) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let Some(part) = part else { return Ok(()) };
    let ended = part.await.with_context(|| format!("the {name} has failed"));
    let was_told = stop.soft.is_cancelled();
    stop.soft.cancel();
    match ended {
        Ok(()) if !was_told => bail!("the {name} has ended although nobody told it to"),
        ended => ended,
    }
}

/// A scheduler that reads the DAGs folder.
///
/// # Errors
/// When there is no such folder.
fn scheduler(session: &Session, store: &Store) -> anyhow::Result<Scheduler> {
    let config = &session.config;
    Ok(Scheduler::new(towpath_scheduler::Options {
        store: store.clone(),
        clock: Arc::clone(&session.clock),
        identity: ProcessIdentity::current(),
        heartbeat: config.scheduler_heartbeat.value,
        lease: config.worker_lease.value,
        dags_folder: Some(dags_folder(session)?),
        limits: towpath_dagfile::Limits::default(),
        paused_by_default: config.dags_are_paused_at_creation.value,
        rescan: RESCAN,
    }))
}

/// Who cleans the staging area.
fn janitor(session: &Session, store: &Store) -> Janitor {
    Janitor::new(towpath_scheduler::staging::Options {
        store: store.clone(),
        clock: Arc::clone(&session.clock),
        staging: session.config.data_staging.value.clone(),
        keep: session.config.data_keep.value,
    })
}

fn retention(session: &Session, store: &Store) -> retention::Options {
    retention::Options {
        store: store.clone(),
        clock: Arc::clone(&session.clock),
        runs: session.config.retention_runs.value,
        log: session.config.retention_log.value,
    }
}

/// The mail server for alerts, if there is one.
///
/// # Errors
/// When the settings that name it cannot be used.
fn smtp(session: &Session) -> anyhow::Result<Option<Smtp>> {
    let (url, from) = (&session.config.smtp_url, &session.config.smtp_from);
    if url.value.expose().is_empty() {
        return Ok(None);
    }
    let smtp = Smtp::new(url.value.expose(), &from.value);
    smtp.map(Some).with_context(|| format!("mail cannot be sent as {} and {} say", url.source, from.source))
}

/// Who tells people of ends. It stands beside the scheduler, so that one machine needs to reach the mail server.
///
/// # Errors
/// When it cannot send anything.
fn alerts(session: &Session, store: &Store, smtp: Option<Smtp>) -> anyhow::Result<towpath_alerts::Sender> {
    let base_url = &session.config.base_url.value;
    Ok(towpath_alerts::Sender::new(towpath_alerts::Options {
        store: store.clone(),
        clock: Arc::clone(&session.clock),
        smtp,
        base_url: Some(base_url.clone()).filter(|url| !url.is_empty()),
        project_folder: session.project_folder.clone(),
    })?)
}

/// The DAGs folder, which must exist: an empty list of DAGs would be a riddle where a name is wrong.
///
/// # Errors
/// When there is no such folder.
fn dags_folder(session: &Session) -> anyhow::Result<PathBuf> {
    let folder = &session.config.dags_dir;
    if folder.value.is_dir() {
        return Ok(folder.value.clone());
    }
    bail!(
        "there is no DAGs folder `{}` (set by {}); create it, or name another one with --dags",
        folder.value.display(),
        folder.source
    )
}

/// A worker for `queues`.
///
/// # Errors
/// When its watchdog cannot be started.
pub(crate) fn worker(session: &Session, store: &Store, queues: Vec<String>) -> anyhow::Result<Worker> {
    Ok(Worker::new(worker_options(session, store, queues, session.config.scratch_dir())?))
}

/// What a worker for `queues` needs, with its scratch files in `scratch_folder`.
///
/// # Errors
/// When its watchdog cannot be started.
pub(crate) fn worker_options(
    session: &Session,
    store: &Store,
    queues: Vec<String>,
    scratch_folder: PathBuf,
) -> anyhow::Result<towpath_worker::Options> {
    let config = &session.config;
    let supervisor = Arc::new(Supervisor::new(SupervisorOptions::default()).context("cannot start a worker")?);
    let etl = towpath_etl::operator::Options { staging: config.data_staging.value.clone(), program: None };
    let python = PythonOptions {
        interpreter: config.python.value.clone(),
        data_sets: Some(Arc::new(towpath_etl::python::Publisher(etl.clone()))),
        ..PythonOptions::default()
    };
    Ok(towpath_worker::Options {
        store: store.clone(),
        clock: Arc::clone(&session.clock),
        job: ProcessIdentity::current().job(JobType::Worker, queues, config.worker_slots.value),
        lease: config.worker_lease.value,
        registry: Arc::new(towpath_etl::operator::register(
            Registry::standard(Arc::new(PythonOperator::new(python))),
            &etl,
        )),
        supervisor,
        project_folder: session.project_folder.clone(),
        dags_folder: config.dags_dir.value.clone(),
        scratch_folder,
        xcom_max_bytes: usize::try_from(config.xcom_limit.value).unwrap_or(usize::MAX),
        log_limits: towpath_operators::log::Limits::default(),
    })
}

/// A setting as text.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A setting as the pages show it.
fn setting(shown: crate::config::Shown) -> towpath_ui::Setting {
    towpath_ui::Setting {
        name: shown.key.to_owned(),
        value: plain(&shown.value),
        source: shown.source,
        description: shown.description.to_owned(),
    }
}

/// The web server's routes: API and pages.
fn router(session: &Session, store: &Store, server: &Server, auth: &Auth, stop: CancellationToken) -> Router {
    let config = &session.config;
    let dags_folder = &config.dags_dir.value;
    let data: Arc<dyn towpath_model::etl::look::Reader> =
        Arc::new(towpath_etl::inspect::Inspector { staging: config.data_staging.value.clone() });
    let ui = towpath_ui::State {
        store: store.clone(),
        clock: Arc::clone(&session.clock),
        dags_folder: dags_folder.display().to_string().into(),
        settings: config.shown().into_iter().map(setting).collect(),
        test_connection: Some(|connection| {
            Box::pin(async move { towpath_operators::connection_test::test(&connection, CONNECTION_TEST).await })
        }),
        data: Some(Arc::clone(&data)),
        graphs: towpath_ui::Graphs::default(),
    };
    let access = towpath_ui::access(auth.clone(), store.clone(), Arc::clone(&session.clock));
    let pages = towpath_ui::router(ui.clone()).merge(access);
    let state = towpath_api::State::new(towpath_api::Options {
        store: store.clone(),
        clock: Arc::clone(&session.clock),
        dags_folder: dags_folder.clone(),
        hosts: towpath_api::guard::Hosts::of(server.address(), &config.hosts.value),
        stop,
    });
    let options = config.shown().into_iter().map(|it| (it.key.to_owned(), plain(&it.value))).collect();
    let section = towpath_api::Section { name: "towpath".to_owned(), options };
    let state = state.with_auth(auth.clone()).with_origins(&config.cors_origins.value).with_data(data);
    let is_https = session.base_url(server.url()).starts_with("https://");
    let state = state.with_settings(vec![section]).with_dag_files(config.dag_upload.value).with_https(is_https);
    let described = state.clone();
    let document: towpath_ui::Document = Arc::new(move || {
        let state = described.clone();
        Box::pin(async move { state.openapi().await })
    });
    towpath_api::app(state, pages.merge(towpath_ui::docs(ui, document)))
}
