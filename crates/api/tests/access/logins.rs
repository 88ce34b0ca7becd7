//! Logging in: JWTs, sessions, links, passwords.

use super::*;

#[tokio::test]
async fn a_jwt_lets_in_until_it_expires_or_the_password_changes() {
    for db in towpath_testkit::databases().await {
        let server = Server::new(db).await;
        let reply = server.log_in("user", PASSWORD).await;
        assert_eq!(reply.status, StatusCode::CREATED);
        let token = format!("Bearer {}", reply.json()["access_token"].as_str().unwrap());
        let get = async |token: &str| server.send("GET", "/api/v2/dags", &[("authorization", token)], "").await;
        assert_eq!(get(&token).await.status, StatusCode::OK);
        let nobody = server.send("GET", "/api/v2/dags", &[], "").await;
        assert_eq!((nobody.status, nobody.json()), (StatusCode::UNAUTHORIZED, json!({"detail": "Not authenticated"})));

        // Somebody makes an admin of themselves.
        let parts: Vec<&str> = token.trim_start_matches("Bearer ").split('.').collect();
        let body = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let body = BASE64_URL_SAFE_NO_PAD.encode(body.replace("\"user\"", "\"admin\""));
        let none = BASE64_URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"none"}"#);
        for forged in [
            format!("Bearer {}.{body}.{}", parts[0], parts[2]),
            format!("Bearer {none}.{body}."),
            "Bearer ".to_owned(),
            "Bearer twp_".to_owned(),
            "Bearer".to_owned(),
            "Digest x".to_owned(),
            "Basic !!".to_owned(),
            format!("Basic {}", BASE64_STANDARD.encode("no colon")),
        ] {
            let reply = get(&forged).await;
            assert_eq!(reply.status, StatusCode::FORBIDDEN, "{forged}");
        }
        server.world.pass(24 * 3_600 - 1);
        assert_eq!(get(&token).await.status, StatusCode::OK);
        server.world.pass(1);
        let expired = get(&token).await;
        assert_eq!((expired.status, expired.json()), (StatusCode::FORBIDDEN, json!({"detail": "Token Expired"})));

        let token = server.jwt("user").await;
        let changed = password::hash("another horse").await.unwrap();
        server.world.store.set_password_hash("user", &changed).await.unwrap();
        assert_eq!(get(&token).await.status, StatusCode::FORBIDDEN);
        // Another role counts at once, and nobody is nobody.
        let token = server.jwt("viewer").await;
        server.world.store.set_role("viewer", Role::None).await.unwrap();
        assert_eq!(get(&token).await.json()["total_entries"], 0);
        server.world.store.delete_user("viewer").await.unwrap();
        assert_eq!(get(&token).await.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn logins_are_asked_for_as_airflow_asks() {
    let server = Server::sqlite().await;
    let json = [("content-type", "application/json")];
    let form = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let body = "username=user&password=correct+horse";
    assert_eq!(server.send("POST", "/auth/token", &form, body).await.status, StatusCode::CREATED);
    assert_eq!(server.send("POST", "/auth/token/cli", &form, body).await.status, StatusCode::CREATED);
    for (body, status) in [
        (r#"{"username": "user"}"#, 422),
        (r#"{"username": 1, "password": "x"}"#, 422),
        (r#"{"username": "user", "password": "x", "role": "admin"}"#, 422),
        ("[]", 422),
        ("{", 422),
        (r#"{"username": "user", "password": "wrong"}"#, 401),
        (r#"{"username": "nobody at all", "password": "wrong"}"#, 401),
        (r#"{"username": "a\u0000b", "password": "wrong"}"#, 401),
        (r#"{"username": "", "password": ""}"#, 401),
    ] {
        let reply = server.send("POST", "/auth/token", &json, body).await;
        assert_eq!(reply.status.as_u16(), status, "{body}: {reply:?}");
        if status == 401 {
            assert_eq!(reply.json(), json!({"detail": "Invalid credentials"}));
        }
    }
    let text = server.send("POST", "/auth/token", &[("content-type", "text/plain")], body).await;
    assert_eq!(text.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let huge = format!("{{\"username\": \"{}\"", "x".repeat(20_000));
    assert_eq!(server.send("POST", "/auth/token", &json, &huge).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(server.send("GET", "/auth/token", &[], "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(server.events("login_failed").await.len(), 4);
}

#[tokio::test]
async fn guessing_becomes_slow() {
    let server = Server::sqlite().await;
    for _ in 0..5 {
        assert_eq!(server.log_in("admin", "guess").await.status, StatusCode::UNAUTHORIZED);
    }
    // The right one is not looked at either, so that nothing is learnt.
    let reply = server.log_in("admin", PASSWORD).await;
    assert_eq!((reply.status, reply.header(header::RETRY_AFTER)), (StatusCode::TOO_MANY_REQUESTS, "2"));
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("admin:{PASSWORD}")));
    let reply = server.send("GET", "/api/v2/dags", &[("authorization", &basic)], "").await;
    assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS, "another door is no way around");
    server.world.pass(2);
    assert_eq!(server.log_in("admin", PASSWORD).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_session_lives_in_a_cookie_and_changes_nothing_for_other_sites() {
    let server = Server::sqlite().await;
    let cookie = server.session("user").await;
    let page = server.send("GET", "/", &[("cookie", &cookie), ("accept", "text/html")], "").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.header(header::CONTENT_SECURITY_POLICY).contains("script-src 'self'"));
    assert_eq!(server.send("GET", "/api/v2/dags", &[("cookie", &cookie)], "").await.status, StatusCode::OK);

    let pause = async |headers: &[(&str, &str)]| {
        let mut all = vec![("cookie", cookie.as_str()), ("host", "towpath.test")];
        all.push(("content-type", "application/x-www-form-urlencoded"));
        all.extend(headers);
        server.send("POST", "/dags/etl/pause", &all, "").await.status
    };
    assert_eq!(pause(&[]).await, StatusCode::FORBIDDEN, "nothing says where it comes from");
    assert_eq!(pause(&[("sec-fetch-site", "cross-site")]).await, StatusCode::FORBIDDEN);
    assert_eq!(pause(&[("sec-fetch-site", "same-site")]).await, StatusCode::FORBIDDEN);
    assert_eq!(pause(&[("origin", "https://evil.example")]).await, StatusCode::FORBIDDEN);
    assert_eq!(pause(&[("origin", "null")]).await, StatusCode::FORBIDDEN);
    // A site that may call the API with a token may not with somebody's cookie.
    assert_eq!(pause(&[("origin", "https://app.example.org")]).await, StatusCode::FORBIDDEN);
    assert!(!server.world.store.dag("etl").await.unwrap().unwrap().is_paused);
    assert!(pause(&[("sec-fetch-site", "same-origin")]).await.is_redirection());
    assert!(pause(&[("origin", "http://towpath.test")]).await.is_redirection());
    assert!(server.world.store.dag("etl").await.unwrap().unwrap().is_paused);
    assert_eq!(server.events("pause_dag").await.len(), 2);

    let form = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    let out = server.send("POST", "/logout", &form, "").await;
    assert!(out.header(header::SET_COOKIE).contains("Max-Age=0"), "{out:?}");
    let page = server.send("GET", "/", &[("cookie", &cookie), ("accept", "text/html")], "").await;
    assert_eq!((page.status, page.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/login"));
    let cookie = server.session("user").await;
    server.world.pass(14 * 86_400);
    let page = server.send("GET", "/dags/etl?a=b", &[("cookie", &cookie), ("accept", "text/html")], "").await;
    assert_eq!(page.header(header::LOCATION), "/login?next=%2Fdags%2Fetl%3Fa%3Db");
}

#[tokio::test]
async fn a_link_logs_in_once() {
    let server = Server::sqlite().await;
    let link = server.auth.login_link("admin").await.unwrap();
    let path = format!("/login/link?token={}", link.text);
    // What looks ahead does not use it up.
    assert_eq!(server.send("HEAD", &path, &[], "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.send("GET", &path, &[("sec-purpose", "prefetch")], "").await.status, StatusCode::NO_CONTENT);
    let reply = server.send("GET", &path, &[], "").await;
    assert_eq!((reply.status, reply.header(header::LOCATION)), (StatusCode::SEE_OTHER, "/"));
    let cookie = reply.header(header::SET_COOKIE).split(';').next().unwrap().to_owned();
    let account = server.send("GET", "/account", &[("cookie", &cookie)], "").await;
    assert!(account.text.contains("admin"), "{account:?}");
    assert_eq!(server.send("GET", &path, &[], "").await.status, StatusCode::UNAUTHORIZED, "once");
    let link = server.auth.login_link("admin").await.unwrap();
    server.world.pass(15 * 60);
    let reply = server.send("GET", &format!("/login/link?token={}", link.text), &[], "").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "fifteen minutes");
    assert_eq!(server.send("GET", "/login/link", &[], "").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it() {
    let server = Server::sqlite().await;
    let (cookie, other) = (server.session("user").await, server.session("user").await);
    let change = async |current: &str, new: &str| {
        let form = [
            ("cookie", cookie.as_str()),
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let body = format!("current={}&new={new}", current.replace(' ', "+"));
        server.send("POST", "/account/password", &form, &body).await
    };
    assert_eq!(change("wrong", "long-enough").await.status, StatusCode::FORBIDDEN);
    assert_eq!(change(PASSWORD, "short").await.status, StatusCode::BAD_REQUEST);
    let reply = change(PASSWORD, "long-enough").await;
    assert_eq!(reply.header(header::LOCATION), "/account?changed=1", "{reply:?}");
    for old in [&cookie, &other] {
        let status = server.send("GET", "/account", &[("cookie", old)], "").await.status;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "all sessions have ended");
    }
    assert_eq!(server.log_in("user", PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.log_in("user", "long-enough").await.status, StatusCode::CREATED);
}
