//! Files of web servers, also of such that break off.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::proxy::{Direction, Proxy, Trouble};
use crate::support::Kitchen;

/// What a server does with one path.
#[derive(Clone, Default)]
struct Page {
    body: Vec<u8>,
    /// Answers `Range`.
    ranges: bool,
    /// The first so many transfers break off after half of what is left.
    breaks: usize,
    /// Transfers from the third one on have this body, under another tag.
    later: Option<Vec<u8>>,
    /// The first so many requests are answered with 503.
    refuses: usize,
    /// Answers only with this header.
    needs: Option<&'static str>,
}

#[derive(Default)]
struct Seen {
    requests: HashMap<String, usize>,
    ranges: Vec<String>,
}

/// A web server for one test.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    fn new(pages: Vec<(&'static str, Page)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (pages, shared): (HashMap<_, _>, _) = (pages.into_iter().collect(), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (pages, seen) = (pages.clone(), Arc::clone(&shared));
                std::thread::spawn(move || answer(stream.unwrap(), &pages, &seen));
            }
        });
        Self { address, seen }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Answers one request; a client that goes away early is no failure of a test.
fn answer(mut stream: TcpStream, pages: &HashMap<&str, Page>, seen: &Mutex<Seen>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split_whitespace().nth(1).unwrap().split('?').next().unwrap().to_owned();
    let range = head.lines().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let count = {
        let mut seen = seen.lock().unwrap();
        seen.ranges.extend(range.clone());
        let count = seen.requests.entry(path.clone()).or_default();
        *count += 1;
        *count
    };
    let refused = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let Some(page) = pages.get(path.as_str()) else {
        return drop(stream.write_all(refused("404 Not Found").as_bytes()));
    };
    if count <= page.refuses {
        return drop(stream.write_all(refused("503 Service Unavailable").as_bytes()));
    }
    if page.needs.is_some_and(|needs| !head.to_lowercase().contains(needs)) {
        return drop(stream.write_all(refused("401 Unauthorized").as_bytes()));
    }
    let (body, tag) = match &page.later {
        // The first transfer is the look at the header.
        Some(later) if count > 2 => (later, 2),
        _ => (&page.body, 1),
    };
    let from = range.filter(|_| page.ranges).and_then(|range| range.split('-').next()?.parse::<usize>().ok());
    let rest = &body[from.unwrap_or(0)..];
    let status = match from {
        Some(from) => {
            format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{}", body.len() - 1, body.len())
        }
        None => "200 OK".to_owned(),
    };
    let length = rest.len();
    let head = format!("HTTP/1.1 {status}\r\nETag: \"{tag}\"\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let sent = if count <= page.breaks { &rest[..length / 2] } else { rest };
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
}

fn numbers(count: usize) -> Vec<u8> {
    let rows: String = (0..count).map(|n| format!("{n},{}\n", n * 7)).collect();
    format!("n,m\n{rows}").into_bytes()
}

/// The sums of the columns of a source.
fn sums(kitchen: &Kitchen, source: Value) -> String {
    let sums = json!({"aggregate": {"columns": {"rows": "count(*)", "n": "sum(n)", "m": "sum(m)"}}});
    kitchen.steps(&source, &json!([sums]))
}

#[test]
fn transfers_that_break_go_on() {
    const ROWS: usize = 200_000;
    let page = Page { body: numbers(ROWS), ..Page::default() };
    let server = Server::new(vec![
        ("/whole.csv", page.clone()),
        ("/ranges.csv", Page { ranges: true, breaks: 3, ..page.clone() }),
        ("/restart.csv", Page { breaks: 2, ..page.clone() }),
        ("/busy.csv", Page { refuses: 2, ..page.clone() }),
        ("/changes.csv", Page { breaks: 2, later: Some(numbers(10)), ..page.clone() }),
        ("/never.csv", Page { ranges: true, breaks: usize::MAX, body: b"n,m\n1,2".to_vec(), ..Page::default() }),
    ]);
    let kitchen = Kitchen::new();
    let expected = format!("rows,n,m\n{ROWS},{},{}\n", ROWS * (ROWS - 1) / 2, ROWS * (ROWS - 1) / 2 * 7);
    for path in ["/whole.csv", "/ranges.csv", "/restart.csv", "/busy.csv"] {
        assert_eq!(sums(&kitchen, json!({"csv": server.url(path)})), expected, "{path}");
    }
    assert!(!server.seen.lock().unwrap().ranges.is_empty(), "nothing was taken up in the middle");
    let error = sums(&kitchen, json!({"csv": server.url("/changes.csv"), "columns": {"n": "int64", "m": "int64"}}));
    assert!(error.ends_with("has changed while it was read; try again"), "{error}");
    let error = sums(&kitchen, json!({"csv": server.url("/never.csv")}));
    assert!(error.contains("broke off after 6 bytes, 5 times in a row"), "{error}");
}

#[test]
fn every_format_comes_from_the_web() {
    let kitchen = Kitchen::new();
    kitchen.file("in.csv", numbers(3_000));
    let mut pages = Vec::new();
    for (name, path) in
        [("/n.parquet", "n.parquet"), ("/n.ndjson", "n.ndjson"), ("/n.csv.gz", "n.csv.gz"), ("/n.arrow", "n.arrow")]
    {
        let format = path.split('.').nth(1).unwrap();
        let load = json!({"inputs": [["input", {"csv": "in.csv"}]], "output": {"target": {format: path}}});
        kitchen.run(&load).unwrap();
        let body = std::fs::read(kitchen.path().join(path)).unwrap();
        pages.push((name, Page { body, breaks: 1, ranges: true, ..Page::default() }));
    }
    let server = Server::new(pages);
    for (format, path) in
        [("parquet", "/n.parquet"), ("ndjson", "/n.ndjson"), ("csv", "/n.csv.gz"), ("arrow", "/n.arrow")]
    {
        let read = sums(&kitchen, json!({format: server.url(path)}));
        assert_eq!(read, format!("rows,n,m\n3000,{},{}\n", 2_999 * 1_500, 2_999 * 1_500 * 7), "{path}");
    }
    assert!(!kitchen.path().join("scratch/downloads").exists(), "downloads are left");
}

#[test]
fn connections_open_and_messages_help() {
    let page = |needs| Page { body: b"n,m\n1,2\n".to_vec(), needs: Some(needs), ..Page::default() };
    let server = Server::new(vec![("/login.csv", page("authorization: basic dTpw")), ("/key.csv", page("x-key: abc"))]);
    let kitchen = Kitchen::new();
    // Names of headers are written in lower case, and so is what they are compared with.
    let connections = json!({
        "web": {"conn_type": "http", "host": server.url(""), "login": "u", "password": "p", "extra": {"X-Key": "abc"}},
        "other": {"conn_type": "http", "host": "http://127.0.0.2:9"},
        "db": {"conn_type": "postgres"},
    });
    let read = |source: Value| kitchen.csv(&json!({"inputs": [["input", source]], "connections": connections}));
    for source in [
        json!({"csv": "key.csv", "connection": "web"}),
        json!({"csv": server.url("/key.csv?signature=secret"), "http_conn_id": "web"}),
    ] {
        assert_eq!(read(source.clone()), "n,m\n1,2\n", "{source}");
    }
    for (source, expected) in [
        (
            json!({"csv": server.url("/key.csv?signature=secret")}),
            "answers 401 Unauthorized; name a connection of type http with login or headers (`connection`)",
        ),
        (json!({"csv": server.url("/none.csv")}), "/none.csv` answers 404 Not Found; the file may not be there yet"),
        (
            json!({"csv": "http://host/data/*.csv"}),
            "error: `http://host/data/*.csv` is a glob, and web servers do not list their files; name each file, or write `*` as %2A if it is part of the name",
        ),
        (json!({"csv": server.url("/key.csv"), "connection": "other"}), "connection `other` is for another host than"),
        (json!({"csv": server.url("/key.csv"), "connection": "db"}), "connection `db` is of type `postgres`, and"),
        (
            json!({"csv": "key.csv", "connection": "db"}),
            "`key.csv` is a path of this machine, for which connection `db` means nothing; write a URL (s3://, gs://, az://)",
        ),
        (json!({"csv": "http://127.0.0.1:1/x.csv"}), "cannot be read: "),
    ] {
        let error = read(source.clone());
        assert!(
            error.starts_with("error: ") && error.contains(expected) && !error.contains("secret"),
            "{source}: {error}"
        );
    }
}

#[test]
fn a_server_that_falls_silent_is_asked_again_and_given_up_in_the_end() {
    let server = Server::new(vec![("/n.csv", Page { body: numbers(100_000), ranges: true, ..Page::default() })]);
    let read = |bytes: u64, times: i64| {
        let proxy = Proxy::of_bytes(&server.address.to_string(), Trouble::Stall, Direction::ToClient, bytes, times);
        let host = format!("http://{}", proxy.address);
        let kitchen = Kitchen::new();
        let found = kitchen.csv(&json!({"inputs": [["input", {"csv": "n.csv", "connection": "web"}]],
            "connections": {"web": {"conn_type": "http", "host": host, "extra": {"timeout": 0.3}}},
            "steps": [{"aggregate": {"columns": {"rows": "count(*)", "total": "sum(n)"}}}]}));
        (found, host)
    };
    // In the middle of the file: it goes on from there.
    assert_eq!(read(300_000, 2).0, "rows,total\n100000,4999950000\n");
    // From the start, and each time.
    let (found, host) = read(0, 1_000);
    assert!(found.starts_with(&format!("error: `{host}/n.csv` cannot be read: ")), "{found}");
}
