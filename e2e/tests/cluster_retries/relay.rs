//! A relay before a broker, which can keep the answers to Produce from clients, and cut them off.
//!
//! It knows frames, no bodies: an answer is kept by the number that ties it to its request, so that all other
//! answers of the same connection pass. It binds before its broker starts, which advertises it.
//!
//! Concurrency: two threads a connection, which end with it; the listener's lives as long as the test.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

/// More than any request or answer here.
const FRAME_SIZE_MAX: usize = 1 << 20;

/// The API key of Produce.
const PRODUCE: [u8; 2] = [0, 0];

/// What its threads share.
#[derive(Debug, Default)]
struct Shared {
    keeps: AtomicBool,
    /// The ends of every connection so far.
    connections: Mutex<Vec<TcpStream>>,
}

/// A relay that listens.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Relay {
    /// Listens on a port that the kernel chooses, before what listens on the port `broker`.
    pub(crate) fn before(broker: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let relay = Self { address: listener.local_addr()?, shared: Arc::default() };
        let shared = Arc::clone(&relay.shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(broker) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
                let shared = Arc::clone(&shared);
                thread::spawn(move || pass(&client, &broker, &shared));
            }
        });
        Ok(relay)
    }

    /// From now on what clients produce gets no answer.
    pub(crate) fn keep_answers(&self) {
        self.shared.keeps.store(true, Ordering::SeqCst);
    }

    /// Ends all connections; on later ones everything passes.
    pub(crate) fn cut(&self) {
        // First: who comes back at once finds it open.
        self.shared.keeps.store(false, Ordering::SeqCst);
        let mut connections =
            self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// Passes frames both ways until either side ends.
fn pass(client: &TcpStream, broker: &TcpStream, shared: &Shared) {
    let kept = Mutex::default();
    let known = [client, broker].map(TcpStream::try_clone).into_iter().flatten();
    shared.connections.lock().unwrap_or_else(PoisonError::into_inner).extend(known);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = pass_answers(broker, client, &kept);
            let _ = client.shutdown(Shutdown::Both);
        });
        let _ = pass_requests(client, broker, &shared.keeps, &kept);
        let _ = broker.shutdown(Shutdown::Both);
    });
}

fn pass_requests(
    client: &TcpStream,
    mut broker: &TcpStream,
    keeps: &AtomicBool,
    kept: &Mutex<BTreeSet<[u8; 4]>>,
) -> io::Result<()> {
    loop {
        let request = frame(client)?;
        // Its size, its key and version, then its number.
        if let (Some(PRODUCE), Some(number)) = (array_at(&request, 4), array_at(&request, 8))
            && keeps.load(Ordering::SeqCst)
        {
            kept.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        }
        broker.write_all(&request)?;
    }
}

fn pass_answers(
    broker: &TcpStream,
    mut client: &TcpStream,
    kept: &Mutex<BTreeSet<[u8; 4]>>,
) -> io::Result<()> {
    loop {
        let answer = frame(broker)?;
        let number = array_at(&answer, 4).unwrap_or_default();
        if !kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&number) {
            client.write_all(&answer)?;
        }
    }
}

/// A frame with its size before it.
fn frame(mut from: &TcpStream) -> io::Result<Vec<u8>> {
    let mut prefix = [0; 4];
    from.read_exact(&mut prefix)?;
    let size = u32::from_be_bytes(prefix) as usize;
    if size > FRAME_SIZE_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; 4 + size];
    frame[..4].copy_from_slice(&prefix);
    from.read_exact(&mut frame[4..])?;
    Ok(frame)
}

fn array_at<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..)?.first_chunk().copied()
}
