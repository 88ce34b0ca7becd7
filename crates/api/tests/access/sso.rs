//! Logging in at an identity provider, which listens on a port of its own.

#[path = "sso/provider.rs"]
mod provider;

use axum::http::{StatusCode, header};
use provider::{CLIENT, Manner, Provider, SECRET};
use serde_json::{Value, json};
use towpath_model::clock::Clock;
use towpath_store::Role;

use crate::{Reply, Server};

/// A server whose people log in at a provider, and what they are there.
async fn server_with(claims: Value, roles: &[(&str, Role)], domains: &[&str]) -> (Server, Provider) {
    let server = Server::sqlite().await;
    let provider = with_provider(&server, claims, roles, domains).await;
    (server, provider)
}

async fn with_provider(server: &Server, claims: Value, roles: &[(&str, Role)], domains: &[&str]) -> Provider {
    let now = server.world.clock.now().timestamp();
    let provider = Provider::start(Manner { claims, now, ..Manner::default() }).await;
    let settings = towpath_auth::Provider {
        issuer: provider.issuer.clone(),
        client_id: CLIENT.to_owned(),
        client_secret: SECRET.to_owned(),
        scopes: vec!["email".to_owned()],
        name_claim: "preferred_username".to_owned(),
        role_claim: "groups".to_owned(),
        roles: roles.iter().map(|(group, role)| ((*group).to_owned(), *role)).collect(),
        domains: domains.iter().map(ToString::to_string).collect(),
        label: "Log in at Example".to_owned(),
        base_url: "http://localhost:8080".to_owned(),
    };
    server.auth.set_provider(settings).unwrap();
    provider
}

/// Goes to the provider and comes back: the address to come back to, and the cookie of the way.
async fn there_and_back(server: &Server) -> (String, String) {
    let begun = server.send("GET", "/login/oidc?next=%2Fdags%2Fetl", &[], "").await;
    assert_eq!(begun.status, StatusCode::SEE_OTHER, "{begun:?}");
    let cookie = begun.header(header::SET_COOKIE).split(';').next().unwrap().to_owned();
    let attributes = begun.header(header::SET_COOKIE);
    assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite=Lax"), "{attributes}");
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let there = client.get(begun.header(header::LOCATION)).send().await.unwrap();
    let back = there.headers()[header::LOCATION].to_str().unwrap().to_owned();
    (back.strip_prefix("http://localhost:8080").unwrap().to_owned(), cookie)
}

async fn log_in(server: &Server) -> Reply {
    let (back, cookie) = there_and_back(server).await;
    server.send("GET", &back, &[("cookie", &cookie)], "").await
}

fn ada() -> Value {
    json!({"sub": "7", "preferred_username": "ada", "email": "ada@example.org", "email_verified": true, "groups": ["data"]})
}

#[tokio::test]
async fn people_log_in_and_get_the_role_of_their_groups() {
    for db in towpath_testkit::databases().await {
        let server = Server::new(db).await;
        let roles = [("admins", Role::Admin), ("data", Role::User)];
        let provider = with_provider(&server, ada(), &roles, &["example.org"]).await;
        let page = server.send("GET", "/login?next=%2Fdags%2Fetl", &[], "").await;
        assert!(
            page.text.contains("Log in at Example") && page.text.contains("/login/oidc?next=%2Fdags%2Fetl"),
            "{page:?}"
        );

        let reply = log_in(&server).await;
        assert_eq!((reply.status, reply.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/dags/etl"), "{reply:?}");
        let cookies: Vec<&str> =
            reply.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect();
        let session = cookies[0].split(';').next().unwrap();
        assert!(cookies[1].contains("_oidc") && cookies[1].contains("Max-Age=0"), "{cookies:?}");
        let account = server.send("GET", "/account", &[("cookie", session)], "").await;
        assert!(account.status == StatusCode::OK && account.text.contains("ada"), "{account:?}");
        let user = server.world.store.user("ada").await.unwrap().unwrap();
        assert_eq!((user.role, user.password_hash), (Role::User, None));

        // The next time it is the same user, whatever they are called, with the role of that day.
        provider.behave(|it| {
            it.claims["preferred_username"] = "lovelace".into();
            it.claims["groups"] = json!(["data", "admins"]);
        });
        assert_eq!(log_in(&server).await.status, StatusCode::SEE_OTHER);
        assert_eq!(server.world.store.user("ada").await.unwrap().unwrap().role, Role::Admin);
        assert_eq!(server.world.store.user("lovelace").await.unwrap(), None);
        let logins = server.events("login").await;
        assert_eq!(logins.len(), 2);
        assert!(logins[0].what.extra.as_deref().unwrap().contains("oidc"), "{logins:?}");
    }
}

#[tokio::test]
async fn others_are_not_let_in() {
    let roles = [("data", Role::User)];
    for (claims, why) in [
        (json!({"sub": "7", "preferred_username": "ada", "groups": ["other"]}), "none of your groups"),
        (json!({"sub": "7", "groups": "data", "email": "a@evil.example", "email_verified": true}), "mail addresses"),
        (json!({"sub": "7", "groups": "data", "email": "a@example.org", "email_verified": false}), "mail addresses"),
        // Nobody becomes an administrator by being called so.
        (json!({"sub": "7", "preferred_username": "admin", "groups": "data"}), "there is a user `admin` already"),
    ] {
        let domains: &[&str] = if claims.get("email").is_some() { &["example.org"] } else { &[] };
        let (server, _provider) = server_with(claims.clone(), &roles, domains).await;
        let reply = log_in(&server).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{claims}: {reply:?}");
        assert!(reply.text.contains(why) && reply.headers.get(header::SET_COOKIE).is_none(), "{claims}: {reply:?}");
    }
}

#[tokio::test]
async fn an_administrator_can_link_somebody() {
    let (server, provider) = server_with(json!({"sub": "7", "preferred_username": "admin"}), &[], &[]).await;
    assert_eq!(log_in(&server).await.status, StatusCode::FORBIDDEN);
    let now = server.world.clock.now();
    assert!(server.world.store.link_identity(&provider.issuer, "7", "admin", now).await.unwrap());
    assert_eq!(log_in(&server).await.status, StatusCode::SEE_OTHER);
    // Roles are kept here, and somebody new has none.
    provider.behave(|it| it.claims = json!({"sub": "8", "preferred_username": "new"}));
    assert_eq!(log_in(&server).await.status, StatusCode::SEE_OTHER);
    assert_eq!(server.world.store.user("new").await.unwrap().unwrap().role, Role::None);
    assert_eq!(server.world.store.user("admin").await.unwrap().unwrap().role, Role::Admin);
}

#[tokio::test]
async fn a_login_belongs_to_its_browser_and_is_good_once() {
    let (server, _provider) = server_with(ada(), &[("data", Role::User)], &[]).await;
    let (back, cookie) = there_and_back(&server).await;
    let (_, other_cookie) = there_and_back(&server).await;
    for (path, cookie) in [
        (back.as_str(), None),
        (back.as_str(), Some(other_cookie.as_str())),
        ("/login/oidc/callback", Some(cookie.as_str())),
        ("/login/oidc/callback?code=x&state=x", Some(cookie.as_str())),
    ] {
        let headers: Vec<(&str, &str)> = cookie.map(|cookie| ("cookie", cookie)).into_iter().collect();
        let reply = server.send("GET", path, &headers, "").await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{path} {cookie:?}: {reply:?}");
    }
    assert_eq!(server.send("GET", &back, &[("cookie", &cookie)], "").await.status, StatusCode::SEE_OTHER);
    assert_eq!(server.send("GET", &back, &[("cookie", &cookie)], "").await.status, StatusCode::BAD_GATEWAY);
    let (back, cookie) = there_and_back(&server).await;
    server.world.pass(600);
    assert_eq!(server.send("GET", &back, &[("cookie", &cookie)], "").await.status, StatusCode::BAD_REQUEST);
    let refused =
        back.split("code=").next().unwrap().to_owned() + "error=access_denied&" + back.split('&').next_back().unwrap();
    let (_, cookie) = (0, cookie);
    assert_eq!(server.send("GET", &refused, &[("cookie", &cookie)], "").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn tokens_that_lie_are_not_taken() {
    for lies in [
        json!({"iss": "https://evil.example"}),
        json!({"aud": "another client"}),
        json!({"nonce": "another"}),
        json!({"exp": 1}),
        json!({"sub": null}),
    ] {
        let (server, provider) = server_with(ada(), &[("data", Role::User)], &[]).await;
        provider.behave(|it| it.lies = lies.clone());
        let reply = log_in(&server).await;
        assert_eq!(reply.status, StatusCode::BAD_GATEWAY, "{lies}: {reply:?}");
        assert_eq!(server.world.store.user("ada").await.unwrap(), None, "{lies}");
    }
    let (server, provider) = server_with(ada(), &[("data", Role::User)], &[]).await;
    provider.behave(|it| it.shows_another_key = true);
    assert_eq!(log_in(&server).await.status, StatusCode::BAD_GATEWAY);
    provider.behave(|it| it.shows_another_key = false);
    assert_eq!(log_in(&server).await.status, StatusCode::SEE_OTHER, "its keys are asked for again");
}

#[tokio::test]
async fn without_a_provider_there_is_no_such_way() {
    let server = Server::sqlite().await;
    assert_eq!(server.send("GET", "/login/oidc", &[], "").await.status, StatusCode::NOT_FOUND);
    assert!(!server.send("GET", "/login", &[], "").await.text.contains("/login/oidc"));
}
