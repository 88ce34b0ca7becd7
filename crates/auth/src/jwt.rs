//! JSON Web Tokens, as Airflow's clients ask for them: signed, short-lived, and void once the password changes.

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use towpath_store::UserRecord;

const ISSUER: &str = "towpath";

/// Signs and checks.
#[derive(Clone)]
pub(crate) struct Keys {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(***)")
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    /// Name of the user.
    pub(crate) sub: String,
    /// [`UserRecord::generation`].
    pub(crate) r#gen: i64,
    iss: String,
    iat: i64,
    exp: i64,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    Expired,
    Forged,
}

impl Keys {
    pub(crate) fn new(secret: &str) -> Self {
        // The algorithm is ours to choose, whatever a token's head says; and the time is that of our clock.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["exp", "sub", "iss"]);
        validation.validate_exp = false;
        Self {
            encoding: EncodingKey::from_secret(secret.as_bytes()),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
            validation,
        }
    }

    pub(crate) fn sign(&self, user: &UserRecord, now: DateTime<Utc>, life: TimeDelta) -> String {
        let claims = Claims {
            sub: user.name.clone(),
            r#gen: user.generation,
            iss: ISSUER.to_owned(),
            iat: now.timestamp(),
            exp: (now + life).timestamp(),
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding);
        token.expect("claims of texts and numbers can be signed")
    }

    pub(crate) fn check(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, Unfit> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation);
        let claims = decoded.map_err(|_| Unfit::Forged)?.claims;
        if claims.exp <= now.timestamp() { Err(Unfit::Expired) } else { Ok(claims) }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
    use towpath_store::Role;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn only_what_was_signed_here_and_has_not_expired_is_taken() {
        let keys = Keys::new("a key");
        let user = UserRecord {
            name: "ada".to_owned(),
            role: Role::User,
            password_hash: None,
            generation: 3,
            created_at: at(0),
            last_login_at: None,
            grants: Vec::new(),
        };
        let token = keys.sign(&user, at(0), TimeDelta::seconds(60));
        let claims = keys.check(&token, at(59)).unwrap();
        assert_eq!((claims.sub.as_str(), claims.r#gen), ("ada", 3));
        assert_eq!(keys.check(&token, at(60)), Err(Unfit::Expired));
        assert_eq!(Keys::new("another").check(&token, at(1)), Err(Unfit::Forged));

        let [head, body, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
        let admin = BASE64.encode(String::from_utf8(BASE64.decode(body).unwrap()).unwrap().replace("ada", "admin"));
        let none = BASE64.encode(r#"{"typ":"JWT","alg":"none"}"#);
        for forged in [
            format!("{head}.{admin}.{signature}"),
            format!("{none}.{body}."),
            format!("{none}.{admin}.{signature}"),
            format!("{head}.{body}."),
            format!("{head}.{body}"),
            String::new(),
            "..".to_owned(),
        ] {
            assert_eq!(keys.check(&forged, at(1)), Err(Unfit::Forged), "{forged}");
        }
    }
}
