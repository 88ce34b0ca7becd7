//! Lets people in: who they are by what they bring.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::sync::OnceCell;
use towpath_model::clock::SharedClock;
use towpath_store::{NewEvent, Role, Store, UserRecord};

use crate::audit::Recorder;
use crate::cookie::Cookie;
use crate::jwt::{Keys, Unfit};
use crate::oidc::Oidc;
use crate::password;
use crate::principal::{Principal, Via};
use crate::secret::{API_TOKEN_PREFIX, Minted, hash};
use crate::throttle::Throttle;

/// How long a session lasts.
const SESSION_LIFE: TimeDelta = TimeDelta::days(14);
/// How long a login link can be used.
pub(crate) const LINK_LIFE: TimeDelta = TimeDelta::minutes(15);
/// How long a JWT lasts, as in Airflow.
const JWT_LIFE: TimeDelta = TimeDelta::hours(24);
/// Name of the user that the first start makes.
pub(crate) const FIRST_USER: &str = "admin";

/// Whether people are asked who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everybody logs in.
    Users,
    /// Whoever reaches the server may do everything: for tests, and on loopback by `--no-auth`.
    Everybody,
}

/// What makes an [`Auth`].
pub struct Options {
    pub store: Store,
    pub clock: SharedClock,
    pub mode: Mode,
    /// The port that the server listens on: part of the cookie's name.
    pub port: u16,
    /// Whether browsers reach it by HTTPS.
    pub is_https: bool,
    /// Whether `/metrics` needs no login.
    pub metrics_are_open: bool,
    /// Makes the page that says why somebody may not see another.
    pub page: fn(StatusCode, &str) -> Response,
}

/// The door. Clones share what they know.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    store: Store,
    clock: SharedClock,
    mode: Mode,
    cookie: Cookie,
    metrics_are_open: bool,
    page: fn(StatusCode, &str) -> Response,
    throttle: Throttle,
    keys: OnceCell<Keys>,
    recorder: Recorder,
    oidc: OnceLock<Oidc>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("mode", &self.0.mode).finish_non_exhaustive()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// Why somebody could not log in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The name or the password; which one is not told.
    #[error("Invalid credentials")]
    Wrong,
    #[error("too many attempts; try again in {} s", .0.num_seconds() + 1)]
    Wait(TimeDelta),
    #[error(transparent)]
    Store(#[from] towpath_store::Error),
}

/// Why a request that brought something to show who sent it was not let in.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// A token that is none, or none any more.
    Token(&'static str),
    Login(LoginError),
}

impl From<towpath_store::Error> for Refusal {
    fn from(error: towpath_store::Error) -> Self {
        Self::Login(LoginError::Store(error))
    }
}

impl LoginError {
    /// The reply in Airflow's form.
    pub(crate) fn reply(&self) -> Response {
        let (status, detail) = match self {
            Self::Wrong => (StatusCode::UNAUTHORIZED, self.to_string()),
            Self::Wait(_) => (StatusCode::TOO_MANY_REQUESTS, self.to_string()),
            Self::Store(error) => {
                tracing::error!(error = error as &dyn std::error::Error, "nobody can log in");
                let detail = "the database does not answer; the request can be repeated in a moment";
                (StatusCode::SERVICE_UNAVAILABLE, detail.to_owned())
            }
        };
        let mut response = (status, axum::Json(json!({"detail": detail}))).into_response();
        if let Self::Wait(wait) = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.num_seconds() + 1));
        }
        response
    }
}

impl Auth {
    #[must_use]
    pub fn new(options: Options) -> Self {
        let Options { store, clock, mode, port, is_https, metrics_are_open, page } = options;
        Self(Arc::new(Inner {
            recorder: Recorder::new(store.clone()),
            store,
            clock,
            mode,
            cookie: Cookie::new(port, is_https),
            metrics_are_open,
            page,
            throttle: Throttle::default(),
            keys: OnceCell::new(),
            oidc: OnceLock::new(),
        }))
    }

    /// A door that stands open: whoever comes is an administrator.
    #[must_use]
    pub fn open(store: Store, clock: SharedClock) -> Self {
        let page = |status: StatusCode, reason: &str| (status, format!("{reason}\n")).into_response();
        Self::new(Options {
            store,
            clock,
            mode: Mode::Everybody,
            port: 0,
            is_https: false,
            metrics_are_open: true,
            page,
        })
    }

    #[must_use]
    pub fn mode(&self) -> Mode {
        self.0.mode
    }

    pub(crate) fn metrics_are_open(&self) -> bool {
        self.0.metrics_are_open
    }

    pub(crate) fn page(&self, status: StatusCode, reason: &str) -> Response {
        (self.0.page)(status, reason)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn cookie(&self) -> &Cookie {
        &self.0.cookie
    }

    pub(crate) fn oidc(&self) -> &OnceLock<Oidc> {
        &self.0.oidc
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.0.clock.now()
    }

    /// Writes an entry of the audit log.
    pub async fn record(&self, event: NewEvent) {
        self.0.recorder.record(self.now(), event).await;
    }

    /// Makes the first user, an administrator without a password, where there is nobody yet. A login link, as long
    /// as links are the only way in: no user has a password.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn first_login(&self) -> towpath_store::Result<Option<(String, Minted)>> {
        let mut users = self.0.store.users().await?;
        if users.is_empty() {
            // Of several servers that start at once, one makes it.
            self.0.store.create_user(FIRST_USER, Role::Admin, None, self.now()).await?;
            users = self.0.store.users().await?;
        }
        if users.iter().any(|user| user.password_hash.is_some()) {
            return Ok(None);
        }
        let Some(admin) = users.into_iter().find(|user| user.role == Role::Admin) else { return Ok(None) };
        let link = self.login_link(&admin.name).await?;
        Ok(Some((admin.name, link)))
    }

    /// A text that lets `user` in once, within 15 minutes.
    ///
    /// # Errors
    /// For an unknown user; when the database does not answer.
    pub async fn login_link(&self, user: &str) -> towpath_store::Result<Minted> {
        let minted = Minted::new("");
        let now = self.now();
        self.0.store.create_login_link(&minted.hash, user, now + LINK_LIFE, now).await?;
        Ok(minted)
    }

    /// Checks a name and a password.
    ///
    /// # Errors
    /// [`LoginError`]; a wrong one is counted, and after some the caller has to wait.
    pub async fn log_in(&self, name: &str, given: &str, address: Option<IpAddr>) -> Result<UserRecord, LoginError> {
        self.0.throttle.attempt(name, address, self.now()).map_err(LoginError::Wait)?;
        let user = self.0.store.user(name).await?;
        let kept = user.as_ref().and_then(|user| user.password_hash.clone());
        let is_right = password::verify(given, kept).await;
        let Some(user) = user.filter(|_| is_right) else {
            let name: String = name.chars().take(64).collect();
            self.record(login_event("login_failed", &name, address, "password")).await;
            return Err(LoginError::Wrong);
        };
        self.0.throttle.succeeded(name, address);
        Ok(user)
    }

    /// Begins a session of `user`, who has logged in by `how`; the cookie to set.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn begin_session(
        &self,
        user: &UserRecord,
        how: &str,
        address: Option<IpAddr>,
    ) -> towpath_store::Result<HeaderValue> {
        let minted = Minted::new("");
        let now = self.now();
        let shown = address.map(|address| address.to_string());
        let until = now + SESSION_LIFE;
        self.0.store.begin_session(&minted.hash, &user.name, shown.as_deref(), until, now).await?;
        self.record(login_event("login", &user.name, address, how)).await;
        Ok(self.0.cookie.set(&minted.text, SESSION_LIFE))
    }

    /// Writes down that somebody could not log in by `how`.
    pub async fn note_failure(&self, name: &str, how: &str, address: Option<IpAddr>) {
        self.record(login_event("login_failed", name, address, how)).await;
    }

    /// Uses up the text of a login link and begins a session; the cookie to set.
    ///
    /// # Errors
    /// [`LoginError::Wrong`] for a link that has been used or has expired.
    pub async fn follow_link(&self, text: &str, address: Option<IpAddr>) -> Result<HeaderValue, LoginError> {
        let user = self.0.store.take_login_link(&hash(text), self.now()).await?;
        let user = user.ok_or(LoginError::Wrong)?;
        Ok(self.begin_session(&user, "link", address).await?)
    }

    /// Ends the session that a request has, if it has one; the cookie to set.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn end_session(&self, headers: &HeaderMap) -> towpath_store::Result<HeaderValue> {
        if let Some(text) = self.0.cookie.read(headers) {
            let hash = hash(text);
            if let Some(user) = self.0.store.session_user(&hash, self.now()).await? {
                self.0.store.end_session(&hash).await?;
                self.record(login_event("logout", &user.name, None, "session")).await;
            }
        }
        Ok(self.0.cookie.clear())
    }

    /// Gives `user` another password and ends all sessions, links and JWTs.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_password(&self, user: &str, hash: &str) -> towpath_store::Result<()> {
        self.0.store.set_password_hash(user, hash).await?;
        let event = NewEvent { event: "set_password".to_owned(), owner: Some(user.to_owned()), ..NewEvent::default() };
        self.record(event).await;
        Ok(())
    }

    /// A JWT for `user`, good for a day.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn issue_jwt(&self, user: &UserRecord) -> towpath_store::Result<String> {
        Ok(self.keys().await?.sign(user, self.now(), JWT_LIFE))
    }

    /// The user that JWTs are given out for where nobody is asked.
    pub(crate) async fn first_user(&self) -> towpath_store::Result<Option<UserRecord>> {
        Ok(self.0.store.users().await?.into_iter().find(|user| user.role == Role::Admin))
    }

    async fn keys(&self) -> towpath_store::Result<&Keys> {
        self.0.keys.get_or_try_init(async || Ok(Keys::new(&self.0.store.signing_key().await?))).await
    }

    /// Who sent a request; `None` for somebody who brought nothing, or a cookie that is good no more.
    pub(crate) async fn identify(
        &self,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Result<Option<Principal>, Refusal> {
        if self.0.mode == Mode::Everybody {
            return Ok(Some(Principal::anybody()));
        }
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let Some((scheme, rest)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else {
                return Err(Refusal::Token("Forbidden"));
            };
            return match scheme.to_ascii_lowercase().as_str() {
                "bearer" => self.bearer(rest.trim()).await.map(Some),
                "basic" => self.basic(rest.trim(), address).await.map(Some),
                _ => Err(Refusal::Token("Forbidden")),
            };
        }
        let Some(text) = self.0.cookie.read(headers) else { return Ok(None) };
        let user = self.0.store.session_user(&hash(text), self.now()).await?;
        Ok(user.map(|user| Principal::new(user, Via::Session)))
    }

    async fn bearer(&self, text: &str) -> Result<Principal, Refusal> {
        if text.starts_with(API_TOKEN_PREFIX) {
            let found = self.0.store.token_user(&hash(text), self.now()).await?;
            let (token, user) = found.ok_or(Refusal::Token("the API token is unknown, has expired or was revoked"))?;
            return Ok(Principal::of_token(token, user));
        }
        let claims = self.keys().await?.check(text, self.now()).map_err(|unfit| match unfit {
            Unfit::Expired => Refusal::Token("Token Expired"),
            Unfit::Forged => Refusal::Token("Forbidden"),
        })?;
        let user = self.0.store.user(&claims.sub).await?.filter(|user| user.generation == claims.r#gen);
        Ok(Principal::new(user.ok_or(Refusal::Token("Forbidden"))?, Via::Jwt))
    }

    /// An API token or a password behind a name, for clients that know nothing else.
    async fn basic(&self, text: &str, address: Option<IpAddr>) -> Result<Principal, Refusal> {
        let decoded = BASE64_STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (name, given) = pair.ok_or(Refusal::Token("Forbidden"))?;
        if given.starts_with(API_TOKEN_PREFIX) {
            let principal = self.bearer(given).await?;
            return if name == principal.name { Ok(principal) } else { Err(Refusal::Token("Forbidden")) };
        }
        let user = self.log_in(name, given, address).await.map_err(Refusal::Login)?;
        Ok(Principal::new(user, Via::Password))
    }
}

fn login_event(event: &str, name: &str, address: Option<IpAddr>, how: &str) -> NewEvent {
    let address = address.map(|address| address.to_string());
    NewEvent {
        event: event.to_owned(),
        owner: Some(name.to_owned()),
        extra: Some(json!({"address": address, "by": how}).to_string()),
        ..NewEvent::default()
    }
}
