//! Frames that no good client sends, against either peer: Kafka 3.9.2 is held to the same table.
//!
//! `bad_input` has the plain rows of our broker alone. Here are counts and tags that lie, requests
//! cut at every byte, clients that drip, and what all of it may cost in memory.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use broker_protocol::api_key::ApiKey;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use broker_protocol::message::create_topics::CreateTopicsRequest;
use broker_protocol::message::fetch::{FetchPartition, FetchRequest, FetchTopic};
use broker_protocol::message::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use broker_protocol::message::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use e2e::broker::Broker;
use e2e::deadline::{Deadline, Stopwatch};
use e2e::logs;
use e2e::peer::{self, Peer};
use e2e::wire::{self, Connection, raw_request};

/// A connection that must be closed at once is closed within this on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(8);

/// What one bad client may cost for good, in KiB: buffers of threads, and the allocator's own.
const GROWTH_KIB_MAX: u64 = 48 << 10;

/// The beginning of a TLS 1.2 or 1.3 ClientHello record.
const TLS_HELLO: [u8; 16] = [
    0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a,
];

/// The body of an array count of 2^31-1, as a plain and as a compact array.
const MANY: [u8; 4] = [0x7f, 0xff, 0xff, 0xff];
const COMPACT_MANY: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x07];

/// A good client, whose connection must survive all that others do.
struct Bystander(Connection);

impl Bystander {
    fn new(address: &str) -> Result<Self> {
        let mut bystander = Self(Connection::open(address)?);
        // Kafka listens before it knows of itself.
        Deadline::seconds(60)
            .poll("metadata with the broker", || Ok(bystander.is_served().ok()))
            .map(|()| bystander)
    }

    fn is_served(&mut self) -> Result<()> {
        let answer = self.0.call(&MetadataRequest::default(), 9).context("the bystander")?;
        let response: MetadataResponse<'_> = answer.read(9)?;
        ensure!(response.brokers.len() == 1, "{response:?}");
        Ok(())
    }
}

/// The memory of the process that is in RAM.
fn resident_kib(broker: &mut Broker) -> Result<u64> {
    let path = format!("/proc/{}/status", broker.process()?.id());
    let status = std::fs::read_to_string(&path).context(path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn array_bomb(api: ApiKey, version: i16, before: &[u8]) -> Vec<u8> {
    let many: &[u8] = if api.is_flexible(version) { &COMPACT_MANY } else { &MANY };
    raw_request(api.code(), version, 1, &[before, many].concat())
}

/// An ApiVersions request of version 3 that ends in `tags`.
fn tagged(tags: &[u8]) -> Vec<u8> {
    raw_request(ApiKey::ApiVersions.code(), 3, 1, &[&[4, b'e', b'2', b'e', 2, b'1'], tags].concat())
}

/// Streams after which nothing can be understood any more.
fn senseless() -> Vec<(&'static str, Vec<u8>)> {
    let metadata = ApiKey::Metadata.code();
    let sized = |size: i32| size.to_be_bytes().to_vec();
    vec![
        ("size -1", sized(-1)),
        ("the smallest size", sized(i32::MIN)),
        ("size 0", sized(0)),
        ("the largest size", sized(i32::MAX)),
        ("a byte above socket.request.max.bytes", sized(100 * 1024 * 1024 + 1)),
        ("size 7", [sized(7), vec![0; 7]].concat()),
        ("a TLS hello", TLS_HELLO.to_vec()),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("API key 999", raw_request(999, 0, 1, &[])),
        ("API key -1", raw_request(-1, 0, 1, &[])),
        ("Metadata version 99", raw_request(metadata, 99, 1, &MANY)),
        ("Metadata version -1", raw_request(metadata, -1, 1, &MANY)),
        ("a client id longer than the frame", {
            [sized(14), vec![0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0, 0, 0, 0]].concat()
        }),
        ("a string of -2 bytes", raw_request(metadata, 1, 1, &[0, 0, 0, 1, 0xff, 0xfe])),
        ("a topic without a name", raw_request(metadata, 1, 1, &[0, 0, 0, 1, 0xff, 0xff])),
        ("a varint of six bytes", raw_request(metadata, 9, 1, &[0xff; 6])),
        ("2^31-1 topics", array_bomb(ApiKey::Metadata, 1, &[])),
        ("2^31-1 topics, compact", array_bomb(ApiKey::Metadata, 9, &[])),
        ("2^31-1 groups", array_bomb(ApiKey::DescribeGroups, 0, &[])),
        ("2^31-1 groups, compact", array_bomb(ApiKey::DescribeGroups, 5, &[])),
        ("2^31-1 topics to produce", array_bomb(ApiKey::Produce, 0, &[0, 1, 0, 0, 0, 9])),
        ("2^31-1 topics to create", array_bomb(ApiKey::CreateTopics, 5, &[])),
        ("2^31-1 topics to delete", array_bomb(ApiKey::DeleteTopics, 4, &[])),
        ("2^31-1 tags", tagged(&COMPACT_MANY)),
        ("a tag of 2^31-1 bytes", tagged(&[&[1, 0][..], &COMPACT_MANY].concat())),
    ]
}

/// What stands before an array of each request, as (request, API, version, bytes); the versions are the
/// last plain and the first flexible one where both differ.
const BEFORE_ARRAYS: [(&str, ApiKey, i16, &[u8]); 11] = [
    (
        "protocols to join with",
        ApiKey::JoinGroup,
        5,
        &[0, 1, b'g', 0, 0, 0x17, 0x70, 0, 0, 0, 1, 0, 0, 0xff, 0xff, 0, 1, b'c'],
    ),
    (
        "protocols to join with, compact",
        ApiKey::JoinGroup,
        7,
        &[2, b'g', 0, 0, 0x17, 0x70, 0, 0, 0, 1, 1, 0, 2, b'c'],
    ),
    ("assignments", ApiKey::SyncGroup, 3, &[0, 1, b'g', 0, 0, 0, 1, 0, 1, b'm', 0xff, 0xff]),
    (
        "assignments, compact",
        ApiKey::SyncGroup,
        5,
        &[2, b'g', 0, 0, 0, 1, 2, b'm', 0, 2, b'c', 2, b'r'],
    ),
    (
        "topics to commit",
        ApiKey::OffsetCommit,
        7,
        &[0, 1, b'g', 0, 0, 0, 1, 0, 1, b'm', 0xff, 0xff],
    ),
    ("topics to commit, compact", ApiKey::OffsetCommit, 8, &[2, b'g', 0, 0, 0, 1, 2, b'm', 0]),
    (
        "assignments of a new topic",
        ApiKey::CreateTopics,
        4,
        &[0, 0, 0, 1, 0, 1, b'n', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ),
    (
        "assignments of a new topic, compact",
        ApiKey::CreateTopics,
        5,
        &[2, 2, b'n', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ),
    ("resources to alter", ApiKey::AlterConfigs, 1, &[]),
    ("settings to alter", ApiKey::AlterConfigs, 1, &[0, 0, 0, 1, 2, 0, 1, b't']),
    ("settings to alter, compact", ApiKey::AlterConfigs, 2, &[2, 2, 2, b't']),
];

/// Arrays of groups and of administration that claim too much, or to be null where they may not.
fn senseless_arrays() -> Vec<(String, Vec<u8>)> {
    let mut rows = Vec::new();
    for (name, api, version, before) in BEFORE_ARRAYS {
        rows.push((format!("2^31-1 {name}"), array_bomb(api, version, before)));
        let null: &[u8] = if api.is_flexible(version) { &[0] } else { &[0xff; 4] };
        let bytes = [before, null, &[0; 8]].concat();
        rows.push((format!("null {name}"), raw_request(api.code(), version, 1, &bytes)));
    }
    rows
}

/// What Kafka reads on over: it keeps unknown tags in any order.
fn senseless_to_us() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a tag twice", tagged(&[2, 90, 0, 90, 0])),
        ("descending tags", tagged(&[2, 91, 0, 90, 0])),
    ]
}

#[test]
fn what_cannot_be_understood_closes_its_connection_and_no_other() -> Result<()> {
    let peer = Peer::start("bad-frames")?;
    let mut bystander = Bystander::new(peer.bootstrap())?;
    let mut failures = Vec::new();
    let ours = if peer::chosen()? == "ottla" { senseless_to_us() } else { Vec::new() };
    let plain = senseless().into_iter().chain(ours).map(|(name, bytes)| (name.to_owned(), bytes));
    for (name, bytes) in plain.chain(senseless_arrays()) {
        for served_before in [false, true] {
            let mut connection = Connection::open(peer.bootstrap())?;
            if served_before {
                connection.call(&MetadataRequest::default(), 9)?;
            }
            connection.send_bytes(&bytes)?;
            if let Err(error) = connection.await_close(AT_ONCE) {
                failures.push(format!("{name}, served before: {served_before}: {error:#}"));
            }
            bystander.is_served()?;
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// One whole request of several APIs.
fn whole_requests() -> Result<Vec<(&'static str, Vec<u8>)>> {
    let records = [7; 20];
    let produce = wire::produce_request("a-topic", 0, &records);
    let topics = vec![FetchTopic {
        topic: "a-topic".into(),
        partitions: vec![FetchPartition::default()],
        ..Default::default()
    }];
    let fetch = FetchRequest { max_wait_ms: 1, topics, ..Default::default() };
    let name = Some("a-topic".into());
    let topics = Some(vec![MetadataRequestTopic { name, ..Default::default() }]);
    let metadata =
        MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
    let protocols =
        vec![JoinGroupRequestProtocol { name: "range".into(), metadata: (&[0, 1][..]).into() }];
    let join = JoinGroupRequest {
        group_id: "a-group".into(),
        session_timeout_ms: 6000,
        protocol_type: "consumer".into(),
        protocols,
        ..Default::default()
    };
    let create = CreateTopicsRequest { timeout_ms: 1, ..Default::default() };
    Ok(vec![
        ("Produce 3", wire::request(&produce, 3, 1)?),
        ("Produce 9", wire::request(&produce, 9, 1)?),
        ("Fetch 4", wire::request(&fetch, 4, 1)?),
        ("Fetch 12", wire::request(&fetch, 12, 1)?),
        ("Metadata 1", wire::request(&metadata, 1, 1)?),
        ("Metadata 9", wire::request(&metadata, 9, 1)?),
        ("JoinGroup 5", wire::request(&join, 5, 1)?),
        ("JoinGroup 7", wire::request(&join, 7, 1)?),
        ("CreateTopics 5", wire::request(&create, 5, 1)?),
    ])
}

#[test]
fn a_request_cut_short_closes_its_connection_wherever_it_is_cut() -> Result<()> {
    let peer = Peer::start("bad-cut")?;
    let mut bystander = Bystander::new(peer.bootstrap())?;
    let mut failures = Vec::new();
    for (name, request) in whole_requests()? {
        for size in 12..request.len() - 4 {
            let mut cut = request[..4 + size].to_vec();
            cut[..4].copy_from_slice(&(size as i32).to_be_bytes());
            let mut connection = Connection::open(peer.bootstrap())?;
            connection.send_bytes(&cut)?;
            if let Err(error) = connection.await_close(AT_ONCE) {
                failures.push(format!("{name} cut to {size}: {error:#}"));
            }
        }
        bystander.is_served()?;
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

#[test]
fn api_versions_of_an_unknown_version_tells_the_known_ones_and_goes_on() -> Result<()> {
    let peer = Peer::start("bad-api-versions")?;
    let mut connection = Connection::open(peer.bootstrap())?;
    for version in [99, i16::MAX, -1] {
        connection.send_bytes(&raw_request(ApiKey::ApiVersions.code(), version, 7, &[0xff; 9]))?;
        let answer = connection.receive()?;
        ensure!(answer.correlation_id()? == 7, "another's answer");
        let response: ApiVersionsResponse<'_> = answer.read(0)?;
        ensure!(response.error_code == ErrorCode::UnsupportedVersion.code(), "{response:?}");
        let own = response.api_keys.iter().find(|api| api.api_key == ApiKey::ApiVersions.code());
        ensure!(own.is_some_and(|api| api.max_version >= 3), "{response:?}");
    }
    for name in ["", "-", "a b", "a/b", "ä"] {
        let request = ApiVersionsRequest {
            client_software_name: name.into(),
            client_software_version: "1".into(),
        };
        let answer = connection.call(&request, 3)?;
        let response: ApiVersionsResponse<'_> = answer.read(3)?;
        ensure!(response.error_code == ErrorCode::InvalidRequest.code(), "{name:?}: {response:?}");
    }
    connection.send_bytes(&tagged(&[1, 90, 3, 1, 2, 3]))?;
    let answer = connection.receive()?;
    let response: ApiVersionsResponse<'_> = answer.read(3)?;
    ensure!(response.error_code == 0, "an unknown tag: {response:?}");
    Ok(())
}

/// Ours only: Kafka waits for `connections.max.idle.ms` whatever has come.
#[test]
fn half_a_frame_and_silence_end_at_the_deadline() -> Result<()> {
    logs::forget("bad-silence")?;
    let directory = tempfile::tempdir()?;
    let settings =
        [("connections.first.request.timeout.ms", "300"), ("connections.max.idle.ms", "1500")];
    let broker = Broker::start("bad-silence", directory.path(), &settings)?;
    let half = &wire::request(&MetadataRequest::default(), 9, 1)?[..9];
    for bytes in [&[][..], &half[..3], half] {
        let mut connection = Connection::open(broker.bootstrap())?;
        connection.send_bytes(bytes)?;
        connection.await_close(AT_ONCE).with_context(|| format!("after {} bytes", bytes.len()))?;
    }
    let mut connection = Connection::open(broker.bootstrap())?;
    connection.call(&MetadataRequest::default(), 9)?;
    let quiet = Stopwatch::start();
    connection.send_bytes(half)?;
    connection.await_close(AT_ONCE).context("after a request")?;
    ensure!(quiet.elapsed() >= Duration::from_secs(1), "closed after {:?}", quiet.elapsed());

    // A byte now and then is no request either.
    let mut connection = Connection::open(broker.bootstrap())?;
    let deadline = Deadline::seconds(20);
    for byte in raw_request(ApiKey::Metadata.code(), 1, 1, &[0; 2000]) {
        ensure!(!deadline.passed(), "dripping goes on for ever");
        if connection.send_bytes(&[byte]).is_err()
            || connection.await_close(Duration::from_millis(50)).is_ok()
        {
            return Ok(());
        }
    }
    anyhow::bail!("a frame came in byte by byte")
}

/// Ours only: what is claimed costs nothing, what came is given back.
#[test]
fn memory_follows_what_came_and_not_what_was_claimed() -> Result<()> {
    logs::forget("bad-memory")?;
    let directory = tempfile::tempdir()?;
    let mut broker = Broker::start("bad-memory", directory.path(), &[])?;
    let address = broker.bootstrap().to_owned();
    let mut bystander = Bystander::new(&address)?;
    for (_, bytes) in senseless() {
        let mut connection = Connection::open(&address)?;
        connection.send_bytes(&bytes)?;
        connection.await_close(AT_ONCE)?;
    }
    let before = resident_kib(&mut broker)?;

    // Two hundred frames of 100 MiB are begun.
    let mut begun = Vec::new();
    for _ in 0..200 {
        let mut connection = Connection::open(&address)?;
        connection.send_bytes(&(100i32 << 20).to_be_bytes())?;
        connection.send_bytes(&[0, 3, 0, 1, 0, 0, 0, 1])?;
        connection.send_bytes(&[0; 16 << 10])?;
        begun.push(connection);
    }
    bystander.is_served()?;
    let claimed = resident_kib(&mut broker)?;
    ensure!(claimed < before + GROWTH_KIB_MAX, "{before} KiB before, {claimed} with claims");
    drop(begun);

    // A million tags that are well formed but unknown, and arrays nested as deep as they come.
    let mut tags = vec![0xc0, 0x84, 0x3d];
    for tag in 0..1_000_000_u32 {
        let tag = tag + 100;
        tags.extend([tag as u8 | 0x80, (tag >> 7) as u8 | 0x80, (tag >> 14) as u8, 0]);
    }
    let empty_topics = raw_request(ApiKey::Produce.code(), 9, 1, &{
        let mut body = vec![0, 0, 1, 0, 0, 0, 9, 0x81, 0x80, 0x80, 0x04];
        body.resize(8 << 20, 1);
        body
    });
    for bytes in [tagged(&tags), empty_topics] {
        let mut connection = Connection::open(&address)?;
        connection.send_bytes(&bytes)?;
        // Refused or answered: either way the broker is through with it.
        let _ = connection.await_close(AT_ONCE);
        bystander.is_served()?;
    }
    let after = resident_kib(&mut broker)?;
    ensure!(after < before + GROWTH_KIB_MAX, "{before} KiB before, {after} after");
    broker.stop()
}
