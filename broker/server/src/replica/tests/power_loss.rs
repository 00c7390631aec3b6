//! The power goes at each operation of the disk in turn, while partitions are made, written, cut at their
//! start, deleted and made again, stopped cleanly and started: what was promised holds afterwards.
//!
//! One life of a broker is lived once for each operation it takes ([`Life::live`]); every promise is
//! noted when it is given. Of the disk several possible remains are looked at ([`Promises::check`]).

use std::ops::Range;

use broker_protocol::record::batch::{Batch, BatchHeader, crc};
use broker_storage::fs::faulty::{Failure, FaultyFs};

use super::*;

const DIR: &str = "/data";

/// How many disks a power loss may leave are looked at for each operation.
const REMAINS: usize = 6;

/// What a broker said of one topic of one partition.
#[derive(Debug)]
struct Promises {
    name: &'static str,
    id: Uuid,
    /// Whether its creation was answered.
    is_created: bool,
    /// The batches that were sent, whatever became of them, as they are stored.
    sent: Vec<Vec<u8>>,
    /// The offset after the last record.
    end: i64,
    /// Everything below was acknowledged.
    acknowledged: i64,
    /// Within these the log starts: what was answered, and what was asked for.
    start: Range<i64>,
    /// Whether its deletion was asked for, and answered.
    deletion: (bool, bool),
}

impl Promises {
    fn new(name: &'static str, id: u8) -> Self {
        Self {
            name,
            id: Uuid::from_bytes([id; 16]),
            is_created: false,
            sent: Vec::new(),
            end: 0,
            acknowledged: 0,
            start: 0..0,
            deletion: (false, false),
        }
    }

    /// The next batch of the topic's one producer, whose sequence numbers are its offsets.
    fn next_batch(&self, records: i32) -> Vec<u8> {
        let mut bytes = batch(records);
        let mut header = BatchHeader::parse(&bytes).unwrap();
        header.producer_id = i64::from(self.id.as_bytes()[0]);
        header.producer_epoch = 0;
        header.base_sequence = self.end as i32;
        header.write(bytes.first_chunk_mut().unwrap());
        let crc = crc(&bytes);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Looks at what is left of the topic after the next start.
    fn check(&self, manager: &Manager, at: &str) {
        let partition = manager.partition(self.name, 0).filter(|found| found.topic_id() == self.id);
        let Some(partition) = partition else {
            assert!(!self.is_created || self.deletion.0, "{at}: {} is lost", self.name);
            return;
        };
        assert!(!self.deletion.1, "{at}: {} is back, though deleted", self.name);
        let offsets = partition.offsets();
        let (start, end) = (offsets.log_start_offset.0, offsets.log_end_offset.0);
        let allowed = self.start.start..=self.start.end;
        assert!(
            allowed.contains(&start),
            "{at}: {} starts at {start}, not in {allowed:?}",
            self.name
        );
        let acknowledged = self.acknowledged.max(start);
        assert!(end >= acknowledged, "{at}: {} ends at {end}, not {acknowledged}", self.name);
        assert!(offsets.recovery_point.0 <= end, "{at}: {offsets:?}");
        self.check_records(&partition, start..end, at);
    }

    /// Every batch is one that was sent, at its offset, and whole; none is missing.
    fn check_records(&self, partition: &Arc<Partition>, held: Range<i64>, at: &str) {
        lead_one(partition);
        let mut next = held.start;
        let mut epochs = BTreeMap::new();
        while next < held.end {
            let read = partition.read(&super::at(next), Isolation::ReadUncommitted, 1 << 20, true);
            let slice = read.unwrap().slice.unwrap();
            let mut bytes = vec![0; slice.size as usize];
            slice.file.read_exact_at(&mut bytes, u64::from(slice.position)).unwrap();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let header = BatchHeader::parse(rest).unwrap();
                let (bytes, after) = rest.split_at(header.size_in_bytes());
                assert!(Batch { header, bytes }.check_crc(), "{at}: a damaged batch at {next}");
                let is_known = self.sent.iter().any(|sent| sent == bytes);
                assert!(is_known, "{at}: {}: not what was sent at {next}: {header:?}", self.name);
                assert!(header.base_offset.0 <= next, "{at}: nothing at {next} of {}", self.name);
                next = header.last_offset().0 + 1;
                epochs.insert(header.partition_leader_epoch, Offset(next));
                rest = after;
            }
        }
        assert_eq!(next, held.end, "{at}: {} ends within a batch", self.name);
        for (&epoch, &end_offset) in &epochs {
            let end = partition.end_offset_for_epoch(epoch, NO_LEADER_EPOCH).unwrap();
            assert_eq!(
                end,
                EpochEndOffset { leader_epoch: epoch, end_offset },
                "{at}: {}",
                self.name
            );
        }
        let earliest = partition.find(Target::Earliest, None, NO_LEADER_EPOCH).unwrap().unwrap();
        let first_epoch = epochs.first_key_value().map(|(epoch, _)| *epoch);
        let is_known = first_epoch.is_none_or(|epoch| epoch == earliest.leader_epoch);
        assert!(is_known, "{at}: {}: {earliest:?} but written in {first_epoch:?}", self.name);
        let known = partition.producers().unwrap();
        let last = known.first().map_or(-1, |producer| i64::from(producer.last_sequence()));
        let is_known = held.is_empty() || last == held.end - 1;
        assert!(is_known, "{at}: {}: a batch sent again would be appended: {known:?}", self.name);
    }
}

/// Leads a partition in an epoch that no life reaches.
fn lead_one(partition: &Arc<Partition>) {
    assert!(partition.become_leader(LeaderEpoch(99), 1, SystemClock.now()));
}

/// One life on one disk. Every step goes on when the last one failed, as the threads of a broker do.
struct Life {
    fs: FaultyFs,
    /// `Some` while the broker runs.
    manager: Option<Arc<Manager>>,
    epoch: i32,
    promised: Vec<Promises>,
}

impl Life {
    fn new(fs: &FaultyFs) -> Self {
        Self { fs: fs.clone(), manager: None, epoch: 0, promised: Vec::new() }
    }

    /// Lives it. What comes after the power has gone fails, and promises nothing.
    async fn live(mut self) -> Vec<Promises> {
        self.start();
        self.create("t", 1);
        self.create("u", 2);
        for _ in 0..3 {
            self.append_synced("t").await;
        }
        self.append_synced("u").await;
        self.append_relaxed("t");
        self.checkpoint();
        self.delete_records("t", 2);
        self.append_synced("t").await;
        self.delete("u");
        self.append_relaxed("t");
        self.checkpoint();
        self.create("u", 3);
        self.append_synced("u").await;
        self.delete_records("u", -1);
        self.retain("t");
        self.stop();
        self.start();
        self.append_relaxed("t");
        self.append_relaxed("t");
        self.append_synced("u").await;
        self.checkpoint();
        self.delete_records("t", -1);
        self.append_synced("t").await;
        self.stop();
        self.start();
        self.append_relaxed("t");
        self.promised
    }

    fn start(&mut self) {
        let fs: Arc<dyn Fs> = Arc::new(self.fs.clone());
        let dir = loop {
            match open_dir(&fs, Path::new(DIR)) {
                // The commit thread of the last one may still be letting go of it.
                Err(OpenError::Locked { .. }) => std::thread::yield_now(),
                Err(_) => return,
                Ok(dir) => break Arc::new(dir),
            }
        };
        let manager = manage(vec![dir], &settings(true));
        let is_started = !manager.log_dirs()[0].offline().is_offline();
        self.manager = is_started.then_some(manager);
        self.epoch += 1;
        let partitions = self.manager.iter().flat_map(|manager| manager.partitions());
        for partition in partitions {
            partition.become_leader(LeaderEpoch(self.epoch), 1, SystemClock.now());
        }
    }

    fn stop(&mut self) {
        if let Some(manager) = self.manager.take() {
            manager.close(7);
        }
    }

    fn topic(&mut self, name: &str) -> Option<(Arc<Manager>, Arc<Partition>, &mut Promises)> {
        let manager = self.manager.clone()?;
        let partition = manager.partition(name, 0)?;
        let promises = self.promised.iter_mut().rfind(|promises| promises.name == name)?;
        Some((manager, partition, promises))
    }

    fn create(&mut self, name: &'static str, id: u8) {
        let mut promises = Promises::new(name, id);
        if let Some(manager) = &self.manager {
            let partition = TopicPartition { topic: name.into(), partition: 0 };
            let epoch = (LeaderEpoch(self.epoch), 1);
            promises.is_created =
                super::lead_one(manager, partition, promises.id, &settings(true), epoch);
        }
        self.promised.push(promises);
    }

    /// Appends two batches; returns the partition and the offset behind them.
    fn append(&mut self, name: &str, is_synced: bool) -> Option<(Arc<Partition>, Appended)> {
        let epoch = self.epoch;
        let (_, partition, promises) = self.topic(name)?;
        partition.set_config(settings(is_synced));
        let mut last = None;
        for records in [2, 1] {
            let batch = promises.next_batch(records);
            let mut stored = batch.clone();
            stored[..8].copy_from_slice(&promises.end.to_be_bytes());
            stored[12..16].copy_from_slice(&epoch.to_be_bytes());
            promises.sent.push(stored);
            let appended = append_bytes(&partition, &batch).ok()?;
            assert_eq!(appended.base_offset.0, promises.end);
            promises.end += i64::from(records);
            last = Some(appended);
        }
        Some((partition, last?))
    }

    async fn append_synced(&mut self, name: &str) {
        let Some((partition, appended)) = self.append(name, true) else { return };
        if visible(&partition, appended).await == AckState::Done
            && let Some((_, _, promises)) = self.topic(name)
        {
            promises.acknowledged = promises.end;
        }
    }

    fn append_relaxed(&mut self, name: &str) {
        self.append(name, false);
    }

    fn checkpoint(&self) {
        if let Some(manager) = &self.manager {
            manager.checkpoint_recovery_points();
            manager.checkpoint_high_watermarks();
            manager.checkpoint_start_offsets();
        }
    }

    fn delete_records(&mut self, name: &str, offset: i64) {
        let Some((manager, partition, promises)) = self.topic(name) else { return };
        promises.start.end = if offset == -1 { promises.end } else { offset };
        if let Ok(start) = manager.delete_records(&partition, Offset(offset)) {
            promises.start.start = start.0;
        }
        manager.purge();
    }

    /// Has every segment but the last go.
    fn retain(&mut self, name: &str) {
        let Some((manager, partition, promises)) = self.topic(name) else { return };
        promises.start.end = promises.end;
        let config = [("segment.bytes", "150"), ("retention.bytes", "1")];
        partition.set_config(config_of(&config));
        manager.keep();
        partition.set_config(settings(true));
        manager.purge();
    }

    fn delete(&mut self, name: &str) {
        let Some((manager, partition, promises)) = self.topic(name) else { return };
        promises.deletion = (true, super::delete(&manager, partition.name()).is_ok());
        manager.purge();
    }
}

/// Small segments, and files that go at once.
fn settings(is_synced: bool) -> Arc<TopicConfig> {
    let durability = if is_synced { "synced" } else { "replicated" };
    config_of(&[("segment.bytes", "150"), ("ottla.durability", durability)])
}

fn config_of(settings: &[(&str, &str)]) -> Arc<TopicConfig> {
    config(&[settings, &[("file.delete.delay.ms", "0"), ("index.interval.bytes", "1")]].concat())
}

#[tokio::test]
async fn a_power_loss_at_any_operation_breaks_no_promise() {
    let fs = FaultyFs::new(0);
    let promised = Life::new(&fs).live().await;
    let whole = fs.operations();
    assert!(promised.iter().all(|topic| topic.is_created && topic.acknowledged > 0));
    assert!(promised[0].start.start > 2 && promised[1].deletion.1, "each step did what it is for");

    for operation in 0..=whole {
        let fs = FaultyFs::new(operation);
        fs.fail_from(operation, Failure::Power, true);
        let promised = Life::new(&fs).live().await;
        for number in 0..REMAINS {
            let at = format!("operation {operation} of {whole}, remains {number}");
            let remains: Arc<dyn Fs> = Arc::new(fs.crash());
            let manager = open_on(&remains, &[Path::new(DIR)], &settings(true));
            assert!(!manager.log_dirs()[0].offline().is_offline(), "{at}");
            assert_eq!(manager.damaged(), [], "{at}");
            for promises in &promised {
                promises.check(&manager, &at);
            }
        }
    }
}
