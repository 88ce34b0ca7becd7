//! A network that fails where a test wants it to.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// How requests begin, as far as this counts them.
const REQUEST: &[u8] = b" HTTP/1.1\r\n";
const NEVER: i64 = i64::MAX / 2;

/// What goes wrong in the middle of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection is closed.
    Cut,
    /// Nothing comes any more, and nobody is told.
    Stall,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// What the network does. Without any of it all is well.
#[derive(Debug)]
struct Faults {
    /// The request whose answer is lost: counts down to 0.
    until_lost: AtomicI64,
    /// From this request on nothing gets through.
    until_dead: AtomicI64,
    trouble: Option<(Trouble, Direction, u64)>,
    /// Connections that are still to have it.
    times: AtomicI64,
    over: (Mutex<bool>, Condvar),
}

/// The client of Google's store sends no token where there is none, or an empty one; the server knows credentials of S3 alone, and
/// believes them.
fn known_token(bytes: &[u8]) -> Vec<u8> {
    const TOKEN: &[u8] = b"authorization: Bearer \r\n";
    const KNOWN: &[u8] = b"authorization: AWS4-HMAC-SHA256 Credential=id/20260101/us-east-1/s3/aws4_request, \
        SignedHeaders=host, Signature=0\r\n";
    let find = |text: &[u8]| bytes.windows(text.len()).position(|part| part == text);
    let (from, to) = match (find(TOKEN), find(REQUEST)) {
        (Some(at), _) => (at, at + TOKEN.len()),
        (None, Some(at)) if find(b"authorization:").is_none() => (at + REQUEST.len(), at + REQUEST.len()),
        _ => return bytes.to_vec(),
    };
    [&bytes[..from], KNOWN, &bytes[to..]].concat()
}

/// Stands between a client and a server.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    faults: Arc<Faults>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        *self.faults.over.0.lock().unwrap() = true;
        self.faults.over.1.notify_all();
    }
}

impl Proxy {
    /// Before `server` (`host:port`): the answer to request `lost` never comes though it was heard, and from request `dead` on no request
    /// gets through; both count from 0.
    pub(crate) fn of_requests(server: &str, lost: Option<i64>, dead: Option<i64>) -> Self {
        Self::new(server, lost.unwrap_or(NEVER), dead.unwrap_or(NEVER), None, 0)
    }

    /// The first `times` connections over which more than `bytes` go in that direction fail there.
    pub(crate) fn of_bytes(server: &str, trouble: Trouble, direction: Direction, bytes: u64, times: i64) -> Self {
        Self::new(server, NEVER, NEVER, Some((trouble, direction, bytes)), times)
    }

    fn new(server: &str, lost: i64, dead: i64, trouble: Option<(Trouble, Direction, u64)>, times: i64) -> Self {
        let faults = Arc::new(Faults {
            until_lost: AtomicI64::new(lost),
            until_dead: AtomicI64::new(dead),
            trouble,
            times: AtomicI64::new(times),
            over: (Mutex::new(false), Condvar::new()),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (server, shared) = (server.to_owned(), Arc::clone(&faults));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&server)) else { return };
                let loses = Arc::new(AtomicBool::new(false));
                for direction in [Direction::ToServer, Direction::ToClient] {
                    let (client, server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                    let (faults, loses) = (Arc::clone(&shared), Arc::clone(&loses));
                    std::thread::spawn(move || faults.pass_on(direction, &client, &server, &loses));
                }
            }
        });
        Self { address, faults }
    }
}

impl Faults {
    /// Copies bytes of a connection until it ends, or has to.
    fn pass_on(&self, direction: Direction, client: &TcpStream, server: &TcpStream, loses: &AtomicBool) {
        let (mut from, mut to) = if direction == Direction::ToServer { (client, server) } else { (server, client) };
        let mut buffer = vec![0; 16 * 1024];
        let mut passed = 0;
        loop {
            let count = from.read(&mut buffer).unwrap_or(0);
            let is_lost = direction == Direction::ToClient && loses.load(Ordering::SeqCst);
            if count == 0 || is_lost || (direction == Direction::ToServer && self.is_dead(&buffer[..count], loses)) {
                break;
            }
            passed += count as u64;
            let hit = self.trouble.filter(|(_, at, bytes)| *at == direction && passed > *bytes);
            if let Some((trouble, ..)) = hit.filter(|_| self.times.fetch_sub(1, Ordering::SeqCst) > 0) {
                if trouble == Trouble::Stall {
                    // Both ends stay open for as long as the test lasts.
                    let over = self.over.1.wait_while(self.over.0.lock().unwrap(), |is_over| !*is_over);
                    drop(over);
                }
                break;
            }
            let sent = match direction {
                Direction::ToServer => to.write_all(&known_token(&buffer[..count])),
                Direction::ToClient => to.write_all(&buffer[..count]),
            };
            if sent.is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }

    /// Whether the network ends with these bytes.
    fn is_dead(&self, bytes: &[u8], loses: &AtomicBool) -> bool {
        let requests = bytes.windows(REQUEST.len()).filter(|part| *part == REQUEST).count();
        for _ in 0..requests {
            if self.until_lost.fetch_sub(1, Ordering::SeqCst) == 0 {
                loses.store(true, Ordering::SeqCst);
            }
            self.until_dead.fetch_sub(1, Ordering::SeqCst);
        }
        self.until_dead.load(Ordering::SeqCst) < 0
    }
}
