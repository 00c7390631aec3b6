//! Produce: validates and appends every partition's batches, then answers once `acks` is met.
//!
//! A partition that fails never fails its neighbours: each carries its own error code. Everything is
//! appended on the calling thread; only `acks=all` may have to wait, after all appends.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use broker_protocol::quantity::{LeaderEpoch, TimestampMs};
use broker_storage::log::{AppendError as LogAppendError, LogError};
use tracing::warn;

use super::{Outcome, RequestContext};
use crate::context::Context;
use crate::metadata::is_internal;
use crate::replica::delayed::{AckState, PendingAcks};
use crate::replica::manager::Topic;
use crate::replica::partition::{AppendError, Appended, Partition};
use crate::replica::partition_state::StateError;
use crate::replica::validate::{InvalidRecords, Rules, validate};

/// From this version on topics are named by id.
const TOPIC_IDS_FROM: i16 = 13;

/// Asks for every in-sync replica.
const ACKS_ALL: i16 = -1;

/// Appends what the request holds.
pub(crate) fn produce(
    context: &Arc<Context>,
    request: ProduceRequest<'_>,
    rc: &RequestContext<'_>,
) -> Outcome<ProduceResponse<'static>, impl Future<Output = ProduceResponse<'static>> + Send + use<>>
{
    let mut producing = Producing {
        context,
        version: rc.api_version,
        acks: request.acks,
        now: context.clock.wall(),
        waits: Vec::new(),
        topics_answered: 0,
        has_failed: false,
    };
    let responses: Vec<_> =
        request.topic_data.into_iter().map(|topic| producing.topic(topic)).collect();
    let response = ProduceResponse { responses, ..Default::default() };
    let Producing { waits, has_failed, .. } = producing;
    if request.acks == 0 {
        // No answer is expected, so a closed connection is the only way to tell of a failure.
        return if has_failed { Outcome::Close } else { Outcome::Silent };
    }
    if waits.is_empty() {
        return Outcome::Ready(response);
    }
    let acks = PendingAcks::new(waits.len());
    for (index, wait) in waits.iter().enumerate() {
        wait.partition.when_visible(wait.appended.required_offset, &acks, index);
    }
    let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
    let deadline = context.clock.now() + timeout;
    Outcome::Later(async move {
        acks.settled(deadline).await;
        settle(response, &waits, &acks)
    })
}

/// A partition whose records are appended and not yet acknowledged.
struct Wait {
    partition: Arc<Partition>,
    appended: Appended,
    /// Where its answer stands: topic and partition by position in the response.
    place: (usize, usize),
}

/// Writes into the response what became of the partitions that waited.
fn settle(
    mut response: ProduceResponse<'static>,
    waits: &[Wait],
    acks: &PendingAcks,
) -> ProduceResponse<'static> {
    for (index, wait) in waits.iter().enumerate() {
        let code = match acks.state(index) {
            AckState::Done => continue,
            AckState::Pending => ErrorCode::RequestTimedOut,
            AckState::StorageFailed => ErrorCode::KafkaStorageError,
            AckState::NotLeader => ErrorCode::NotLeaderOrFollower,
            AckState::NotEnoughReplicas => ErrorCode::NotEnoughReplicasAfterAppend,
        };
        let (topic, partition) = wait.place;
        let answer = &mut response.responses[topic].partition_responses[partition];
        answer.error_code = code.code();
        answer.base_offset = -1;
    }
    response
}

/// One request under way.
struct Producing<'c> {
    context: &'c Context,
    version: i16,
    acks: i16,
    now: TimestampMs,
    waits: Vec<Wait>,
    topics_answered: usize,
    has_failed: bool,
}

/// Why a partition got an error, and what the client is told of it.
enum Refusal {
    Code(ErrorCode),
    Records(InvalidRecords),
    Append(AppendError),
}

impl Producing<'_> {
    fn topic(&mut self, data: TopicProduceData<'_>) -> TopicProduceResponse<'static> {
        let replicas = &self.context.replicas;
        let found = if self.version >= TOPIC_IDS_FROM {
            replicas.topic_by_id(data.topic_id).ok_or(ErrorCode::UnknownTopicId)
        } else {
            replicas.topic(&data.name).ok_or(ErrorCode::UnknownTopicOrPartition)
        };
        let found = match found {
            Ok(topic) if is_internal(topic.name()) => Err(ErrorCode::InvalidTopicException),
            found => found,
        };
        let mut response = TopicProduceResponse {
            name: Cow::Owned(data.name.to_string()),
            topic_id: data.topic_id,
            partition_responses: Vec::with_capacity(data.partition_data.len()),
        };
        for partition in data.partition_data {
            let index = partition.index;
            let place = (self.topics_answered, response.partition_responses.len());
            let outcome = match &found {
                Ok(topic) => self.partition(topic, &partition, place),
                Err(code) => Err(Refusal::Code(*code)),
            };
            response.partition_responses.push(self.answer(index, found.as_ref().ok(), outcome));
        }
        self.topics_answered += 1;
        response
    }

    fn partition(
        &mut self,
        topic: &Topic,
        data: &PartitionProduceData<'_>,
        place: (usize, usize),
    ) -> Result<Appended, Refusal> {
        topic.counters().total_produce_requests.add(1);
        if !matches!(self.acks, -1..=1) {
            return Err(Refusal::Code(ErrorCode::InvalidRequiredAcks));
        }
        let partition =
            topic.partition(data.index).ok_or(Refusal::Code(ErrorCode::UnknownTopicOrPartition))?;
        let config = partition.config();
        let rules = Rules { config: &config, version: self.version, now: self.now };
        let records = data.records.as_ref().map_or(&[][..], |records| records.as_bytes());
        let mut valid = validate(records, &rules).map_err(Refusal::Records)?;
        if self.context.replicas.may_be_deposed(&partition) {
            return Err(Refusal::Code(ErrorCode::NotLeaderOrFollower));
        }
        let is_acks_all = self.acks == ACKS_ALL;
        let appended = partition
            .append(&mut valid.batches, LeaderEpoch(-1), is_acks_all, self.now)
            .map_err(Refusal::Append)?;
        let counters = topic.counters();
        counters.bytes_in.add(records.len() as u64);
        counters.messages_in.add(valid.records_count);
        counters.produce_message_conversions.add(valid.conversions_count);
        if is_acks_all && !appended.is_visible {
            self.waits.push(Wait { partition, appended, place });
        }
        Ok(appended)
    }

    fn answer(
        &mut self,
        index: i32,
        topic: Option<&Arc<Topic>>,
        outcome: Result<Appended, Refusal>,
    ) -> PartitionProduceResponse<'static> {
        match outcome {
            Ok(appended) => PartitionProduceResponse {
                index,
                error_code: code_of(&appended).code(),
                base_offset: appended.base_offset.0,
                log_append_time_ms: appended.log_append_time.0,
                log_start_offset: appended.log_start_offset.0,
                ..Default::default()
            },
            Err(refusal) => {
                self.has_failed = true;
                if let Some(topic) = topic {
                    count_refusal(topic, &refusal);
                    self.warn(topic, index, &refusal);
                }
                refused(index, &refusal)
            }
        }
    }

    /// Says that nobody can write with `acks=all` as long as replicas are missing: clients only retry.
    fn warn(&self, topic: &Topic, index: i32, refusal: &Refusal) {
        if let Refusal::Append(AppendError::State(error @ StateError::NotEnoughReplicas { .. })) =
            refusal
            && self.context.warned.below_min_isr.is_due(self.context.clock.now())
        {
            warn!(partition = format!("{}-{index}", topic.name()), %error, "acks=all is refused");
        }
    }
}

/// Clients take it for done, at an unknown offset, that a batch is in the log since long.
fn code_of(appended: &Appended) -> ErrorCode {
    if appended.base_offset.0 < 0 { ErrorCode::DuplicateSequenceNumber } else { ErrorCode::None }
}

fn count_refusal(topic: &Topic, refusal: &Refusal) {
    let counters = topic.counters();
    counters.failed_produce_requests.add(1);
    match refusal {
        Refusal::Records(InvalidRecords::TooLarge { size, .. }) => {
            counters.bytes_rejected.add(*size as u64);
        }
        Refusal::Records(InvalidRecords::Corrupt { .. }) => {
            counters.invalid_message_crc_records.add(1);
        }
        Refusal::Records(InvalidRecords::NoKey { .. }) => {
            counters.no_key_compacted_topic_records.add(1);
        }
        Refusal::Code(_) | Refusal::Records(_) | Refusal::Append(_) => {}
    }
}

fn refused(index: i32, refusal: &Refusal) -> PartitionProduceResponse<'static> {
    let (code, message, records) = match refusal {
        Refusal::Code(code) => (*code, None, &[][..]),
        Refusal::Records(error) => {
            (ErrorCode::from(error), Some(error.to_string()), error.record_indexes())
        }
        // What went wrong inside is for our own log, where it was written already.
        Refusal::Append(AppendError::Log(LogAppendError::Log(error))) => {
            (ErrorCode::KafkaStorageError, disk_full(error), &[][..])
        }
        Refusal::Append(error) => (ErrorCode::from(error), Some(error.to_string()), &[][..]),
    };
    let record_errors = records
        .iter()
        .map(|record| BatchIndexAndErrorMessage { batch_index: *record, ..Default::default() })
        .collect();
    PartitionProduceResponse {
        index,
        error_code: code.code(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        record_errors,
        error_message: message.map(Cow::Owned),
        ..Default::default()
    }
}

fn disk_full(error: &LogError) -> Option<String> {
    error.is_disk_full().then(|| "the disk of the broker is full".to_owned())
}
