//! From the bytes of one request to the bytes of its answer: decode, call the handler, encode.
//!
//! Three ways for a handler to answer: at once ([`now`]: no allocation beyond the answer, no task
//! switch), later ([`later!`]: the frame is kept, a large one in the memory it was read to), or at once if
//! it can ([`Outcome`]: Produce and Fetch).
//!
//! A malformed request has no error frame in Kafka's protocol: the connection is closed, with one
//! exception, an ApiVersions of a version that is not served (KIP-511).

use std::sync::Arc;
use std::time::Duration;

use broker_protocol::api_key::ApiKey;
use broker_protocol::header::{RequestHeader, ResponseHeader};
use broker_protocol::message::Message;
use broker_protocol::message::{
    allocate_producer_ids::AllocateProducerIdsRequest, alter_configs::AlterConfigsRequest,
    alter_partition::AlterPartitionRequest,
    alter_partition_reassignments::AlterPartitionReassignmentsRequest,
    alter_replica_log_dirs::AlterReplicaLogDirsRequest,
    controlled_shutdown::ControlledShutdownRequest, create_partitions::CreatePartitionsRequest,
    create_topics::CreateTopicsRequest, delete_groups::DeleteGroupsRequest,
    delete_records::DeleteRecordsRequest, delete_topics::DeleteTopicsRequest,
    describe_configs::DescribeConfigsRequest, describe_groups::DescribeGroupsRequest,
    describe_log_dirs::DescribeLogDirsRequest, describe_producers::DescribeProducersRequest,
    elect_leaders::ElectLeadersRequest, find_coordinator::FindCoordinatorRequest,
    heartbeat::HeartbeatRequest, incremental_alter_configs::IncrementalAlterConfigsRequest,
    init_producer_id::InitProducerIdRequest, join_group::JoinGroupRequest,
    leader_and_isr::LeaderAndIsrRequest, leave_group::LeaveGroupRequest,
    list_groups::ListGroupsRequest, list_offsets::ListOffsetsRequest,
    list_partition_reassignments::ListPartitionReassignmentsRequest, metadata::MetadataRequest,
    offset_commit::OffsetCommitRequest, offset_delete::OffsetDeleteRequest,
    offset_fetch::OffsetFetchRequest, offset_for_leader_epoch::OffsetForLeaderEpochRequest,
    stop_replica::StopReplicaRequest, sync_group::SyncGroupRequest,
    update_metadata::UpdateMetadataRequest,
};
use broker_protocol::primitive::{DecodeError, EncodeError, Reader, Writer};
use broker_storage::log::Slice;
use bytes::Bytes;

use super::answers::Answers;
use super::fetch::Fetched;
use super::{Later, Outcome, Peer, RequestContext};
use crate::context::Context;

/// What most answers fit in that come later, so that they do not grow by and by, in bytes.
const ANSWER_SIZE_USUAL: usize = 128;

/// How long a request about the cluster waits for a controller to tell of it. A client whose connection
/// is closed then asks another broker.
const HOLD: Duration = Duration::from_secs(5);

/// Why a connection must be closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{api} request of version {version} cannot be read", api = api.name())]
    Malformed { api: ApiKey, version: i16, source: DecodeError },
    #[error("request header cannot be read")]
    Header(#[source] DecodeError),
    #[error("API key {key} is not served here")]
    UnknownApiKey { key: i16 },
    #[error("{api} version {version} is not served here", api = api.name())]
    UnsupportedVersion { api: ApiKey, version: i16 },
    #[error("{api} answer of version {version} cannot be written", api = api.name())]
    Unanswerable { api: ApiKey, version: i16, source: EncodeError },
    #[error("no controller has told this broker of its cluster yet")]
    NotTold,
    #[error("a request with acks=0 failed, which only a closed connection can tell")]
    SilentFailure,
}

/// What became of a request.
pub(crate) enum Dispatched {
    /// The answer is encoded, or none is expected.
    Done,
    /// The answer comes later; no other request is handled until then if `exclusive`.
    Later { answer: Later<Result<Answers, Fault>>, exclusive: bool },
}

/// The bytes of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Frame<'a> {
    /// In a buffer that moves on: who needs it later copies it.
    Passing(&'a [u8]),
    /// In memory of its own, which is handed over to who needs it later.
    Owned(&'a Bytes),
}

impl Frame<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Passing(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }

    fn keep(&self) -> Bytes {
        match self {
            Self::Passing(bytes) => Bytes::copy_from_slice(bytes),
            Self::Owned(bytes) => Bytes::clone(bytes),
        }
    }
}

/// Whether the request in `frame` may be needed after [`dispatch`]: all but those of the data plane.
pub(crate) fn may_keep(frame: &[u8]) -> bool {
    let key = frame.first_chunk().map(|key| i16::from_be_bytes(*key));
    !matches!(key.and_then(ApiKey::from_i16), Some(ApiKey::Produce | ApiKey::Fetch))
}

/// What a request says of itself.
#[derive(Debug, Clone, Copy)]
struct Call {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

/// Handles the request in `frame`; an answer that is ready is appended to `answers`.
///
/// # Errors
/// Any of [`Fault`]; nothing has then been appended.
pub(crate) fn dispatch(
    context: &Arc<Context>,
    peer: &Peer,
    frame: Frame<'_>,
    answers: &mut Answers,
) -> Result<Dispatched, Fault> {
    let mut reader = Reader::new(frame.bytes());
    let (call, header) = match parse(&mut reader)? {
        Parsed::Call(call, header) => (call, header),
        Parsed::UnsupportedApiVersions(call) => {
            encode(context, call, &super::api_versions::unsupported(), Vec::new(), answers)?;
            return Ok(Dispatched::Done);
        }
    };
    if is_about_cluster(call.api) && !context.metadata.load().is_told {
        return Ok(held(context, peer, frame));
    }
    let rc = request_context(call, &header, peer);
    let started = context.clock.now();
    match route(context, call, &rc, frame, reader, answers)? {
        Dispatched::Done => {
            let took = context.clock.now() - started;
            context.metrics.requests.record(call.api, call.version, took, took);
            Ok(Dispatched::Done)
        }
        Dispatched::Later { answer, exclusive } => {
            let local = context.clock.now() - started;
            let context = Arc::clone(context);
            let answer = Box::pin(async move {
                let answer = answer.await;
                let total = context.clock.now() - started;
                context.metrics.requests.record(call.api, call.version, total, local);
                answer
            });
            Ok(Dispatched::Later { answer, exclusive })
        }
    }
}

/// Whether the answer tells of topics or brokers as they are all together.
fn is_about_cluster(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::Metadata
            | ApiKey::FindCoordinator
            | ApiKey::DescribeCluster
            | ApiKey::DescribeTopicPartitions
            | ApiKey::CreateTopics
            | ApiKey::CreatePartitions
            | ApiKey::DeleteTopics
    )
}

/// Holds a request until this broker was told of its cluster: before, there seem to be no topics, and
/// a client that is told so gives up. A broker of Kafka answers at once, and wrongly.
fn held(context: &Arc<Context>, peer: &Peer, frame: Frame<'_>) -> Dispatched {
    let (context, peer, frame) = (Arc::clone(context), peer.clone(), frame.keep());
    let answer = async move {
        let told = context.metadata.wait_until(|newest| newest.is_told);
        if tokio::time::timeout(HOLD, told).await.is_err() {
            return Err(Fault::NotTold);
        }
        let mut answers = Answers::default();
        match dispatch(&context, &peer, Frame::Owned(&frame), &mut answers)? {
            Dispatched::Done => Ok(answers),
            Dispatched::Later { answer, .. } => answer.await,
        }
    };
    Dispatched::Later { answer: Box::pin(answer), exclusive: true }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "all but the data plane take one way")]
fn route(
    context: &Arc<Context>,
    call: Call,
    rc: &RequestContext<'_>,
    frame: Frame<'_>,
    mut reader: Reader<'_>,
    answers: &mut Answers,
) -> Result<Dispatched, Fault> {
    match call.api {
        ApiKey::Produce => produce(context, call, rc, reader, answers),
        ApiKey::Fetch => fetch(context, call, rc, reader, answers),
        ApiKey::ApiVersions => {
            context.presence.hear(rc.client_id);
            let request = decode(call, &mut reader)?;
            now(context, call, &super::api_versions::api_versions(&request, rc), answers)
        }
        ApiKey::Metadata => metadata(context, call, rc, frame, reader, answers),
        ApiKey::DescribeCluster => {
            let request = decode(call, &mut reader)?;
            now(
                context,
                call,
                &super::describe_cluster::describe_cluster(context, &request, rc),
                answers,
            )
        }
        ApiKey::DescribeTopicPartitions => {
            let request = decode(call, &mut reader)?;
            let response =
                super::describe_topic_partitions::describe_topic_partitions(context, &request);
            now(context, call, &response, answers)
        }
        _ => Ok(Dispatched::Later {
            answer: dispatch_later(context, rc.peer, call.api, frame),
            exclusive: true,
        }),
    }
}

enum Parsed<'a> {
    Call(Call, RequestHeader<'a>),
    UnsupportedApiVersions(Call),
}

fn parse<'a>(reader: &mut Reader<'a>) -> Result<Parsed<'a>, Fault> {
    let header = RequestHeader::decode(reader).map_err(Fault::Header)?;
    let key = header.api_key;
    let served = header.api().filter(|api| api.is_served());
    let api = served.ok_or(Fault::UnknownApiKey { key })?;
    let (version, correlation_id) = (header.api_version, header.correlation_id);
    if api.versions().contains(&version) {
        return Ok(Parsed::Call(Call { api, version, correlation_id }, header));
    }
    if api == ApiKey::ApiVersions {
        return Ok(Parsed::UnsupportedApiVersions(Call { api, version: 0, correlation_id }));
    }
    Err(Fault::UnsupportedVersion { api, version })
}

fn request_context<'a>(
    call: Call,
    header: &'a RequestHeader<'_>,
    peer: &'a Peer,
) -> RequestContext<'a> {
    RequestContext {
        api_version: call.version,
        correlation_id: call.correlation_id,
        client_id: header.client_id.as_deref().unwrap_or(""),
        peer,
    }
}

fn decode<'a, M: Message<'a>>(call: Call, reader: &mut Reader<'a>) -> Result<M, Fault> {
    let (api, version) = (call.api, call.version);
    let decoded = M::decode(reader, version);
    for field in reader.unknown_tagged_fields() {
        tracing::debug!(?api, version, ?field, "a field of a newer client is ignored");
    }
    decoded.map_err(|source| Fault::Malformed { api, version, source })
}

/// Encodes a response with its frame length and header, and counts its error codes; `slices` fill
/// the gaps that it leaves.
fn encode<'m, M: Message<'m>>(
    context: &Context,
    call: Call,
    response: &M,
    slices: Vec<Slice>,
    answers: &mut Answers,
) -> Result<(), Fault> {
    let start = answers.buffer().len();
    let mut writer = Writer::with_buffer(std::mem::take(answers.buffer()));
    let encoded = writer.frame(|writer| {
        let header = ResponseHeader { correlation_id: call.correlation_id };
        header.encode(writer, call.api, call.version);
        response.encode(writer, call.version)
    });
    let (buffer, gaps) = writer.into_parts();
    *answers.buffer() = buffer;
    if let Err(source) = encoded {
        answers.buffer().truncate(start);
        return Err(Fault::Unanswerable { api: call.api, version: call.version, source });
    }
    let slices: Vec<_> = slices.into_iter().filter(|slice| slice.size > 0).collect();
    assert_eq!(gaps.len(), slices.len(), "every gap has its slice");
    for (gap, slice) in gaps.iter().zip(slices) {
        assert_eq!(gap.size, slice.size, "a slice is as large as it was promised");
        answers.splice(gap.position, slice);
    }
    context.metrics.requests.record_errors(call.version, response);
    Ok(())
}

/// Answers at once.
fn now<'m, M: Message<'m>>(
    context: &Context,
    call: Call,
    response: &M,
    answers: &mut Answers,
) -> Result<Dispatched, Fault> {
    encode(context, call, response, Vec::new(), answers)?;
    Ok(Dispatched::Done)
}

/// Encodes an answer that comes later, into memory of its own.
fn apart<'m, M: Message<'m>>(
    context: &Context,
    call: Call,
    response: &M,
    slices: Vec<Slice>,
) -> Result<Answers, Fault> {
    let mut answers = Answers::default();
    answers.buffer().reserve(ANSWER_SIZE_USUAL);
    encode(context, call, response, slices, &mut answers)?;
    Ok(answers)
}

fn produce(
    context: &Arc<Context>,
    call: Call,
    rc: &RequestContext<'_>,
    mut reader: Reader<'_>,
    answers: &mut Answers,
) -> Result<Dispatched, Fault> {
    let request = decode(call, &mut reader)?;
    match super::produce::produce(context, request, rc) {
        Outcome::Ready(response) => now(context, call, &response, answers),
        Outcome::Later(response) => {
            let context = Arc::clone(context);
            let answer = async move { apart(&context, call, &response.await, Vec::new()) };
            Ok(Dispatched::Later { answer: Box::pin(answer), exclusive: false })
        }
        Outcome::Silent => Ok(Dispatched::Done),
        Outcome::Close => Err(Fault::SilentFailure),
    }
}

fn fetch(
    context: &Arc<Context>,
    call: Call,
    rc: &RequestContext<'_>,
    mut reader: Reader<'_>,
    answers: &mut Answers,
) -> Result<Dispatched, Fault> {
    let request = decode(call, &mut reader)?;
    match super::fetch::fetch(context, &request, rc) {
        Outcome::Ready(Fetched { response, slices, .. }) => {
            encode(context, call, &response, slices, answers)?;
            Ok(Dispatched::Done)
        }
        Outcome::Later(response) => {
            let context = Arc::clone(context);
            let answer = async move {
                let Fetched { response, slices, in_memory, room } = response.await;
                let mut answers = Answers::default();
                answers.buffer().reserve(in_memory);
                encode(&context, call, &response, slices, &mut answers)?;
                if let Some(room) = room {
                    answers.count(room);
                }
                Ok(answers)
            };
            Ok(Dispatched::Later { answer: Box::pin(answer), exclusive: true })
        }
        Outcome::Silent => Ok(Dispatched::Done),
        Outcome::Close => Err(Fault::SilentFailure),
    }
}

/// Metadata is answered at once, unless topics must be created first.
fn metadata(
    context: &Arc<Context>,
    call: Call,
    rc: &RequestContext<'_>,
    frame: Frame<'_>,
    mut reader: Reader<'_>,
    answers: &mut Answers,
) -> Result<Dispatched, Fault> {
    let request: MetadataRequest<'_> = decode(call, &mut reader)?;
    let newest = context.metadata.load();
    let missing = super::metadata::missing_topics(context, &request, &newest, rc.api_version);
    if missing.is_empty() {
        return now(
            context,
            call,
            &super::metadata::metadata(context, &request, &newest, rc),
            answers,
        );
    }
    let (context, peer, frame) = (Arc::clone(context), rc.peer.clone(), frame.keep());
    let answer = async move {
        context.admin.create_missing(&missing).await;
        let mut reader = Reader::new(&frame);
        let Parsed::Call(call, header) = parse(&mut reader)? else {
            return Ok(Answers::default());
        };
        let request = decode(call, &mut reader)?;
        let rc = request_context(call, &header, &peer);
        let newest = context.metadata.load();
        apart(
            &context,
            call,
            &super::metadata::metadata(&context, &request, &newest, &rc),
            Vec::new(),
        )
    };
    Ok(Dispatched::Later { answer: Box::pin(answer), exclusive: true })
}

/// Decodes from the kept frame and calls an asynchronous handler.
macro_rules! later {
    ($context:ident, $peer:ident, $frame:ident, $handler:path, $request:ident) => {
        later!($context, $peer, $frame, $handler, as $request<'_>)
    };
    ($context:ident, $peer:ident, $frame:ident, $handler:path, as $request:ty) => {{
        let (context, peer, frame) = (Arc::clone($context), $peer.clone(), $frame.keep());
        Box::pin(async move {
            let mut reader = Reader::new(&frame);
            let Parsed::Call(call, header) = parse(&mut reader)? else {
                return Ok(Answers::default());
            };
            let request: $request = decode(call, &mut reader)?;
            let rc = request_context(call, &header, &peer);
            let response = $handler(&context, request, &rc).await;
            apart(&context, call, &response, Vec::new())
        })
    }};
}

/// Calls the handler of an API that is not of the data plane.
#[allow(clippy::wildcard_enum_match_arm, reason = "what is no group's is here")]
fn dispatch_later(
    context: &Arc<Context>,
    peer: &Peer,
    api: ApiKey,
    frame: Frame<'_>,
) -> Later<Result<Answers, Fault>> {
    use super::{
        alter_configs::alter_configs, alter_configs::incremental_alter_configs,
        create_partitions::create_partitions, create_topics::create_topics,
        delete_records::delete_records, delete_topics::delete_topics,
        describe_configs::describe_configs, describe_log_dirs::describe_log_dirs,
        describe_producers::describe_producers, init_producer_id::init_producer_id,
        list_offsets::list_offsets, offset_for_leader_epoch::offset_for_leader_epoch,
    };
    match api {
        ApiKey::ListOffsets => later!(context, peer, frame, list_offsets, ListOffsetsRequest),
        ApiKey::OffsetForLeaderEpoch => {
            later!(context, peer, frame, offset_for_leader_epoch, OffsetForLeaderEpochRequest)
        }
        ApiKey::DeleteRecords => later!(context, peer, frame, delete_records, DeleteRecordsRequest),
        ApiKey::InitProducerId => {
            later!(context, peer, frame, init_producer_id, InitProducerIdRequest)
        }
        ApiKey::DescribeProducers => {
            later!(context, peer, frame, describe_producers, DescribeProducersRequest)
        }
        ApiKey::DescribeLogDirs => {
            later!(context, peer, frame, describe_log_dirs, DescribeLogDirsRequest)
        }
        ApiKey::CreateTopics => later!(context, peer, frame, create_topics, CreateTopicsRequest),
        ApiKey::DeleteTopics => later!(context, peer, frame, delete_topics, DeleteTopicsRequest),
        ApiKey::CreatePartitions => {
            later!(context, peer, frame, create_partitions, CreatePartitionsRequest)
        }
        ApiKey::DescribeConfigs => {
            later!(context, peer, frame, describe_configs, DescribeConfigsRequest)
        }
        ApiKey::AlterConfigs => later!(context, peer, frame, alter_configs, AlterConfigsRequest),
        ApiKey::IncrementalAlterConfigs => {
            later!(context, peer, frame, incremental_alter_configs, IncrementalAlterConfigsRequest)
        }
        ApiKey::LeaderAndIsr
        | ApiKey::StopReplica
        | ApiKey::UpdateMetadata
        | ApiKey::AlterPartition
        | ApiKey::ControlledShutdown
        | ApiKey::AllocateProducerIds
        | ApiKey::ElectLeaders
        | ApiKey::AlterPartitionReassignments
        | ApiKey::AlterReplicaLogDirs
        | ApiKey::ListPartitionReassignments => dispatch_control(context, peer, api, frame),
        api => dispatch_group(context, peer, api, frame),
    }
}

/// Calls the handler of what a controller orders, or a broker or an operator asks of one.
#[allow(clippy::wildcard_enum_match_arm, reason = "the caller names the others")]
fn dispatch_control(
    context: &Arc<Context>,
    peer: &Peer,
    api: ApiKey,
    frame: Frame<'_>,
) -> Later<Result<Answers, Fault>> {
    use super::{
        allocate_producer_ids::allocate_producer_ids, alter_partition::alter_partition,
        alter_partition_reassignments::alter_partition_reassignments,
        alter_replica_log_dirs::alter_replica_log_dirs, controlled_shutdown::controlled_shutdown,
        elect_leaders::elect_leaders, leader_and_isr::leader_and_isr,
        list_partition_reassignments::list_partition_reassignments, stop_replica::stop_replica,
        update_metadata::update_metadata,
    };
    match api {
        ApiKey::AlterPartition => {
            later!(context, peer, frame, alter_partition, AlterPartitionRequest)
        }
        ApiKey::ControlledShutdown => {
            later!(context, peer, frame, controlled_shutdown, as ControlledShutdownRequest)
        }
        ApiKey::AllocateProducerIds => {
            later!(context, peer, frame, allocate_producer_ids, as AllocateProducerIdsRequest)
        }
        ApiKey::ElectLeaders => later!(context, peer, frame, elect_leaders, ElectLeadersRequest),
        ApiKey::AlterReplicaLogDirs => {
            later!(context, peer, frame, alter_replica_log_dirs, AlterReplicaLogDirsRequest)
        }
        ApiKey::AlterPartitionReassignments => {
            later!(
                context,
                peer,
                frame,
                alter_partition_reassignments,
                AlterPartitionReassignmentsRequest
            )
        }
        ApiKey::ListPartitionReassignments => {
            later!(
                context,
                peer,
                frame,
                list_partition_reassignments,
                ListPartitionReassignmentsRequest
            )
        }
        ApiKey::LeaderAndIsr => later!(context, peer, frame, leader_and_isr, LeaderAndIsrRequest),
        ApiKey::StopReplica => later!(context, peer, frame, stop_replica, StopReplicaRequest),
        _ => later!(context, peer, frame, update_metadata, UpdateMetadataRequest),
    }
}

/// Calls the handler of an API of the group coordinator.
#[allow(clippy::wildcard_enum_match_arm, reason = "a test calls every API that is served")]
fn dispatch_group(
    context: &Arc<Context>,
    peer: &Peer,
    api: ApiKey,
    frame: Frame<'_>,
) -> Later<Result<Answers, Fault>> {
    use super::{
        delete_groups::delete_groups, describe_groups::describe_groups,
        find_coordinator::find_coordinator, heartbeat::heartbeat, join_group::join_group,
        leave_group::leave_group, list_groups::list_groups, offset_commit::offset_commit,
        offset_delete::offset_delete, offset_fetch::offset_fetch, sync_group::sync_group,
    };
    match api {
        ApiKey::FindCoordinator => {
            later!(context, peer, frame, find_coordinator, FindCoordinatorRequest)
        }
        ApiKey::JoinGroup => later!(context, peer, frame, join_group, JoinGroupRequest),
        ApiKey::SyncGroup => later!(context, peer, frame, sync_group, SyncGroupRequest),
        ApiKey::Heartbeat => later!(context, peer, frame, heartbeat, HeartbeatRequest),
        ApiKey::LeaveGroup => later!(context, peer, frame, leave_group, LeaveGroupRequest),
        ApiKey::OffsetCommit => later!(context, peer, frame, offset_commit, OffsetCommitRequest),
        ApiKey::OffsetFetch => later!(context, peer, frame, offset_fetch, OffsetFetchRequest),
        ApiKey::OffsetDelete => later!(context, peer, frame, offset_delete, OffsetDeleteRequest),
        ApiKey::DescribeGroups => {
            later!(context, peer, frame, describe_groups, DescribeGroupsRequest)
        }
        ApiKey::ListGroups => later!(context, peer, frame, list_groups, ListGroupsRequest),
        ApiKey::DeleteGroups => later!(context, peer, frame, delete_groups, DeleteGroupsRequest),
        // Answered by the callers; a test calls every API that is served.
        api => Box::pin(std::future::ready(Err(Fault::UnknownApiKey { key: api.code() }))),
    }
}
