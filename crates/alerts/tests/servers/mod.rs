//! Servers on this machine that take alerts: one for mail, one for HTTP.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// A mail as a server takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) data: String,
}

/// A mail server.
#[derive(Debug, Clone)]
pub(crate) struct MailServer {
    pub(crate) address: SocketAddr,
    mails: Arc<Mutex<Vec<Mail>>>,
    /// Greets as many as it has permits for; the others wait.
    doors: Arc<Semaphore>,
    pub(crate) visitors: Arc<AtomicU32>,
}

impl MailServer {
    /// One that lets everybody in.
    pub(crate) async fn open() -> Self {
        Self::with_doors(Semaphore::MAX_PERMITS).await
    }

    /// One that takes connections and then says nothing.
    pub(crate) async fn silent() -> Self {
        Self::with_doors(0).await
    }

    async fn with_doors(doors: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            mails: Arc::default(),
            doors: Arc::new(Semaphore::new(doors)),
            visitors: Arc::default(),
        };
        let this = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let this = this.clone();
                tokio::spawn(async move { this.talk(stream).await });
            }
        });
        server
    }

    /// As if it were at another address.
    pub(crate) fn at(&self, address: &str) -> Self {
        Self { address: address.parse().unwrap(), ..self.clone() }
    }

    pub(crate) fn let_in(&self) {
        self.doors.add_permits(1_000);
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }

    /// `None` where the visitor has left.
    async fn talk(&self, stream: TcpStream) -> Option<()> {
        self.visitors.fetch_add(1, Ordering::SeqCst);
        let _door = self.doors.acquire().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut mail = Mail { from: String::new(), to: Vec::new(), data: String::new() };
        stream.write_all(b"220 test\r\n").await.ok()?;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let address = || line.split(['<', '>']).nth(1).unwrap().to_owned();
            let upper = line.to_uppercase();
            let answer = match upper.get(..4).unwrap() {
                "EHLO" => "250-test\r\n250 8BITMIME",
                "MAIL" => {
                    mail.from = address();
                    "250 ok"
                }
                "RCPT" if line.contains("nobody@") => "550 5.1.1 no such mailbox",
                "RCPT" if line.contains("busy@") => "451 4.3.0 come back later",
                "RCPT" => {
                    mail.to.push(address());
                    "250 ok"
                }
                "DATA" => {
                    stream.write_all(b"354 go on\r\n").await.ok()?;
                    loop {
                        let mut line = String::new();
                        stream.read_line(&mut line).await.ok()?;
                        if line == ".\r\n" {
                            break;
                        }
                        mail.data.push_str(&line.replace("\r\n", "\n"));
                    }
                    self.mails.lock().unwrap().push(mail.clone());
                    "250 taken"
                }
                "QUIT" => "221 bye",
                _ => "250 ok",
            };
            stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
        }
    }
}

/// A server that takes JSON, and answers with the statuses it was given, 200 when there are none left.
#[derive(Debug, Clone)]
pub(crate) struct HookServer {
    pub(crate) address: String,
    taken: Arc<Mutex<Vec<(String, Value)>>>,
    answers: Arc<Mutex<Vec<u16>>>,
}

impl HookServer {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { address, taken: Arc::default(), answers: Arc::default() };
        let this = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let this = this.clone();
                tokio::spawn(async move { this.talk(stream).await });
            }
        });
        server
    }

    pub(crate) fn answers(&self, statuses: &[u16]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    /// What was posted, by path.
    pub(crate) fn taken(&self) -> Vec<(String, Value)> {
        self.taken.lock().unwrap().clone()
    }

    async fn talk(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let (mut path, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            if let Some(rest) = line.strip_prefix("POST ") {
                rest.split(' ').next().unwrap().clone_into(&mut path);
            }
            if let Some(rest) = line.to_lowercase().strip_prefix("content-length: ") {
                length = rest.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        self.taken.lock().unwrap().push((path, serde_json::from_slice(&body).unwrap()));
        let status = { self.answers.lock().unwrap().pop() }.unwrap_or(200);
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 5\r\nconnection: close\r\n\r\nwords");
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}
