//! The cookie of a session.

use axum::http::{HeaderMap, HeaderValue, header};
use chrono::TimeDelta;

/// Name and attributes of the cookie.
#[derive(Debug, Clone)]
pub(crate) struct Cookie {
    name: String,
    is_secure: bool,
}

impl Cookie {
    /// Browsers do not tell the ports of a host apart, so the name does: two servers on one machine must not log each
    /// other's users out. Behind HTTPS the prefix keeps other hosts of the domain from setting it.
    pub(crate) fn new(port: u16, is_secure: bool) -> Self {
        let prefix = if is_secure { "__Host-" } else { "" };
        Self { name: format!("{prefix}towpath_{port}"), is_secure }
    }

    /// Another cookie of the same server.
    pub(crate) fn beside(&self, suffix: &str) -> Self {
        Self { name: format!("{}{suffix}", self.name), is_secure: self.is_secure }
    }

    /// What the browser sent back.
    pub(crate) fn read<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, value)| *name == self.name && !value.is_empty())
            .map(|(_, value)| value)
    }

    /// Sets it for so long.
    pub(crate) fn set(&self, value: &str, life: TimeDelta) -> HeaderValue {
        let Self { name, is_secure } = self;
        let secure = if *is_secure { "; Secure" } else { "" };
        let seconds = life.num_seconds();
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::from_str(&text).expect("names and values are of letters and digits")
    }

    /// Makes the browser forget it.
    pub(crate) fn clear(&self) -> HeaderValue {
        self.set("", TimeDelta::zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_is_read() {
        let cookie = Cookie::new(8080, false);
        for (sent, expected) in [
            ("towpath_8080=abc", Some("abc")),
            ("a=b; towpath_8080=abc; c=d", Some("abc")),
            ("towpath_8081=abc", None),
            ("towpath_8080=", None),
            ("xtowpath_8080=abc", None),
            ("", None),
        ] {
            let headers = [(header::COOKIE, HeaderValue::from_str(sent).unwrap())].into_iter().collect();
            assert_eq!(cookie.read(&headers), expected, "{sent}");
        }
    }

    #[test]
    fn attributes() {
        let set = Cookie::new(443, true).set("abc", TimeDelta::days(1));
        assert_eq!(set, "__Host-towpath_443=abc; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(Cookie::new(80, false).clear(), "towpath_80=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    }
}
