//! Accepting: one task per listener takes connections off the backlog and has each live on a worker.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::connection::{Connection, End, Settings};
use super::limits::{LimitError, Limits};
use super::worker::Places;
use crate::api::Peer;
use crate::context::Context;
use crate::metrics::connections::Open;
use crate::tasks::Tasks;

/// The pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound listener that does not accept yet.
#[derive(Debug)]
pub struct Listener {
    name: Arc<str>,
    socket: TcpListener,
}

/// How the sockets of a listener are set up.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Connections that the kernel keeps until they are accepted (`socket.listen.backlog.size`).
    pub backlog: i32,
    /// The receive buffer in bytes; absent, the kernel sizes it (`socket.receive.buffer.bytes`).
    pub receive_buffer: Option<usize>,
    /// The send buffer in bytes; absent, the kernel sizes it (`socket.send.buffer.bytes`).
    pub send_buffer: Option<usize>,
}

/// Binds `address` for the listener `name`. Port 0 takes a free one.
///
/// # Errors
/// When the address is taken or not of this host.
pub fn bind(name: &str, address: SocketAddr, options: &Options) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A broker that restarts takes its port back at once, whatever the old connections do.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    // Before listening: accepted sockets inherit both, and the window is agreed on before the accept.
    if let Some(size) = options.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    socket.listen(options.backlog)?;
    Ok(Listener { name: name.into(), socket: TcpListener::from_std(socket.into())? })
}

impl Listener {
    /// Returns the address that was bound, with the real port.
    ///
    /// # Errors
    /// Those of `getsockname`.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until `stop`, then closes the socket.
    pub(crate) async fn accept(
        self,
        context: Arc<Context>,
        places: Arc<Places>,
        limits: Arc<Limits>,
        settings: Settings,
        stop: CancellationToken,
    ) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    let peer = Peer { host: address.ip(), listener: Arc::clone(&self.name) };
                    match stream.into_std() {
                        Ok(stream) => {
                            hand_over(&context, &places, &limits, &settings, stream, peer);
                        }
                        Err(error) => debug!(%error, %address, "accepted socket was lost"),
                    }
                    let wait = limits.pace(context.clock.now());
                    if !wait.is_zero() {
                        tokio::select! {
                            biased;
                            () = stop.cancelled() => return,
                            () = tokio::time::sleep(wait) => {}
                        }
                    }
                }
                Err(error) => {
                    warn!(%error, listener = %self.name, "accept failed; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Gives an accepted socket to the worker that has a place for it, or closes it.
fn hand_over(
    context: &Arc<Context>,
    places: &Arc<Places>,
    limits: &Arc<Limits>,
    settings: &Settings,
    stream: std::net::TcpStream,
    peer: Peer,
) {
    let admitted = limits.spare(stream.as_raw_fd()).and_then(|()| limits.admit(peer.host));
    let permit = match admitted {
        Ok(permit) => permit,
        Err(error @ LimitError::Descriptors { .. }) => {
            warn!(%error, client = %peer.host, "connection refused");
            return;
        }
        Err(error) => {
            info!(%error, client = %peer.host, "connection refused");
            return;
        }
    };
    // Answers are whole when they are written: waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let seat = places.seat(context.clock.now());
    let open = context.metrics.connections.open(&peer.listener, seat.thread);
    let (runtime, place) = (places.runtime(&seat).clone(), (Arc::clone(places), seat));
    let tasks: Tasks = context.tasks.clone();
    let (context, settings) = (Arc::clone(context), settings.clone());
    tasks.spawn_on(&runtime, "connection", async move {
        let client = peer.host;
        let connection = Connection::new(stream, context, peer, settings, permit, place);
        live(connection, client, open).await;
    });
}

/// Serves a connection for as long as it lives on this thread.
async fn live(connection: io::Result<Connection>, client: IpAddr, mut open: Open) {
    let mut connection = match connection {
        Ok(connection) => connection,
        Err(error) => {
            warn!(%error, %client, "connection could not be registered");
            return;
        }
    };
    match connection.run().await {
        Ok(()) => {
            let (network_thread, runtime, tasks) = connection.home();
            open.moved(network_thread);
            go_on(connection, client, open, &runtime, &tasks);
        }
        Err(End::Closed | End::Shutdown) => {}
        Err(end @ (End::Idle(_) | End::SlowFrame { .. } | End::SlowReader(_) | End::Io(_))) => {
            debug!(error = %end, %client, "connection closed");
        }
        Err(end @ (End::Frame(_) | End::Fault(_))) => {
            info!(error = %end, %client, "connection closed: bad input");
        }
    }
}

/// Has a connection live on another thread.
fn go_on(connection: Connection, client: IpAddr, open: Open, runtime: &Handle, tasks: &Tasks) {
    tasks.spawn_on(runtime, "connection", async move {
        live(connection.moved(), client, open).await;
    });
}
