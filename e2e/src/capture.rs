//! A relay between real clients and a broker that keeps one request frame of each API and version.
//!
//! It binds before the broker starts, so that the broker can be told to advertise it: what clients
//! learn from Metadata and FindCoordinator then leads through the relay too. Answers pass unread.
//!
//! Sizes are bytes, without the length prefix. Concurrency: two threads a connection, which end
//! with it; the frames are behind one lock. A connection that fails is closed, as a broker would.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The largest frame that is kept; larger ones pass, and a smaller one of their kind is kept later.
const KEPT_SIZE_MAX: usize = 4096;

/// The largest frame that passes: Kafka's `socket.request.max.bytes`.
const FRAME_SIZE_MAX: usize = 100 << 20;

/// Names the directory for the frames that pass: unset, nothing is captured.
pub const VARIABLE: &str = "E2E_CAPTURE";

/// What librdkafka calls itself, and with it the harness's own requests.
const HARNESS_ID: &[u8] = b"rdkafka";

/// The first frame of each API key, version and client id.
type Frames = BTreeMap<(i16, i16, Vec<u8>), Vec<u8>>;

/// Where captured frames go, if they are wanted.
pub fn directory() -> Option<PathBuf> {
    env::var_os(VARIABLE).map(PathBuf::from)
}

/// A listening relay; its threads live as long as the test process.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    upstream: Arc<Mutex<Option<SocketAddr>>>,
    frames: Arc<Mutex<Frames>>,
}

impl Relay {
    /// Listens on a port that the kernel chooses; connections are closed until there is an upstream.
    pub fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let relay = Self {
            address: listener.local_addr()?,
            upstream: Arc::default(),
            frames: Arc::default(),
        };
        let (upstream, frames) = (Arc::clone(&relay.upstream), Arc::clone(&relay.frames));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let to = *upstream.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(Ok(broker)) = to.map(TcpStream::connect) else { continue };
                let frames = Arc::clone(&frames);
                thread::spawn(move || connection(&client, &broker, &frames));
            }
        });
        Ok(relay)
    }

    /// What clients are given, and what the broker advertises.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where later connections lead; another one after each restart of the broker.
    pub fn lead_to(&self, broker: SocketAddr) {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = Some(broker);
    }

    /// What was kept, a line a kind: API key, version, `client`, the frame in hex.
    ///
    /// The harness asks through kcat: its frames are not those of a client without librdkafka.
    pub fn lines(&self, client: &str) -> String {
        let mut lines = String::new();
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        let librdkafka = matches!(client, "kcat" | "rdkafka");
        let mut seen = BTreeSet::new();
        for ((api_key, version, id), frame) in &*frames {
            if id == HARNESS_ID && !librdkafka {
                continue;
            }
            if !seen.insert((api_key, version)) {
                continue;
            }
            let hex = frame.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            let _ = writeln!(lines, "{api_key} {version} {client} {hex}");
        }
        lines
    }
}

/// Copies both ways until either side ends.
fn connection(client: &TcpStream, broker: &TcpStream, frames: &Mutex<Frames>) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut from, mut to) = (broker, client);
            let _ = io::copy(&mut from, &mut to);
            let _ = client.shutdown(Shutdown::Both);
        });
        let _ = requests(client, broker, frames);
        let _ = broker.shutdown(Shutdown::Both);
    });
}

/// Passes whole frames on, and keeps the first of each kind.
fn requests(mut from: &TcpStream, mut to: &TcpStream, frames: &Mutex<Frames>) -> io::Result<()> {
    loop {
        let mut prefix = [0; 4];
        from.read_exact(&mut prefix)?;
        let size = u32::from_be_bytes(prefix) as usize;
        if size > FRAME_SIZE_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut frame = vec![0; size];
        from.read_exact(&mut frame)?;
        to.write_all(&prefix)?;
        to.write_all(&frame)?;
        if let (&[a, b, c, d, ..], true) = (frame.as_slice(), size <= KEPT_SIZE_MAX) {
            let kind = (i16::from_be_bytes([a, b]), i16::from_be_bytes([c, d]), client_id(&frame));
            let mut frames = frames.lock().unwrap_or_else(PoisonError::into_inner);
            frames.entry(kind).or_insert(frame);
        }
    }
}

/// The client id of a request, empty if there is none.
fn client_id(frame: &[u8]) -> Vec<u8> {
    let Some(&[a, b]) = frame.get(8..10) else { return Vec::new() };
    let end = 10 + usize::from(u16::from_be_bytes([a, b]));
    frame.get(10..end).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method: an echo for a broker. Two frames of one kind and one too large pass; one is kept.
    #[test]
    fn every_frame_passes_and_the_first_of_its_kind_is_kept() {
        let echo = TcpListener::bind("127.0.0.1:0").expect("a port");
        let relay = Relay::bind().expect("a port");
        relay.lead_to(echo.local_addr().expect("its address"));
        thread::spawn(move || {
            let (broker, _) = echo.accept().expect("the relay");
            io::copy(&mut &broker, &mut &broker)
        });
        let mut client = TcpStream::connect(relay.address()).expect("the relay");
        let large = [&[0, 0, 0, 9][..], &[0; KEPT_SIZE_MAX]].concat();
        for frame in [&[0, 18, 0, 3, 1][..], &[0, 18, 0, 3, 2], &large] {
            let sent = [&(frame.len() as u32).to_be_bytes()[..], frame].concat();
            client.write_all(&sent).expect("sent");
            let mut passed = vec![0; sent.len()];
            client.read_exact(&mut passed).expect("echoed");
            assert_eq!(passed, sent);
        }
        // A frame is kept just after it was passed on: the end of the connection is after both.
        client.shutdown(Shutdown::Write).expect("shut down");
        assert_eq!(client.read(&mut [0; 1]).expect("the end"), 0);
        assert_eq!(relay.lines("echo"), "18 3 echo 0012000301\n");
    }
}
