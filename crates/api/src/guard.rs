//! Keeps other web sites out of the browser of somebody who can reach this server.
//!
//! Two attacks need no password: a page elsewhere sends a form here (cross-site request forgery),
//! and a page whose name is made to resolve to this machine reads the answers (DNS rebinding). The
//! first shows in `Sec-Fetch-Site` and `Origin`, which scripts cannot forge; the second in `Host`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::Error;

/// The `Host` headers that are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// All: the server is meant to be reached by names that it does not know.
    Any,
    /// Names of this machine's loopback, and those given.
    Loopback(Arc<[String]>),
}

impl Hosts {
    /// What a server should answer that is bound to `address`: on loopback only what a browser on
    /// this machine would call it, and the names in `also` (a reverse proxy's).
    #[must_use]
    pub fn of(address: SocketAddr, also: &[String]) -> Self {
        if address.ip().is_loopback() {
            Self::Loopback(also.iter().map(|name| name.to_ascii_lowercase()).collect())
        } else {
            Self::Any
        }
    }

    fn allow(&self, host: &str) -> bool {
        let Self::Loopback(also) = self else { return true };
        let name = without_port(host).to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let is_loopback_address = name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
        is_loopback_address
            || name == "localhost"
            || name.ends_with(".localhost")
            || also.iter().any(|known| known == name)
    }
}

/// The middleware.
pub(crate) async fn check(State(state): State<crate::State>, request: Request, next: Next) -> Response {
    // What a listed site sends it proves with a token; a cookie proves nothing there.
    let headers = request.headers();
    let is_listed = headers.get(header::ORIGIN).is_some_and(|origin| state.origins.contains(origin));
    let by_token = is_listed && !headers.contains_key(header::COOKIE);
    let method = if by_token { &Method::GET } else { request.method() };
    match verdict(&state.hosts, method, request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(reason) if request.uri().path().starts_with("/api/") => Error::Forbidden(reason).into_response(),
        Err(reason) => (axum::http::StatusCode::FORBIDDEN, format!("{reason}\n")).into_response(),
    }
}

fn verdict(hosts: &Hosts, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), String> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    // HTTP/2 and absolute requests carry the host in the address.
    let host = uri.authority().map(axum::http::uri::Authority::as_str).or_else(|| text(header::HOST));
    if let Some(host) = host.filter(|host| !hosts.allow(host)) {
        return Err(format!(
            "this server listens on this machine only and does not answer for `{}`; \
             use http://localhost, or name the host in its configuration",
            host.escape_default()
        ));
    }
    if method.is_safe() {
        return Ok(());
    }
    let refused = || Err("a page of another site sent this request; nothing was changed".to_owned());
    match (headers.get("sec-fetch-site").map(HeaderValue::as_bytes), text(header::ORIGIN)) {
        (Some(b"same-origin" | b"none"), _) => Ok(()),
        (Some(_), _) => refused(),
        (None, Some(origin)) => {
            let same = origin.split_once("://").is_some_and(|(scheme, authority)| {
                host.is_some_and(|host| with_port(host, scheme) == with_port(authority, scheme))
            });
            if same { Ok(()) } else { refused() }
        }
        // Not a browser.
        (None, None) => Ok(()),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

fn with_port(host: &str, scheme: &str) -> String {
    let host = host.to_ascii_lowercase();
    if without_port(&host).len() < host.len() {
        return host;
    }
    let port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_a_server_on_loopback() {
        let hosts = Hosts::of("127.0.0.1:8080".parse().unwrap(), &["Towpath.Example".to_owned()]);
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST:8080", true),
            ("localhost.", true),
            ("towpath.localhost:1", true),
            ("127.0.0.1:8080", true),
            ("127.1.2.3", true),
            ("[::1]:8080", true),
            ("towpath.example:443", true),
            ("evil.example", false),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("10.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(hosts.allow(host), expected, "{host}");
        }
        assert!(Hosts::of("0.0.0.0:8080".parse().unwrap(), &[]).allow("evil.example"));
    }

    #[track_caller]
    fn check(method: &Method, headers: &[(&'static str, &'static str)], expected: bool) {
        let map = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let found = verdict(&Hosts::Any, method, &Uri::from_static("/x"), &map);
        assert_eq!(found.is_ok(), expected, "{method} {headers:?}");
    }

    #[test]
    fn other_sites_may_read_but_not_write() {
        check(&Method::GET, &[("sec-fetch-site", "cross-site")], true);
        check(&Method::POST, &[("sec-fetch-site", "same-origin")], true);
        check(&Method::POST, &[("sec-fetch-site", "none")], true);
        check(&Method::POST, &[("sec-fetch-site", "same-site")], false);
        check(&Method::PATCH, &[("sec-fetch-site", "cross-site")], false);
        // An older browser.
        check(&Method::POST, &[("host", "h:8080"), ("origin", "http://h:8080")], true);
        check(&Method::POST, &[("host", "h"), ("origin", "http://H:80")], true);
        check(&Method::POST, &[("host", "h"), ("origin", "https://h:443")], true);
        check(&Method::POST, &[("host", "h:8080"), ("origin", "http://h:8081")], false);
        check(&Method::POST, &[("host", "h:8080"), ("origin", "http://evil:8080")], false);
        check(&Method::POST, &[("host", "h"), ("origin", "null")], false);
        check(&Method::POST, &[("origin", "http://h")], false);
        // The first header wins: it cannot be forged, and a proxy may change `Host`.
        check(&Method::POST, &[("sec-fetch-site", "cross-site"), ("host", "h"), ("origin", "http://h")], false);
        // Not a browser.
        check(&Method::POST, &[("host", "h")], true);
    }
}
