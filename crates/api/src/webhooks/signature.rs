//! Signatures of requests: HMAC-SHA256 in the form of Standard Webhooks, or in GitHub's.
//!
//! The first signs an id and a time along with the body, so an old request cannot be sent again as a new one. GitHub
//! signs the body alone: there, the body is the delivery, and the same body never starts a second run.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::PREFIX;

/// How far the time of a request may be from ours.
const TOLERANCE: TimeDelta = TimeDelta::minutes(5);
/// Longest id of a delivery, in bytes.
const LONGEST_ID: usize = 255;

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error(
        "the request is not signed: send `webhook-id`, `webhook-timestamp` and `webhook-signature` (Standard Webhooks), \
         or `X-Hub-Signature-256`"
    )]
    Unsigned,
    #[error("`webhook-id` has 1 to 255 ASCII characters")]
    Id,
    #[error("`webhook-timestamp` is no time in seconds since 1970, or more than 5 minutes from now")]
    Time,
    /// Nothing is told about whether there is such a webhook.
    #[error("there is no such webhook, or the signature does not fit")]
    Forged,
}

/// A request that claims to be signed.
#[derive(Debug)]
pub(super) struct Signed<'a> {
    headers: &'a HeaderMap,
    body: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(super) fn new(headers: &'a HeaderMap, body: &'a [u8]) -> Self {
        Self { headers, body }
    }

    fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// What names the delivery, once one of `secrets` has signed it. Without any secret it takes as long.
    pub(super) fn delivery(&self, secrets: &[String], now: DateTime<Utc>) -> Result<String, Unfit> {
        if let Some(signatures) = self.header("webhook-signature") {
            return self.standard(signatures, secrets, now);
        }
        match self.header("x-hub-signature-256") {
            Some(signature) => self.github(signature, secrets),
            None => Err(Unfit::Unsigned),
        }
    }

    fn standard(&self, signatures: &str, secrets: &[String], now: DateTime<Utc>) -> Result<String, Unfit> {
        let id = self.header("webhook-id").filter(|id| (1..=LONGEST_ID).contains(&id.len())).ok_or(Unfit::Id)?;
        let time = self.header("webhook-timestamp").ok_or(Unfit::Time)?;
        let at = time.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0)).ok_or(Unfit::Time)?;
        if (now - at).abs() > TOLERANCE {
            return Err(Unfit::Time);
        }
        let given: Vec<Vec<u8>> = signatures
            .split_ascii_whitespace()
            .filter_map(|signature| BASE64_STANDARD.decode(signature.strip_prefix("v1,")?).ok())
            .collect();
        let parts = [id.as_bytes(), b".", time.as_bytes(), b".", self.body];
        let fits = |secret: &String| {
            let key = BASE64_STANDARD.decode(secret.strip_prefix(PREFIX).unwrap_or(secret)).unwrap_or_default();
            is_signed(&key, &parts, &given)
        };
        // No early end: how long it takes says nothing about which one fits.
        if fits_any(secrets, fits) { Ok(id.to_owned()) } else { Err(Unfit::Forged) }
    }

    fn github(&self, signature: &str, secrets: &[String]) -> Result<String, Unfit> {
        let given: Vec<Vec<u8>> = signature.strip_prefix("sha256=").and_then(from_hex).into_iter().collect();
        let fits = |secret: &String| is_signed(secret.as_bytes(), &[self.body], &given);
        if !fits_any(secrets, fits) {
            return Err(Unfit::Forged);
        }
        let digest = Sha256::digest(self.body);
        Ok(format!("sha256={}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
    }
}

fn fits_any(secrets: &[String], fits: impl Fn(&String) -> bool) -> bool {
    // Stands in where there is no webhook, so that an answer takes as long.
    let nobody = String::new();
    if secrets.is_empty() {
        fits(&nobody);
        return false;
    }
    secrets.iter().filter(|secret| fits(secret)).count() > 0
}

/// Whether one of `given` is what `key` makes of `parts`, told in constant time.
fn is_signed(key: &[u8], parts: &[&[u8]], given: &[Vec<u8>]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    given.iter().filter(|signature| mac.clone().verify_slice(signature).is_ok()).count() > 0
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[track_caller]
    fn check(pairs: &[(&'static str, &str)], body: &str, secret: &str, now: i64, expected: Result<&str, Unfit>) {
        let headers = headers(pairs);
        let secrets: Vec<String> = [secret].iter().filter(|it| !it.is_empty()).map(ToString::to_string).collect();
        let found = Signed::new(&headers, body.as_bytes()).delivery(&secrets, at(now));
        assert_eq!(found.as_deref().map_err(|unfit| *unfit), expected, "{pairs:?}");
    }

    /// The example of the Standard Webhooks libraries.
    #[test]
    fn standard_webhooks() {
        let id = ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek");
        let time = ("webhook-timestamp", "1614265330");
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let body = "{\"test\": 2432232314}";
        let signature = ("webhook-signature", good);
        let several = format!("v1,AAAA v2,x {good}");
        check(&[id, time, signature], body, SECRET, 1_614_265_330, Ok(id.1));
        check(&[id, time, ("webhook-signature", &several)], body, SECRET, 1_614_265_330, Ok(id.1));
        check(&[id, time, signature], body, SECRET, 1_614_265_630, Ok(id.1));
        check(&[id, time, signature], body, SECRET, 1_614_265_631, Err(Unfit::Time));
        check(&[id, time, signature], body, SECRET, 1_614_265_029, Err(Unfit::Time));
        check(&[id, ("webhook-timestamp", "soon"), signature], body, SECRET, 1_614_265_330, Err(Unfit::Time));
        check(&[("webhook-id", "msg_2"), time, signature], body, SECRET, 1_614_265_330, Err(Unfit::Forged));
        check(&[id, ("webhook-timestamp", "1614265331"), signature], body, SECRET, 1_614_265_330, Err(Unfit::Forged));
        check(&[id, time, signature], "{}", SECRET, 1_614_265_330, Err(Unfit::Forged));
        check(&[id, time, signature], body, "whsec_AAAA", 1_614_265_330, Err(Unfit::Forged));
        check(&[id, time, signature], body, "", 1_614_265_330, Err(Unfit::Forged));
        check(&[time, signature], body, SECRET, 1_614_265_330, Err(Unfit::Id));
        check(&[], body, SECRET, 1_614_265_330, Err(Unfit::Unsigned));
    }

    /// The example of GitHub's documentation.
    #[test]
    fn github() {
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let (secret, body) = ("It's a Secret to Everybody", "Hello, World!");
        let digest = "sha256=dffd6021bb2bd5b0af676290809ec3a53191dd81c7f70a4b28688a362182986f";
        check(&[("x-hub-signature-256", good)], body, secret, 0, Ok(digest));
        for (signature, body, secret) in [
            (good, "Hello, World?", secret),
            (good, body, "another"),
            (good, body, ""),
            ("sha256=", body, secret),
            ("sha256=zz", body, secret),
            ("sha256=\u{e4}", body, secret),
            (&good[7..], body, secret),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-hub-signature-256", axum::http::HeaderValue::from_bytes(signature.as_bytes()).unwrap());
            let secrets = if secret.is_empty() { vec![] } else { vec![secret.to_owned()] };
            let found = Signed::new(&headers, body.as_bytes()).delivery(&secrets, at(0));
            assert!(found.is_err(), "{signature} {found:?}");
        }
    }
}
