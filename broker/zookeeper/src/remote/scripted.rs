//! A ZooKeeper of tests, one connection after the other: it gives sessions with the time-out that is asked
//! for, knows no node, and refuses the first requests of each kind for having too much to do.
//!
//! Source: ZooKeeper 3.9 `ConnectRequest`, `RequestHeader`, `ReplyHeader`, `ZooDefs.OpCode`, `KeeperException.Code`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const SYNC: i32 = 9;
const PING: i32 = 11;
const CLOSE: i32 = -11;
const LIST_EPHEMERALS: i32 = 103;

const NO_NODE: i32 = -101;
const THROTTLED: i32 = -127;

/// Serves whoever connects; refuses the first `refusals` requests of each kind.
pub(super) async fn serve(listener: &TcpListener, refusals: u32) -> Infallible {
    let mut refused = BTreeMap::new();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        // A client that goes ends its connection, and nothing else.
        let _ = converse(&mut stream, refusals, &mut refused).await;
    }
}

async fn converse(
    stream: &mut TcpStream,
    refusals: u32,
    refused: &mut BTreeMap<i32, u32>,
) -> io::Result<()> {
    // Behind the version and the last transaction that the client has seen.
    let asked = read(stream).await?;
    let session =
        [&[0; 4][..], &asked[12..16], &7_i64.to_be_bytes(), &16_i32.to_be_bytes(), &[1; 16], &[0]];
    write(stream, &session.concat()).await?;
    loop {
        let request = read(stream).await?;
        let number = |at: usize| i32::from_be_bytes(request[at..at + 4].try_into().unwrap());
        let (xid, kind) = (number(0), number(4));
        let so_far = refused.entry(kind).or_default();
        let (error, body) = match kind {
            PING | CLOSE => (0, Vec::new()),
            _ if *so_far < refusals => {
                *so_far += 1;
                (THROTTLED, Vec::new())
            }
            LIST_EPHEMERALS => (0, 0_i32.to_be_bytes().to_vec()),
            // The path that was asked for.
            SYNC => (0, request[8..].to_vec()),
            _ => (NO_NODE, Vec::new()),
        };
        let header = [&xid.to_be_bytes()[..], &1_i64.to_be_bytes(), &i32::to_be_bytes(error)];
        write(stream, &[&header.concat()[..], &body].concat()).await?;
        if kind == CLOSE {
            return Ok(());
        }
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; stream.read_i32().await? as usize];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write(stream: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
    stream.write_i32(frame.len() as i32).await?;
    stream.write_all(frame).await
}

/// A host that does not answer: the queue of its listener is full.
pub(super) struct Silent {
    listener: TcpListener,
    _queued: TcpStream,
}

impl Silent {
    pub(super) async fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let queued = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        Self { listener, _queued: queued }
    }

    pub(super) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }
}
