//! How often a request of the data plane allocates once its connection is warm: a bound for each,
//! which does not move with the number of records in it.
//!
//! Method: one broker in this process, one client that sends frames made beforehand, one at a time,
//! and allocates nothing meanwhile. What all threads allocate is counted, so that what a request
//! leaves to others counts too; the count by request is cut to a whole number, which drops what the
//! broker does by itself from time to time. The tests are alone in their binary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "a test has a deadline")]

#[path = "groups/client.rs"]
#[allow(dead_code, reason = "shared with the tests of groups, which need more of it")]
mod client;

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use broker_protocol::message::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use broker_protocol::message::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use broker_protocol::primitive::Records;
use broker_protocol::quantity::Offset;
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::Compression;
use broker_server::clock::{Clock, SystemClock};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use client::{Client, beside_broker, encode};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Enough for every buffer to have its size.
const WARM_UP: usize = 200;

const REQUESTS: usize = 1_000;

/// The last versions with topic names.
const PRODUCE: i16 = 12;
const FETCH: i16 = 12;

const TOPIC: &str = "t";

/// A batch of as many records of eight bytes.
fn produce(acks: i16, records: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset(0), Compression::None);
    for _ in 0..records {
        builder.push(SystemClock.wall(), None, Some(b"12345678"));
    }
    let records = Some(Records::Bytes(builder.finish().unwrap().into()));
    let partition_data = vec![PartitionProduceData { index: 0, records }];
    let topic_data =
        vec![TopicProduceData { name: TOPIC.into(), partition_data, ..Default::default() }];
    let request = ProduceRequest { acks, timeout_ms: 20_000, topic_data, ..Default::default() };
    encode(&request, PRODUCE)
}

/// Reads from the start; all of the answer is records of up to `max_bytes`, or one batch.
fn fetch(session_id: i32, session_epoch: i32, max_bytes: i32) -> FetchRequest<'static> {
    let partition = FetchPartition { partition_max_bytes: max_bytes, ..Default::default() };
    let topics =
        vec![FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..Default::default() }];
    FetchRequest {
        max_wait_ms: 20_000,
        min_bytes: 1,
        session_id,
        session_epoch,
        topics,
        ..Default::default()
    }
}

/// How often the broker allocates for each of `frames`, but for the first ones.
fn allocations(address: SocketAddr, frames: &[Vec<u8>]) -> usize {
    assert_eq!(frames.len(), WARM_UP + REQUESTS);
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut answer = vec![0; 256 * 1024];
    let mut exchange = |frame: &[u8]| {
        socket.write_all(frame).unwrap();
        let mut length = [0; 4];
        socket.read_exact(&mut length).unwrap();
        let size = u32::from_be_bytes(length) as usize;
        socket.read_exact(&mut answer[..size]).unwrap();
        size
    };
    let (warm_up, counted) = frames.split_at(WARM_UP);
    let sizes: Vec<_> = warm_up.iter().map(|frame| exchange(frame)).collect();
    let region = Region::new(ALLOCATOR);
    for frame in counted {
        // An answer of another size is another answer: an error, or no records.
        assert_eq!(exchange(frame), sizes[WARM_UP - 1]);
    }
    let stats = region.change();
    (stats.allocations + stats.reallocations) / REQUESTS
}

/// What is asked here is answered without an error, and with records.
fn check(client: &mut Client) {
    let answer = client.exchange(&produce(-1, 1)).unwrap();
    let response: ProduceResponse<'_> = answer.read(PRODUCE);
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "{response:?}");
    let answer = client.call(&fetch(0, -1, 1024), FETCH);
    let response: FetchResponse<'_> = answer.read(FETCH);
    let partition = &response.responses[0].partitions[0];
    assert_eq!((response.error_code, partition.error_code), (0, 0), "{response:?}");
    assert!(!partition.records.as_ref().unwrap().as_bytes().is_empty(), "{response:?}");
}

/// Frames of a fetch session, which goes on epoch by epoch.
fn in_session(client: &mut Client) -> Vec<Vec<u8>> {
    let answer = client.call(&fetch(0, 0, 1024), FETCH);
    let session_id = answer.read::<FetchResponse<'_>>(FETCH).session_id;
    assert_ne!(session_id, 0);
    let epochs = 1..=(WARM_UP + REQUESTS) as i32;
    epochs.map(|epoch| encode(&fetch(session_id, epoch, 1024), FETCH)).collect()
}

#[tokio::test]
async fn a_request_allocates_a_few_times_whatever_its_records() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        client.create_topics(&[TOPIC]);
        check(client);
        let again = |frame: Vec<u8>| vec![frame; WARM_UP + REQUESTS];
        let cases = [
            ("Produce, acks=1", again(produce(1, 1)), 6),
            ("Produce, acks=1, 1000 records", again(produce(1, 1_000)), 6),
            ("Produce, acks=all", again(produce(-1, 1)), 14),
            ("Fetch, copied", again(encode(&fetch(0, -1, 1024), FETCH)), 18),
            ("Fetch, by sendfile", again(encode(&fetch(0, -1, 64 * 1024), FETCH)), 17),
            ("Fetch, in a session", in_session(client), 16),
        ];
        let mut above = Vec::new();
        for (name, frames, bound) in cases {
            let count = allocations(address, &frames);
            println!("{name}: {count} allocations, at most {bound}");
            if count > bound {
                above.push((name, count, bound));
            }
        }
        assert!(above.is_empty(), "{above:?}");
    })
    .await;
}
