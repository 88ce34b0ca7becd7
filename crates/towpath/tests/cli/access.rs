//! Users, tokens and logins, through the real binary.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use crate::environment::{Environment, GOOD};

fn with_login() -> Environment {
    let mut environment = Environment::new();
    environment.asks_for_login = true;
    environment.write("dags/good.yaml", &GOOD.replace("schedule: '@daily'\n", ""));
    environment
}

/// The first start prints a link; it logs in once; a password ends the links of later starts.
#[test]
fn the_first_start_prints_a_link_that_logs_in_once() {
    let environment = with_login();
    let mut daemon = environment.up(&[]);
    assert!(daemon.line.starts_with("Towpath is up: http://127.0.0.1:"), "{}", daemon.line);
    let line = daemon.next_line();
    assert!(line.starts_with("Log in as admin (once, within 15 minutes): http://127.0.0.1:"), "{line}");
    let path = line.trim().split_once(&daemon.address).unwrap().1.to_owned();

    // Nobody is in yet; what watches the server needs no login here.
    assert_eq!(daemon.get("/api/v2/dags").0, 401);
    daemon.until("/health", |_, health| health["status"] == "healthy");
    assert_eq!(daemon.get("/metrics").0, 200);
    let (status, head, _) = daemon.send("GET", "/", &["Accept: text/html"], "");
    assert!(status == 303 && head.to_lowercase().contains("location: /login"), "{head}");
    let (status, _, page) = daemon.send("GET", "/login", &[], "");
    assert!(status == 200 && page.contains("name=\"password\""), "{page}");

    let (status, head, _) = daemon.send("GET", &path, &[], "");
    assert_eq!(status, 303, "{head}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap().split(';').next().unwrap();
    let cookie = format!("Cookie: {cookie}");
    assert_eq!(daemon.send("GET", "/api/v2/dags", &[&cookie], "").0, 200);
    assert_eq!(daemon.send("GET", &path, &[], "").0, 401, "it was used");

    // Another link, then a password, after which a start prints no link.
    let ended = environment.ok(&["users", "login-link", "admin", "--url", &format!("http://{}", daemon.address)]);
    let path = ended.stdout.trim().split_once(&daemon.address).unwrap().1.to_owned();
    assert_eq!(daemon.send("GET", &path, &[], "").0, 303);
    set_password(&environment, "admin", "correct horse\n");
    assert_eq!(daemon.send("GET", "/api/v2/dags", &[&cookie], "").0, 401, "another password ends all sessions");
    let body = json!({"username": "admin", "password": "correct horse"}).to_string();
    let (status, _, reply) = daemon.send("POST", "/auth/token", &["Content-Type: application/json"], &body);
    assert_eq!(status, 201, "{reply}");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(daemon.wait().1, "");
    let daemon = environment.up(&[]);
    daemon.until("/health", |_, health| health["status"] == "healthy");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(daemon.wait().1, "", "there is another way in");
}

pub(crate) fn set_password(environment: &Environment, name: &str, text: &str) {
    let mut command = environment.command(&["users", "set-password", name]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn tokens_let_programs_in_and_the_audit_log_tells() {
    let environment = with_login();
    let daemon = environment.up(&[]);
    environment.ok(&["users", "create", "ada", "--role", "user"]);
    let ended = environment.ok(&["tokens", "create", "ci", "--user", "ada", "--expires", "90d"]);
    let token = ended.stdout.trim().to_owned();
    assert!(token.starts_with("twp_") && ended.stderr.contains("shown this once"), "{ended:?}");
    let bearer = format!("Authorization: Bearer {token}");
    let head = [bearer.as_str(), "Content-Type: application/json"];
    let start = std::time::Instant::now();
    while daemon.send("GET", "/api/v2/dags/good", &head, "").0 != 200 {
        assert!(start.elapsed().as_secs() < 60);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let body = r#"{"logical_date": null, "dag_run_id": "by_token"}"#;
    let (status, _, reply) = daemon.send("POST", "/api/v2/dags/good/dagRuns", &head, body);
    assert_eq!(status, 200, "{reply}");
    environment.ok(&["dags", "pause", "good"]);
    environment.ok(&["variables", "set", "password", "hunter2"]);

    let log = environment.ok(&["audit", "-o", "json"]).json();
    let told: Vec<(&str, &str)> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["event"].as_str().unwrap(), entry["dag_id"].as_str().unwrap_or("")))
        .collect();
    let expected = [
        ("cli_variables_set", ""),
        ("cli_dags_pause", "good"),
        ("trigger_dag_run", "good"),
        ("cli_tokens_create", ""),
        ("cli_users_create", ""),
    ];
    assert_eq!(told, expected);
    assert_eq!(log[2]["owner"], "ada/ci");
    assert!(log[0]["owner"].as_str().unwrap().starts_with("cli:"), "{log}");
    assert!(!log.to_string().contains("hunter2") && !log.to_string().contains(&token), "{log}");

    let shown = environment.ok(&["tokens", "list", "-o", "json"]).json();
    assert!(shown[0]["name"] == "ci" && shown[0]["last_used_at"].is_string(), "{shown}");
    environment.ok(&["tokens", "revoke", "ci"]);
    assert_eq!(daemon.send("GET", "/api/v2/dags", &head, "").0, 403);
    assert_eq!(environment.ok(&["tokens", "list", "-o", "json"]).json(), json!([]));
}

#[test]
fn users_are_kept() {
    let environment = Environment::new();
    environment.ok(&["users", "create", "ada", "--role", "admin"]);
    for (arguments, code, told) in [
        (&["users", "create", "ada", "--role", "op"][..], 2, "there is a user `ada` already"),
        (&["users", "create", "bob", "--role", "root"], 2, "`root` is no role"),
        (&["users", "create", "a b", "--role", "op"], 1, "`a b` is no name of a user"),
        (&["users", "create", "bob", "--role", "op", "--password"], 2, "no password was given"),
        (&["users", "delete", "ada"], 1, "`ada` is the only admin"),
        (&["users", "set-role", "ada", "viewer"], 1, "`ada` is the only admin"),
        (&["users", "set-role", "adda", "viewer"], 1, "user `adda` does not exist; did you mean `ada`?"),
        (&["users", "grant", "ada"], 2, "--dag"),
        (&["users", "revoke", "ada", "--tag", "x"], 1, "nothing was granted to user `ada` for tag:x"),
        (&["tokens", "create", "ci", "--user", "bob"], 1, "user `bob` does not exist"),
        (&["tokens", "revoke", "ci"], 1, "there is no token `ci`"),
        (&["up", "--listen", "0.0.0.0:0", "--no-auth"], 2, "without login (--no-auth), whoever reaches 0.0.0.0:0"),
        (&["up", "--listen", "127.0.0.1:0", "--tls-cert", "no.pem", "--tls-key", "no.pem"], 1, "`tls_cert`"),
        (&["up", "--tls-cert", "no.pem"], 2, "--tls-key"),
    ] {
        let ended = environment.run(arguments);
        assert!(ended.code == code && ended.stderr.contains(told), "{arguments:?}: {ended:#?}");
    }
    environment.ok(&["users", "create", "carol", "--role", "none"]);
    environment.ok(&["users", "grant", "carol", "--tag", "flights", "--edit"]);
    environment.ok(&["users", "grant", "carol", "--dag", "etl"]);
    let list = environment.ok(&["users", "list"]).stdout;
    assert!(list.contains("read dag:etl, edit tag:flights"), "{list}");
    environment.ok(&["users", "revoke", "carol", "--dag", "etl"]);
    environment.ok(&["users", "create", "dora", "--role", "admin"]);
    environment.ok(&["users", "set-role", "ada", "viewer"]);
    environment.ok(&["users", "delete", "carol"]);
    let shown = environment.ok(&["users", "list", "-o", "json"]).json();
    let names: Vec<_> = shown.as_array().unwrap().iter().map(|user| (&user["name"], &user["role"])).collect();
    assert_eq!(names, [(&json!("ada"), &json!("viewer")), (&json!("dora"), &json!("admin"))]);
}

/// With a certificate, HTTPS and nothing else is spoken.
#[test]
fn https() {
    let environment = with_login();
    let certificate = include_str!("../../../operators/tests/operators/other-name.crt");
    environment.write("cert.pem", certificate);
    environment.write("key.pem", include_str!("../../../operators/tests/operators/other-name.key"));
    let mut daemon = environment.up(&["--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
    assert!(daemon.line.starts_with("Towpath is up: https://127.0.0.1:"), "{}", daemon.line);
    assert!(daemon.next_line().contains("https://127.0.0.1:"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let head = runtime.block_on(async {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let _ = rustls::crypto::CryptoProvider::install_default((*provider).clone());
        // The certificate is nobody's whom a system trusts, and its name is another one.
        let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
        let reply = client.get(format!("https://{}/login", daemon.address)).send().await.unwrap();
        assert_eq!(reply.status(), 200);
        let plain = reqwest::Client::new().get(format!("http://{}/login", daemon.address)).send().await;
        assert!(plain.is_err(), "{plain:?}");
        reply.headers().clone()
    });
    assert!(head.contains_key("content-security-policy"), "{head:?}");
}
