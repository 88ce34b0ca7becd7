//! Logging in and out, and the page of one's own account. They work without any script.

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use serde::Deserialize;
use towpath_auth::guard::Peer;
use towpath_auth::{Auth, Callback, LoginError, Mode, OidcError, Principal, Via, password};
use towpath_store::Store;

use crate::assets::Urls;
use crate::error::Denied;
use crate::routes::{protect, shield};
use crate::view::text::shown;
use crate::{Error, Result};

#[derive(Debug, Clone)]
struct Doors {
    auth: Auth,
    store: Store,
}

/// `/login`, `/logout` and `/account`.
pub fn router(auth: Auth, store: Store) -> Router {
    Router::new()
        .route("/login", get(form).post(log_in))
        .route("/login/link", get(link))
        .route("/login/oidc", get(oidc))
        .route("/login/oidc/callback", get(oidc_callback))
        .route("/logout", post(log_out))
        .route("/account", get(account))
        .route("/account/password", post(set_password))
        .layer(axum::middleware::map_response(protect))
        .with_state(Doors { auth, store })
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

fn login_page(
    doors: &Doors,
    status: StatusCode,
    fields: &LoginFields,
    mistake: Option<String>,
) -> Result<Response> {
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
    let user = doors.store.user(&caller.name).await?;
    let page = AccountPage {
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
