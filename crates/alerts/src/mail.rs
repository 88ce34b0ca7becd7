//! Alerts as mails.

use std::fmt;

use lettre::message::header::{ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, SinglePart, header};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use uuid::Uuid;

use crate::news::News;
use crate::{Error, Failure, SENDING};

/// How mails are sent, and from whom.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("from", &self.from).finish_non_exhaustive()
    }
}

/// Tells mail programs not to answer with notes of absence.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Smtp {
    /// A server at `url`: `smtp://user:password@host:port`, or `smtps://` for TLS from the first byte. `smtp://` changes
    /// to TLS where the server offers it, and insists on it where there is a password that would go over a network;
    /// `?tls=required`, `?tls=opportunistic` and `?tls=none` say it otherwise.
    ///
    /// # Errors
    /// [`Error::SmtpUrl`] and [`Error::SmtpFrom`] for texts that are none of these.
    pub fn new(url: &str, from: &str) -> Result<Self, Error> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(&with_tls(url)?)
            .map_err(|error| Error::SmtpUrl(format!("cannot be used: {error}")))?
            .timeout(Some(SENDING))
            .build();
        let from = from.parse().map_err(|error: lettre::address::AddressError| Error::SmtpFrom {
            text: from.to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self { transport, from })
    }

    pub(crate) async fn send(&self, to: &[String], news: &News) -> Result<(), Failure> {
        let message = self.message(to, news).map_err(Failure::Lasting)?;
        match self.transport.send(message).await {
            Ok(_) => Ok(()),
            Err(error) => Err(judged(&error)),
        }
    }

    fn message(&self, to: &[String], news: &News) -> Result<Message, String> {
        let mut mailboxes = Mailboxes::new();
        for address in to {
            mailboxes.push(address.parse().map_err(|error| format!("`{address}` is not a mail address: {error}"))?);
        }
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, news.identity().as_bytes());
        let body = SinglePart::builder()
            .header(ContentType::TEXT_PLAIN)
            .header(ContentTransferEncoding::QuotedPrintable)
            .body(news.text());
        Message::builder()
            .from(self.from.clone())
            .mailbox(header::To::from(mailboxes))
            .subject(news.subject())
            .date(news.created_at().into())
            .message_id(Some(format!("<{id}@towpath>")))
            .header(AutoSubmitted)
            .singlepart(body)
            .map_err(|error| format!("the mail cannot be written: {error}"))
    }
}

/// A refusal of what was sent stays; everything else (nobody answers, a login that is wrong, a full disk) may pass or
/// be mended.
fn judged(error: &lettre::transport::smtp::Error) -> Failure {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    let code = error.status().map(u16::from);
    // RFC 5321, 4.2.2: no such mailbox, not here, no such name, transaction failed.
    if matches!(code, Some(550 | 551 | 553 | 554)) { Failure::Lasting(text) } else { Failure::Passing(text) }
}

/// `url` with the `tls` that it is to have.
fn with_tls(url: &str) -> Result<String, Error> {
    let expected = "write `smtp://user:password@host:587` or `smtps://user:password@host`";
    let mut parsed =
        url::Url::parse(url).map_err(|error| Error::SmtpUrl(format!("is not an address ({error}); {expected}")))?;
    let Some(host) = parsed.host_str().filter(|host| !host.is_empty()).map(str::to_owned) else {
        return Err(Error::SmtpUrl(format!("names no host; {expected}")));
    };
    let tls = parsed.query_pairs().find(|(key, _)| key == "tls").map(|(_, value)| value.into_owned());
    let is_here = host == "localhost" || host.starts_with("127.") || host == "[::1]";
    let tls = match (parsed.scheme(), tls.as_deref()) {
        ("smtps", None) | ("smtp", Some("none")) => None,
        ("smtp", Some("required")) => Some("required"),
        ("smtp", Some("opportunistic")) => Some("opportunistic"),
        ("smtp", None) if parsed.password().is_some() && !is_here => Some("required"),
        ("smtp", None) if is_here => None,
        ("smtp", None) => Some("opportunistic"),
        ("smtp", Some(_)) => {
            return Err(Error::SmtpUrl("has an unknown `tls`; write required, opportunistic or none".to_owned()));
        }
        ("smtps", Some(_)) => return Err(Error::SmtpUrl("has `tls`, which only smtp:// takes".to_owned())),
        _ => return Err(Error::SmtpUrl(format!("is neither smtp:// nor smtps://; {expected}"))),
    };
    // Lettre's port with `tls` is that of submission; a server that was named without a port is meant to be the usual one.
    if parsed.scheme() == "smtp" && parsed.port().is_none() {
        let port = if parsed.password().is_some() { 587 } else { 25 };
        parsed.set_port(Some(port)).map_err(|()| Error::SmtpUrl(format!("takes no port; {expected}")))?;
    }
    parsed.set_query(tls.map(|tls| format!("tls={tls}")).as_deref());
    Ok(parsed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Result<&str, &str>) {
        let found = with_tls(url).map_err(|error| error.to_string());
        match (&found, expected) {
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            _ => assert_eq!(found.as_deref().map_err(String::as_str), expected),
        }
    }

    #[test]
    fn servers() {
        check("smtp://mail.example.org", Ok("smtp://mail.example.org:25?tls=opportunistic"));
        check("smtp://u:p@mail.example.org", Ok("smtp://u:p@mail.example.org:587?tls=required"));
        check("smtp://u:p@mail.example.org:2525?tls=none", Ok("smtp://u:p@mail.example.org:2525"));
        check("smtp://u:p@127.0.0.1:1025", Ok("smtp://u:p@127.0.0.1:1025"));
        check("smtps://u:p@mail.example.org", Ok("smtps://u:p@mail.example.org"));
        check("smtp://localhost:1025?tls=required", Ok("smtp://localhost:1025?tls=required"));
        check("smtp://h?tls=maybe", Err("write required, opportunistic or none"));
        check("https://h", Err("neither smtp:// nor smtps://"));
        check("mail.example.org", Err("is not an address"));
        check("smtp:", Err("names no host"));
        for url in ["smtp://u:p@mail.example.org", "smtps://u:p@mail.example.org:465", "smtp://127.0.0.1:25"] {
            assert!(Smtp::new(url, "Towpath <towpath@example.org>").is_ok(), "{url}");
        }
        let error = Smtp::new("smtp://h", "nobody").unwrap_err().to_string();
        assert!(error.starts_with("`smtp_from` is `nobody`, which is not a mail address: "), "{error}");
    }

    #[test]
    fn a_password_does_not_print() {
        let smtp = Smtp::new("smtps://u:hunter2@mail.example.org", "a@example.org").unwrap();
        assert!(!format!("{smtp:?}").contains("hunter2"));
    }
}
