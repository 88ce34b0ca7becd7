//! The web UI: pages rendered on the server, over the templates and assets in `web/`.
//!
//! A request reaches a page (one file each in `pages/`), which reads the store, builds its view
//! model out of the small pieces in `view/`, and renders one template. A page can be read and used
//! without any script; the script patches the parts marked `data-live` and follows logs.
//!
//! Invariants:
//! - Nothing that a user, a DAG file or a task wrote reaches a page but through
//!   [`view::text::shown`] and the template engine's escaping (a form that is shown again gives back
//!   what was typed, escaped); the content security policy allows no inline script or style, so a
//!   slip there would still not run.
//! - What changes something is a POST. That it comes from our own pages is checked in front of this
//!   router, together with the API (`towpath_api::guard`).
//! - A page is bounded, whatever the store holds: rows, lines and values have a ceiling, and the page
//!   says what it left out and where the whole is.

mod access;
mod assets;
mod error;
mod frame;
mod links;
mod pages;
mod routes;
mod view;

use towpath_model::clock::SharedClock;
use towpath_store::Store;

pub use access::{denied, router as access};
pub use error::Error;
pub use pages::dag::plan::Plans as Graphs;
pub use pages::docs::{Document, router as docs};
pub use routes::router;

/// Result of a page.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What every page can reach; cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    pub store: Store,
    pub clock: SharedClock,
    /// The folder that DAG files are read from, as it is shown to somebody who has none yet.
    pub dags_folder: std::sync::Arc<str>,
    /// The settings of this server, for those who want to look at them.
    pub settings: std::sync::Arc<[Setting]>,
    /// Tries a connection from this machine, where that is possible.
    pub test_connection: Option<TestConnection>,
    /// Reads the files of data sets, where that is possible.
    pub data: Option<std::sync::Arc<dyn towpath_model::etl::look::Reader>>,
    /// Where the tasks of DAGs lie in their graphs, as far as it has been worked out.
    pub graphs: Graphs,
}

/// A setting as it may be shown: passwords are masked already.
#[derive(Debug, Clone)]
pub struct Setting {
    pub name: String,
    pub value: String,
    /// Where the value comes from.
    pub source: String,
    pub description: String,
}

/// What answered, or why nothing did.
pub type Tested = std::pin::Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;
/// Tries a connection for some seconds.
pub type TestConnection = fn(towpath_model::connection::Connection) -> Tested;
