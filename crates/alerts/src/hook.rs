//! Alerts as HTTP requests: JSON for whoever wants it, and the forms of Slack and Teams.

use std::sync::Once;
use std::time::Duration;

use serde_json::{Value, json};
use towpath_model::alert::Event;
use towpath_model::connection::{Connection, Secret};

use crate::news::News;
use crate::{Error, Failure};

/// Most characters of a refusal that are kept as the reason.
const MOST_WORDS: usize = 300;
/// Most characters of a log that go into a message; Slack and Teams cut or refuse longer ones.
const MOST_LOG: usize = 2_000;

/// The client of all requests. It follows no redirects: a hook that has moved is to be looked at by somebody.
pub(crate) fn client() -> Result<reqwest::Client, Error> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent("towpath")
        .build()
        .map_err(|error| Error::Http(told(error)))
}

/// Posts `body`.
pub(crate) async fn post(client: &reqwest::Client, address: &str, body: &Value) -> Result<(), Failure> {
    let response = match client.post(address).json(body).send().await {
        Ok(response) => response,
        Err(error) if error.is_builder() => return Err(Failure::Lasting(told(error))),
        Err(error) => return Err(Failure::Passing(told(error))),
    };
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let words = response.text().await.unwrap_or_default();
    let words: String = words.trim().chars().take(MOST_WORDS).collect();
    let colon = if words.is_empty() { "" } else { ": " };
    let reason = format!("it answered {status}{colon}{words}");
    // A request time-out, "too early" and "too many" are the client errors that pass.
    let passes = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    Err(if passes { Failure::Passing(reason) } else { Failure::Lasting(reason) })
}

/// An error with its causes and without the address, which is a secret as a rule.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// The address of a connection: its host with the secret part of the path as the password, as Airflow's providers
/// for Slack have it. With a login, the two are those of HTTP.
pub(crate) fn address_of(connection: &Connection) -> Result<String, Failure> {
    let wrong = |reason: &str| Failure::Passing(format!("connection `{}` {reason}", connection.conn_id));
    let password = connection.password.as_ref().map(Secret::expose).filter(|text| !text.is_empty());
    if let Some(whole) = password.filter(|text| text.starts_with("https://") || text.starts_with("http://")) {
        return Ok(whole.to_owned());
    }
    let host = connection.host.as_deref().filter(|host| !host.is_empty()).ok_or_else(|| wrong("has no host"))?;
    let scheme = connection.schema.as_deref().filter(|schema| matches!(*schema, "http" | "https")).unwrap_or("https");
    let base = if host.contains("://") { host.to_owned() } else { format!("{scheme}://{host}") };
    let mut url = url::Url::parse(&base).map_err(|error| wrong(&format!("has a host that is no address: {error}")))?;
    if connection.port.is_some() {
        url.set_port(connection.port).map_err(|()| wrong("has an address that takes no port"))?;
    }
    match (connection.login.as_deref().filter(|login| !login.is_empty()), password) {
        (Some(login), password) => {
            url.set_username(login).and_then(|()| url.set_password(password)).map_err(|()| wrong("takes no login"))?;
            Ok(url.into())
        }
        (None, Some(secret)) => {
            Ok(format!("{}/{}", url.as_str().trim_end_matches('/'), secret.trim_start_matches('/')))
        }
        (None, None) => Ok(url.into()),
    }
}

/// Slack's `{text}`, in its own form of Markdown.
pub(crate) fn slack(news: &News) -> Value {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let title = escaped(&news.title());
    let title = match news.url() {
        Some(url) => format!("{} <{url}|{}>", sign(news.event()), title.replace('|', "\u{2758}")),
        None => format!("{} {title}", sign(news.event())),
    };
    let facts: String = news.facts().iter().map(|(name, value)| format!("\n*{name}*: {}", escaped(value))).collect();
    let log = log_of(news).map(|log| format!("\n```{}```", escaped(&log).replace("```", "'''"))).unwrap_or_default();
    json!({"text": format!("{title}{facts}{log}")})
}

/// An adaptive card, as the workflows of Teams take them.
pub(crate) fn teams(news: &News) -> Value {
    let color = match news.event() {
        Event::Failure => "Attention",
        Event::Retry | Event::Deadline => "Warning",
        Event::Success => "Good",
    };
    let facts: Vec<Value> = news.facts().iter().map(|(name, value)| json!({"title": name, "value": value})).collect();
    let mut body = vec![
        json!({"type": "TextBlock", "size": "Medium", "weight": "Bolder", "color": color, "wrap": true, "text": news.title()}),
        json!({"type": "FactSet", "facts": facts}),
    ];
    if let Some(log) = log_of(news) {
        body.push(
            json!({"type": "TextBlock", "fontType": "Monospace", "wrap": true, "text": log.replace('\n', "\n\n")}),
        );
    }
    let actions: Vec<Value> =
        news.url().map(|url| json!({"type": "Action.OpenUrl", "title": "Open", "url": url})).into_iter().collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": {"width": "Full"},
                "body": body,
                "actions": actions
            }
        }]
    })
}

fn sign(event: Event) -> &'static str {
    match event {
        Event::Failure => ":red_circle:",
        Event::Retry => ":large_orange_circle:",
        Event::Deadline => ":alarm_clock:",
        Event::Success => ":large_green_circle:",
    }
}

/// The end of the log, as much of it as a message takes.
fn log_of(news: &News) -> Option<String> {
    let log = news.log().join("\n");
    let surplus = log.chars().count().saturating_sub(MOST_LOG);
    let log: String = log.chars().skip(surplus).collect();
    Some(log).filter(|log| !log.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(connection: Connection, expected: Result<&str, &str>) {
        let address = address_of(&Connection { conn_id: "c".to_owned(), ..connection });
        let address = address.map_err(|failure| match failure {
            Failure::Passing(reason) | Failure::Lasting(reason) => reason,
        });
        assert_eq!(address.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn addresses_of_connections() {
        let none = Connection::default;
        let host = |host: &str| Some(host.to_owned());
        let secret = |text: &str| Some(text.into());
        check(none(), Err("connection `c` has no host"));
        check(
            Connection { host: host("https://hooks.slack.com/services"), password: secret("/T/B/X"), ..none() },
            Ok("https://hooks.slack.com/services/T/B/X"),
        );
        check(Connection { password: secret("https://example.org/x"), ..none() }, Ok("https://example.org/x"));
        check(
            Connection { host: host("example.org"), schema: host("http"), port: Some(81), ..none() },
            Ok("http://example.org:81/"),
        );
        check(
            Connection { host: host("example.org"), login: host("me"), password: secret("p/w"), ..none() },
            Ok("https://me:p%2Fw@example.org/"),
        );
    }
}
