//! A broker in this process, and a client that sends any bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use broker_config::broker::BrokerConfig;
use broker_config::raw::Properties;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::header::{RequestHeader, ResponseHeader};
use broker_protocol::message::Message;
use broker_protocol::message::create_topics::{
    CreatableTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use broker_protocol::message::find_coordinator::FindCoordinatorRequest;
use broker_protocol::message::offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
use broker_protocol::primitive::{Reader, Writer};
use broker_server::broker::Broker;

/// Long enough for any answer, short enough to fail a hung test.
const LIMIT: Duration = Duration::from_secs(20);

/// Of every request, since a client has one under way.
const CORRELATION_ID: i32 = 1;

/// Runs `clients` beside a broker on `dir`, which is stopped afterwards.
pub(crate) async fn beside_broker<T: Send + 'static>(
    dir: &Path,
    settings: &[&str],
    clients: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> T {
    beside_broker_and_metrics(dir, settings, |address, _| clients(address)).await
}

/// The same for `clients` that also look at its metrics, if `metrics.listener` is set.
pub(crate) async fn beside_broker_and_metrics<T: Send + 'static>(
    dir: &Path,
    settings: &[&str],
    clients: impl FnOnce(SocketAddr, Option<SocketAddr>) -> T + Send + 'static,
) -> T {
    let mut properties = Properties::default();
    let own = [
        "listeners=PLAINTEXT://127.0.0.1:0",
        "metrics.listener=",
        "offsets.topic.num.partitions=1",
        "group.initial.rebalance.delay.ms=0",
        &format!("log.dirs={}", dir.display()),
    ];
    for setting in own.iter().chain(settings) {
        properties.set(setting).unwrap();
    }
    let config = BrokerConfig::from_properties(&properties).unwrap();
    let broker = Broker::start(config).await.unwrap();
    let (_, address) = broker.addresses[0];
    let metrics = broker.metrics_address;
    let done = tokio::task::spawn_blocking(move || clients(address, metrics)).await;
    broker.stop().await;
    done.unwrap()
}

/// The broker's page of metrics, with the head of the answer.
pub(crate) fn page(address: SocketAddr) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    socket.read_to_string(&mut page).unwrap();
    page
}

/// Asks until `holds`.
pub(crate) fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "not in time: {what}");
    }
}

/// A whole frame.
pub(crate) fn encode<'a, M: Message<'a>>(request: &M, version: i16) -> Vec<u8> {
    let mut writer = Writer::new();
    let header = RequestHeader {
        api_key: M::API_KEY.code(),
        api_version: version,
        correlation_id: CORRELATION_ID,
        client_id: Some("groups".into()),
    };
    let frame = |writer: &mut Writer| {
        header.encode(writer)?;
        request.encode(writer, version)
    };
    writer.frame(frame).unwrap();
    writer.as_slice().to_vec()
}

/// The size of the frame's length and header.
pub(crate) fn head_size<'a, M: Message<'a>>(version: i16) -> usize {
    4 + 2 + 2 + 4 + 2 + "groups".len() + usize::from(M::API_KEY.is_flexible(version))
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer(Vec<u8>);

impl Answer {
    /// Reads the body.
    pub(crate) fn read<'a, M: Message<'a>>(&'a self, version: i16) -> M {
        let mut reader = Reader::new(&self.0);
        let header = ResponseHeader::decode(&mut reader, M::API_KEY, version).unwrap();
        assert_eq!(header.correlation_id, CORRELATION_ID, "the answer to another request");
        let body = M::decode(&mut reader, version).unwrap();
        assert_eq!(reader.remaining(), 0, "bytes after the answer");
        body
    }
}

/// One connection.
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self(socket)
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn call<'a, M: Message<'a>>(&mut self, request: &M, version: i16) -> Answer {
        let answer = self.exchange(&encode(request, version));
        answer.unwrap_or_else(|| panic!("{} {version} is not answered", M::API_KEY.name()))
    }

    /// Waits until the broker closes the connection, which nothing was asked over.
    pub(crate) fn await_close(mut self) {
        let read = self.0.read(&mut [0]);
        let is_reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
        assert!(read.as_ref().map_or_else(is_reset, |size| *size == 0), "{read:?}");
    }

    /// Sends `frame`; `None` if the broker closes the connection.
    pub(crate) fn exchange(&mut self, frame: &[u8]) -> Option<Answer> {
        self.0.write_all(frame).unwrap();
        let mut length = [0; 4];
        match self.0.read_exact(&mut length) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                ) =>
            {
                return None;
            }
            Err(error) => panic!("neither answered nor closed: {error}: {frame:?}"),
        }
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut bytes).unwrap();
        Some(Answer(bytes))
    }

    /// Has the topic of the offsets made, and waits until it has been read.
    pub(crate) fn await_coordinator(&mut self) {
        self.call(&FindCoordinatorRequest { key: "g".into(), ..Default::default() }, 1);
        let loading = ErrorCode::CoordinatorLoadInProgress.code();
        let request = OffsetFetchRequest { group_id: "g".into(), ..Default::default() };
        await_that("the groups are read", || {
            let answer = self.call(&request, 5);
            let response: OffsetFetchResponse<'_> = answer.read(5);
            assert!([0, loading].contains(&response.error_code), "{response:?}");
            response.error_code == 0
        });
    }

    /// Makes topics of one partition each.
    pub(crate) fn create_topics(&mut self, names: &[&str]) {
        let topics = names.iter().map(|name| CreatableTopic {
            name: (*name).into(),
            num_partitions: 1,
            replication_factor: 1,
            ..Default::default()
        });
        let request = CreateTopicsRequest { topics: topics.collect(), ..Default::default() };
        let answer = self.call(&request, 5);
        let response: CreateTopicsResponse<'_> = answer.read(5);
        assert!(response.topics.iter().all(|topic| topic.error_code == 0), "{response:?}");
    }
}
