//! What brokers say to each other: large requests fit their budget, and outlive their frame; old
//! versions name partitions another way.

use broker_protocol::header::{RequestHeader, ResponseHeader};
use broker_protocol::message::Message;
use broker_protocol::message::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData,
    ReplicaState,
};
use broker_protocol::message::leader_and_isr::{
    LeaderAndIsrPartitionError, LeaderAndIsrPartitionState, LeaderAndIsrRequest,
    LeaderAndIsrResponse, LeaderAndIsrTopicError, LeaderAndIsrTopicState,
};
use broker_protocol::message::stop_replica::{
    StopReplicaPartitionState, StopReplicaRequest, StopReplicaTopicState,
};
use broker_protocol::message::update_metadata::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState,
    UpdateMetadataRequest, UpdateMetadataTopicState,
};
use broker_protocol::primitive::{EncodeError, IntoOwned, Reader, Records, Writer};
use broker_protocol::uuid::Uuid;

/// The partitions of a large cluster.
const PARTITIONS: i32 = 10_000;

fn encoded<'a, M: Message<'a>>(message: &M, version: i16) -> Vec<u8> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).expect("it fits the version");
    writer.into_parts().0.to_vec()
}

fn replicas(count: i32) -> Vec<i32> {
    (1..=count).collect()
}

fn leader_and_isr(count: i32) -> LeaderAndIsrRequest<'static> {
    let states = (0..PARTITIONS).map(|partition_index| LeaderAndIsrPartitionState {
        partition_index,
        leader: 1,
        isr: replicas(count),
        replicas: replicas(count),
        ..Default::default()
    });
    let topic = LeaderAndIsrTopicState {
        topic_name: "t".into(),
        partition_states: states.collect(),
        ..Default::default()
    };
    LeaderAndIsrRequest { topic_states: vec![topic], ..Default::default() }
}

fn update_metadata(count: i32) -> UpdateMetadataRequest<'static> {
    let states = (0..PARTITIONS).map(|partition_index| UpdateMetadataPartitionState {
        partition_index,
        leader: 1,
        isr: replicas(count),
        replicas: replicas(count),
        ..Default::default()
    });
    let topic = UpdateMetadataTopicState {
        topic_name: "t".into(),
        partition_states: states.collect(),
        ..Default::default()
    };
    UpdateMetadataRequest { topic_states: vec![topic], ..Default::default() }
}

/// The server reads them with the budget of every request, however few replicas there are.
#[test]
fn the_partitions_of_a_large_cluster_decode_in_every_version() {
    for count in [1, 2, 3, 5] {
        let request = leader_and_isr(count);
        for version in 0..=7 {
            let request = request.clone().for_version(version);
            let bytes = encoded(&request, version);
            let decoded = LeaderAndIsrRequest::decode(&mut Reader::new(&bytes), version);
            // Not `assert_eq`: what it prints of ten thousand partitions helps nobody.
            assert!(decoded.as_ref() == Ok(&request), "version {version}, {count} replicas");
            assert_eq!(request.partitions().count(), PARTITIONS as usize);
        }
        let request = update_metadata(count);
        for version in 0..=8 {
            let request = request.clone().for_version(version);
            let bytes = encoded(&request, version);
            let decoded = UpdateMetadataRequest::decode(&mut Reader::new(&bytes), version);
            // Not `assert_eq`: what it prints of ten thousand partitions helps nobody.
            assert!(decoded.as_ref() == Ok(&request), "version {version}, {count} replicas");
            assert_eq!(request.partitions().count(), PARTITIONS as usize);
        }
    }
}

/// Each version must say the same of each partition, as far as it can.
#[test]
fn old_versions_name_partitions_their_own_way() {
    let state = |partition_index| LeaderAndIsrPartitionState {
        partition_index,
        leader_epoch: 7,
        ..Default::default()
    };
    let topic_states = [("a", vec![state(0), state(1)]), ("b", vec![state(0)])];
    let topic_states = topic_states.map(|(name, partition_states)| LeaderAndIsrTopicState {
        topic_name: name.into(),
        partition_states,
        ..Default::default()
    });
    let request = LeaderAndIsrRequest { topic_states: topic_states.to_vec(), ..Default::default() };
    for version in 0..=7 {
        let bytes = encoded(&request.clone().for_version(version), version);
        let back = LeaderAndIsrRequest::decode(&mut Reader::new(&bytes), version).expect("whole");
        let named: Vec<_> = back
            .partitions()
            .map(|(name, _, state)| (name, state.partition_index, state.leader_epoch))
            .collect();
        assert_eq!(named, [("a", 0, 7), ("a", 1, 7), ("b", 0, 7)], "version {version}");
    }
}

/// Before version 3 a request deletes all it names, or nothing.
#[test]
fn replicas_to_delete_and_to_keep_are_told_apart_in_every_version() {
    let state = |partition_index, delete_partition| StopReplicaPartitionState {
        partition_index,
        leader_epoch: -1,
        delete_partition,
    };
    let topic_states = vec![
        StopReplicaTopicState {
            topic_name: "a".into(),
            partition_states: vec![state(0, true), state(1, false)],
        },
        StopReplicaTopicState { topic_name: "b".into(), partition_states: vec![state(2, true)] },
    ];
    let request = StopReplicaRequest { topic_states, broker_epoch: 5, ..Default::default() };
    for version in 0..=4 {
        let mut named = Vec::new();
        for part in request.clone().for_version(version) {
            let bytes = encoded(&part, version);
            let back = StopReplicaRequest::decode(&mut Reader::new(&bytes), version);
            let back = back.expect("what was written");
            named.extend(back.partitions().map(|(name, state)| {
                (name.to_owned(), state.partition_index, state.delete_partition)
            }));
        }
        named.sort_unstable();
        let expected =
            [("a".to_owned(), 0, true), ("a".to_owned(), 1, false), ("b".to_owned(), 2, true)];
        assert_eq!(named, expected, "version {version}");
    }
}

/// The readers of version 0 can reach a broker only without encryption.
#[test]
fn the_first_version_of_metadata_has_one_plain_endpoint_a_broker() {
    let endpoint = |host: &'static str, security_protocol| UpdateMetadataEndpoint {
        host: host.into(),
        port: 9092,
        security_protocol,
        ..Default::default()
    };
    let broker = |id, endpoints| UpdateMetadataBroker { id, endpoints, ..Default::default() };
    let live_brokers = vec![
        broker(1, vec![endpoint("encrypted", 1), endpoint("plain", 0)]),
        broker(2, vec![endpoint("encrypted", 1)]),
    ];
    let request = UpdateMetadataRequest { live_brokers, ..Default::default() };
    let bytes = encoded(&request.for_version(0), 0);
    let back = UpdateMetadataRequest::decode(&mut Reader::new(&bytes), 0).expect("whole");
    let named: Vec<_> =
        back.live_brokers.iter().map(|one| (one.id, &*one.v0_host, one.v0_port)).collect();
    assert_eq!(named, [(1, "plain", 9092)]);
}

/// Orders are handed to the task that carries them out, after the frame is gone.
#[test]
fn orders_outlive_their_frame() {
    fn kept<'a, M: Message<'a> + IntoOwned>(bytes: &'a [u8], version: i16) -> M::Owned {
        M::decode(&mut Reader::new(bytes), version).expect("what was written").into_owned()
    }
    let (first, second) = (leader_and_isr(3), update_metadata(3));
    let owned = kept::<LeaderAndIsrRequest<'_>>(&encoded(&first, 7), 7);
    assert_eq!(owned, first);
    let owned = kept::<UpdateMetadataRequest<'_>>(&encoded(&second, 8), 8);
    assert_eq!(owned, second);
    let third = StopReplicaRequest {
        topic_states: vec![StopReplicaTopicState { topic_name: "t".into(), ..Default::default() }],
        ..Default::default()
    };
    assert_eq!(kept::<StopReplicaRequest<'_>>(&encoded(&third, 4), 4), third);
}

/// A follower's side of Fetch: it says who it is in two ways, and reads the answer in place.
#[test]
fn a_follower_fetches_in_every_version() {
    let partition = FetchPartition { fetch_offset: 9, last_fetched_epoch: 4, ..Default::default() };
    for version in 0..=18 {
        let topic = FetchTopic {
            topic: if version < 13 { "t".into() } else { "".into() },
            topic_id: if version < 13 { Uuid::ZERO } else { Uuid::from_bytes([7; 16]) },
            partitions: vec![partition.clone()],
        };
        let follower = ReplicaState { replica_id: 2, replica_epoch: 77 };
        let request = FetchRequest {
            replica_id: if version < 15 { 2 } else { -1 },
            replica_state: if version < 15 { ReplicaState::default() } else { follower.clone() },
            topics: vec![topic],
            ..Default::default()
        };
        let header = RequestHeader {
            api_key: FetchRequest::API_KEY.code(),
            api_version: version,
            correlation_id: 3,
            client_id: Some("broker-2-fetcher-0".into()),
        };
        let mut writer = Writer::new();
        writer
            .frame::<EncodeError>(|writer| {
                header.encode(writer)?;
                request.encode(writer, version)
            })
            .expect("it fits the version");
        let mut reader = Reader::new(&writer.as_slice()[4..]);
        assert_eq!(RequestHeader::decode(&mut reader), Ok(header));
        let back = FetchRequest::decode(&mut reader, version).expect("what was written");
        let id = if version < 15 { back.replica_id } else { back.replica_state.replica_id };
        assert_eq!((id, reader.remaining()), (2, 0), "version {version}");

        let data = PartitionData {
            records: Some(Records::Bytes((&[1, 2, 3]).into())),
            ..Default::default()
        };
        let topic = FetchableTopicResponse { partitions: vec![data], ..Default::default() };
        let response = FetchResponse { responses: vec![topic], ..Default::default() };
        let mut writer = Writer::new();
        let header = ResponseHeader { correlation_id: 3 };
        header.encode(&mut writer, FetchRequest::API_KEY, version);
        response.encode(&mut writer, version).expect("it fits the version");
        let bytes = writer.as_slice();
        let mut reader = Reader::new(bytes);
        let back = ResponseHeader::decode(&mut reader, FetchRequest::API_KEY, version);
        assert_eq!(back, Ok(header));
        let back = FetchResponse::decode(&mut reader, version).expect("what was written");
        let records = back.responses[0].partitions[0].records.as_ref().expect("records");
        assert!(bytes.as_ptr_range().contains(&records.as_bytes().as_ptr()), "borrowed");
    }
}

/// The answer that opens a session names every partition, and says little of each; so does one to
/// a `LeaderAndIsr` of all partitions.
#[test]
fn answers_about_a_large_cluster_decode() {
    let data = |partition_index| PartitionData {
        partition_index,
        aborted_transactions: None,
        ..Default::default()
    };
    let partitions = (0..PARTITIONS).map(data).collect();
    let topic = FetchableTopicResponse { partitions, ..Default::default() };
    let response = FetchResponse { responses: vec![topic], ..Default::default() };
    for version in 0..=18 {
        let bytes = encoded(&response, version);
        let back = FetchResponse::decode(&mut Reader::answer(&bytes), version);
        let count = back.map(|back| back.responses[0].partitions.len());
        assert_eq!(count, Ok(PARTITIONS as usize), "version {version}");
    }

    let error =
        |partition_index| LeaderAndIsrPartitionError { partition_index, ..Default::default() };
    let partition_errors: Vec<_> = (0..PARTITIONS).map(error).collect();
    let topics = vec![LeaderAndIsrTopicError {
        partition_errors: partition_errors.clone(),
        ..Default::default()
    }];
    let response = LeaderAndIsrResponse { partition_errors, topics, ..Default::default() };
    for version in 0..=7 {
        let bytes = encoded(&response, version);
        let back = LeaderAndIsrResponse::decode(&mut Reader::answer(&bytes), version);
        assert_eq!(back.map(drop), Ok(()), "version {version}");
    }
}
