//! What every action can reach.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::HeaderValue;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use towpath_auth::Auth;
use towpath_model::clock::SharedClock;
use towpath_model::etl::look::Reader;
use towpath_store::Store;

use crate::events::Hub;
use crate::guard::Hosts;
use crate::observe::Requests;
use crate::settings::{Section, Settings};
use crate::versions::Versions;

/// What the binary gives to the API.
#[derive(Debug)]
pub struct Options {
    pub store: Store,
    pub clock: SharedClock,
    /// The folder that DAG files are read from; `fileloc` in replies is relative to it.
    pub dags_folder: PathBuf,
    /// The `Host` headers that are answered.
    pub hosts: Hosts,
    /// Cancelled when the server stops: replies that follow a run or a log end then.
    pub stop: CancellationToken,
}

/// What every action can reach; cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    pub(crate) store: Store,
    pub(crate) clock: SharedClock,
    pub(crate) dags_folder: Arc<Path>,
    pub(crate) hosts: Hosts,
    pub(crate) stop: CancellationToken,
    pub(crate) requests: Requests,
    pub(crate) versions: Versions,
    pub(crate) auth: Auth,
    /// Other web sites whose scripts may call the API with a token.
    pub(crate) origins: Arc<[HeaderValue]>,
    pub(crate) settings: Settings,
    pub(crate) started_at: DateTime<Utc>,
    /// The API as a document, once somebody has asked for it.
    pub(crate) document: Arc<OnceCell<Arc<Value>>>,
    /// Who follows what happens.
    pub(crate) hub: Hub,
    /// Whether DAG files may be written over the API.
    pub(crate) takes_dag_files: bool,
    /// Whether browsers are told to come by HTTPS alone.
    pub(crate) is_https: bool,
    /// What reads the files of data sets.
    pub(crate) data: Option<Arc<dyn Reader>>,
}

impl State {
    /// The state of a server that starts now. Nobody is asked who they are until [`State::with_auth`].
    #[must_use]
    pub fn new(options: Options) -> Self {
        let Options { store, clock, dags_folder, hosts, stop } = options;
        Self {
            started_at: clock.now(),
            document: Arc::default(),
            hub: Hub::default(),
            takes_dag_files: false,
            is_https: false,
            data: None,
            settings: Settings::from([]),
            versions: Versions::default(),
            origins: Arc::default(),
            auth: Auth::open(store.clone(), Arc::clone(&clock)),
            requests: Requests::default(),
            dags_folder: dags_folder.into(),
            store,
            clock,
            hosts,
            stop,
        }
    }

    /// Lets in whom `auth` lets in.
    #[must_use]
    pub fn with_auth(self, auth: Auth) -> Self {
        Self { auth, ..self }
    }

    /// Lets scripts of these web sites (`https://app.example.org`) call the API with a token. What is no origin is left
    /// out.
    #[must_use]
    pub fn with_origins(self, origins: &[String]) -> Self {
        Self { origins: origins.iter().filter_map(|origin| origin.parse().ok()).collect(), ..self }
    }

    /// With what `/config` shows; secrets in it are masked already.
    #[must_use]
    pub fn with_settings(mut self, sections: Vec<Section>) -> Self {
        self.settings = sections.into();
        self
    }

    /// Lets those who may write DAG files over the API do so.
    #[must_use]
    pub fn with_dag_files(self, takes_dag_files: bool) -> Self {
        Self { takes_dag_files, ..self }
    }

    /// Shows data sets, as `data` reads them.
    #[must_use]
    pub fn with_data(self, data: Arc<dyn Reader>) -> Self {
        Self { data: Some(data), ..self }
    }

    /// Tells browsers to come by HTTPS alone from now on, where they do.
    #[must_use]
    pub fn with_https(self, is_https: bool) -> Self {
        Self { is_https, ..self }
    }
}
