//! Logging in and out, and the page of one's own account. They work without any script.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use strum::IntoEnumIterator as _;
use towpath_auth::guard::Peer;
use towpath_auth::{API_TOKEN_PREFIX, Auth, Callback, LoginError, Minted, Mode, OidcError, Principal, Via, password};
use towpath_model::clock::SharedClock;
use towpath_store::{NewToken, Role, Store, UserRecord};

use crate::assets::Urls;
use crate::error::Denied;
use crate::pages::admin::users::Token;
use crate::routes::{protect, shield};
use crate::view::text::shown;
use crate::{Error, Result};

#[derive(Debug, Clone)]
struct Doors {
    auth: Auth,
    store: Store,
    clock: SharedClock,
}

/// `/login`, `/logout` and `/account`.
pub fn router(auth: Auth, store: Store, clock: SharedClock) -> Router {
    Router::new()
        .route("/login", get(form).post(log_in))
        .route("/login/link", get(link))
        .route("/login/oidc", get(oidc))
        .route("/login/oidc/callback", get(oidc_callback))
        .route("/logout", post(log_out))
        .route("/account", get(account))
        .route("/account/password", post(set_password))
        .route("/account/tokens", post(create_token))
        .route("/account/tokens/{id}/revoke", post(revoke_token))
        .layer(axum::middleware::map_response(protect))
        .with_state(Doors { auth, store, clock })
}

/// The page that says why somebody may not see another.
#[must_use]
pub fn denied(status: StatusCode, reason: &str) -> Response {
    shield(Error::Denied(Denied { status, reason: reason.to_owned() }).into_response())
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    assets: Urls,
    next: String,
    username: String,
    mistake: Option<String>,
    /// Of the button that leads to the identity provider, and where that is.
    provider: Option<(String, String)>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LoginFields {
    username: String,
    password: String,
    /// Where to go afterwards.
    next: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LinkFields {
    token: String,
    next: String,
}

async fn form(State(doors): State<Doors>, Query(fields): Query<LoginFields>) -> Result<Response> {
    if doors.auth.mode() == Mode::Everybody {
        return Ok(Redirect::to(inside(&fields.next)).into_response());
    }
    login_page(&doors, StatusCode::OK, &fields, None)
}

fn login_page(doors: &Doors, status: StatusCode, fields: &LoginFields, mistake: Option<String>) -> Result<Response> {
    let next = inside(&fields.next);
    let to = crate::links::query("/login/oidc", &[("next", next)]);
    let page = LoginPage {
        assets: Urls::get(),
        next: inside(&fields.next).to_owned(),
        username: fields.username.clone(),
        mistake,
        provider: doors.auth.provider_label().map(|label| (shown(label), to)),
    };
    Ok((status, Html(page.render()?)).into_response())
}

async fn log_in(State(doors): State<Doors>, Peer(peer): Peer, Form(fields): Form<LoginFields>) -> Result<Response> {
    match doors.auth.log_in(&fields.username, &fields.password, peer).await {
        Ok(user) => {
            let cookie = doors.auth.begin_session(&user, "password", peer).await?;
            Ok(go(inside(&fields.next), cookie))
        }
        Err(error @ LoginError::Wait(wait)) => {
            let mistake = Some(format!("{}.", shown(&error.to_string()).replacen("too", "Too", 1)));
            let mut response = login_page(&doors, StatusCode::TOO_MANY_REQUESTS, &fields, mistake)?;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.num_seconds() + 1));
            Ok(response)
        }
        Err(LoginError::Wrong) => {
            let mistake = "The user or the password is wrong.".to_owned();
            login_page(&doors, StatusCode::UNAUTHORIZED, &fields, Some(mistake))
        }
        Err(LoginError::Store(error)) => Err(error.into()),
    }
}

/// A link works once, so what only looks ahead must not use it up.
async fn link(
    State(doors): State<Doors>,
    method: Method,
    headers: HeaderMap,
    Peer(peer): Peer,
    Query(fields): Query<LinkFields>,
) -> Result<Response> {
    let looks_ahead = ["sec-purpose", "purpose", "x-moz"]
        .iter()
        .filter_map(|name| headers.get(*name)?.to_str().ok())
        .any(|purpose| purpose.contains("prefetch") || purpose.contains("preview"));
    if method == Method::HEAD || looks_ahead {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    match doors.auth.follow_link(&fields.token, peer).await {
        Ok(cookie) => Ok(go(inside(&fields.next), cookie)),
        Err(LoginError::Store(error)) => Err(error.into()),
        Err(LoginError::Wrong | LoginError::Wait(_)) => {
            let mistake = "This link has been used, or its 15 minutes are over.".to_owned();
            login_page(&doors, StatusCode::UNAUTHORIZED, &LoginFields::default(), Some(mistake))
        }
    }
}

/// Sends the browser to the identity provider.
async fn oidc(State(doors): State<Doors>, Query(fields): Query<LoginFields>) -> Result<Response> {
    match doors.auth.begin_oidc(inside(&fields.next)).await {
        Ok((to, cookie)) => Ok(go(&to, cookie)),
        Err(error) => oidc_failed(&doors, &fields, error),
    }
}

/// Where the identity provider sends it back to.
async fn oidc_callback(
    State(doors): State<Doors>,
    headers: HeaderMap,
    Peer(peer): Peer,
    Query(callback): Query<Callback>,
) -> Result<Response> {
    match doors.auth.finish_oidc(&callback, &headers).await {
        Ok((user, next, forget)) => {
            let cookie = doors.auth.begin_session(&user, "oidc", peer).await?;
            let mut response = go(inside(&next), cookie);
            response.headers_mut().append(header::SET_COOKIE, forget);
            Ok(response)
        }
        Err(error) => {
            doors.auth.note_failure("?", "oidc", peer).await;
            oidc_failed(&doors, &LoginFields::default(), error)
        }
    }
}

fn oidc_failed(doors: &Doors, fields: &LoginFields, error: OidcError) -> Result<Response> {
    let status = match error {
        OidcError::Store(error) => return Err(error.into()),
        OidcError::Off => return Err(Error::no_such("page", "/login/oidc")),
        OidcError::Stale => StatusCode::BAD_REQUEST,
        OidcError::Refused(_) => StatusCode::FORBIDDEN,
        OidcError::Provider(_) => {
            tracing::warn!("nobody can log in by the identity provider: {error}");
            StatusCode::BAD_GATEWAY
        }
    };
    login_page(doors, status, fields, Some(shown(&format!("{error}."))))
}

async fn log_out(State(doors): State<Doors>, headers: HeaderMap) -> Result<Response> {
    Ok(go("/login", doors.auth.end_session(&headers).await?))
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    assets: Urls,
    name: String,
    role: String,
    /// What is granted beyond the role: where, and what.
    grants: Vec<(String, String)>,
    has_password: bool,
    is_session: bool,
    tokens: Vec<Token>,
    roles: Vec<Role>,
    /// A token that has just been made: shown this once.
    minted: Option<String>,
    told: Option<&'static str>,
    mistake: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AccountFields {
    changed: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PasswordFields {
    current: String,
    new: String,
}

async fn account(
    State(doors): State<Doors>,
    Extension(caller): Extension<Principal>,
    Query(fields): Query<AccountFields>,
) -> Result<Response> {
    let told = fields.changed.map(|_| "The password is changed.");
    account_page(&doors, &caller, StatusCode::OK, told, None).await
}

async fn account_page(
    doors: &Doors,
    caller: &Principal,
    status: StatusCode,
    told: Option<&'static str>,
    mistake: Option<String>,
) -> Result<Response> {
    show_account(doors, caller, status, told, mistake, None).await
}

async fn show_account(
    doors: &Doors,
    caller: &Principal,
    status: StatusCode,
    told: Option<&'static str>,
    mistake: Option<String>,
    minted: Option<String>,
) -> Result<Response> {
    let user = doors.store.user(&caller.name).await?;
    let now = doors.clock.now();
    let mut tokens = doors.store.tokens().await?;
    tokens.retain(|token| token.user == caller.name && token.revoked_at.is_none());
    let page = AccountPage {
        tokens: tokens.iter().map(|token| Token::new(token, "/account/tokens", now)).collect(),
        roles: Role::iter().filter(|role| *role <= caller.role).collect(),
        minted,
        assets: Urls::get(),
        name: caller.name.clone(),
        role: caller.role.to_string(),
        grants: caller.grants.iter().map(|grant| (shown(&grant.scope.to_string()), grant.access.to_string())).collect(),
        has_password: user.is_some_and(|user| user.password_hash.is_some()),
        is_session: caller.via == Via::Session,
        told,
        mistake,
    };
    Ok((status, Html(page.render()?)).into_response())
}

async fn set_password(
    State(doors): State<Doors>,
    Extension(caller): Extension<Principal>,
    Peer(peer): Peer,
    Form(fields): Form<PasswordFields>,
) -> Result<Response> {
    let user = doors.store.user(&caller.name).await?.filter(|_| caller.via == Via::Session);
    let user = user.ok_or_else(|| Error::BadRequest("only somebody who has logged in has a password".to_owned()))?;
    if user.password_hash.is_some() {
        match doors.auth.log_in(&user.name, &fields.current, peer).await {
            Ok(_) => {}
            Err(LoginError::Store(error)) => return Err(error.into()),
            Err(error) => {
                let mistake = match error {
                    LoginError::Wait(_) => error.to_string(),
                    LoginError::Wrong | LoginError::Store(_) => "The current password is wrong.".to_owned(),
                };
                return account_page(&doors, &caller, StatusCode::FORBIDDEN, None, Some(mistake)).await;
            }
        }
    }
    let hash = match password::hash(&fields.new).await {
        Ok(hash) => hash,
        Err(unfit) => {
            return account_page(&doors, &caller, StatusCode::BAD_REQUEST, None, Some(unfit.to_string())).await;
        }
    };
    doors.auth.set_password(&user.name, &hash).await?;
    let cookie = doors.auth.begin_session(&user, "password", peer).await?;
    Ok(go("/account?changed=1", cookie))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TokenFields {
    name: String,
    /// What it may do at most; empty for all that its user may.
    role: String,
    /// A duration such as `90d`; empty for ever.
    expires: String,
}

impl TokenFields {
    /// What is wrong with them, or the token to make.
    fn read(&self, user: &str, hash: String, now: DateTime<Utc>) -> Result<NewToken, String> {
        let role = match self.role.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| format!("role: `{text}` is no role"))?),
        };
        let expires_at = match self.expires.trim() {
            "" => None,
            text => {
                let life = towpath_model::duration::parse(text).map_err(|error| format!("expires: {error}"))?;
                let end = TimeDelta::from_std(life).ok().and_then(|life| now.checked_add_signed(life));
                Some(end.ok_or_else(|| "expires: that is too long".to_owned())?)
            }
        };
        Ok(NewToken { hash, name: self.name.trim().to_owned(), user: user.to_owned(), role, expires_at })
    }
}

/// A token can make no other one: who finds it must not outlive it.
async fn logged_in(doors: &Doors, caller: &Principal) -> Result<UserRecord> {
    let user = doors.store.user(&caller.name).await?.filter(|_| caller.via == Via::Session);
    user.ok_or_else(|| Error::BadRequest("only somebody who has logged in has tokens".to_owned()))
}

async fn create_token(
    State(doors): State<Doors>,
    Extension(caller): Extension<Principal>,
    Form(fields): Form<TokenFields>,
) -> Result<Response> {
    let user = logged_in(&doors, &caller).await?;
    let now = doors.clock.now();
    let minted = Minted::new(API_TOKEN_PREFIX);
    let made = match fields.read(&user.name, minted.hash.clone(), now) {
        Ok(new) => doors.store.create_token(&new, now).await,
        Err(mistake) => Err(towpath_store::Error::Invalid(mistake)),
    };
    let mistake = match made {
        Ok(Some(_)) => {
            let text = Some(minted.text);
            return show_account(&doors, &caller, StatusCode::OK, None, None, text).await;
        }
        Ok(None) => format!("name: you have a token `{}` already; revoke it, or take another name", fields.name),
        Err(towpath_store::Error::Invalid(why)) => why,
        Err(error) => return Err(error.into()),
    };
    account_page(&doors, &caller, StatusCode::UNPROCESSABLE_ENTITY, None, Some(shown(&mistake))).await
}

async fn revoke_token(
    State(doors): State<Doors>,
    Extension(caller): Extension<Principal>,
    Path(id): Path<i64>,
) -> Result<Response> {
    let user = logged_in(&doors, &caller).await?;
    let is_theirs = doors.store.tokens().await?.iter().any(|token| token.id == id && token.user == user.name);
    if !is_theirs || !doors.store.revoke_token(id, doors.clock.now()).await? {
        return Err(Error::no_such("token of yours that is still good", &id.to_string()));
    }
    Ok(Redirect::to("/account").into_response())
}

fn go(to: &str, cookie: HeaderValue) -> Response {
    ([(header::SET_COOKIE, cookie)], Redirect::to(to)).into_response()
}

/// `next` where it is a path of this server, and `/` otherwise: a login must not send people elsewhere.
fn inside(next: &str) -> &str {
    let is_path = next.starts_with('/') && !next.starts_with("//") && !next.starts_with("/\\");
    let is_plain = next.chars().all(|c| c.is_ascii_graphic() && c != '\\');
    if is_path && is_plain && !next.starts_with("/login") { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for (next, expected) in [
            ("/dags/etl?x=1", "/dags/etl?x=1"),
            ("/", "/"),
            ("", "/"),
            ("dags", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\t/evil.example", "/"),
            ("/dags\r\nSet-Cookie: a=b", "/"),
            ("/login?next=/login", "/"),
        ] {
            assert_eq!(inside(next), expected, "{next}");
        }
    }
}
