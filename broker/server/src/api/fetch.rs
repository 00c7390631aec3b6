//! Fetch: records from any number of partitions, as file ranges, at once or when there are enough.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use broker_config::value::ReplicaSelector;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::fetch::{
    AbortedTransaction, EpochEndOffset, FetchPartition, FetchRequest, FetchResponse,
    FetchableTopicResponse, PartitionData,
};
use broker_protocol::primitive::Records;
use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset};
use broker_protocol::uuid::Uuid;
use broker_storage::log::Slice;

use super::brokers::is_replica;
use super::{Outcome, RequestContext};
use crate::context::Context;
use crate::in_flight::Room;
use crate::replica::fetch::{Answer, Fetch, FetchLimits, Held, ReadFrom, Replica};
use crate::replica::fetch_session::cache::SessionError;
use crate::replica::fetch_session::{
    FINAL_EPOCH, FetchSession, INITIAL_EPOCH, NO_SESSION, TopicRef,
};
use crate::replica::nearby::Nearby;
use crate::replica::partition::Partition;
use crate::replica::partition::read::FetchPosition;
use crate::replica::partition::read::{Isolation, Read, ReadError};
use crate::replica::throttle::Quota;

mod convert;

/// An answer.
#[derive(Default)]
pub(crate) struct Fetched {
    /// The response.
    pub(crate) response: FetchResponse<'static>,
    /// The file ranges that fill its deferred records, in order.
    pub(crate) slices: Vec<Slice>,
    /// Bytes of records that are in memory.
    pub(crate) in_memory: usize,
    /// What they are counted by.
    pub(crate) room: Option<Room>,
}

impl From<FetchResponse<'static>> for Fetched {
    fn from(response: FetchResponse<'static>) -> Self {
        Self { response, ..Self::default() }
    }
}

/// From this version on a client gets the first batch whatever its size; older ones get a part of it.
const WHOLE_BATCHES_FROM: i16 = 3;

/// Converted records are in memory twice while they are encoded.
const COPIES: usize = 2;

/// Small records are larger in an old format: as much is expected beyond twice their size, in bytes.
const CONVERTED_SIZE_USUAL: usize = 64 * 1024;

/// From this version on topics are named by id.
const TOPIC_IDS_FROM: i16 = 13;

/// From this version on a consumer may read from any replica (KIP-392).
const ANY_REPLICA_FROM: i16 = 11;

/// Answers a fetch, at once if it can.
pub(crate) fn fetch(
    context: &Arc<Context>,
    request: &FetchRequest<'_>,
    rc: &RequestContext<'_>,
) -> Outcome<Fetched, impl Future<Output = Fetched> + Send + use<>> {
    let version = rc.api_version;
    let replica = replica(context, request);
    if replica.is_some_and(|replica| !is_replica(context, rc, replica.broker)) {
        return Outcome::Ready(refused(request).into());
    }
    if let Some(replica) = replica {
        context.replicas.contact().heard(replica.broker, replica.at);
    }
    let wants_session = version >= 7 && request.session_epoch == INITIAL_EPOCH;
    let held = match hold(context, request, version, replica.is_some()) {
        Ok(held) => held,
        Err(error) => {
            let error_code = session_code(error).code();
            return Outcome::Ready(FetchResponse { error_code, ..Default::default() }.into());
        }
    };
    let limits = limits(context, request, version);
    let (context, max_bytes) = (Arc::clone(context), limits.max_bytes);
    let answering = Answering {
        context,
        version,
        wants_session,
        max_bytes,
        converted: 0,
        without_records: false,
    };
    let manager = Arc::clone(&answering.context.replicas);
    let mut fetch = Fetch::new(manager, held, limits).of_replica(replica);
    if replica.is_none() {
        fetch = fetch.from(read_from(&answering.context, request, rc));
    }
    let is_complete = fetch.read_queued();
    let converts = version < convert::BATCH_V2_FROM;
    if is_complete && !(converts && fetch.records_size() > 0) {
        return Outcome::Ready(answering.answer(fetch));
    }
    Outcome::Later(async move {
        if !is_complete {
            fetch.wait().await;
        }
        if converts && fetch.records_size() > 0 {
            return converted(answering, fetch).await;
        }
        answering.answer(fetch)
    })
}

/// Reads and converts records where no other connection waits for it, and within the memory that the
/// process has for answers. Where there is none the client is told of no records, and asks again.
async fn converted(mut answering: Answering, fetch: Fetch) -> Fetched {
    let in_flight = Arc::clone(&answering.context.in_flight);
    let expected = (2 * fetch.records_size() as usize + CONVERTED_SIZE_USUAL)
        .min(answering.max_bytes as usize);
    let Some((room, making)) = Arc::clone(&in_flight).answer_room(COPIES * expected).await else {
        answering.without_records = true;
        return answering.answer(fetch);
    };
    let converting = tokio::task::spawn_blocking(move || answering.answer(fetch));
    let mut fetched = converting.await.unwrap_or_else(|error| {
        tracing::error!(%error, "conversion of records was cut short");
        Fetched::default()
    });
    fetched.room = in_flight.resize(room, COPIES * fetched.in_memory).await;
    drop(making);
    if fetched.room.is_none() {
        let topics = fetched.response.responses.iter_mut();
        for partition in topics.flat_map(|topic| &mut topic.partitions) {
            partition.records = Some(Records::default());
        }
        fetched.in_memory = 0;
    }
    fetched
}

/// Returns the broker that the request says it is of.
fn replica(context: &Context, request: &FetchRequest<'_>) -> Option<Replica> {
    let id = request.replica_id.max(request.replica_state.replica_id);
    (id >= 0).then(|| Replica {
        broker: BrokerId(id),
        broker_epoch: request.replica_state.replica_epoch,
        at: context.clock.now(),
        quota: Quota::of_leader(&context.config.load()),
        serves_consumers: selects_by_rack(context),
    })
}

fn selects_by_rack(context: &Context) -> bool {
    context.config.load().replica_selector_class == Some(ReplicaSelector::RackAware)
}

/// Returns where a consumer may read.
fn read_from(context: &Context, request: &FetchRequest<'_>, rc: &RequestContext<'_>) -> ReadFrom {
    if rc.api_version < ANY_REPLICA_FROM {
        return ReadFrom::Leader;
    }
    if request.rack_id.is_empty() || !selects_by_rack(context) {
        return ReadFrom::Anywhere;
    }
    ReadFrom::Nearby(Nearby {
        rack: Arc::from(&*request.rack_id),
        listener: Arc::from(&*rc.peer.listener),
        metadata: context.metadata.load(),
    })
}

/// Answers who is no broker and says it is.
fn refused(request: &FetchRequest<'_>) -> FetchResponse<'static> {
    let code = ErrorCode::from(&ReadError::NotABroker).code();
    let responses = request
        .topics
        .iter()
        .map(|topic| FetchableTopicResponse {
            topic: Cow::Owned(topic.topic.to_string()),
            topic_id: topic.topic_id,
            partitions: topic.partitions.iter().map(|p| failed(p.partition, code)).collect(),
        })
        .collect();
    FetchResponse { responses, ..Default::default() }
}

fn limits(context: &Context, request: &FetchRequest<'_>, version: i16) -> FetchLimits {
    let wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
    let asked =
        if version >= WHOLE_BATCHES_FROM { request.max_bytes.max(0) as u32 } else { u32::MAX };
    let max_bytes = asked.min(context.config.load().fetch_max_bytes.max(0) as u32);
    FetchLimits {
        min_bytes: (request.min_bytes.max(0) as u32).min(max_bytes),
        max_bytes,
        // The oldest clients are given a part of a batch that is too large: it must be there to convert.
        at_least_one_each: version < WHOLE_BATCHES_FROM,
        deadline: (!wait.is_zero()).then(|| context.clock.now() + wait),
    }
}

/// Finds, makes or ends the session that the request is about (KIP-227).
fn hold(
    context: &Context,
    request: &FetchRequest<'_>,
    version: i16,
    is_replica: bool,
) -> Result<Held, SessionError> {
    let uses_topic_ids = version >= TOPIC_IDS_FROM;
    let isolation = match request.isolation_level {
        _ if is_replica => Isolation::LogEnd,
        1 => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    };
    let sessions = context.replicas.sessions();
    if matches!(request.session_epoch, INITIAL_EPOCH | FINAL_EPOCH) || version < 7 {
        if request.session_id != NO_SESSION {
            sessions.remove(request.session_id);
        }
        let mut session = FetchSession::new(uses_topic_ids, isolation);
        for topic in &request.topics {
            let name = topic_ref(&topic.topic, topic.topic_id, uses_topic_ids);
            for partition in &topic.partitions {
                session.push(&name, partition.partition, position(partition));
            }
        }
        session.drop_twins();
        return Ok(Held::Full(Box::new(session)));
    }
    let (id, epoch) = (request.session_id, request.session_epoch);
    let mut in_use = sessions.check_out(id, epoch, uses_topic_ids, context.clock.now())?;
    let session = in_use.session();
    for topic in &request.forgotten_topics_data {
        let name = topic_ref(&topic.topic, topic.topic_id, uses_topic_ids);
        for partition in &topic.partitions {
            session.forget(&name, *partition);
        }
    }
    for topic in &request.topics {
        let name = topic_ref(&topic.topic, topic.topic_id, uses_topic_ids);
        for partition in &topic.partitions {
            session.want(&name, partition.partition, position(partition));
        }
    }
    session.begin(isolation);
    Ok(Held::Session(in_use))
}

fn topic_ref(name: &str, id: Uuid, uses_topic_ids: bool) -> TopicRef {
    if uses_topic_ids { TopicRef::Id(id) } else { TopicRef::Name(name.into()) }
}

fn position(partition: &FetchPartition) -> FetchPosition {
    FetchPosition {
        fetch_offset: Offset(partition.fetch_offset),
        max_bytes: partition.partition_max_bytes.max(0) as u32,
        current_leader_epoch: LeaderEpoch(partition.current_leader_epoch),
        last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
        log_start_offset: Offset(partition.log_start_offset),
    }
}

fn session_code(error: SessionError) -> ErrorCode {
    match error {
        SessionError::NotFound => ErrorCode::FetchSessionIdNotFound,
        SessionError::WrongEpoch => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicIds => ErrorCode::FetchSessionTopicIdError,
    }
}

/// What is needed to put an answer together, now or later.
struct Answering {
    context: Arc<Context>,
    version: i16,
    wants_session: bool,
    /// What the whole answer may have; what is converted may be more than what was read for it.
    max_bytes: u32,
    /// The bytes that were converted so far.
    converted: usize,
    /// Whether there is no memory for records.
    without_records: bool,
}

impl Answering {
    fn answer(mut self, fetch: Fetch) -> Fetched {
        let (answers, mut held) = fetch.answers();
        let isolation = held.session().isolation();
        let mut slices = Vec::with_capacity(answers.len());
        let mut responses: Vec<FetchableTopicResponse<'static>> = Vec::new();
        let mut last: Option<TopicRef> = None;
        for answer in answers {
            if last.as_ref() != Some(&answer.topic) {
                responses.push(topic_response(&answer.topic));
                last = Some(answer.topic.clone());
            }
            let data = self.partition(answer, isolation, &mut slices);
            if let Some(topic) = responses.last_mut() {
                topic.partitions.push(data);
            }
        }
        let session_id = self.session_id(held);
        let response = FetchResponse { session_id, responses, ..Default::default() };
        Fetched { response, slices, in_memory: self.converted, room: None }
    }

    fn session_id(&self, held: Held) -> i32 {
        match held {
            Held::Session(mut in_use) => in_use.session().id(),
            Held::Full(session) if self.wants_session => {
                self.context.replicas.sessions().insert(session, self.context.clock.now())
            }
            Held::Full(_) => NO_SESSION,
        }
    }

    fn partition(
        &mut self,
        answer: Answer,
        isolation: Isolation,
        slices: &mut Vec<Slice>,
    ) -> PartitionData<'static> {
        let number = answer.partition;
        match answer.outcome {
            Ok((partition, read)) => self.records(number, &partition, read, isolation, slices),
            Err(error) => failed(number, ErrorCode::from(&error).code()),
        }
    }

    fn records(
        &mut self,
        number: i32,
        partition: &Partition,
        read: Read,
        isolation: Isolation,
        slices: &mut Vec<Slice>,
    ) -> PartitionData<'static> {
        let mut data = PartitionData {
            partition_index: number,
            high_watermark: read.high_watermark.0,
            last_stable_offset: read.last_stable_offset.0,
            log_start_offset: read.log_start_offset.0,
            preferred_read_replica: read.preferred_replica.map_or(-1, |replica| replica.0),
            records: Some(Records::default()),
            ..Default::default()
        };
        if let Some(diverging) = read.diverging {
            data.diverging_epoch = EpochEndOffset {
                epoch: diverging.leader_epoch.0,
                end_offset: diverging.end_offset.0,
            };
        }
        if isolation == Isolation::ReadCommitted {
            data.aborted_transactions = Some(aborted(&read));
        }
        let Some(slice) = read.slice.filter(|_| !self.without_records) else { return data };
        let (version, offset) = (self.version, read.fetch_offset);
        let left = (self.max_bytes as usize).saturating_sub(self.converted) as u32;
        if self.converted > 0 && left == 0 {
            return data;
        }
        let max_bytes = read.max_bytes.min(left);
        let sent = match convert::for_version(version, partition, &slice, offset, max_bytes) {
            Ok(convert::Form::AsStored) => {
                data.records = Some(Records::Deferred(slice.size));
                let size = slice.size as usize;
                slices.push(slice);
                size
            }
            Ok(convert::Form::Converted(bytes)) => {
                let size = bytes.len();
                self.converted += size;
                data.records = Some(Records::Bytes(Cow::Owned(bytes)));
                size
            }
            Err(code) => return failed(number, code.code()),
        };
        if isolation != Isolation::LogEnd {
            partition.counters().bytes_out.add(sent as u64);
        }
        data
    }
}

fn topic_response(topic: &TopicRef) -> FetchableTopicResponse<'static> {
    match topic {
        TopicRef::Name(name) => {
            let topic = Cow::Owned(name.to_string());
            FetchableTopicResponse { topic, ..Default::default() }
        }
        TopicRef::Id(topic_id) => {
            FetchableTopicResponse { topic_id: *topic_id, ..Default::default() }
        }
    }
}

fn aborted(read: &Read) -> Vec<AbortedTransaction> {
    read.aborted
        .iter()
        .map(|transaction| AbortedTransaction {
            producer_id: transaction.producer_id,
            first_offset: transaction.first_offset.0,
        })
        .collect()
}

fn failed(number: i32, error_code: i16) -> PartitionData<'static> {
    PartitionData {
        partition_index: number,
        error_code,
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        preferred_read_replica: -1,
        records: Some(Records::default()),
        ..Default::default()
    }
}
