//! A broker that leads and is fetched from over a socket: the protocol's side of it, and no more.

use broker_protocol::api_key::ApiKey;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::header::{RequestHeader, ResponseHeader};
use broker_protocol::message::Message;
use broker_protocol::message::fetch::{
    EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchableTopicResponse,
    PartitionData,
};
use broker_protocol::message::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use broker_protocol::message::offset_for_leader_epoch::{
    EpochEndOffset as AskedEpochEndOffset, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use broker_protocol::primitive::{Reader, Records, Writer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::replica::fetch::{Answer, Fetch, FetchLimits, Held, Replica};
use crate::replica::fetch_session::{FetchSession, TopicRef};
use crate::replica::partition::admin::Target;
use crate::replica::partition::read::{FetchPosition, Isolation, ReadError};
use crate::replica::partition_state::StateError;
use crate::replica::throttle::Quota;

/// Where followers find a leader, and the gate before its answers.
pub(super) struct Served {
    pub(super) port: u16,
    /// While closed, answers are made and not sent.
    pub(super) gate: watch::Sender<bool>,
    /// How many answers to fetches were made.
    pub(super) made: watch::Receiver<usize>,
    /// How many fetches began a session.
    pub(super) full: watch::Receiver<usize>,
    /// The last fetch that named a partition.
    pub(super) asked: watch::Receiver<Asked>,
    pub(super) server: tokio::task::JoinHandle<()>,
}

/// What a fetch asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Asked {
    pub(super) version: i16,
    pub(super) max_wait_ms: i32,
    pub(super) min_bytes: i32,
    pub(super) max_bytes: i32,
    pub(super) partition_max_bytes: i32,
}

impl Asked {
    fn of(request: &FetchRequest<'_>, version: i16) -> Option<Self> {
        let FetchRequest { max_wait_ms, min_bytes, max_bytes, .. } = *request;
        let partition = request.topics.iter().flat_map(|topic| &topic.partitions).next()?;
        let partition_max_bytes = partition.partition_max_bytes;
        Some(Self { version, max_wait_ms, min_bytes, max_bytes, partition_max_bytes })
    }
}

/// Serves what `manager` leads.
pub(super) async fn serve(manager: &Arc<Manager>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (gate, made) = (watch::Sender::new(true), watch::Sender::new(0));
    let (open, counted) = (gate.subscribe(), made.subscribe());
    let (asks, begun) = (watch::Sender::new(Asked::default()), watch::Sender::new(0));
    let (asked, full) = (asks.subscribe(), begun.subscribe());
    let manager = Arc::clone(manager);
    let server = tokio::task::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let seen = (made.clone(), asks.clone(), begun.clone());
            connections.spawn(connection(stream, Arc::clone(&manager), open.clone(), seen));
        }
    });
    Served { port, gate, made: counted, full, asked, server }
}

async fn connection(
    mut stream: TcpStream,
    manager: Arc<Manager>,
    mut open: watch::Receiver<bool>,
    (made, asks, begun): (watch::Sender<usize>, watch::Sender<Asked>, watch::Sender<usize>),
) {
    while let Ok(size) = stream.read_u32().await {
        let mut frame = vec![0; size as usize];
        stream.read_exact(&mut frame).await.unwrap();
        let mut reader = Reader::new(&frame);
        let header = RequestHeader::decode(&mut reader).unwrap();
        let version = header.api_version;
        let answer = if header.api_key == ApiKey::Fetch.code() {
            let request = FetchRequest::decode(&mut reader, version).unwrap();
            if let Some(asked) = Asked::of(&request, version) {
                asks.send_replace(asked);
            }
            begun.send_modify(|count| *count += usize::from(request.session_epoch == 0));
            let response = fetch(&manager, &request, version).await;
            made.send_modify(|count| *count += 1);
            encode(&response, header.correlation_id, version)
        } else if header.api_key == ApiKey::OffsetForLeaderEpoch.code() {
            let request = OffsetForLeaderEpochRequest::decode(&mut reader, version).unwrap();
            encode(&epoch_ends(&manager, &request), header.correlation_id, version)
        } else {
            let request = ListOffsetsRequest::decode(&mut reader, version).unwrap();
            encode(&list_offsets(&manager, &request), header.correlation_id, version)
        };
        open.wait_for(|open| *open).await.unwrap();
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

fn encode<'m, M: Message<'m>>(response: &M, correlation_id: i32, version: i16) -> Vec<u8> {
    let mut writer = Writer::new();
    let header = ResponseHeader { correlation_id };
    writer
        .frame(|writer| {
            header.encode(writer, M::API_KEY, version);
            response.encode(writer, version)
        })
        .unwrap();
    writer.as_slice().to_vec()
}

async fn fetch(
    manager: &Arc<Manager>,
    request: &FetchRequest<'_>,
    version: i16,
) -> FetchResponse<'static> {
    let now = SystemClock.now();
    let uses_ids = version >= 13;
    let topic_ref = |name: &str, id| {
        if uses_ids { TopicRef::Id(id) } else { TopicRef::Name(name.into()) }
    };
    let held = if version < 7 || request.session_epoch == 0 {
        let mut session = FetchSession::new(uses_ids, Isolation::LogEnd);
        for topic in &request.topics {
            for one in &topic.partitions {
                let name = topic_ref(&topic.topic, topic.topic_id);
                session.push(&name, one.partition, position(one));
            }
        }
        Held::Full(Box::new(session))
    } else {
        let sessions = manager.sessions();
        let found = sessions.check_out(request.session_id, request.session_epoch, uses_ids, now);
        let Ok(mut in_use) = found else {
            let error_code = ErrorCode::FetchSessionIdNotFound.code();
            return FetchResponse { error_code, ..FetchResponse::default() };
        };
        for topic in &request.forgotten_topics_data {
            for partition in &topic.partitions {
                in_use.session().forget(&topic_ref(&topic.topic, topic.topic_id), *partition);
            }
        }
        for topic in &request.topics {
            for one in &topic.partitions {
                let name = topic_ref(&topic.topic, topic.topic_id);
                in_use.session().want(&name, one.partition, position(one));
            }
        }
        in_use.session().begin(Isolation::LogEnd);
        Held::Session(in_use)
    };
    let wait = Duration::from_millis(request.max_wait_ms as u64);
    let limits = FetchLimits {
        min_bytes: request.min_bytes as u32,
        max_bytes: request.max_bytes as u32,
        at_least_one_each: false,
        deadline: (!wait.is_zero()).then(|| now + wait),
    };
    let id = request.replica_id.max(request.replica_state.replica_id);
    let replica = Replica {
        broker: BrokerId(id),
        broker_epoch: request.replica_state.replica_epoch,
        at: now,
        quota: Quota::new(i64::MAX, 1, 1),
        serves_consumers: false,
    };
    let mut fetch = Fetch::new(Arc::clone(manager), held, limits).of_replica(Some(replica));
    if !fetch.read_queued() {
        fetch.wait().await;
    }
    let (answers, held) = fetch.answers();
    let responses = answers.into_iter().map(topic_response).collect();
    let session_id = match held {
        Held::Session(mut in_use) => in_use.session().id(),
        Held::Full(session) => manager.sessions().insert(session, now),
    };
    FetchResponse { session_id, responses, ..FetchResponse::default() }
}

fn topic_response(answer: Answer) -> FetchableTopicResponse<'static> {
    let (topic, topic_id) = match answer.topic {
        TopicRef::Name(name) => (name.to_string(), Uuid::ZERO),
        TopicRef::Id(id) => (String::new(), id),
    };
    let partitions = vec![partition_data(answer.partition, answer.outcome.map(|(_, read)| read))];
    FetchableTopicResponse { topic: topic.into(), topic_id, partitions }
}

fn position(one: &FetchPartition) -> FetchPosition {
    FetchPosition {
        fetch_offset: Offset(one.fetch_offset),
        max_bytes: one.partition_max_bytes as u32,
        current_leader_epoch: LeaderEpoch(one.current_leader_epoch),
        last_fetched_epoch: LeaderEpoch(one.last_fetched_epoch),
        log_start_offset: Offset(one.log_start_offset),
    }
}

fn partition_data(
    partition_index: i32,
    outcome: Result<crate::replica::partition::read::Read, ReadError>,
) -> PartitionData<'static> {
    let code = |error: &ReadError| match error {
        ReadError::State(StateError::FencedLeaderEpoch { .. }) => ErrorCode::FencedLeaderEpoch,
        ReadError::State(StateError::UnknownLeaderEpoch { .. }) => ErrorCode::UnknownLeaderEpoch,
        ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::UnknownPartition | ReadError::UnknownTopicId => {
            ErrorCode::UnknownTopicOrPartition
        }
        ReadError::State(_) | ReadError::NotABroker | ReadError::Log(_) => {
            ErrorCode::NotLeaderOrFollower
        }
    };
    let read = match outcome {
        Ok(read) => read,
        Err(error) => {
            let error_code = code(&error).code();
            return PartitionData { partition_index, error_code, ..PartitionData::default() };
        }
    };
    let mut data = PartitionData {
        partition_index,
        high_watermark: read.high_watermark.0,
        log_start_offset: read.log_start_offset.0,
        ..PartitionData::default()
    };
    if let Some(end) = read.diverging {
        data.diverging_epoch =
            EpochEndOffset { epoch: end.leader_epoch.0, end_offset: end.end_offset.0 };
    }
    if let Some(slice) = read.slice {
        let mut bytes = vec![0; slice.size as usize];
        slice.file.read_exact_at(&mut bytes, u64::from(slice.position)).unwrap();
        data.records = Some(Records::Bytes(bytes.into()));
    }
    data
}

fn epoch_ends(
    manager: &Manager,
    request: &OffsetForLeaderEpochRequest<'_>,
) -> OffsetForLeaderEpochResponse<'static> {
    let topics = request.topics.iter().map(|topic| OffsetForLeaderTopicResult {
        topic: topic.topic.to_string().into(),
        partitions: topic
            .partitions
            .iter()
            .map(|one| {
                let partition = manager.partition(&topic.topic, one.partition).unwrap();
                let current = LeaderEpoch(one.current_leader_epoch);
                let found = partition.end_offset_for_epoch(LeaderEpoch(one.leader_epoch), current);
                let end = found.unwrap();
                AskedEpochEndOffset {
                    error_code: 0,
                    partition: one.partition,
                    leader_epoch: end.leader_epoch.0,
                    end_offset: end.end_offset.0,
                }
            })
            .collect(),
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
}

fn list_offsets(
    manager: &Manager,
    request: &ListOffsetsRequest<'_>,
) -> ListOffsetsResponse<'static> {
    let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name.to_string().into(),
        partitions: topic
            .partitions
            .iter()
            .map(|one| {
                let partition = manager.partition(&topic.name, one.partition_index).unwrap();
                let target = if one.timestamp == -1 { Target::Latest } else { Target::Earliest };
                let epoch = LeaderEpoch(one.current_leader_epoch);
                let found = partition.find(target, Some(Isolation::LogEnd), epoch).unwrap();
                ListOffsetsPartitionResponse {
                    partition_index: one.partition_index,
                    offset: found.unwrap().offset.0,
                    ..ListOffsetsPartitionResponse::default()
                }
            })
            .collect(),
    });
    ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
}
