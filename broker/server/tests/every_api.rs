//! Every API in every version that ApiVersions names is answered by a running broker, in that
//! version's own form.
//!
//! Method: one broker in this process, one blocking client. Each request is the API's default
//! (empty lists, no names), so that most answers are errors or empty; what they hold is for the
//! tests with real clients.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use broker_config::broker::BrokerConfig;
use broker_config::raw::Properties;
use broker_protocol::api_key::ApiKey;
use broker_protocol::header::{RequestHeader, ResponseHeader};
use broker_protocol::message::Message;
use broker_protocol::primitive::{Reader, Writer};
use broker_server::broker::Broker;

/// Long enough for any answer, short enough to fail a hung test.
const LIMIT: Duration = Duration::from_secs(20);

macro_rules! each_api {
    ($call:ident, $socket:ident: $($module:ident $request:ident $response:ident;)*) => {
        [$({
            use broker_protocol::message::$module::{$request, $response};
            for version in <$request as Message<'_>>::API_KEY.versions() {
                $call!($socket, version, $request, $response);
            }
            <$request as Message<'_>>::API_KEY
        }),*]
    };
}

macro_rules! call {
    ($socket:ident, $version:ident, $request:ident, $response:ident) => {{
        let api = <$request as Message<'_>>::API_KEY;
        let frame = encode(&$request::default(), $version);
        $socket.write_all(&frame).unwrap();
        let answer = read_frame(&mut $socket, api, $version);
        let mut reader = Reader::new(&answer);
        let header = ResponseHeader::decode(&mut reader, api, $version).unwrap();
        assert_eq!(header.correlation_id, i32::from($version), "{} {}", api.name(), $version);
        let decoded = $response::decode(&mut reader, $version);
        assert!(decoded.is_ok(), "{} {}: {:?}", api.name(), $version, decoded.err());
        assert_eq!(reader.remaining(), 0, "{} {}", api.name(), $version);
    }};
}

fn encode<'a, M: Message<'a>>(request: &M, version: i16) -> Vec<u8> {
    let mut writer = Writer::new();
    let header = RequestHeader {
        api_key: M::API_KEY.code(),
        api_version: version,
        correlation_id: i32::from(version),
        client_id: Some("every-api".into()),
    };
    writer
        .frame(|writer| {
            header.encode(writer)?;
            request.encode(writer, version)
        })
        .unwrap();
    writer.as_slice().to_vec()
}

fn read_frame(socket: &mut TcpStream, api: ApiKey, version: i16) -> Vec<u8> {
    let mut length = [0; 4];
    let read = socket.read_exact(&mut length);
    assert!(read.is_ok(), "{} {version}: {:?}", api.name(), read.err());
    let mut answer = vec![0; i32::from_be_bytes(length) as usize];
    socket.read_exact(&mut answer).unwrap();
    answer
}

fn ask_everything(address: SocketAddr) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let asked = each_api! { call, socket:
        alter_configs AlterConfigsRequest AlterConfigsResponse;
        api_versions ApiVersionsRequest ApiVersionsResponse;
        create_partitions CreatePartitionsRequest CreatePartitionsResponse;
        create_topics CreateTopicsRequest CreateTopicsResponse;
        delete_groups DeleteGroupsRequest DeleteGroupsResponse;
        delete_records DeleteRecordsRequest DeleteRecordsResponse;
        delete_topics DeleteTopicsRequest DeleteTopicsResponse;
        describe_cluster DescribeClusterRequest DescribeClusterResponse;
        describe_configs DescribeConfigsRequest DescribeConfigsResponse;
        describe_groups DescribeGroupsRequest DescribeGroupsResponse;
        describe_log_dirs DescribeLogDirsRequest DescribeLogDirsResponse;
        describe_producers DescribeProducersRequest DescribeProducersResponse;
        describe_topic_partitions DescribeTopicPartitionsRequest DescribeTopicPartitionsResponse;
        fetch FetchRequest FetchResponse;
        find_coordinator FindCoordinatorRequest FindCoordinatorResponse;
        heartbeat HeartbeatRequest HeartbeatResponse;
        incremental_alter_configs IncrementalAlterConfigsRequest IncrementalAlterConfigsResponse;
        init_producer_id InitProducerIdRequest InitProducerIdResponse;
        join_group JoinGroupRequest JoinGroupResponse;
        leave_group LeaveGroupRequest LeaveGroupResponse;
        list_groups ListGroupsRequest ListGroupsResponse;
        list_offsets ListOffsetsRequest ListOffsetsResponse;
        metadata MetadataRequest MetadataResponse;
        offset_commit OffsetCommitRequest OffsetCommitResponse;
        offset_delete OffsetDeleteRequest OffsetDeleteResponse;
        offset_fetch OffsetFetchRequest OffsetFetchResponse;
        offset_for_leader_epoch OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse;
        sync_group SyncGroupRequest SyncGroupResponse;
    };
    // Produce with acks=0, its default, has no answer: it is asked below.
    let missing: Vec<_> = ApiKey::ALL.iter().filter(|key| !asked.contains(key)).collect();
    assert_eq!(missing, [&ApiKey::Produce]);
    for version in ApiKey::Produce.versions() {
        use broker_protocol::message::produce::{ProduceRequest, ProduceResponse};
        let request = ProduceRequest { acks: 1, ..Default::default() };
        socket.write_all(&encode(&request, version)).unwrap();
        let answer = read_frame(&mut socket, ApiKey::Produce, version);
        let mut reader = Reader::new(&answer);
        ResponseHeader::decode(&mut reader, ApiKey::Produce, version).unwrap();
        ProduceResponse::decode(&mut reader, version).unwrap();
        assert_eq!(reader.remaining(), 0, "{version}");
    }
}

#[tokio::test]
async fn every_version_that_is_named_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut properties = Properties::default();
    for setting in [
        "listeners=PLAINTEXT://127.0.0.1:0",
        "metrics.listener=",
        &format!("log.dirs={}", dir.path().display()),
    ] {
        properties.set(setting).unwrap();
    }
    let config = BrokerConfig::from_properties(&properties).unwrap();
    let broker = Broker::start(config).await.unwrap();
    let (_, address) = broker.addresses[0];
    tokio::task::spawn_blocking(move || ask_everything(address)).await.unwrap();
    broker.stop().await;
}
