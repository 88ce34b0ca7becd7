//! The document of the API, made from the routes themselves.
//!
//! ```text
//!   routing     the lists of routes, each handler with the types of what it takes and answers
//!   recording   what a handler reads of query and body, learnt by letting it read
//!   words       a sentence for each handler
//!     `-- document   all of it as OpenAPI 3.1, with who may (`towpath_auth::rules`)
//! ```
//!
//! Nothing here repeats what the code says. A test holds the document against the routes of the real router.

pub(crate) mod document;
pub(crate) mod recording;
pub(crate) mod routing;
pub(crate) mod words;
