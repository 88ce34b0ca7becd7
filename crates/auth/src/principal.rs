//! Who asks, and what they may do.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use towpath_store::{Access, Grant, Role, TokenRecord, UserRecord};

/// How somebody was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// By the cookie of a session.
    Session,
    Jwt,
    /// By the API token of this name.
    Token(String),
    /// By name and password in the request itself.
    Password,
    /// Nobody is asked who they are (`--no-auth`).
    Nothing,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Name of the user.
    pub name: String,
    pub via: Via,
    /// What they may do with all DAGs and the rest.
    pub role: Role,
    /// What they may do beyond that.
    pub grants: Arc<[Grant]>,
}

impl Principal {
    /// Everybody is this one where nobody is asked who they are.
    #[must_use]
    pub fn anybody() -> Self {
        Self { name: "anonymous".to_owned(), via: Via::Nothing, role: Role::Admin, grants: Arc::default() }
    }

    pub(crate) fn new(user: UserRecord, via: Via) -> Self {
        Self { name: user.name, via, role: user.role, grants: user.grants.into() }
    }

    /// The bearer of an API token: the token's own ceiling holds for the role and for what was granted.
    pub(crate) fn of_token(token: TokenRecord, user: UserRecord) -> Self {
        let mut principal = Self::new(user, Via::Token(token.name));
        if let Some(ceiling) = token.role {
            principal.role = principal.role.min(ceiling);
            if ceiling < Role::User {
                let read = |grant: &Grant| Grant { access: Access::Read, ..grant.clone() };
                principal.grants = principal.grants.iter().map(read).collect();
            }
        }
        principal
    }

    /// As the audit log names them: `ada`, or `ada/ci` for a token.
    #[must_use]
    pub fn owner(&self) -> String {
        match &self.via {
            Via::Token(token) => format!("{}/{token}", self.name),
            Via::Session | Via::Jwt | Via::Password | Via::Nothing => self.name.clone(),
        }
    }

    /// Whether their role lets them do this with every DAG.
    #[must_use]
    pub fn may_with_all(&self, access: Access) -> bool {
        self.role >= role_for(access)
    }

    /// Whether something granted lets them do this with a DAG that has these tags.
    pub(crate) fn is_granted(&self, access: Access, dag_id: &str, tags: &[String]) -> bool {
        self.grants.iter().any(|grant| grant.access >= access && grant.scope.holds(dag_id, tags))
    }

    /// Whether a grant for a tag could make a difference.
    pub(crate) fn has_tags(&self, access: Access) -> bool {
        self.grants.iter().any(|grant| grant.access >= access && matches!(grant.scope, towpath_store::Scope::Tag(_)))
    }
}

/// The least role that may do this with every DAG.
pub(crate) fn role_for(access: Access) -> Role {
    match access {
        Access::Read => Role::Viewer,
        Access::Edit => Role::User,
    }
}

/// The DAGs that a list may show: an extractor for actions whose rule is [`crate::rules::Rule::Listed`] or
/// [`crate::rules::Rule::DagOrListed`]. Nothing at all where nobody has been let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    /// Their ids; `None` for all.
    pub among: Option<Vec<String>>,
}

impl<S: Sync> FromRequestParts<S> for Visible {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or(Self { among: Some(Vec::new()) }))
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use towpath_store::Scope;

    use super::*;

    #[test]
    fn roles_and_grants_add_up() {
        let principal = |role, grants: &[Grant]| Principal { role, grants: grants.into(), ..Principal::anybody() };
        let read_etl = Grant { scope: Scope::Dag("etl".to_owned()), access: Access::Read };
        let edit_tag = Grant { scope: Scope::Tag("x".to_owned()), access: Access::Edit };
        let tags = ["x".to_owned()];
        for (role, reads, edits) in [
            (Role::None, false, false),
            (Role::Viewer, true, false),
            (Role::User, true, true),
            (Role::Op, true, true),
            (Role::Admin, true, true),
        ] {
            let somebody = principal(role, &[]);
            let may = [Access::Read, Access::Edit].map(|access| somebody.may_with_all(access));
            assert_eq!(may, [reads, edits], "{role}");
        }
        let somebody = principal(Role::None, &[read_etl, edit_tag]);
        for (access, dag_id, tags, expected) in [
            (Access::Read, "etl", &[][..], true),
            (Access::Edit, "etl", &[], false),
            (Access::Edit, "etl", &tags, true),
            (Access::Read, "other", &tags, true),
            (Access::Read, "other", &[], false),
        ] {
            assert_eq!(somebody.is_granted(access, dag_id, tags), expected, "{access} {dag_id} {tags:?}");
        }
    }

    #[test]
    fn a_token_has_a_ceiling() {
        let at = DateTime::UNIX_EPOCH;
        let user = |role| UserRecord {
            name: "ada".to_owned(),
            role,
            password_hash: None,
            generation: 1,
            created_at: at,
            last_login_at: None,
            grants: vec![Grant { scope: Scope::Dag("etl".to_owned()), access: Access::Edit }],
        };
        let token = |role| TokenRecord {
            id: 1,
            name: "ci".to_owned(),
            user: "ada".to_owned(),
            role,
            created_at: at,
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        };
        let narrow = Principal::of_token(token(Some(Role::Viewer)), user(Role::Admin));
        assert_eq!((narrow.role, narrow.owner().as_str()), (Role::Viewer, "ada/ci"));
        assert!(!narrow.is_granted(Access::Edit, "etl", &[]) && narrow.is_granted(Access::Read, "etl", &[]));
        assert_eq!(Principal::of_token(token(Some(Role::Admin)), user(Role::User)).role, Role::User);
        let full = Principal::of_token(token(None), user(Role::Op));
        assert!(full.role == Role::Op && full.is_granted(Access::Edit, "etl", &[]));
    }
}
