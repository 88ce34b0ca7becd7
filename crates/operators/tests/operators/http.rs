use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use towpath_operators::http::Http;
use towpath_operators::{Operator, Outcome};

use crate::support::Fixture;

/// A server that knows a few paths and keeps what it was asked.
pub(crate) struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move { answer(stream, &seen).await });
            }
        });
        Self { port, requests }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn last(&self) -> String {
        self.requests.lock().expect("no panic").last().cloned().expect("it was asked")
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        text.extend_from_slice(&buffer[..count]);
        let so_far = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = so_far.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(so_far);
        }
    }
}

async fn answer(mut stream: TcpStream, seen: &Mutex<Vec<String>>) {
    let Some(request) = read_request(&mut stream).await else { return };
    let path = request.split_whitespace().nth(1).unwrap_or_default().to_owned();
    seen.lock().expect("no panic").push(request);
    let (status, headers, body) = match path.split('?').next().unwrap_or_default() {
        "/json" => ("200 OK", "content-type: application/json\r\n", r#"{"rows": [1, 2], "ok": true}"#.to_owned()),
        "/error" => ("500 Internal Server Error", "", format!("it broke {}", "x".repeat(2_000))),
        "/busy" => ("503 Service Unavailable", "retry-after: 1\r\n", String::new()),
        "/redirect" => ("302 Found", "location: /json\r\n", String::new()),
        "/loop" => ("302 Found", "location: /loop\r\n", String::new()),
        "/echo" => ("200 OK", "", "answer hunter2-long".to_owned()),
        "/never" => {
            tokio::time::sleep(Duration::from_secs(1_000)).await;
            return;
        }
        "/huge" => {
            // A body without a length, and one that never ends.
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
            while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
            return;
        }
        "/announced" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n").await;
            return;
        }
        "/cut" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort").await;
            return;
        }
        _ => ("404 Not Found", "", "no such page".to_owned()),
    };
    let reply =
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let _ = stream.write_all(reply.as_bytes()).await;
}

async fn run(args: Value) -> Outcome {
    Http::new().execute(&Fixture::new().attempt("http", args)).await
}

/// The error with the server's port replaced, and whether another try is worth it.
fn failure(server: &Server, outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed { error, retry } => {
            format!("{} [retry {retry}]\n", error.replace(&server.port.to_string(), "PORT"))
        }
        other => panic!("it did not fail: {other:?}"),
    }
}

#[tokio::test]
async fn the_body_is_the_xcom() {
    let server = Server::start().await;
    let text = r#"{"rows": [1, 2], "ok": true}"#;
    for (args, expected) in [
        (json!({"endpoint": server.url("/json")}), json!(text)),
        (json!({"endpoint": server.url("/redirect")}), json!(text)),
        (json!({"endpoint": server.url("/json"), "response_filter": "response.json.rows"}), json!([1, 2])),
        (json!({"endpoint": server.url("/json"), "response_filter": "{{ response.json.rows | sum }}"}), json!(3)),
        (
            json!({"endpoint": server.url("/json"), "response_check": "response.status == 200 and response.json.ok",
                "response_filter": "response.headers['content-type']"}),
            json!("application/json"),
        ),
        (json!({"endpoint": server.url("/none"), "extra_options": {"check_response": false}}), json!("no such page")),
        (
            json!({"endpoint": server.url("/redirect"), "extra_options": {"allow_redirects": false},
                "response_filter": "response.status_code"}),
            json!(302),
        ),
    ] {
        assert_eq!(run(args.clone()).await, Outcome::Success { value: Some(expected) }, "{args}");
    }
}

#[tokio::test]
async fn data_is_query_or_body() {
    let server = Server::start().await;
    let endpoint = server.url("/json?a=1");
    run(json!({"endpoint": endpoint, "data": {"b": "x y", "c": [1, 2], "d": null}})).await;
    assert!(server.last().starts_with("GET /json?a=1&b=x+y&c=1&c=2 HTTP/1.1\r\n"), "{}", server.last());
    run(json!({"endpoint": endpoint, "data": "q=%20"})).await;
    assert!(server.last().starts_with("GET /json?a=1&q=%20 HTTP/1.1\r\n"), "{}", server.last());
    run(json!({"endpoint": endpoint, "method": "POST", "data": {"b": 1}, "headers": {"X-Run": "7"}})).await;
    let request = server.last();
    assert!(request.starts_with("POST /json?a=1 ") && request.ends_with("\r\n\r\n{\"b\":1}"), "{request}");
    assert!(request.contains("content-type: application/json\r\n") && request.contains("x-run: 7\r\n"), "{request}");
    run(json!({"endpoint": endpoint, "method": "put", "data": "plain", "headers": {"Content-Type": "text/csv"}})).await;
    let request = server.last();
    assert!(request.starts_with("PUT ") && request.ends_with("\r\n\r\nplain"), "{request}");
    assert!(request.contains("content-type: text/csv\r\n"), "{request}");
}

#[tokio::test]
async fn a_connection_gives_host_credentials_and_headers() {
    let server = Server::start().await;
    let uri = format!("http://ann:hunter2-long@127.0.0.1:{}?X-Key=k&check_response=x", server.port);
    let fixture = Fixture::new().connection("api", &uri).connection("http_default", &uri);
    let sink = Arc::clone(&fixture.sink);
    let args = json!({"endpoint": "echo", "http_conn_id": "api", "headers": {"X-Other": "o"}, "log_response": true});
    let attempt = fixture.attempt("http", args);
    assert_eq!(Http::new().execute(&attempt).await, Outcome::Success { value: Some("answer hunter2-long".into()) });
    let request = server.last();
    // What `printf ann:hunter2-long | base64` prints.
    for part in ["GET /echo ", "authorization: Basic YW5uOmh1bnRlcjItbG9uZw==\r\n", "x-key: k\r\n", "x-other: o\r\n"] {
        assert!(request.contains(part), "{request}");
    }
    insta::assert_snapshot!(sink.text().replace(&server.port.to_string(), "PORT"));
    // A full URL of another host does not get them.
    let args = json!({"endpoint": server.url("/echo").replace("127.0.0.1", "localhost"), "http_conn_id": "api"});
    let attempt = Fixture::new().connection("api", &uri).attempt("http", args);
    assert!(matches!(Http::new().execute(&attempt).await, Outcome::Success { .. }));
    assert!(!server.last().contains("authorization") && !server.last().contains("x-key"), "{}", server.last());
    // A URL may have its own.
    let args = json!({"endpoint": server.url("/echo").replace("http://", "http://ann:hunter2%2Dlong@")});
    assert!(matches!(run(args).await, Outcome::Success { .. }));
    assert!(server.last().contains("authorization: Basic YW5uOmh1bnRlcjItbG9uZw==\r\n"), "{}", server.last());
    // Without a name it is the default one.
    let attempt = Fixture::new().connection("http_default", &uri).attempt("http", json!({"endpoint": "/echo"}));
    assert!(matches!(Http::new().execute(&attempt).await, Outcome::Success { .. }));
    assert!(server.last().contains("authorization"));
}

#[tokio::test]
async fn failures_name_the_url_and_the_cause() {
    let server = Server::start().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port();
    let mut seen = String::new();
    for args in [
        json!({"endpoint": server.url("/error")}),
        json!({"endpoint": server.url("/busy")}),
        json!({"endpoint": server.url("/none"), "method": "DELETE"}),
        json!({"endpoint": server.url("/loop")}),
        json!({"endpoint": server.url("/huge")}),
        json!({"endpoint": server.url("/announced")}),
        json!({"endpoint": server.url("/cut")}),
        json!({"endpoint": server.url("/never"), "timeout": 0.2}),
        json!({"endpoint": server.url("/json"), "timeout": "soon"}),
        json!({"endpoint": server.url("/json"), "response_check": "response.json.rows | length > 2"}),
        json!({"endpoint": server.url("/json"), "response_filter": "response.jsn"}),
        json!({"endpoint": server.url("/json"), "headers": {"a b": "c"}}),
        json!({"endpoint": server.url("/error").replace("http://", "http://ann:hunter2-long@")}),
        json!({"endpoint": "http://ann:hunter2-long@"}),
        json!({"endpoint": "/path"}),
        json!({"endpoint": "/path", "http_conn_id": "none"}),
        json!({"endpoint": format!("http://127.0.0.1:{closed}/x")}),
        json!({"endpoint": "https://no-such-host.invalid/x"}),
    ] {
        let error = failure(&server, run(args).await).replace(&closed.to_string(), "CLOSED");
        // 1,000 characters of the body are quoted, of which these are the last.
        let error = error.replace(&"x".repeat(991), "x{991}");
        // What the resolver says differs between machines.
        let error = error.split("dns error").next().map(str::to_owned).unwrap_or(error);
        seen.push_str(error.trim_end());
        seen.push('\n');
    }
    assert!(!seen.contains("hunter2"), "{seen}");
    insta::assert_snapshot!(seen);
}

#[tokio::test]
async fn certificates_are_checked() {
    // Nobody has signed this one, and its name is another.
    let server = TlsServer::start().await;
    let endpoint = format!("https://localhost:{}/", server.port);
    match run(json!({"endpoint": endpoint})).await {
        Outcome::Failed { error, retry: true } => assert!(error.contains("certificate"), "{error}"),
        other => panic!("{other:?}"),
    }
    let args = json!({"endpoint": endpoint, "extra_options": {"verify": false}});
    assert_eq!(run(args).await, Outcome::Success { value: Some("secure".into()) });
}

/// A TLS server with a certificate of its own for another name.
struct TlsServer {
    port: u16,
}

impl TlsServer {
    async fn start() -> Self {
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        let chain = CertificateDer::from_pem_slice(include_bytes!("other-name.crt")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("other-name.key")).expect("a key");
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("it has them")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("they belong together");
        let config = Arc::new(config);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), config) = (stream, Arc::clone(&config)) else { return };
                std::thread::spawn(move || serve(stream, config));
            }
        });
        Self { port }
    }
}

fn serve(stream: std::net::TcpStream, config: Arc<rustls::ServerConfig>) {
    use std::io::{Read, Write};
    let connection = rustls::ServerConnection::new(config).expect("a session");
    let mut tls = rustls::StreamOwned::new(connection, stream);
    let mut buffer = [0; 4096];
    // A client that refuses the certificate hangs up here.
    if tls.read(&mut buffer).is_ok() {
        let _ = tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecure");
        tls.conn.send_close_notify();
        let _ = tls.flush();
    }
}

#[tokio::test]
async fn a_stopped_request_ends_at_once() {
    let server = Server::start().await;
    let fixture = Fixture::new();
    let stop = fixture.stop.clone();
    let attempt = fixture.attempt("http", json!({"endpoint": server.url("/never")}));
    let stopper = async {
        while server.requests.lock().expect("no panic").is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stop.cancel();
    };
    let http = Http::new();
    let (outcome, ()) = tokio::join!(http.execute(&attempt), stopper);
    assert_eq!(failure(&server, outcome), "the request was told to stop [retry true]\n");
}
