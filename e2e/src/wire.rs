//! A client of our own: one blocking socket, one request after the other, any bytes a test wants.
//!
//! Real clients mend, retry and refuse to send what is wrong; what a broker answers to the exact
//! bytes of a request is seen only without them. Requests are encoded by the broker's own codec,
//! which is held to independent ones elsewhere.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use broker_protocol::api_key::ApiKey;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::header::{RequestHeader, ResponseHeader};
use broker_protocol::message::Message;
use broker_protocol::message::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse,
};
use broker_protocol::message::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use broker_protocol::message::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use broker_protocol::message::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData,
};
use broker_protocol::primitive::{EncodeError, Reader, Records, Writer};
use broker_protocol::record::entries::{Entry, entries};

use crate::deadline::Deadline;

/// How long an answer may take on a machine that also compiles.
const ANSWER: Duration = Duration::from_secs(30);

/// The largest answer believed.
const ANSWER_SIZE_MAX: usize = 64 << 20;

/// The last version of Produce and Fetch that names topics by name.
pub const PRODUCE_VERSION: i16 = 9;
/// See [`PRODUCE_VERSION`].
pub const FETCH_VERSION: i16 = 12;

/// One connection to a broker.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    next_correlation_id: i32,
}

/// An answer's frame, whole and not yet decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The bytes after the length prefix.
    pub bytes: Vec<u8>,
}

impl Answer {
    /// Decodes the header and the body in `version`.
    pub fn read<'a, M: Message<'a>>(&'a self, version: i16) -> Result<M> {
        let mut reader = Reader::new(&self.bytes);
        ResponseHeader::decode(&mut reader, M::API_KEY, version)?;
        Ok(M::decode(&mut reader, version)?)
    }

    /// The number that ties it to its request.
    pub fn correlation_id(&self) -> Result<i32> {
        let bytes = self.bytes.first_chunk().context("an answer without a header")?;
        Ok(i32::from_be_bytes(*bytes))
    }
}

/// A record as a consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// Its offset.
    pub offset: i64,
    /// Its time in milliseconds.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Encodes one request with its length, header and body.
pub fn request<'a, M: Message<'a>>(
    body: &M,
    api_version: i16,
    correlation_id: i32,
) -> Result<Vec<u8>> {
    let api_key = M::API_KEY.code();
    let client_id = Some("e2e".into());
    let header = RequestHeader { api_key, api_version, correlation_id, client_id };
    let mut writer = Writer::new();
    writer.frame::<EncodeError>(|writer| {
        header.encode(writer)?;
        body.encode(writer, api_version)
    })?;
    Ok(writer.as_slice().to_vec())
}

/// A frame around `body` with a header of the given numbers, its client's name `e2e`.
pub fn raw_request(api_key: i16, api_version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend(api_key.to_be_bytes());
    frame.extend(api_version.to_be_bytes());
    frame.extend(correlation_id.to_be_bytes());
    frame.extend([0, 3]);
    frame.extend(b"e2e");
    if ApiKey::from_i16(api_key).is_some_and(|api| api.is_flexible(api_version)) {
        frame.push(0);
    }
    frame.extend(body);
    let size = (frame.len() - 4) as i32;
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame
}

impl Connection {
    /// Connects to `address`, `host:port`.
    pub fn open(address: &str) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(Self { stream, next_correlation_id: 1 })
    }

    /// As [`Connection::open`], with bounds for a host that may be gone.
    pub fn open_within(address: SocketAddr, connect: Duration, answer: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, connect)
            .with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(answer))?;
        stream.set_write_timeout(Some(answer))?;
        Ok(Self { stream, next_correlation_id: 1 })
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Result<SocketAddr> {
        self.stream.peer_addr().context("the other end of a connection")
    }

    /// Gives each answer as much time.
    pub fn waiting_up_to(self, answer: Duration) -> Result<Self> {
        self.stream.set_read_timeout(Some(answer))?;
        Ok(self)
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("send")
    }

    /// Sends a request and returns its correlation id.
    pub fn send<'a, M: Message<'a>>(&mut self, body: &M, version: i16) -> Result<i32> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id += 1;
        self.send_bytes(&request(body, version, correlation_id)?)?;
        Ok(correlation_id)
    }

    /// Waits for the next answer.
    pub fn receive(&mut self) -> Result<Answer> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("wait for an answer")?;
        let size = u32::from_be_bytes(length) as usize;
        ensure!(size <= ANSWER_SIZE_MAX, "an answer of {size} bytes");
        let mut bytes = vec![0; size];
        self.stream.read_exact(&mut bytes).context("read an answer")?;
        Ok(Answer { bytes })
    }

    /// Sends a request and waits for its answer.
    pub fn call<'a, M: Message<'a>>(&mut self, body: &M, version: i16) -> Result<Answer> {
        let correlation_id = self.send(body, version)?;
        let answer = self.receive()?;
        ensure!(answer.correlation_id()? == correlation_id, "an answer to another request");
        Ok(answer)
    }

    /// Waits until the broker ends the connection; fails if it answers instead, or does neither.
    pub fn await_close(&mut self, within: Duration) -> Result<()> {
        self.stream.set_read_timeout(Some(within))?;
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => Ok(()),
            Ok(_) => bail!("the broker answered where it had to close"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error).context("the broker did not close the connection"),
        }
    }

    /// Creates a topic with one replica.
    pub fn create_topic(
        &mut self,
        name: &str,
        num_partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        self.create_topic_of(name, (num_partitions, 1), configs)
    }

    /// Creates a topic with a number of partitions and of replicas of each.
    pub fn create_topic_of(
        &mut self,
        name: &str,
        (num_partitions, replication_factor): (i32, i16),
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let configs = configs.iter().map(|(key, value)| CreatableTopicConfig {
            name: (*key).into(),
            value: Some((*value).into()),
        });
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions,
            replication_factor,
            configs: configs.collect(),
            ..Default::default()
        };
        let body = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let answer = self.call(&body, 5)?;
        let response: CreateTopicsResponse<'_> = answer.read(5)?;
        let result = response.topics.first().context("no topic in the answer")?;
        ensure!(result.error_code == 0, "create {name}: {result:?}");
        Ok(())
    }

    /// Asks for the identity of an idempotent producer; Kafka has none to give just after its start.
    pub fn init_producer_id(&mut self) -> Result<(i64, i16)> {
        let body = InitProducerIdRequest { transaction_timeout_ms: 1000, ..Default::default() };
        Deadline::after(ANSWER).poll("a producer id", || {
            let answer = self.call(&body, 1)?;
            let response: InitProducerIdResponse = answer.read(1)?;
            if response.error_code == ErrorCode::CoordinatorLoadInProgress as i16 {
                return Ok(None);
            }
            ensure!(response.error_code == 0, "{response:?}");
            Ok(Some((response.producer_id, response.producer_epoch)))
        })
    }

    /// Produces to one partition with `acks=all` and returns what became of it.
    pub fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        records: &[u8],
        version: i16,
    ) -> Result<PartitionProduceResponse<'static>> {
        let answer = self.call(&produce_request(topic, partition, records), version)?;
        produced(&answer, version)
    }

    /// Reads a partition from `start` to its high watermark, with whole batches in between.
    pub fn read_partition(&mut self, topic: &str, partition: i32, start: i64) -> Result<Vec<Seen>> {
        let mut seen = Vec::new();
        let mut next = start;
        loop {
            let answer = self.call(&fetch_request(topic, partition, next), FETCH_VERSION)?;
            let response: FetchResponse<'_> = answer.read(FETCH_VERSION)?;
            let data = response.responses.first().and_then(|topic| topic.partitions.first());
            let data = data.context("no partition in the answer")?;
            ensure!(data.error_code == 0, "fetch {topic}-{partition} at {next}: {data:?}");
            let bytes = data.records.as_ref().map_or(&[][..], Records::as_bytes);
            let before = next;
            next = read_batches(bytes, next, &mut seen)?;
            if next >= data.high_watermark {
                return Ok(seen);
            }
            ensure!(next > before, "fetch {topic}-{partition} does not get past {next}");
        }
    }
}

/// What a Produce answer says of its only partition.
pub fn produced(answer: &Answer, version: i16) -> Result<PartitionProduceResponse<'static>> {
    let response: ProduceResponse<'_> = answer.read(version)?;
    let partition = response.responses.first().and_then(|topic| topic.partition_responses.first());
    let partition = partition.context("no partition in the answer")?;
    Ok(PartitionProduceResponse {
        record_errors: Vec::new(),
        error_message: partition.error_message.as_ref().map(|text| text.to_string().into()),
        index: partition.index,
        error_code: partition.error_code,
        base_offset: partition.base_offset,
        log_append_time_ms: partition.log_append_time_ms,
        log_start_offset: partition.log_start_offset,
        current_leader: partition.current_leader.clone(),
    })
}

/// A Produce request with `acks=all` for one partition.
pub fn produce_request<'a>(topic: &'a str, index: i32, records: &'a [u8]) -> ProduceRequest<'a> {
    let records = Some(Records::Bytes(records.into()));
    let partition_data = vec![PartitionProduceData { index, records }];
    let topic_data =
        vec![TopicProduceData { name: topic.into(), partition_data, ..Default::default() }];
    ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data, ..Default::default() }
}

/// A Fetch request for one partition, as a consumer sends it.
pub fn fetch_request(topic: &str, partition: i32, fetch_offset: i64) -> FetchRequest<'_> {
    let partition = FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topics =
        vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() }];
    FetchRequest { max_wait_ms: 500, min_bytes: 1, topics, ..Default::default() }
}

/// Appends the records from `start` on; returns the offset after the last batch.
pub fn read_batches(bytes: &[u8], start: i64, seen: &mut Vec<Seen>) -> Result<i64> {
    let mut next = start;
    for entry in entries(bytes) {
        // A Fetch may end within a batch.
        let Ok(entry) = entry else { break };
        let Entry::Batch(batch) = entry else { bail!("a message of an old format") };
        ensure!(batch.check_crc(), "a batch at {:?} with a wrong checksum", batch.header);
        next = batch.header.next_offset().0;
        if batch.header.attributes.is_control() {
            continue;
        }
        for record in &batch.records(ANSWER_SIZE_MAX)? {
            let record = record?;
            if record.offset.0 < start {
                continue;
            }
            seen.push(Seen {
                offset: record.offset.0,
                timestamp: record.timestamp.0,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record
                    .headers
                    .map(|(name, content)| (name.to_vec(), content.map(<[u8]>::to_vec)))
                    .collect(),
            });
        }
    }
    Ok(next)
}
