//! How many bytes a socket gathers before it wakes who reads it (`SO_RCVLOWAT`, socket(7)).
//!
//! The bytes of a large frame come in pieces, and a reader that keeps up is woken for each: a batch of
//! 1 MB, copied to two followers, took five wake-ups on each of its three ways. While much of a frame is
//! still to come the reader asks for more at once. The end of the stream and a full receive buffer wake it
//! all the same, and so does setting the mark below what is there; a frame's deadline is its reader's.

use std::io;
use std::os::fd::AsRawFd;

use tokio::net::TcpStream;
use tracing::debug;

/// Less than this to come is waited for byte by byte: it comes at once, and a mark is a system call.
const WORTH: usize = 64 * 1024;

/// The most that is gathered, in bytes: the sender is to go on while the reader copies.
const MARK_MAX: usize = 256 * 1024;

/// The mark of one socket. Owned by who reads it.
#[derive(Debug)]
pub(crate) struct LowWater {
    /// What the socket was told, in bytes.
    mark: usize,
}

impl LowWater {
    /// Of a socket that was never told.
    pub(crate) const fn new() -> Self {
        Self { mark: 1 }
    }

    /// Says, before each wait for bytes, how many are still to come of a frame that has begun.
    ///
    /// It is no more than a hint: a socket that refuses wakes its reader for each piece.
    pub(crate) fn expect(&mut self, stream: &TcpStream, missing: usize) {
        let mark = if missing < WORTH { 1 } else { missing.min(MARK_MAX) };
        if mark == self.mark {
            return;
        }
        match set(stream, mark) {
            Ok(()) => self.mark = mark,
            Err(error) => debug!(%error, mark, "the socket takes no low-water mark"),
        }
    }
}

fn set(stream: &TcpStream, mark: usize) -> io::Result<()> {
    let mark = libc::c_int::try_from(mark).map_err(io::Error::other)?;
    let size = libc::socklen_t::try_from(size_of_val(&mark)).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for as long as `stream` is borrowed; the option's value is an `int`
    // (socket(7)), and the pointer and the size are of one that outlives the call, which only reads it.
    #[allow(unsafe_code, reason = "no kept crate sets this option; see SAFETY above")]
    let outcome = unsafe {
        let value = (&raw const mark).cast();
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, value, size)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Shutdown, TcpListener};
    use std::time::Duration;

    use tokio::io::AsyncReadExt;

    use super::*;

    fn pair() -> (std::net::TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sender = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (reader, _) = listener.accept().unwrap();
        reader.set_nonblocking(true).unwrap();
        (sender, TcpStream::from_std(reader).unwrap())
    }

    /// Whether the reader would be woken now: the sender's bytes are there once its write returns.
    async fn is_woken(reader: &TcpStream) -> bool {
        tokio::time::timeout(Duration::ZERO, reader.readable()).await.is_ok()
    }

    #[tokio::test]
    async fn a_reader_sleeps_below_the_mark_and_wakes_at_it() {
        let (mut sender, reader) = pair();
        let mut mark = LowWater::new();
        mark.expect(&reader, WORTH);
        sender.write_all(&vec![7; WORTH - 1]).unwrap();
        assert!(!is_woken(&reader).await);
        sender.write_all(&[7]).unwrap();
        reader.readable().await.unwrap();
    }

    #[tokio::test]
    async fn a_lower_mark_wakes_for_what_is_there() {
        let (mut sender, reader) = pair();
        let mut mark = LowWater::new();
        mark.expect(&reader, MARK_MAX);
        sender.write_all(&[7; 100]).unwrap();
        assert!(!is_woken(&reader).await);
        mark.expect(&reader, 1);
        reader.readable().await.unwrap();
    }

    #[tokio::test]
    async fn the_end_of_the_stream_wakes_below_the_mark() {
        let (mut sender, mut reader) = pair();
        let mut mark = LowWater::new();
        mark.expect(&reader, MARK_MAX);
        sender.write_all(&[7; 100]).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, [7; 100]);
    }

    /// The kernel gives the socket room for what it is to gather: nobody waits for the other.
    #[tokio::test]
    async fn frames_of_many_marks_arrive_whole() {
        let (mut sender, mut reader) = pair();
        let size = 20 * MARK_MAX + 12_345;
        let sending = std::thread::spawn(move || sender.write_all(&vec![7; size]));
        let mut mark = LowWater::new();
        let mut all = Vec::with_capacity(size);
        while all.len() < size {
            mark.expect(&reader, size - all.len());
            reader.read_buf(&mut all).await.unwrap();
        }
        assert_eq!(all.len(), size);
        sending.join().unwrap().unwrap();
    }
}
