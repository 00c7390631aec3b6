//! Compaction of logs with transactions, as a reader of committed records sees them.
#![allow(clippy::unwrap_used, reason = "tests fail by panic")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use broker_protocol::quantity::{LeaderEpoch, Offset};
use broker_protocol::record::batch::{Attributes, Batch, BatchHeader};
use broker_protocol::record::builder::BatchBuilder;
use broker_protocol::record::compression::Compression;
use broker_storage::cleaner::{CleanedSegment, MapLimit, Round, clean};
use broker_storage::fs::Fs;
use broker_storage::fs::faulty::FaultyFs;
use broker_storage::log::Log;
use proptest::prelude::*;

mod support;
use support::{DIR, NOW, config, create, load_one, open_dir, read_all, stored};

const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const SETTINGS: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("segment.bytes", "400"),
    ("segment.index.bytes", "1000"),
    ("index.interval.bytes", "0"),
    ("min.cleanable.dirty.ratio", "0"),
];

/// Takes the log's lock for a swap, as a partition does.
struct Locked<'a>(&'a mut Log);

impl Round for Locked<'_> {
    fn progress(&mut self, _bytes: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn swap(&mut self, segment: CleanedSegment) -> io::Result<ControlFlow<()>> {
        self.0.replace_segments(&segment, NOW).unwrap().unwrap().purge()?;
        Ok(ControlFlow::Continue(()))
    }
}

/// Appends one record of a transaction; `sequence` counts the producer's records.
fn data(log: &mut Log, producer_id: i64, sequence: i32, key: u8) {
    let mut builder = BatchBuilder::new(Offset(0), Compression::None);
    builder.header.attributes = Attributes(TRANSACTIONAL);
    builder.header.producer_id = producer_id;
    builder.header.producer_epoch = 0;
    builder.header.base_sequence = sequence;
    builder.push(NOW, Some(&[key]), Some(&[0; 20]));
    follow(log, &builder.finish().unwrap());
}

fn marker(log: &mut Log, producer_id: i64, is_commit: bool) {
    let mut builder = BatchBuilder::new(Offset(0), Compression::None);
    builder.header.attributes = Attributes(TRANSACTIONAL | CONTROL);
    builder.header.producer_id = producer_id;
    builder.header.producer_epoch = 0;
    builder.push(NOW, Some(&[0, 0, 0, u8::from(is_commit)]), Some(&[0; 6]));
    follow(log, &builder.finish().unwrap());
}

fn follow(log: &mut Log, batch: &[u8]) {
    let offset = log.log_end_offset().0;
    log.append_as_follower(&stored(batch, offset, 0), LeaderEpoch(1000), NOW).unwrap().unwrap();
    log.on_high_watermark(log.log_end_offset());
}

/// Reads as a consumer with `read_committed` does: offset and key of each record it hands out.
fn committed(log: &Log) -> BTreeMap<i64, u8> {
    let end = log.last_stable_offset(log.log_end_offset());
    let mut aborted: HashMap<i64, Vec<i64>> = HashMap::new();
    for txn in log.aborted_transactions(log.log_start_offset(), end) {
        aborted.entry(txn.producer_id).or_default().push(txn.first_offset.0);
    }
    let (mut visible, mut aborting) = (BTreeMap::new(), BTreeSet::new());
    let bytes = read_all(log, log.log_start_offset(), 1 << 20);
    let mut rest = &bytes[..];
    while let Ok(header) = BatchHeader::parse(rest) {
        let (bytes, after) = rest.split_at(header.size_in_bytes());
        rest = after;
        let last_offset = header.last_offset();
        if last_offset >= end {
            break;
        }
        let ahead = aborted.entry(header.producer_id).or_default();
        if ahead.first().is_some_and(|first| *first <= last_offset.0) {
            ahead.remove(0);
            aborting.insert(header.producer_id);
        }
        for record in &(Batch { header, bytes }).records(1 << 20).unwrap() {
            let record = record.unwrap();
            if !header.attributes.is_control() {
                if !aborting.contains(&header.producer_id) {
                    visible.insert(record.offset.0, record.key.unwrap()[0]);
                }
            } else if record.key.unwrap()[3] == 0 {
                aborting.remove(&header.producer_id);
            }
        }
    }
    visible
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    /// Invariant C7: compaction never resurrects an aborted key nor drops a committed one.
    #[test]
    fn committed_keys_survive_and_aborted_ones_never_show(
        steps in prop::collection::vec((0..3_i64, 0..6_u8, 0..9_u8), 1..80),
    ) {
        let memory = FaultyFs::new(1);
        let fs: Arc<dyn Fs> = Arc::new(memory.clone());
        fs.create_dir_all(Path::new(DIR)).unwrap();
        fs.sync_dir(Path::new("/")).unwrap();
        let config = config(&SETTINGS);
        let mut log = create(&open_dir(&fs, Path::new(DIR)), &config);
        let mut sequences: HashMap<i64, i32> = HashMap::new();
        let mut open: HashMap<i64, Vec<(i64, u8)>> = HashMap::new();
        let (mut written, mut cleaned_to) = (BTreeMap::new(), None);
        let check = |log: &Log, written: &BTreeMap<i64, u8>| {
            let visible = committed(log);
            assert!(visible.iter().all(|(offset, key)| written.get(offset) == Some(key)));
            let stable = log.last_stable_offset(log.log_end_offset()).0;
            let newest: BTreeMap<u8, i64> =
                written.range(..stable).map(|(offset, key)| (*key, *offset)).collect();
            assert!(newest.values().all(|offset| visible.contains_key(offset)), "{visible:?} of {newest:?}");
        };
        for (producer_id, key, what) in steps {
            match what {
                0 | 1 => {
                    let records = open.remove(&producer_id).unwrap_or_default();
                    marker(&mut log, producer_id, what == 0);
                    if what == 0 {
                        written.extend(records);
                    }
                }
                2 => {
                    log.flush().unwrap();
                    let end = log.log_end_offset();
                    let cleanable = log.cleanable(end, cleaned_to, NOW).unwrap();
                    let snapshot = log.snapshot_for_cleaner(cleanable).unwrap();
                    let limit = MapLimit { size_max: 1 << 20, load_factor: 0.9 };
                    let report = clean(&snapshot, limit, NOW, &mut Locked(&mut log)).unwrap();
                    cleaned_to = Some(report.cleaned_to);
                }
                _ => {
                    let sequence = sequences.entry(producer_id).or_default();
                    open.entry(producer_id).or_default().push((log.log_end_offset().0, key));
                    data(&mut log, producer_id, *sequence, key);
                    *sequence += 1;
                }
            }
            check(&log, &written);
        }
        log.close().unwrap();
        drop(log);
        let crashed: Arc<dyn Fs> = Arc::new(memory.crash());
        let mut log = load_one(&open_dir(&crashed, Path::new(DIR)), &config);
        log.on_high_watermark(log.log_end_offset());
        check(&log, &written);
    }
}
