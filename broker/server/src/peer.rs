//! A connection to another broker, over which this one asks.
//!
//! One request is in flight at a time, and the answer is decoded where it was read: it borrows from
//! the connection's one buffer until the next call. Who asks decides what a failure means; here a
//! connection that failed, timed out or was left in the middle of a call is simply not used again.
//!
//! Concurrency: not shared; a task owns it. Sizes are bytes.
//! Source: Kafka 3.9 `NetworkClient`, with `max.in.flight.requests.per.connection` of one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::header::{RequestHeader, ResponseHeader};
use broker_protocol::message::Message;
use broker_protocol::primitive::{DecodeError, EncodeError, Reader, Writer};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::low_water::LowWater;

/// Bytes of a frame's length prefix.
const LENGTH_SIZE: usize = 4;

/// What the read buffer starts with: most answers fit, and one `recv` takes them.
const READ_CAPACITY: usize = 64 * 1024;

/// What the write buffer keeps; larger requests (a full LeaderAndIsr) give their memory back.
const WRITE_CAPACITY: usize = 64 * 1024;

/// A read buffer that is so many times larger than its last answer is given back.
const READ_SLACK: usize = 16;

/// Memory that decoding an answer may take, for each of its bytes: a broker of the cluster is
/// trusted with more than a client, as answers of many empty partitions are dense.
const BUDGET_PER_BYTE: usize = 16;

/// How a connection is made and used.
#[derive(Debug, Clone)]
pub struct Options {
    /// What this broker calls itself.
    pub client_id: Arc<str>,
    /// How long a connection may take to be made, the look-up of the name included.
    pub connect_timeout: Duration,
    /// How long an answer may take from the first byte of its request.
    pub call_timeout: Duration,
    /// The largest answer, in bytes.
    pub answer_size_max: usize,
}

/// Why there is no answer. The connection is of no use afterwards, [`PeerError::Request`] excepted.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The peer's host answers that nobody listens on the port.
    #[error("the port refuses connections")]
    Refused,
    /// The host does not answer, or has no address.
    #[error("the host cannot be reached")]
    Unreachable(#[source] io::Error),
    /// Nothing came in time.
    #[error("no answer in time")]
    TimedOut,
    /// The connection ended before the answer did.
    #[error("the connection was closed")]
    Closed(#[source] io::Error),
    /// The answer is not what was asked for.
    #[error("the answer cannot be read")]
    Malformed(#[source] DecodeError),
    /// The answer is of another request, or of a size that no answer has.
    #[error("the answer is none: {0}")]
    Foreign(&'static str),
    /// The request cannot be said in that version; nothing was sent.
    #[error("the request cannot be written")]
    Request(#[source] EncodeError),
}

/// A connection to another broker.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    options: Options,
    correlation_id: i32,
    output: BytesMut,
    input: BytesMut,
    low_water: LowWater,
    /// Whether a request is on the wire without its answer: the stream is then at no known place.
    is_in_call: bool,
}

impl Peer {
    /// Connects to a listener of the peer.
    ///
    /// # Errors
    /// `Refused`, `Unreachable` or `TimedOut`.
    pub async fn connect(host: &str, port: u16, options: Options) -> Result<Self, PeerError> {
        let connecting = TcpStream::connect((host, port));
        let connected = tokio::time::timeout(options.connect_timeout, connecting).await;
        let stream = connected.map_err(|_| PeerError::TimedOut)?.map_err(|error| {
            if error.kind() == io::ErrorKind::ConnectionRefused {
                PeerError::Refused
            } else {
                PeerError::Unreachable(error)
            }
        })?;
        stream.set_nodelay(true).map_err(PeerError::Unreachable)?;
        Ok(Self {
            stream,
            options,
            correlation_id: 0,
            output: BytesMut::new(),
            input: BytesMut::with_capacity(READ_CAPACITY),
            low_water: LowWater::new(),
            is_in_call: false,
        })
    }

    /// Asks `request` in `version` and waits for the answer, which borrows from the connection.
    ///
    /// Not cancel-safe: after a cancelled call every other one fails with `Closed`.
    ///
    /// # Errors
    /// Any [`PeerError`] but `Refused` and `Unreachable`.
    pub async fn call<'a, 'q, Q: Message<'q>, A: Message<'a>>(
        &'a mut self,
        request: &Q,
        version: i16,
    ) -> Result<A, PeerError> {
        debug_assert!(Q::API_KEY == A::API_KEY, "an answer is of the API of its request");
        if self.is_in_call {
            return Err(PeerError::Closed(io::ErrorKind::NotConnected.into()));
        }
        self.write(request, version)?;
        self.is_in_call = true;
        match tokio::time::timeout(self.options.call_timeout, self.exchange()).await {
            Ok(exchanged) => exchanged?,
            Err(_) => return Err(PeerError::TimedOut),
        }
        let answer = read(&self.input, self.correlation_id, version)?;
        self.is_in_call = false;
        Ok(answer)
    }

    /// Waits until the peer closes the connection, or sends what nobody asked for. Cancel-safe.
    pub async fn closed(&mut self) {
        while !self.is_in_call {
            if self.stream.readable().await.is_err() {
                return;
            }
            match self.stream.try_read(&mut [0; 1]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => self.is_in_call = true,
            }
        }
    }

    /// Puts the frame of `request` into the write buffer.
    fn write<'q, Q: Message<'q>>(&mut self, request: &Q, version: i16) -> Result<(), PeerError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader {
            api_key: Q::API_KEY.code(),
            api_version: version,
            correlation_id: self.correlation_id,
            client_id: Some((&*self.options.client_id).into()),
        };
        let mut writer = Writer::with_buffer(std::mem::take(&mut self.output));
        let written = writer.frame(|writer| {
            header.encode(writer)?;
            request.encode(writer, version)
        });
        debug_assert!(writer.gaps().is_empty(), "what is asked is in memory");
        (self.output, _) = writer.into_parts();
        if written.is_err() {
            self.output.clear();
        }
        written.map_err(PeerError::Request)
    }

    /// Sends the request and reads the frame of its answer.
    async fn exchange(&mut self) -> Result<(), PeerError> {
        self.stream.write_all(&self.output).await.map_err(PeerError::Closed)?;
        self.output.clear();
        if self.output.capacity() > WRITE_CAPACITY {
            self.output = BytesMut::new();
        }
        let last_size = self.input.len();
        self.input.clear();
        if self.input.capacity() > READ_CAPACITY.max(last_size.saturating_mul(READ_SLACK)) {
            self.input = BytesMut::with_capacity(READ_CAPACITY);
        }
        let mut wanted = LENGTH_SIZE;
        while self.input.len() < wanted {
            self.low_water.expect(&self.stream, wanted - self.input.len());
            let read = self.stream.read_buf(&mut self.input).await.map_err(PeerError::Closed)?;
            if read == 0 {
                return Err(PeerError::Closed(io::ErrorKind::UnexpectedEof.into()));
            }
            if wanted == LENGTH_SIZE
                && let Some(length) = self.input.first_chunk::<LENGTH_SIZE>()
            {
                let size = usize::try_from(i32::from_be_bytes(*length))
                    .map_err(|_| PeerError::Foreign("its length is negative"))?;
                if size > self.options.answer_size_max {
                    return Err(PeerError::Foreign("it is too large"));
                }
                wanted += size;
                self.input.reserve(wanted - self.input.len().min(wanted));
            }
        }
        if self.input.len() > wanted {
            return Err(PeerError::Foreign("more came than was asked for"));
        }
        // From here on any byte is one that nobody asked for (`closed`).
        self.low_water.expect(&self.stream, 0);
        Ok(())
    }
}

/// Decodes the frame in `input`.
fn read<'a, A: Message<'a>>(
    input: &'a BytesMut,
    correlation_id: i32,
    version: i16,
) -> Result<A, PeerError> {
    let frame = input.get(LENGTH_SIZE..).unwrap_or_default();
    let budget = frame.len().saturating_mul(BUDGET_PER_BYTE).saturating_add(READ_CAPACITY);
    let mut reader = Reader::with_budget(frame, budget);
    let header = ResponseHeader::decode(&mut reader, A::API_KEY, version);
    if header.map_err(PeerError::Malformed)?.correlation_id != correlation_id {
        return Err(PeerError::Foreign("it answers another request"));
    }
    A::decode(&mut reader, version).map_err(PeerError::Malformed)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test has no shutdown to name its tasks")]
mod tests {
    use broker_protocol::message::heartbeat::{HeartbeatRequest, HeartbeatResponse};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;

    const VERSION: i16 = 4;

    fn options() -> Options {
        Options {
            client_id: "broker-1-to-2".into(),
            connect_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(10),
            answer_size_max: 1024,
        }
    }

    /// A peer that answers each request by what `answers` says, then closes.
    async fn serve(answers: Vec<Vec<u8>>) -> (Peer, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::task::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in answers {
                let size = stream.read_u32().await.unwrap();
                let mut frame = vec![0; size as usize];
                stream.read_exact(&mut frame).await.unwrap();
                let mut reader = Reader::new(&frame);
                let header = RequestHeader::decode(&mut reader).unwrap();
                assert_eq!(header.client_id.as_deref(), Some("broker-1-to-2"));
                assert_eq!(HeartbeatRequest::decode(&mut reader, VERSION).unwrap(), request());
                stream.write_all(&answer).await.unwrap();
            }
        });
        (Peer::connect("127.0.0.1", port, options()).await.unwrap(), server)
    }

    fn request() -> HeartbeatRequest<'static> {
        HeartbeatRequest { group_id: "g".into(), ..Default::default() }
    }

    fn answer(correlation_id: i32, error_code: i16) -> Vec<u8> {
        let mut writer = Writer::new();
        let response = HeartbeatResponse { error_code, ..Default::default() };
        let header = ResponseHeader { correlation_id };
        writer
            .frame(|writer| {
                header.encode(writer, HeartbeatResponse::API_KEY, VERSION);
                response.encode(writer, VERSION)
            })
            .unwrap();
        writer.as_slice().to_vec()
    }

    async fn ask(peer: &mut Peer) -> Result<i16, PeerError> {
        let answer: HeartbeatResponse = peer.call(&request(), VERSION).await?;
        Ok(answer.error_code)
    }

    #[tokio::test]
    async fn each_request_has_its_answer_and_the_end_of_the_peer_is_seen() {
        let (mut peer, server) = serve(vec![answer(1, 7), answer(2, 9)]).await;
        assert_eq!(ask(&mut peer).await.unwrap(), 7);
        assert_eq!(ask(&mut peer).await.unwrap(), 9);
        server.await.unwrap();
        peer.closed().await;
        assert!(matches!(ask(&mut peer).await, Err(PeerError::Closed(_))));
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_told_from_all_other_failures() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let refused = Peer::connect("127.0.0.1", port, options()).await;
        assert!(matches!(refused, Err(PeerError::Refused)), "{refused:?}");
    }

    /// Method: table of (name, what the peer sends, the error).
    #[tokio::test]
    async fn what_is_no_answer_ends_the_connection() {
        let mut twice = answer(1, 0);
        twice.extend(answer(2, 0));
        let cases: [(&str, Vec<u8>, fn(&PeerError) -> bool); 6] = [
            ("nothing", Vec::new(), |e| matches!(e, PeerError::Closed(_))),
            ("half", answer(1, 0)[..6].to_vec(), |e| matches!(e, PeerError::Closed(_))),
            ("of another", answer(2, 0), |e| matches!(e, PeerError::Foreign(_))),
            ("two", twice, |e| matches!(e, PeerError::Foreign(_))),
            ("negative", vec![255; 4], |e| matches!(e, PeerError::Foreign(_))),
            ("cut", vec![0, 0, 0, 4, 0, 0, 0, 1], |e| matches!(e, PeerError::Malformed(_))),
        ];
        for (name, bytes, expected) in cases {
            let (mut peer, server) = serve(vec![bytes]).await;
            let error = ask(&mut peer).await.unwrap_err();
            assert!(expected(&error), "{name}: {error:?}");
            assert!(matches!(ask(&mut peer).await, Err(PeerError::Closed(_))), "{name}");
            server.await.unwrap();
        }
    }

    /// Method: with time paused it moves on as soon as all wait, so a silent peer is no wait here.
    #[tokio::test]
    async fn a_silent_peer_is_given_up_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut peer = Peer::connect("127.0.0.1", port, options()).await.unwrap();
        tokio::time::pause();
        assert!(matches!(ask(&mut peer).await, Err(PeerError::TimedOut)));
        assert!(matches!(ask(&mut peer).await, Err(PeerError::Closed(_))));
        drop(listener);
    }
}
