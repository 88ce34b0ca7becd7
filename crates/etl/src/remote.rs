//! Files that are not here: those of object stores and of web servers.
//!
//! CSV is read as the bytes come. DataFusion's readers, which jump about in files, get an object store whose ranges they read
//! ([`adapter`]). A file of a web server, which may not know ranges, is put into the scratch folder for them first, and so is one of Arrow,
//! whose header DataFusion 55 misreads where it comes as a stream.

mod adapter;
mod reader;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::prelude::SessionContext;
use futures::StreamExt as _;
use towpath_model::connection::Connection;
use towpath_operators::http::download::{self, Download};
use towpath_operators::object_storage::store::ObjectStore;
use towpath_operators::object_storage::{self, Found, Location};
use url::Url;

use crate::database::Connections;
use crate::error::{Error, Result};

pub(crate) use reader::{Pulled, carried};

impl From<object_storage::Error> for Error {
    fn from(error: object_storage::Error) -> Self {
        Self { message: error.message, retry: error.retry }
    }
}

impl From<download::Error> for Error {
    fn from(error: download::Error) -> Self {
        Self { message: error.message, retry: error.retry }
    }
}

/// The scheme under which DataFusion knows stores, each by a number: two connections may name one bucket.
const SCHEME: &str = "objects";

/// The folder of files that were brought here.
const DOWNLOADS: &str = "downloads";

/// An object of a store.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The store's number in this job.
    number: usize,
    /// Its URL, for people.
    url: String,
    pub(crate) found: Found,
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        (self.number, &self.found) == (other.number, &other.found)
    }
}

impl Eq for Object {}

/// A file of a web server.
#[derive(Debug, Clone)]
pub(crate) struct WebFile(Arc<Download>);

impl PartialEq for WebFile {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for WebFile {}

type Stores = HashMap<(Location, Option<String>), (usize, Arc<dyn ObjectStore>)>;

/// The stores of a job, opened once each.
#[derive(Debug, Default)]
pub(crate) struct Remotes {
    connections: Connections,
    /// Where files of web servers go that have to be here.
    scratch: PathBuf,
    stores: Mutex<Stores>,
}

/// Whether a path names something that is not here.
pub(crate) fn is_remote(path: &str) -> bool {
    object_storage::is_url(path) || is_web(path)
}

fn is_web(path: &str) -> bool {
    let scheme = path.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_some_and(|scheme| scheme == "http" || scheme == "https")
}

impl Remotes {
    pub(crate) fn new(connections: &Connections, scratch: PathBuf) -> Self {
        Self { connections: connections.clone(), scratch, stores: Mutex::default() }
    }

    /// Lets sources of this session find it.
    pub(crate) fn attach(self: &Arc<Self>, session: &SessionContext) {
        session.state_ref().write().config_mut().set_extension(Arc::clone(self));
    }

    pub(crate) fn of(session: &SessionContext) -> Arc<Self> {
        session.copied_config().get_extension().unwrap_or_default()
    }

    fn connection(&self, id: Option<&str>) -> Result<Option<&Connection>> {
        id.map(|id| self.connections.get(id)).transpose()
    }

    /// The store that a URL names, and its number.
    pub(crate) fn store(&self, location: &Location, conn_id: Option<&str>) -> Result<(usize, Arc<dyn ObjectStore>)> {
        let key = (Location { path: String::new(), ..location.clone() }, conn_id.map(str::to_owned));
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((number, store)) = stores.get(&key) {
            return Ok((*number, Arc::clone(store)));
        }
        let store = object_storage::open(location, self.connection(conn_id)?)?;
        let number = stores.len();
        stores.insert(key, (number, Arc::clone(&store)));
        Ok((number, store))
    }

    /// The objects that a URL names, by name.
    pub(crate) async fn objects(&self, url: &str, conn_id: Option<&str>) -> Result<Vec<Object>> {
        let location = Location::parse(url)?;
        let (number, store) = self.store(&location, conn_id)?;
        let found = object_storage::find(store.as_ref(), &location).await?;
        let object = |found: Found| Object {
            store: Arc::clone(&store),
            number,
            url: location.url_of(found.meta.location.as_ref()),
            found,
        };
        Ok(found.into_iter().map(object).collect())
    }

    /// The file of a web server that a path names: a full URL, or what stands below the host of a connection. `None` where it is a
    /// path of this machine.
    pub(crate) fn web_file(&self, path: &str, conn_id: Option<&str>) -> Result<Option<WebFile>> {
        let connection = self.connection(conn_id)?;
        let is_http = |connection: &Connection| matches!(connection.conn_type.as_str(), "http" | "https");
        if !is_web(path) {
            return match connection {
                None => Ok(None),
                Some(connection) if is_http(connection) => Self::web(path, Some(connection)).map(Some),
                Some(connection) => Err(Error::lasting(format!(
                    "`{path}` is a path of this machine, for which connection `{}` means nothing; write a URL (s3://, gs://, az://)",
                    connection.conn_id
                ))),
            };
        }
        if let Some(other) = connection.filter(|connection| !is_http(connection)) {
            return Err(Error::lasting(format!(
                "connection `{}` is of type `{}`, and `{path}` needs one of type http",
                other.conn_id, other.conn_type
            )));
        }
        Self::web(path, connection).map(Some)
    }

    fn web(path: &str, connection: Option<&Connection>) -> Result<WebFile> {
        let plain = path.split(['?', '#']).next().unwrap_or(path);
        if plain.contains(['*', '[']) {
            return Err(Error::lasting(format!(
                "`{plain}` is a glob, and web servers do not list their files; name each file, or write `*` as %2A if it is part of \
                 the name"
            )));
        }
        Ok(WebFile(Arc::new(Download::new(path, connection)?)))
    }

    /// Brings a file into the scratch folder. `name` is how its name ends, from which readers tell the compression.
    pub(crate) async fn fetch(&self, mut bytes: Pulled, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.join(DOWNLOADS);
        std::fs::create_dir_all(&folder).map_err(|error| Error::io("create the folder", &folder, &error))?;
        let path = folder.join(format!("{}-{name}", uuid::Uuid::new_v4().simple()));
        let copy = tokio::task::spawn_blocking(move || {
            let failed = |error: std::io::Error| carried(&error).unwrap_or_else(|| Error::io("write", &path, &error));
            let mut out = std::fs::File::create(&path).map_err(failed)?;
            std::io::copy(&mut bytes, &mut out).map_err(failed)?;
            Ok(path)
        });
        copy.await.unwrap_or_else(|error| Err(Error::passing(format!("a download has ended: {error}"))))
    }
}

impl Drop for Remotes {
    fn drop(&mut self) {
        // Nothing was downloaded where it is not there.
        let _ = std::fs::remove_dir_all(self.scratch.join(DOWNLOADS));
    }
}

impl Object {
    pub(crate) fn shown(&self) -> &str {
        &self.url
    }

    pub(crate) fn size(&self) -> u64 {
        self.found.meta.size
    }

    /// Its name.
    pub(crate) fn path(&self) -> &str {
        self.found.meta.location.as_ref()
    }

    /// Makes the store known to DataFusion; the URL under which that finds the object.
    pub(crate) fn register(&self, session: &SessionContext) -> Result<Url> {
        let base = Url::parse(&format!("{SCHEME}://store-{}/", self.number)).expect("a URL");
        let store = adapter::Readable::new(Arc::clone(&self.store), &self.url, self.path());
        session.register_object_store(&base, Arc::new(store));
        let mut url = base;
        // Names may hold a `%`, which the URL has to hide.
        url.path_segments_mut().expect("it has a path").clear().extend(self.path().split('/'));
        Ok(url)
    }

    /// Its bytes. A transfer that breaks is taken up again by the store's client.
    pub(crate) fn read(&self) -> Pulled {
        let (store, url, path) = (Arc::clone(&self.store), self.url.clone(), self.found.meta.location.clone());
        Pulled::of(async move {
            use towpath_operators::object_storage::store::ObjectStoreExt as _;
            let failed = move |error| Error::from(object_storage::Error::of_store(&url, &error));
            let bytes = store.get(&path).await.map_err(&failed)?.into_stream();
            Ok(bytes.map(move |chunk| chunk.map_err(&failed)).boxed())
        })
    }
}

impl WebFile {
    pub(crate) fn shown(&self) -> String {
        self.0.shown()
    }

    /// Its bytes; `size` is told how many there are, where the server says.
    pub(crate) fn read(&self, size: impl FnOnce(Option<u64>) + Send + 'static) -> Pulled {
        let download = Arc::clone(&self.0);
        Pulled::of(async move {
            let transfer = download.start().await?;
            size(transfer.size);
            Ok(transfer.bytes.map(|chunk| chunk.map_err(Error::from)).boxed())
        })
    }
}
