//! Who may come in and what they may do: users, roles, sessions, tokens, the rule of every route, and the audit log.
//!
//! ```text
//!   request -> guard::check -> rules   which rule the route has; a route without one is refused
//!                 |            service who it is: JWT, API token, session cookie (or nobody)
//!                 |            principal whether they may
//!                 v
//!              action -> response -> audit   what was changed, by whom, from where
//! ```
//!
//! The API and the pages are behind one [`guard::check`], which [`Auth`] belongs to. An action learns who asks from the
//! [`Principal`] in the request's extensions, and lists narrow themselves by [`Visible`].
//!
//! Invariants:
//! - A route that has no [`rules::Rule`] is refused, for everybody.
//! - What lets somebody in is random and kept as a hash, or a password and kept as an argon2 hash.
//! - A wrong password takes as long as a wrong name, and is told in the same words.
//! - A request that changes something and is let in by a cookie comes from one of our own pages.
//!
//! On failure: when the database does not answer nobody gets in, and the reply is 503. When the audit log cannot be
//! written the entries go to the process's own log.

mod audit;
mod cookie;
pub mod guard;
mod jwt;
mod oidc;
pub mod password;
mod principal;
pub mod rules;
mod secret;
mod service;
mod throttle;
mod token_routes;

pub use oidc::{CALLBACK, Callback, OidcError, Provider};
pub use principal::{Principal, Via, Visible};
pub use secret::{API_TOKEN_PREFIX, Minted, hash};
pub use service::{Auth, LoginError, Mode, Options};
pub use token_routes::router;
