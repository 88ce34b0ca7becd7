//! What the text of a setting means: its type, or the end of a sentence that says what is wrong with it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use super::values::Secret;
use super::{FOREVER, shown_duration};

/// Origins of web sites, as browsers name them.
pub(super) fn origins(text: &str) -> Result<Vec<String>, String> {
    let origins = list(text)?;
    let is_origin = |origin: &String| {
        let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '*', ' ']))
    };
    match origins.iter().find(|origin| !is_origin(origin)) {
        Some(origin) => Err(format!("has `{origin}`; write origins such as https://app.example.org, without a path")),
        None => Ok(origins),
    }
}

/// Groups and the roles that they give.
pub(super) fn oidc_roles(text: &str) -> Result<Vec<String>, String> {
    let pairs = list(text)?;
    let is_pair = |pair: &String| {
        pair.rsplit_once('=')
            .is_some_and(|(group, role)| !group.trim().is_empty() && role.trim().parse::<towpath_store::Role>().is_ok())
    };
    match pairs.iter().find(|pair| !is_pair(pair)) {
        Some(pair) => {
            Err(format!("has `{pair}`; write GROUP=ROLE with a role out of none, viewer, user, op and admin"))
        }
        None => Ok(pairs),
    }
}

/// What is sent in the clear can be read and changed on the way; on this machine there is no way.
pub(super) fn issuer(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
    let is_local = host.is_some_and(|host| host == "localhost" || host.starts_with("127."));
    if text.is_empty() || text.starts_with("https://") || is_local {
        return Ok(text.to_owned());
    }
    Err(format!("is `{text}`; write the provider's address with https://, as its discovery document names it"))
}

pub(super) fn database_url(text: &str) -> Result<Secret, String> {
    let known = ["postgres://", "postgresql://", "sqlite:"];
    if known.iter().any(|scheme| text.starts_with(scheme)) {
        return Ok(Secret::new(text));
    }
    Err("is not a database address; write `postgres://user:password@host/database` or `sqlite:///path/to/file.db`"
        .to_owned())
}

pub(super) fn smtp_url(text: &str) -> Result<Secret, String> {
    if text.is_empty() || text.starts_with("smtp://") || text.starts_with("smtps://") {
        return Ok(Secret::new(text));
    }
    Err("is not the address of a mail server; write `smtp://user:password@host:587` or `smtps://user:password@host`"
        .to_owned())
}

pub(super) fn base_url(text: &str) -> Result<String, String> {
    if text.is_empty() || text.starts_with("http://") || text.starts_with("https://") {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    Err(format!("is `{text}`; write an address such as https://towpath.example.org"))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    towpath_model::duration::parse(text).map_err(|error| format!("has no duration: {error}"))
}

pub(super) fn keep(text: &str) -> Result<Option<Duration>, String> {
    if text.eq_ignore_ascii_case(FOREVER) { Ok(None) } else { duration(text).map(Some) }
}

pub(super) fn between(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let value = duration(text)?;
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    let shown = |duration| shown_duration(duration).as_str().unwrap_or_default().to_owned();
    Err(format!("is `{text}`; it must lie between {} and {}", shown(least), shown(most)))
}

pub(super) fn whole(text: &str, least: u32, most: u32) -> Result<u32, String> {
    text.replace('_', "")
        .parse()
        .ok()
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| format!("is `{text}`; write a whole number from {least} to {most}"))
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("is `{text}`; write true or false")),
    }
}

pub(super) fn list(text: &str) -> Result<Vec<String>, String> {
    Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

pub(super) fn names(text: &str) -> Result<Vec<String>, String> {
    match list(text)? {
        names if names.is_empty() => Err("is empty; write at least one name".to_owned()),
        names => Ok(names),
    }
}

/// An address to listen on: `host:port`, `:port`, or a port alone.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let expected = || format!("is `{text}`; write `host:port`, such as 127.0.0.1:8080 (port 0 takes a free one)");
    let full = match text.strip_prefix(':') {
        Some(port) => format!("127.0.0.1:{port}"),
        None if text.parse::<u16>().is_ok() => format!("127.0.0.1:{text}"),
        None => text.to_owned(),
    };
    full.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(expected)
}

pub(super) fn log_level(text: &str) -> Result<String, String> {
    crate::logging::targets(text).map(|_| text.to_owned()).map_err(|error| format!("is wrong: {error}"))
}
