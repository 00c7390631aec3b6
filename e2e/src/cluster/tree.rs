//! As much of ZooKeeper's protocol as the bed needs: to read and delete a node, and to end another's
//! session.
//!
//! A ZooKeeper server derives a session's password from its number alone (`ZooKeeperServer.
//! generatePasswd`, 3.8): `java.util.Random` seeded with the number and a constant. So the bed can
//! resume the session of a broker and close it, which is what an expiry is to everyone who watches.
//! One request at a time, no watches; a connection that fails is given up.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

const ANSWER: Duration = Duration::from_secs(3);
const DELETE: i32 = 2;
const GET_DATA: i32 = 4;
const GET_CHILDREN: i32 = 8;
const CLOSE_SESSION: i32 = -11;
const NO_NODE: i32 = -101;
const SESSION_MS: i32 = 10_000;
/// `ZooKeeperServer.superSecret`.
const SECRET: i64 = 0xB341_5C00;
/// Larger than any node that Kafka writes here.
const FRAME_MAX: usize = 4 << 20;

/// A session with one server.
#[derive(Debug)]
pub struct Tree {
    stream: TcpStream,
    next_xid: i32,
}

/// A node's data, and what ZooKeeper says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Znode {
    /// What it holds.
    pub data: Vec<u8>,
    /// The transaction that made it.
    pub created: i64,
    /// The transaction that wrote it last.
    pub written: i64,
    /// How often it was written since it was made.
    pub version: i32,
    /// The session that owns it, 0 for none.
    pub owner: i64,
}

impl Tree {
    /// Begins a session of its own.
    pub fn open(server: SocketAddr) -> Result<Self> {
        Self::connect(server, 0, [0; 16])
    }

    /// Ends the session `id`, whoever uses it.
    pub fn expire(server: SocketAddr, id: i64) -> Result<()> {
        Self::connect(server, id, password(id))?.close()
    }

    fn connect(server: SocketAddr, session: i64, password: [u8; 16]) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&server, ANSWER)
            .with_context(|| format!("connect to ZooKeeper {server}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let mut tree = Self { stream, next_xid: 1 };
        let mut request = Vec::new();
        request.extend(0_i32.to_be_bytes());
        request.extend(0_i64.to_be_bytes());
        request.extend(SESSION_MS.to_be_bytes());
        request.extend(session.to_be_bytes());
        put_bytes(&mut request, &password);
        request.push(0);
        tree.send(&request)?;
        let answer = tree.receive()?;
        let mut answer = Cursor(&answer);
        let (_, timeout) = (answer.i32()?, answer.i32()?);
        ensure!(timeout > 0, "ZooKeeper knows no session {session:#x}");
        Ok(tree)
    }

    /// Reads a node, `None` where there is none.
    pub fn get(&mut self, path: &str) -> Result<Option<Znode>> {
        let Some(answer) = self.ask(GET_DATA, path)? else { return Ok(None) };
        let mut answer = Cursor(&answer);
        let data = answer.bytes()?.to_vec();
        let (created, written) = (answer.i64()?, answer.i64()?);
        // Two times.
        answer.take(2 * 8)?;
        let version = answer.i32()?;
        // The versions of children and rights.
        answer.take(2 * 4)?;
        Ok(Some(Znode { data, created, written, version, owner: answer.i64()? }))
    }

    /// The names of a node's children, none where there is no node.
    pub fn children(&mut self, path: &str) -> Result<Vec<String>> {
        let Some(answer) = self.ask(GET_CHILDREN, path)? else { return Ok(Vec::new()) };
        let mut answer = Cursor(&answer);
        let count = answer.i32()?;
        (0..count).map(|_| Ok(String::from_utf8_lossy(answer.bytes()?).into_owned())).collect()
    }

    /// Deletes a node, whatever it holds; returns whether there was one.
    pub fn delete(&mut self, path: &str) -> Result<bool> {
        let mut body = Vec::new();
        put_bytes(&mut body, path.as_bytes());
        // Of any version.
        body.extend((-1_i32).to_be_bytes());
        let answer = self.call(DELETE, &body).with_context(|| format!("delete {path}"))?;
        Ok(answer.is_some())
    }

    fn ask(&mut self, kind: i32, path: &str) -> Result<Option<Vec<u8>>> {
        let mut body = Vec::new();
        put_bytes(&mut body, path.as_bytes());
        body.push(0);
        self.call(kind, &body).with_context(|| format!("read {path}"))
    }

    fn close(mut self) -> Result<()> {
        self.call(CLOSE_SESSION, &[]).map(drop).context("close a session")
    }

    /// The answer's body, `None` where there is no such node.
    fn call(&mut self, kind: i32, body: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut request = Vec::new();
        request.extend(self.next_xid.to_be_bytes());
        request.extend(kind.to_be_bytes());
        request.extend(body);
        self.next_xid += 1;
        self.send(&request)?;
        let answer = self.receive()?;
        let mut cursor = Cursor(&answer);
        cursor.take(4 + 8)?;
        match cursor.i32()? {
            0 => Ok(Some(cursor.0.to_vec())),
            NO_NODE => Ok(None),
            error => bail!("ZooKeeper answers {error}"),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let mut frame = Vec::new();
        put_bytes(&mut frame, bytes);
        self.stream.write_all(&frame).context("write to ZooKeeper")
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).context("read from ZooKeeper")?;
        let size = u32::from_be_bytes(size) as usize;
        ensure!(size <= FRAME_MAX, "an answer of {size} bytes from ZooKeeper");
        let mut bytes = vec![0; size];
        self.stream.read_exact(&mut bytes).context("read from ZooKeeper")?;
        Ok(bytes)
    }
}

/// What a server says to a four-letter word.
pub fn four_letters(server: SocketAddr, word: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, ANSWER).context("connect")?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(word.as_bytes()).context("write")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("read")?;
    Ok(text)
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend((bytes.len() as i32).to_be_bytes());
    to.extend(bytes);
}

/// What `ZooKeeperServer.generatePasswd` gives a session.
fn password(session: i64) -> [u8; 16] {
    const MULTIPLIER: i64 = 0x5_DEEC_E66D;
    const MASK: i64 = (1 << 48) - 1;
    let mut state = (session ^ SECRET ^ MULTIPLIER) & MASK;
    let mut bytes = [0; 16];
    for four in bytes.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        four.copy_from_slice(&((state >> 16) as i32).to_le_bytes());
    }
    bytes
}

/// The rest of an answer.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).context("a short answer")?;
        self.0 = rest;
        Ok(taken)
    }

    fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into()?))
    }

    /// Bytes after their length; -1 is none.
    fn bytes(&mut self) -> Result<&'a [u8]> {
        let size = self.i32()?;
        self.take(size.max(0) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of `new java.util.Random(42)`, whose first int is -1170105035.
    #[test]
    fn a_password_is_what_java_draws() {
        let bytes = password(0x2A ^ SECRET);
        assert_eq!(bytes[..4], (-1_170_105_035_i32).to_le_bytes());
        assert_eq!(bytes[4..8], 234_785_527_i32.to_le_bytes());
    }
}
