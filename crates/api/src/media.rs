//! Replies that are JSON or plain text, as the client likes.

use axum::http::{HeaderMap, header};

use crate::{Error, Result};

/// A form of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    Text,
}

/// What the client takes; JSON where it takes both.
///
/// # Errors
/// 406 where it takes neither.
pub(crate) fn accepted(headers: &HeaderMap) -> Result<Media> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    let mut media = None;
    for part in accept.split(',') {
        match part.split(';').next().unwrap_or_default().trim() {
            "application/json" | "*/*" | "application/*" | "" => return Ok(Media::Json),
            "text/plain" | "text/*" => media = Some(Media::Text),
            _ => {}
        }
    }
    media.ok_or_else(|| Error::NotAcceptable("Only application/json or text/plain is supported".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (accept, expected) in [
            ("*/*", Some(Media::Json)),
            ("text/plain", Some(Media::Text)),
            ("text/plain, application/json;q=0.5", Some(Media::Json)),
            ("image/png", None),
        ] {
            let headers = [(header::ACCEPT, accept.parse().unwrap())].into_iter().collect();
            assert_eq!(accepted(&headers).ok(), expected, "{accept}");
        }
        assert_eq!(accepted(&HeaderMap::new()).ok(), Some(Media::Json));
    }
}
