//! A port of this machine that leads to an address which only a host of the cluster reaches.
//!
//! A thread takes what comes to the port, on loopback; for each connection another enters the network of
//! the host, connects from there, and copies both ways. Nothing else runs for it, so nothing of it is left
//! when the program is killed.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::cell::Cell;

/// How long a connection may take that is made within one machine.
const CONNECT: Duration = Duration::from_secs(5);

/// A port that is open until this is dropped; connections that are made stay.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    closing: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Relay {
    /// A port that the kernel chooses, from which `from` is asked for `to`.
    pub fn open(from: &Arc<Cell>, to: SocketAddrV4) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("bind a port")?;
        let address = listener.local_addr().context("the address of a port")?;
        let closing = Arc::new(AtomicBool::new(false));
        let (cell, closes) = (Arc::clone(from), Arc::clone(&closing));
        let accepting = thread::spawn(move || {
            for client in listener.incoming() {
                if closes.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let cell = Arc::clone(&cell);
                // Who cannot be reached is told to the client by the end of its connection.
                thread::spawn(move || drop(serve(&client, &cell, to)));
            }
        });
        Ok(Self { address, closing, accepting: Some(accepting) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // The thread waits for a connection: this is one.
        let woken = TcpStream::connect_timeout(&self.address, CONNECT);
        if let (Ok(_), Some(accepting)) = (woken, self.accepting.take()) {
            let _ = accepting.join();
        }
    }
}

fn serve(client: &TcpStream, cell: &Cell, to: SocketAddrV4) -> Result<()> {
    let server = connect(cell, to)?;
    for stream in [client, &server] {
        stream.set_nodelay(true)?;
    }
    thread::scope(|scope| {
        scope.spawn(|| copy(client, &server));
        copy(&server, client);
    });
    Ok(())
}

/// Copies until one end is closed, and tells the other.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

/// A connection that is made on the host: a socket stays in the network that it was made in.
fn connect(cell: &Cell, to: SocketAddrV4) -> Result<TcpStream> {
    let network = File::open(format!("/proc/{}/ns/net", cell.first_process()?))
        .with_context(|| format!("open the network of {}", cell.name))?;
    let connecting = thread::spawn(move || -> io::Result<TcpStream> {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
        TcpStream::connect_timeout(&to.into(), CONNECT)
    });
    let connected = connecting.join().map_err(|_| anyhow!("the connecting thread panicked"))?;
    connected.with_context(|| format!("connect to {to} from {}", cell.name))
}
