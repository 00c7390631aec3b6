//! What the tests of whole logs share: batches as a producer would send them, and logs on any disk.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "tests fail by panic")]
#![allow(dead_code, reason = "each test binary uses a part")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, mpsc};

use broker_config::broker::BrokerConfig;
use broker_config::raw::Properties;
use broker_config::topic::TopicConfig;
use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset, TimestampMs};
use broker_protocol::record::batch::{Attributes, BatchHeader, HEADER_SIZE, crc};
use broker_protocol::topic_partition::TopicPartition;
use broker_storage::commit::{CommitError, SyncPoint, Synced};
use broker_storage::fs::Fs;
use broker_storage::log::{AppendBatch, AppendError, Appended, Log};
use broker_storage::log_dir::{Identity, LoadSettings, Loaded, LogDir, NewLog};

/// The time of every test that does not move it.
pub(crate) const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
/// The log directory of every test.
pub(crate) const DIR: &str = "/data";

/// Makes a batch of `count` records of one byte each, filled from `seed`, and `filler` more bytes.
pub(crate) fn batch(count: i32, filler: usize, seed: u8, timestamp: i64) -> Vec<u8> {
    let mut records = Vec::new();
    for delta in 0..count {
        // length, attributes, timestamp delta, offset delta, no key, value, no headers
        let value = if delta == 0 { vec![seed; filler + 1] } else { vec![seed] };
        let mut body = vec![0];
        varint(&mut body, 0);
        varint(&mut body, i64::from(delta));
        varint(&mut body, -1);
        varint(&mut body, value.len() as i64);
        body.extend(&value);
        varint(&mut body, 0);
        varint(&mut records, body.len() as i64);
        records.extend(body);
    }
    let header = BatchHeader {
        base_offset: Offset(0),
        batch_length: (HEADER_SIZE - 12 + records.len()) as i32,
        partition_leader_epoch: LeaderEpoch(-1),
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: count - 1,
        base_timestamp: TimestampMs(timestamp),
        max_timestamp: TimestampMs(timestamp),
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records_count: count,
    };
    whole(header, &records)
}

/// Makes a batch of one record by an idempotent producer.
pub(crate) fn idempotent(producer_id: i64, sequence: i32, seed: u8) -> Vec<u8> {
    let bytes = batch(1, 10, seed, NOW.0);
    let mut header = BatchHeader::parse(&bytes).unwrap();
    (header.producer_id, header.producer_epoch, header.base_sequence) = (producer_id, 0, sequence);
    whole(header, &bytes[HEADER_SIZE..])
}

fn whole(header: BatchHeader, records: &[u8]) -> Vec<u8> {
    let mut bytes = [0; HEADER_SIZE];
    header.write(&mut bytes);
    let mut batch = bytes.to_vec();
    batch.extend(records);
    let crc = crc(&batch);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn varint(bytes: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

/// Returns a batch as the log stores it.
pub(crate) fn stored(batch: &[u8], base_offset: i64, epoch: i32) -> Vec<u8> {
    let mut stored = batch.to_vec();
    stored[..8].copy_from_slice(&base_offset.to_be_bytes());
    stored[12..16].copy_from_slice(&epoch.to_be_bytes());
    stored
}

/// Appends batches as their leader in epoch `epoch`.
pub(crate) fn append(
    log: &mut Log,
    batches: &[Vec<u8>],
    epoch: i32,
) -> Result<Appended, AppendError> {
    let mut batches: Vec<_> = batches
        .iter()
        .map(|bytes| AppendBatch {
            header: BatchHeader::parse(bytes).unwrap(),
            bytes: Cow::Borrowed(bytes),
        })
        .collect();
    log.append_as_leader(&mut batches, LeaderEpoch(epoch), NOW)
}

/// Makes a configuration from Kafka's keys.
pub(crate) fn config(overrides: &[(&str, &str)]) -> Arc<TopicConfig> {
    let pairs: BTreeMap<String, String> =
        overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let broker = BrokerConfig::from_properties(&Properties::default()).unwrap();
    Arc::new(TopicConfig::resolve(&broker, &pairs).unwrap())
}

pub(crate) fn partition() -> TopicPartition {
    TopicPartition { topic: Arc::from("orders"), partition: 0 }
}

pub(crate) fn open_dir(fs: &Arc<dyn Fs>, dir: &Path) -> LogDir {
    let identity = Identity { cluster_id: "c".to_owned(), broker_id: BrokerId(0) };
    LogDir::open(fs.clone(), dir, &identity, NOW).unwrap()
}

pub(crate) fn create(dir: &LogDir, config: &Arc<TopicConfig>) -> Log {
    let new = NewLog { partition: partition(), topic_id: None, config: config.clone() };
    dir.create_log(new, NOW).unwrap()
}

pub(crate) fn load(dir: &LogDir, config: &Arc<TopicConfig>) -> Loaded {
    let settings = LoadSettings { threads: 2, now: NOW, producer_id_expiration_ms: i64::MAX };
    dir.load(settings, &|_| config.clone(), &|_| {}).unwrap()
}

/// Has the commit thread sync a log up to `point`; returns whether it did.
pub(crate) fn commit(dir: &LogDir, point: SyncPoint) -> Result<Offset, CommitError> {
    struct Owner(mpsc::Sender<Result<Offset, CommitError>>);
    impl Synced for Owner {
        fn synced(&self, outcome: Result<Offset, CommitError>) {
            self.0.send(outcome).unwrap();
        }
    }
    let (done, committed) = mpsc::channel();
    dir.committer().submit(point, Arc::new(Owner(done)));
    committed.recv().unwrap()
}

/// Loads the one log that there is.
pub(crate) fn load_one(dir: &LogDir, config: &Arc<TopicConfig>) -> Log {
    let mut loaded = load(dir, config);
    assert!(loaded.failed.is_empty(), "{:?}", loaded.failed);
    assert_eq!(loaded.logs.len(), 1);
    loaded.logs.remove(0).log
}

/// Reads everything from `start` on, slice by slice.
pub(crate) fn read_all(log: &Log, start: Offset, max_bytes: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut next = start;
    loop {
        let slice = log.read(next, max_bytes, log.log_end_offset(), true).unwrap();
        if slice.size == 0 {
            return bytes;
        }
        let mut piece = vec![0; slice.size as usize];
        slice.file.read_exact_at(&mut piece, u64::from(slice.position)).unwrap();
        let mut rest = &piece[..];
        // The last batch may be cut: it comes again.
        while let Ok(header) = BatchHeader::parse(rest) {
            if header.size_in_bytes() > rest.len() {
                break;
            }
            next = Offset(header.last_offset().0 + 1);
            let (batch, after) = rest.split_at(header.size_in_bytes());
            bytes.extend(batch);
            rest = after;
        }
    }
}
