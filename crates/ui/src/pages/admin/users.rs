//! Users: who may log in, what each may do, and the tokens that programs log in with.

use askama::Template;
use axum::Form;
use axum::extract::{self, Path};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use strum::IntoEnumIterator as _;
use towpath_auth::{Minted, password};
use towpath_store::{Access, Grant, Role, Scope, TokenRecord, UserRecord};

use super::super::html;
use super::{Tab, crumbs, filled, tabs};
use crate::frame::Frame;
use crate::view::moment::Moment;
use crate::view::text::shown;
use crate::{Error, Result, State, links};

/// How long a login link can be used.
const LINK_LIFE: TimeDelta = TimeDelta::minutes(15);

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    name: String,
    role: String,
    password: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct GrantFields {
    /// `dag` or `tag`.
    kind: String,
    target: String,
    /// `read` or `edit`.
    access: String,
}

#[derive(Template)]
#[template(path = "admin/users.html")]
struct Page {
    frame: Frame,
    now: DateTime<Utc>,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    tokens: Vec<Token>,
    roles: Vec<(Role, &'static str)>,
    fields: Fields,
    mistake: Option<String>,
    /// Whom a link lets in, and the link: shown this once.
    link: Option<(String, String)>,
}

struct Row {
    name: String,
    href: String,
    role: Role,
    how: &'static str,
    last_login: Option<Moment>,
    grants: Vec<(String, &'static str, String, Access)>,
    is_last_admin: bool,
}

/// A token as lists show it.
pub(crate) struct Token {
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) role: String,
    pub(crate) made: Moment,
    pub(crate) used: Option<Moment>,
    pub(crate) ends: String,
    pub(crate) is_good: bool,
    pub(crate) href: String,
}

impl Token {
    /// `base` is the address of the list.
    pub(crate) fn new(token: &TokenRecord, base: &str, now: DateTime<Utc>) -> Self {
        let is_over = token.expires_at.is_some_and(|at| at <= now);
        Self {
            name: shown(&token.name),
            user: shown(&token.user),
            role: token.role.map(|role| role.to_string()).unwrap_or_default(),
            made: Moment::new(token.created_at, now),
            used: token.last_used_at.map(|at| Moment::new(at, now)),
            ends: match (token.revoked_at, token.expires_at) {
                (Some(_), _) => "revoked".to_owned(),
                (None, Some(_)) if is_over => "has expired".to_owned(),
                (None, Some(at)) => format!("until {}", crate::view::moment::absolute(at)),
                (None, None) => "until it is revoked".to_owned(),
            },
            is_good: token.revoked_at.is_none() && !is_over,
            href: format!("{base}/{}/revoke", token.id),
        }
    }
}

/// What each role may do, in a few words.
pub(crate) fn words(role: Role) -> &'static str {
    match role {
        Role::None => "only what is granted below",
        Role::Viewer => "looks at everything but secrets",
        Role::User => "triggers, clears and changes DAGs too",
        Role::Op => "connections, variables and pools too",
        Role::Admin => "users and everything else too",
    }
}

fn back() -> Redirect {
    Redirect::to(&format!("{}/users", links::ADMIN))
}

pub(crate) async fn get(extract::State(state): extract::State<State>) -> Result<Html<String>> {
    page(&state, Fields::default(), None, None).await
}

async fn page(
    state: &State,
    fields: Fields,
    mistake: Option<String>,
    link: Option<(String, String)>,
) -> Result<Html<String>> {
    let now = state.clock.now();
    let users = state.store.users().await?;
    let tokens = state.store.tokens().await?;
    let admins = users.iter().filter(|user| user.role == Role::Admin).count();
    let base = format!("{}/tokens", links::ADMIN);
    html(&Page {
        frame: Frame::new(state, now, crumbs("Users"), false).await.still(),
        now,
        tabs: tabs("Users"),
        rows: users.iter().map(|user| row(user, admins == 1, now)).collect(),
        tokens: tokens.iter().rev().map(|token| Token::new(token, &base, now)).collect(),
        roles: Role::iter().map(|role| (role, words(role))).collect(),
        fields: Fields { password: String::new(), ..fields },
        mistake,
        link,
    })
}

fn row(user: &UserRecord, is_one_admin: bool, now: DateTime<Utc>) -> Row {
    Row {
        name: shown(&user.name),
        href: format!("{}/users/{}", links::ADMIN, links::part(&user.name)),
        role: user.role,
        how: if user.password_hash.is_some() { "password" } else { "link or token only" },
        last_login: user.last_login_at.map(|at| Moment::new(at, now)),
        grants: user
            .grants
            .iter()
            .map(|grant| {
                let (kind, target) = match &grant.scope {
                    Scope::Dag(dag_id) => ("dag", dag_id),
                    Scope::Tag(tag) => ("tag", tag),
                };
                (shown(&grant.scope.to_string()), kind, target.clone(), grant.access)
            })
            .collect(),
        is_last_admin: is_one_admin && user.role == Role::Admin,
    }
}

async fn refuse(state: &State, fields: Fields, mistake: String) -> Result<Response> {
    let page = page(state, fields, Some(shown(&mistake)), None).await?;
    Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
}

async fn find(state: &State, name: &str) -> Result<UserRecord> {
    state.store.user(name).await?.ok_or_else(|| Error::no_such("user", name))
}

/// Somebody has to be able to make users.
async fn keep_an_admin(state: &State, name: &str) -> Result<()> {
    let users = state.store.users().await?;
    let mut admins = users.iter().filter(|user| user.role == Role::Admin).peekable();
    let is_one = admins.peek().is_some() && admins.all(|user| user.name == name);
    if is_one {
        return Err(Error::BadRequest(format!("`{name}` is the only admin; make another one first")));
    }
    Ok(())
}

pub(crate) async fn post(extract::State(state): extract::State<State>, Form(fields): Form<Fields>) -> Result<Response> {
    let Ok(role) = fields.role.parse::<Role>() else {
        return refuse(&state, fields, "role: choose one of the list".to_owned()).await;
    };
    let hash = match fields.password.as_str() {
        "" => None,
        given => match password::hash(given).await {
            Ok(hash) => Some(hash),
            Err(unfit) => return refuse(&state, fields, format!("password: {unfit}")).await,
        },
    };
    let name = fields.name.trim().to_owned();
    match state.store.create_user(&name, role, hash.as_deref(), state.clock.now()).await {
        Ok(true) => Ok(back().into_response()),
        Ok(false) => refuse(&state, fields, format!("name: there is a user `{name}` already")).await,
        Err(towpath_store::Error::Invalid(why)) => refuse(&state, fields, format!("name: {why}")).await,
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn set_role(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Form(fields): Form<Fields>,
) -> Result<Redirect> {
    find(&state, &name).await?;
    let wrong = |_| Error::BadRequest(format!("`{}` is no role", shown(&fields.role)));
    let role: Role = fields.role.parse().map_err(wrong)?;
    if role != Role::Admin {
        keep_an_admin(&state, &name).await?;
    }
    state.store.set_role(&name, role).await?;
    Ok(back())
}

impl GrantFields {
    fn scope(&self) -> Result<Scope> {
        let target = filled(&self.target).ok_or_else(|| Error::BadRequest("name a DAG or a tag".to_owned()))?;
        match self.kind.as_str() {
            "dag" => Ok(Scope::Dag(target)),
            "tag" => Ok(Scope::Tag(target)),
            other => Err(Error::BadRequest(format!("`{}` is neither `dag` nor `tag`", shown(other)))),
        }
    }
}

pub(crate) async fn grant(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Form(fields): Form<GrantFields>,
) -> Result<Redirect> {
    find(&state, &name).await?;
    let access = match fields.access.as_str() {
        "read" => Access::Read,
        "edit" => Access::Edit,
        other => return Err(Error::BadRequest(format!("`{}` is neither `read` nor `edit`", shown(other)))),
    };
    state.store.grant(&name, &Grant { scope: fields.scope()?, access }).await?;
    Ok(back())
}

pub(crate) async fn revoke(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    Form(fields): Form<GrantFields>,
) -> Result<Redirect> {
    find(&state, &name).await?;
    state.store.revoke(&name, &fields.scope()?).await?;
    Ok(back())
}

/// Makes a link that lets the user in once, to set a password.
pub(crate) async fn link(
    extract::State(state): extract::State<State>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Html<String>> {
    let user = find(&state, &name).await?;
    let minted = Minted::new("");
    let now = state.clock.now();
    state.store.create_login_link(&minted.hash, &user.name, now + LINK_LIFE, now).await?;
    // A browser that sends a form says where this site is.
    let text = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let base = match (text(header::ORIGIN).filter(|origin| origin.contains("://")), text(header::HOST)) {
        (Some(origin), _) => origin.to_owned(),
        (None, Some(host)) => format!("http://{host}"),
        (None, None) => String::new(),
    };
    let address = format!("{base}/login/link?token={}&next=/account", minted.text);
    page(&state, Fields::default(), None, Some((shown(&user.name), shown(&address)))).await
}

pub(crate) async fn delete(extract::State(state): extract::State<State>, Path(name): Path<String>) -> Result<Redirect> {
    find(&state, &name).await?;
    keep_an_admin(&state, &name).await?;
    state.store.delete_user(&name).await?;
    Ok(back())
}

pub(crate) async fn revoke_token(
    extract::State(state): extract::State<State>,
    Path(id): Path<i64>,
) -> Result<Redirect> {
    if !state.store.revoke_token(id, state.clock.now()).await? {
        return Err(Error::no_such("token that is still good", &id.to_string()));
    }
    Ok(back())
}
