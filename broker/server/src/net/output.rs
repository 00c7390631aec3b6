//! Writing [`Answers`] to a socket: memory by `send`, file ranges by `sendfile`.

use std::io;
use std::os::fd::AsFd;

use broker_storage::log::Slice;
use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::cold;
use crate::api::answers::{Answers, Next};

/// A range up to this size is copied into the buffer: a second system call costs more than that.
const COPY_MAX: u32 = 8 * 1024;

/// A buffer that has grown above this is given back once it is empty, in bytes.
const KEEP_CAPACITY: usize = 256 * 1024;

/// Writes all of `answers`, waiting for the socket and for cold pages as needed.
///
/// Not cancel-safe: a cancelled flush leaves part of an answer on the wire, so the caller closes
/// the connection.
///
/// # Errors
/// When the peer is gone, or a file range cannot be read: the stream then ends in the middle of an
/// answer and must be closed.
pub(crate) async fn flush(answers: &mut Answers, stream: &TcpStream) -> io::Result<()> {
    answers.copy_small(COPY_MAX, cold::read_now);
    while let Some(next) = answers.next() {
        match next {
            Next::Slice(slice) => send_slice(stream, &slice).await?,
            Next::Memory { size, more } => {
                // More follows at once: the kernel may wait for it and fill the packet.
                let flags = if more { SendFlags::MORE } else { SendFlags::empty() };
                let sent = send(stream, &answers.memory()[..size], flags).await?;
                answers.take(sent);
            }
        }
    }
    answers.shrink(KEEP_CAPACITY);
    Ok(())
}

/// Sends a file range from the page cache, without passing through this process.
async fn send_slice(stream: &TcpStream, slice: &Slice) -> io::Result<()> {
    let Some(file) = slice.file.as_fd() else {
        return send_copied(stream, slice).await;
    };
    cold::warm(slice).await?;
    let mut position = u64::from(slice.position);
    let end = position + u64::from(slice.size);
    while position < end {
        let sent = when_writable(stream, || {
            let rest = (end - position) as usize;
            Ok(rustix::fs::sendfile(stream.as_fd(), file, Some(&mut position), rest)?)
        })
        .await?;
        if sent == 0 {
            // Truncated under the reader: the length is already promised, so the stream must end.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Sends a range of a file that has no descriptor (the file system of tests).
async fn send_copied(stream: &TcpStream, slice: &Slice) -> io::Result<()> {
    let mut copy = vec![0; slice.size as usize];
    cold::read_exact_at(slice, &mut copy, 0)?;
    let mut rest = &copy[..];
    while !rest.is_empty() {
        let sent = send(stream, rest, SendFlags::empty()).await?;
        rest = &rest[sent..];
    }
    Ok(())
}

/// Sends some of `bytes`; returns how many.
async fn send(stream: &TcpStream, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
    let flags = flags | SendFlags::NOSIGNAL;
    when_writable(stream, || Ok(rustix::net::send(stream.as_fd(), bytes, flags)?)).await
}

/// Runs a non-blocking `operation`, waiting for the socket each time it would block.
async fn when_writable<T>(
    stream: &TcpStream,
    mut operation: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match stream.try_io(Interest::WRITABLE, &mut operation) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) if error.raw_os_error() == Some(Errno::INTR.raw_os_error()) => {}
            done => return done,
        }
    }
}
