//! A small identity provider: a web server of its own that signs ID tokens. It checks what a real one checks: the
//! client's secret, the address to go back to, and the verifier of PKCE; and each code is good once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) const CLIENT: &str = "towpath-client";
pub(crate) const SECRET: &str = "s3cret of the client";
/// Made for this test alone.
const KEY: &[u8] = include_bytes!("key.der");
const MODULUS: &str = include_str!("modulus.txt");

/// How it behaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    /// Who is logged in there, in claims beyond the usual.
    pub(crate) claims: Value,
    /// What its tokens say instead of what they should.
    pub(crate) lies: Value,
    /// Whether it signs with another key than it shows.
    pub(crate) shows_another_key: bool,
    /// Seconds since 1970.
    pub(crate) now: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Provider {
    pub(crate) issuer: String,
    manner: Arc<Mutex<Manner>>,
    /// Codes with what was asked.
    codes: Arc<Mutex<HashMap<String, HashMap<String, String>>>>,
}

impl Provider {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let provider = Self { issuer, manner: Arc::new(Mutex::new(manner)), codes: Arc::default() };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        provider
    }

    pub(crate) fn behave(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut self.manner.lock().unwrap());
    }
}

async fn discovery(State(provider): State<Provider>) -> Json<Value> {
    let issuer = &provider.issuer;
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

async fn keys(State(provider): State<Provider>) -> Json<Value> {
    let mut modulus = MODULUS.trim().to_owned();
    if provider.manner.lock().unwrap().shows_another_key {
        modulus.replace_range(10..14, "AAAA");
    }
    Json(json!({"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "k1", "n": modulus, "e": "AQAB"}]}))
}

/// The page where people log in; here they have done so.
async fn authorize(State(provider): State<Provider>, Query(asked): Query<HashMap<String, String>>) -> Response {
    assert_eq!((asked["client_id"].as_str(), asked["response_type"].as_str()), (CLIENT, "code"));
    assert_eq!(asked["code_challenge_method"], "S256");
    assert!(asked["scope"].split(' ').any(|scope| scope == "openid") && asked["nonce"].len() > 15);
    let code = format!("code-{}", provider.codes.lock().unwrap().len());
    let back = format!("{}?code={code}&state={}", asked["redirect_uri"], asked["state"]);
    provider.codes.lock().unwrap().insert(code, asked);
    Redirect::to(&back).into_response()
}

async fn token(
    State(provider): State<Provider>,
    headers: HeaderMap,
    Form(given): Form<HashMap<String, String>>,
) -> Response {
    let refuse = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response();
    let encoded = |text: &str| text.replace(' ', "+");
    let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{CLIENT}:{}", encoded(SECRET))));
    if headers.get(header::AUTHORIZATION).is_none_or(|value| value.to_str().unwrap() != expected) {
        return refuse("invalid_client");
    }
    let Some(asked) = provider.codes.lock().unwrap().remove(&given["code"]) else { return refuse("invalid_grant") };
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(given["code_verifier"].as_bytes()));
    if challenge != asked["code_challenge"] || given["redirect_uri"] != asked["redirect_uri"] {
        return refuse("invalid_grant");
    }
    let manner = provider.manner.lock().unwrap().clone();
    let mut claims = json!({
        "iss": provider.issuer, "aud": CLIENT, "nonce": asked["nonce"], "iat": manner.now, "exp": manner.now + 60,
    });
    for more in [&manner.claims, &manner.lies] {
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
    }
    let mut head = Header::new(Algorithm::RS256);
    head.kid = Some("k1".to_owned());
    let token = jsonwebtoken::encode(&head, &claims, &EncodingKey::from_rsa_der(KEY)).unwrap();
    Json(json!({"access_token": "a", "token_type": "Bearer", "id_token": token})).into_response()
}
