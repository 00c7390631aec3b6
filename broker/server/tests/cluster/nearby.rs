//! Consumers that read from a follower in their rack (KIP-392).
//!
//! Method: broker `n` runs in rack `rn`; the wire says who is asked and who answers what.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use broker_protocol::primitive::Records;

use super::admin::create_on;
use super::client::{Client, await_that};
use super::nodes::Cluster;
use super::topic::{await_in_sync, described, produce};

const RACK_AWARE: &str =
    "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector";

/// What a consumer asks.
#[derive(Clone, Copy)]
struct Ask<'a> {
    rack: &'a str,
    offset: i64,
    leader_epoch: i32,
    wait_ms: i32,
    version: i16,
}

const ASK: Ask<'_> = Ask { rack: "", offset: 0, leader_epoch: -1, wait_ms: 0, version: 11 };

fn request(ask: Ask<'_>) -> FetchRequest<'_> {
    let partition = FetchPartition {
        current_leader_epoch: ask.leader_epoch,
        fetch_offset: ask.offset,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: ask.wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        rack_id: ask.rack.into(),
        topics: vec![FetchTopic {
            topic: "t".into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Returns the code, where to go, and how many bytes came.
fn seen(data: &PartitionData<'_>) -> (ErrorCode, i32, usize) {
    let size = data.records.as_ref().map_or(0, |records| Records::as_bytes(records).len());
    (ErrorCode::from_code(data.error_code).unwrap(), data.preferred_read_replica, size)
}

fn fetch(client: &mut Client, ask: Ask<'_>) -> (ErrorCode, i32, usize) {
    let answer = client.call(&request(ask), ask.version);
    let response: FetchResponse<'_> = answer.read(ask.version);
    seen(&response.responses[0].partitions[0])
}

/// Waits until a broker has and shows what is below `offset`.
fn await_shown(cluster: &Cluster, broker: i32, offset: i64) {
    await_that("a follower's high watermark", || {
        let answer = cluster.client(broker).call(&request(ASK), ASK.version);
        let response: FetchResponse<'_> = answer.read(ASK.version);
        response.responses[0].partitions[0].high_watermark >= offset
    });
}

#[test]
fn a_consumer_is_sent_to_the_follower_in_its_rack_as_long_as_that_is_in_sync() {
    let mut cluster = Cluster::start(3, &[RACK_AWARE, "replica.lag.time.max.ms=1500"]);
    create_on(&cluster, "t", &[&[1, 2, 3]], &[("min.insync.replicas", "1")]);
    assert_eq!(produce(&mut cluster.client(1), "t", 0, -1, &["a", "b"]).0, ErrorCode::None);
    let mut leader = cluster.client(1);
    let sent_to = |leader: &mut Client, rack| fetch(leader, Ask { rack, ..ASK });
    assert_eq!(sent_to(&mut leader, "r2"), (ErrorCode::None, 2, 0));
    assert_eq!(sent_to(&mut leader, "r3"), (ErrorCode::None, 3, 0));
    for rack in ["", "r1", "r4"] {
        let (code, replica, size) = sent_to(&mut leader, rack);
        assert!((code, replica) == (ErrorCode::None, -1) && size > 0, "rack {rack:?}");
    }
    cluster.kill(2);
    cluster.expire(2);
    await_in_sync(&cluster, "t", 0, 2);
    let (code, replica, size) = sent_to(&mut leader, "r2");
    assert!((code, replica) == (ErrorCode::None, -1) && size > 0, "nobody is there in sync");
    cluster.kill_all();
}

#[test]
fn a_follower_serves_what_is_below_its_high_watermark_in_its_leaders_epoch() {
    let mut cluster = Cluster::start(3, &[RACK_AWARE]);
    create_on(&cluster, "t", &[&[1, 2, 3]], &[]);
    assert_eq!(produce(&mut cluster.client(1), "t", 0, -1, &["a", "b"]).0, ErrorCode::None);
    await_shown(&cluster, 2, 2);
    let mut follower = cluster.client(2);
    let (code, _, size) = fetch(&mut follower, ASK);
    assert!(code == ErrorCode::None && size > 0);
    let cases = [
        ("an old consumer", Ask { version: 10, ..ASK }, ErrorCode::NotLeaderOrFollower),
        ("the end", Ask { offset: 2, ..ASK }, ErrorCode::None),
        ("beyond the end", Ask { offset: 3, ..ASK }, ErrorCode::OffsetOutOfRange),
        ("a later epoch", Ask { leader_epoch: 9, ..ASK }, ErrorCode::UnknownLeaderEpoch),
        ("this epoch", Ask { leader_epoch: 0, offset: 2, ..ASK }, ErrorCode::None),
    ];
    for (name, ask, expected) in cases {
        assert_eq!(fetch(&mut follower, ask), (expected, -1, 0), "{name}");
    }
    // A consumer that waits at a follower hears of what its leader shows.
    let waiting = std::thread::spawn({
        let mut client = cluster.client(3);
        move || fetch(&mut client, Ask { offset: 2, wait_ms: 15_000, ..ASK })
    });
    assert_eq!(produce(&mut cluster.client(1), "t", 0, -1, &["c"]).0, ErrorCode::None);
    assert!(waiting.join().unwrap().2 > 0, "nothing came to who waited");
    // The next leader's epoch fences who believes in the first.
    cluster.stop(1);
    await_that("another leader", || {
        described(&cluster, "t", 0).iter().flatten().all(|led| led.leader == 2)
    });
    let old = Ask { leader_epoch: 0, ..ASK };
    await_that("the follower is told", || {
        fetch(&mut cluster.client(3), old) == (ErrorCode::FencedLeaderEpoch, -1, 0)
    });
    cluster.kill_all();
}
