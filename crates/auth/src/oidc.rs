//! Logging in at an identity provider (OpenID Connect): the authorization code flow with PKCE, state and nonce.
//!
//! ```text
//!   /login/oidc   begin: a cookie with state, nonce, verifier --> the provider's page
//!   /login/oidc/callback   finish: state fits the cookie --> code and verifier for an ID token --> its signature,
//!                          issuer, audience, times and nonce --> domain, role, account --> session
//! ```
//!
//! Who comes for the first time gets an account that is bound to the provider's `sub`, which never changes hands; a name
//! that somebody has already is never taken over. What decides about the role is asked at every login.

use std::pin::Pin;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreIdToken, CoreProviderMetadata};
use openidconnect::{
    AsyncHttpClient, AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest, HttpResponse, IssuerUrl, Nonce,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, TokenResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use towpath_store::{Role, UserRecord};

use crate::cookie::Cookie;
use crate::secret::hash;
use crate::service::Auth;

/// How long somebody may stay at the provider's page.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);
/// How long what the provider says about itself is believed.
const FRESH: TimeDelta = TimeDelta::minutes(5);
/// Longest answer of a provider.
const ANSWER_BYTES: usize = 1024 * 1024;
/// The path that the provider sends browsers back to.
pub const CALLBACK: &str = "/login/oidc/callback";

/// What is known of the provider.
#[derive(Clone)]
pub struct Provider {
    pub issuer: String,
    pub client_id: String,
    /// Empty for a public client.
    pub client_secret: String,
    /// Besides `openid`.
    pub scopes: Vec<String>,
    /// Claim with the name of a user who comes for the first time.
    pub name_claim: String,
    /// Claim with the groups of a user.
    pub role_claim: String,
    /// Role by group; `*` stands for everybody else. Empty: roles are kept here, and who is new has none.
    pub roles: Vec<(String, Role)>,
    /// Domains of mail addresses; empty for all.
    pub domains: Vec<String>,
    /// Of the button.
    pub label: String,
    /// Where browsers reach this server, without a slash at the end.
    pub base_url: String,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Why somebody could not log in this way.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    #[error("this server knows no identity provider")]
    Off,
    /// They may try again.
    #[error("this login was begun in another browser, or more than 10 minutes ago; begin again")]
    Stale,
    /// They may not come in.
    #[error("{0}")]
    Refused(String),
    /// The provider does not do its part.
    #[error("the identity provider {0}")]
    Provider(String),
    #[error(transparent)]
    Store(#[from] towpath_store::Error),
}

/// Kept by the browser while it is at the provider.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    state: String,
    nonce: String,
    verifier: String,
    next: String,
    until: i64,
}

/// What the provider sends a browser back with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Callback {
    pub code: String,
    pub state: String,
    pub error: String,
    pub error_description: String,
}

/// The way in through a provider.
pub(crate) struct Oidc {
    provider: Provider,
    http: Http,
    cookie: Cookie,
    known: Mutex<Option<(DateTime<Utc>, Arc<CoreProviderMetadata>)>>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unanswered(String);

/// Asks the provider.
struct Http(reqwest::Client);

impl Http {
    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, Unanswered> {
        let unanswered = |error: reqwest::Error| Unanswered(causes(&error.without_url()));
        let request = reqwest::Request::try_from(request).map_err(unanswered)?;
        let mut response = self.0.execute(request).await.map_err(unanswered)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES {
                return Err(Unanswered(format!("its answer has more than {ANSWER_BYTES} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        let mut built = axum::http::Response::builder().status(response.status());
        for (name, value) in response.headers() {
            built = built.header(name, value);
        }
        built.body(bytes).map_err(|error| Unanswered(error.to_string()))
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = Unanswered;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, Unanswered>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}

impl Oidc {
    fn new(provider: Provider, cookie: Cookie) -> Result<Self, OidcError> {
        static ONCE: Once = Once::new();
        // Another part of the process may have been first.
        ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(10))
            // What asks for a secret must not be led elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("towpath")
            .build()
            .map_err(|error| OidcError::Provider(format!("cannot be asked: {error}")))?;
        Ok(Self { provider, http: Http(http), cookie, known: Mutex::default() })
    }

    /// What the provider says about itself: addresses and keys.
    async fn metadata(&self, now: DateTime<Utc>) -> Result<CoreProviderMetadata, OidcError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((at, metadata)) = known.filter(|(at, _)| now - *at < FRESH) {
            tracing::trace!(%at, "the provider is known");
            return Ok(CoreProviderMetadata::clone(&metadata));
        }
        let issuer = IssuerUrl::new(self.provider.issuer.clone())
            .map_err(|error| OidcError::Provider(format!("has no address (`oidc_issuer`): {error}")))?;
        let found = CoreProviderMetadata::discover_async(issuer, &self.http).await.map_err(|error| {
            let reason = causes(&error);
            OidcError::Provider(format!("{} cannot be asked about itself: {reason}", self.provider.issuer))
        })?;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::new(found.clone())));
        Ok(found)
    }

    fn redirect(&self) -> Result<RedirectUrl, OidcError> {
        RedirectUrl::new(format!("{}{CALLBACK}", self.provider.base_url))
            .map_err(|error| OidcError::Provider(format!("cannot lead back here (`base_url`): {error}")))
    }

    fn credentials(&self) -> (ClientId, Option<ClientSecret>) {
        let secret = Some(self.provider.client_secret.clone()).filter(|secret| !secret.is_empty());
        (ClientId::new(self.provider.client_id.clone()), secret.map(ClientSecret::new))
    }

    async fn begin(&self, next: &str, now: DateTime<Utc>) -> Result<(String, HeaderValue), OidcError> {
        let (id, secret) = self.credentials();
        let client = CoreClient::from_provider_metadata(self.metadata(now).await?, id, secret)
            .set_redirect_uri(self.redirect()?);
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let mut request = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, CsrfToken::new_random, Nonce::new_random)
            .set_pkce_challenge(challenge);
        for scope in &self.provider.scopes {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        let (address, state, nonce) = request.url();
        let begun = Begun {
            state: state.into_secret(),
            nonce: nonce.secret().clone(),
            verifier: verifier.into_secret(),
            next: next.to_owned(),
            until: (now + PATIENCE).timestamp(),
        };
        let kept = serde_json::to_vec(&begun).map_err(|error| OidcError::Provider(error.to_string()))?;
        Ok((address.to_string(), self.cookie.set(&BASE64_URL_SAFE_NO_PAD.encode(kept), PATIENCE)))
    }

    /// The claims of whoever has come back, and where to go on.
    async fn claims(
        &self,
        callback: &Callback,
        headers: &HeaderMap,
        now: DateTime<Utc>,
    ) -> Result<(Map<String, Value>, String), OidcError> {
        let kept = self.cookie.read(headers).and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok());
        let begun: Option<Begun> = kept.and_then(|kept| serde_json::from_slice(&kept).ok());
        // Compared by their hashes: how long it takes says nothing about the state.
        let begun = begun
            .filter(|begun| now.timestamp() < begun.until && hash(&begun.state) == hash(&callback.state))
            .ok_or(OidcError::Stale)?;
        if !callback.error.is_empty() {
            let told: String = format!("{} {}", callback.error, callback.error_description).chars().take(200).collect();
            return Err(OidcError::Refused(format!("the identity provider says no: {}", told.trim().escape_debug())));
        }
        let (id, secret) = self.credentials();
        let client = CoreClient::from_provider_metadata(self.metadata(now).await?, id, secret)
            .set_redirect_uri(self.redirect()?);
        let answer = client
            .exchange_code(AuthorizationCode::new(callback.code.clone()))
            .map_err(|error| OidcError::Provider(format!("names no address for tokens: {error}")))?
            .set_pkce_verifier(PkceCodeVerifier::new(begun.verifier))
            .request_async(&self.http)
            .await
            .map_err(|error| OidcError::Provider(format!("gives no token: {}", causes(&error))))?;
        let token: &CoreIdToken =
            answer.id_token().ok_or_else(|| OidcError::Provider("gives no ID token".to_owned()))?;
        let verifier = client.id_token_verifier().set_time_fn(move || now);
        token.claims(&verifier, &Nonce::new(begun.nonce)).map_err(|error| {
            // Its keys may have changed; the next login asks for them.
            *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
            OidcError::Provider(format!("gave an ID token that does not hold: {}", causes(&error)))
        })?;
        // It holds; what it says beyond the standard is read from it as it is.
        let text = token.to_string();
        let body = text.split('.').nth(1).and_then(|body| BASE64_URL_SAFE_NO_PAD.decode(body).ok());
        let claims = body.and_then(|body| serde_json::from_slice(&body).ok());
        let claims = claims.ok_or_else(|| OidcError::Provider("gave an ID token that cannot be read".to_owned()))?;
        Ok((claims, begun.next))
    }
}

impl Provider {
    /// The role that these claims give; `None` where roles are kept here.
    fn role(&self, claims: &Map<String, Value>) -> Result<Option<Role>, OidcError> {
        if self.roles.is_empty() {
            return Ok(None);
        }
        let groups: Vec<&str> = match claims.get(&self.role_claim) {
            Some(Value::String(group)) => vec![group],
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let of_groups = self.roles.iter().filter(|(group, _)| groups.contains(&group.as_str())).map(|(_, role)| *role);
        let otherwise = || self.roles.iter().find(|(group, _)| group == "*").map(|(_, role)| *role);
        of_groups.max().or_else(otherwise).map(Some).ok_or_else(|| {
            OidcError::Refused(format!(
                "none of your groups (`{}`) is let in here; ask an administrator",
                self.role_claim
            ))
        })
    }

    /// Whether the mail address is one of those that are let in.
    fn check_domain(&self, claims: &Map<String, Value>) -> Result<(), OidcError> {
        if self.domains.is_empty() {
            return Ok(());
        }
        let is_verified = matches!(claims.get("email_verified"), Some(Value::Bool(true)));
        let domain = claims.get("email").and_then(Value::as_str).and_then(|email| email.rsplit_once('@'));
        let fits =
            domain.is_some_and(|(_, domain)| self.domains.iter().any(|known| known.eq_ignore_ascii_case(domain)));
        if fits && is_verified {
            return Ok(());
        }
        let reason = "only verified mail addresses of certain domains are let in here; yours is none of them";
        Err(OidcError::Refused(reason.to_owned()))
    }

    /// What to call somebody who comes for the first time.
    fn name(&self, claims: &Map<String, Value>, subject: &str) -> String {
        let fits = |name: &&str| {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.@+-".contains(c);
            (1..=64).contains(&name.len()) && name.chars().all(is_plain)
        };
        let claim = |name: &str| claims.get(name).and_then(Value::as_str).filter(fits).map(str::to_owned);
        claim(&self.name_claim)
            .or_else(|| claim("email"))
            .unwrap_or_else(|| format!("oidc-{}", &hash(&format!("{} {subject}", self.issuer))[..16]))
    }
}

impl Auth {
    /// Lets people log in at `provider`; once.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn set_provider(&self, provider: Provider) -> Result<(), OidcError> {
        let oidc = Oidc::new(provider, self.cookie().beside("_oidc"))?;
        if self.oidc().set(oidc).is_err() {
            tracing::error!("the identity provider was set twice");
        }
        Ok(())
    }

    /// What the button on the login page says, where there is a provider.
    #[must_use]
    pub fn provider_label(&self) -> Option<&str> {
        self.oidc().get().map(|oidc| oidc.provider.label.as_str())
    }

    /// Sends a browser to the provider, to come back and go on at `next`: the address and the cookie to set.
    ///
    /// # Errors
    /// [`OidcError`].
    pub async fn begin_oidc(&self, next: &str) -> Result<(String, HeaderValue), OidcError> {
        self.oidc().get().ok_or(OidcError::Off)?.begin(next, self.now()).await
    }

    /// Lets in who has come back from the provider: the user, where to go on, and the cookie to forget.
    ///
    /// # Errors
    /// [`OidcError`].
    pub async fn finish_oidc(
        &self,
        callback: &Callback,
        headers: &HeaderMap,
    ) -> Result<(UserRecord, String, HeaderValue), OidcError> {
        let oidc = self.oidc().get().ok_or(OidcError::Off)?;
        let (claims, next) = oidc.claims(callback, headers, self.now()).await?;
        let user = self.user_of_claims(&oidc.provider, &claims).await?;
        Ok((user, next, oidc.cookie.clear()))
    }

    async fn user_of_claims(&self, provider: &Provider, claims: &Map<String, Value>) -> Result<UserRecord, OidcError> {
        provider.check_domain(claims)?;
        let role = provider.role(claims)?;
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let (store, now) = (self.store(), self.now());
        let gone = || OidcError::Store(towpath_store::Error::NotFound { thing: "user", id: subject.to_owned() });
        if let Some(user) = store.user_of_identity(&provider.issuer, subject).await? {
            if let Some(role) = role.filter(|role| *role != user.role) {
                store.set_role(&user.name, role).await?;
            }
            return store.user(&user.name).await?.ok_or_else(gone);
        }
        let name = provider.name(claims, subject);
        if !store.create_user(&name, role.unwrap_or(Role::None), None, now).await? {
            return Err(OidcError::Refused(format!(
                "there is a user `{name}` already who does not log in this way; an administrator can let you be that user \
                 (`towpath users link {name} {}`) or delete it",
                subject.escape_debug()
            )));
        }
        store.link_identity(&provider.issuer, subject, &name, now).await?;
        store.user(&name).await?.ok_or_else(gone)
    }
}

/// An error with what is behind it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn provider(roles: &[(&str, Role)], domains: &[&str]) -> Provider {
        Provider {
            issuer: "https://id.example.org".to_owned(),
            client_id: "towpath".to_owned(),
            client_secret: String::new(),
            scopes: Vec::new(),
            name_claim: "preferred_username".to_owned(),
            role_claim: "groups".to_owned(),
            roles: roles.iter().map(|(group, role)| ((*group).to_owned(), *role)).collect(),
            domains: domains.iter().map(ToString::to_string).collect(),
            label: String::new(),
            base_url: String::new(),
        }
    }

    fn claims(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn the_highest_role_counts() {
        let mapped = provider(&[("admins", Role::Admin), ("data", Role::User)], &[]);
        let open = provider(&[("admins", Role::Admin), ("*", Role::Viewer)], &[]);
        for (provider, given, expected) in [
            (&mapped, json!({"groups": ["data", "admins", "x"]}), Some(Some(Role::Admin))),
            (&mapped, json!({"groups": "data"}), Some(Some(Role::User))),
            (&mapped, json!({"groups": ["x"]}), None),
            (&mapped, json!({"groups": ["*"]}), None),
            (&mapped, json!({}), None),
            (&open, json!({"groups": 7}), Some(Some(Role::Viewer))),
            (&self::provider(&[], &[]), json!({"groups": ["admins"]}), Some(None)),
        ] {
            assert_eq!(provider.role(&claims(&given)).ok(), expected, "{given}");
        }
    }

    #[test]
    fn domains_are_of_verified_addresses() {
        let provider = provider(&[], &["example.org"]);
        for (given, expected) in [
            (json!({"email": "ada@Example.org", "email_verified": true}), true),
            (json!({"email": "ada@example.org", "email_verified": false}), false),
            (json!({"email": "ada@example.org"}), false),
            (json!({"email": "ada@evil.example", "email_verified": true}), false),
            (json!({"email": "ada@example.org@evil.example", "email_verified": true}), false),
            (json!({"email_verified": true}), false),
        ] {
            assert_eq!(provider.check_domain(&claims(&given)).is_ok(), expected, "{given}");
        }
    }

    #[test]
    fn names_fit() {
        let provider = provider(&[], &[]);
        for (given, expected) in [
            (json!({"preferred_username": "ada", "email": "a@b.c"}), "ada"),
            (json!({"preferred_username": "ada lovelace", "email": "a@b.c"}), "a@b.c"),
            (json!({"preferred_username": "x".repeat(65)}), &provider.name(&Map::new(), "7")),
        ] {
            assert_eq!(provider.name(&claims(&given), "7"), expected, "{given}");
        }
    }
}
