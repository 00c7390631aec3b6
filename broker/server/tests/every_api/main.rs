//! Every API in every version that ApiVersions names is answered by a running broker, in that
//! version's own form and with the right error codes.
//!
//! Method: one broker in this process, one blocking client, a table with a row an API. A row is a
//! function that says what to ask in a version and which codes to expect, in the order of the
//! answer's fields. Every list of a request has an item that exists and, where that is cheap, one
//! that does not; fields that a version lacks are dropped as the request is encoded. What answers
//! hold beside codes is for the tests with real clients.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "a test has a deadline")]

#[path = "../groups/client.rs"]
#[allow(dead_code, reason = "shared with the tests of groups, which need more of it")]
mod client;
mod cluster;
mod configs;
mod control;
mod groups;
mod moves;
mod offsets;
mod records;
mod topics;

use std::net::SocketAddr;

use broker_protocol::api_key::ApiKey;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::Message;
use broker_protocol::message::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use broker_protocol::uuid::Uuid;

use client::{Client, beside_broker};

/// A topic of one partition.
const TOPIC: &str = "t";
/// Another one.
const OTHER_TOPIC: &str = "u";
/// No topic.
const MISSING: &str = "missing";
/// The id of no topic.
const MISSING_ID: Uuid = Uuid::from_bytes([7; 16]);
/// No partition of any topic.
const NO_PARTITION: i32 = 99;

const OK: ErrorCode = ErrorCode::None;
const UNKNOWN: ErrorCode = ErrorCode::UnknownTopicOrPartition;

/// Requests, and the codes of their answers.
type Cases<Request> = Vec<(Request, Vec<ErrorCode>)>;

/// Whom to ask, and about what.
struct World {
    client: Client,
    /// Where the broker is.
    address: SocketAddr,
    /// The id of [`TOPIC`].
    id: Uuid,
}

impl World {
    fn new(address: SocketAddr) -> Self {
        let mut client = Client::connect(address);
        client.await_coordinator();
        client.create_topics(&[TOPIC, OTHER_TOPIC]);
        let asked = MetadataRequestTopic { name: Some(TOPIC.into()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
        let answer = client.call(&request, 12);
        let response: MetadataResponse<'_> = answer.read(12);
        let id = response.topics[0].topic_id;
        Self { client, address, id }
    }
}

/// The code of a topic that does not exist, in an API that knows topics by id from a version on.
fn missing(version: i16, ids_from: i16) -> ErrorCode {
    if version >= ids_from { ErrorCode::UnknownTopicId } else { UNKNOWN }
}

/// Asks row by row, in this order; gives the APIs.
macro_rules! ask {
    ($world:ident: $($module:ident $request:ident $response:ident $cases:path;)*) => {
        [$({
            use broker_protocol::message::$module::{$request, $response};
            let api = <$request as Message<'_>>::API_KEY;
            for version in api.versions() {
                let cases: Cases<$request> = $cases($world, version);
                assert!(!cases.is_empty(), "{} {version} is not asked", api.name());
                for (request, expected) in cases {
                    let answer = $world.client.call(&request, version);
                    let response: $response = answer.read(version);
                    let mut codes = Vec::new();
                    let mut visit = |code| codes.push(ErrorCode::from_code(code).unwrap());
                    response.error_codes(version, &mut visit);
                    let name = api.name();
                    assert_eq!(codes, expected, "{name} {version}: {request:?}: {response:?}");
                }
            }
            api
        }),*]
    };
}

fn ask_everything(world: &mut World) {
    let mut asked = ask! { world:
        api_versions ApiVersionsRequest ApiVersionsResponse cluster::api_versions;
        describe_cluster DescribeClusterRequest DescribeClusterResponse cluster::describe_cluster;
        metadata MetadataRequest MetadataResponse cluster::metadata;
        describe_topic_partitions DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse
            cluster::describe_topic_partitions;
        describe_log_dirs DescribeLogDirsRequest DescribeLogDirsResponse
            cluster::describe_log_dirs;
        alter_replica_log_dirs AlterReplicaLogDirsRequest AlterReplicaLogDirsResponse
            moves::alter_replica_log_dirs;
        create_topics CreateTopicsRequest CreateTopicsResponse topics::create_topics;
        create_partitions CreatePartitionsRequest CreatePartitionsResponse
            topics::create_partitions;
        delete_topics DeleteTopicsRequest DeleteTopicsResponse topics::delete_topics;
        describe_configs DescribeConfigsRequest DescribeConfigsResponse configs::describe_configs;
        alter_configs AlterConfigsRequest AlterConfigsResponse configs::alter_configs;
        incremental_alter_configs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse
            configs::incremental_alter_configs;
        init_producer_id InitProducerIdRequest InitProducerIdResponse records::init_producer_id;
        produce ProduceRequest ProduceResponse records::produce;
        fetch FetchRequest FetchResponse records::fetch;
        list_offsets ListOffsetsRequest ListOffsetsResponse records::list_offsets;
        offset_for_leader_epoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse
            records::offset_for_leader_epoch;
        describe_producers DescribeProducersRequest DescribeProducersResponse
            records::describe_producers;
        // After Fetch, which reads from the start.
        delete_records DeleteRecordsRequest DeleteRecordsResponse records::delete_records;
        find_coordinator FindCoordinatorRequest FindCoordinatorResponse groups::find_coordinator;
        join_group JoinGroupRequest JoinGroupResponse groups::join_group;
        sync_group SyncGroupRequest SyncGroupResponse groups::sync_group;
        heartbeat HeartbeatRequest HeartbeatResponse groups::heartbeat;
        leave_group LeaveGroupRequest LeaveGroupResponse groups::leave_group;
        describe_groups DescribeGroupsRequest DescribeGroupsResponse groups::describe_groups;
        list_groups ListGroupsRequest ListGroupsResponse groups::list_groups;
        delete_groups DeleteGroupsRequest DeleteGroupsResponse groups::delete_groups;
        offset_commit OffsetCommitRequest OffsetCommitResponse offsets::offset_commit;
        // After OffsetCommit, which stores what it finds.
        offset_fetch OffsetFetchRequest OffsetFetchResponse offsets::offset_fetch;
        offset_delete OffsetDeleteRequest OffsetDeleteResponse offsets::offset_delete;
        elect_leaders ElectLeadersRequest ElectLeadersResponse moves::elect_leaders;
        alter_partition_reassignments AlterPartitionReassignmentsRequest
            AlterPartitionReassignmentsResponse moves::alter_partition_reassignments;
        list_partition_reassignments ListPartitionReassignmentsRequest
            ListPartitionReassignmentsResponse moves::list_partition_reassignments;
        leader_and_isr LeaderAndIsrRequest LeaderAndIsrResponse control::leader_and_isr;
        stop_replica StopReplicaRequest StopReplicaResponse control::stop_replica;
        update_metadata UpdateMetadataRequest UpdateMetadataResponse control::update_metadata;
        controlled_shutdown ControlledShutdownRequest ControlledShutdownResponse
            control::controlled_shutdown;
        alter_partition AlterPartitionRequest AlterPartitionResponse control::alter_partition;
        allocate_producer_ids AllocateProducerIdsRequest AllocateProducerIdsResponse
            control::allocate_producer_ids;
    };
    asked.sort_unstable();
    let served = ApiKey::ALL.iter().copied().filter(|api| api.is_served());
    assert_eq!(asked.to_vec(), served.collect::<Vec<_>>(), "every API has its row");
}

#[tokio::test]
async fn every_version_that_is_named_is_served() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &["auto.create.topics.enable=false"], |address| {
        ask_everything(&mut World::new(address));
    })
    .await;
}
