//! The log against a plain vector of batches, under random operations.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod support;

use std::path::Path;
use std::sync::Arc;

use broker_protocol::quantity::{LeaderEpoch, Offset};
use broker_protocol::record::batch::BatchHeader;
use broker_storage::fs::Fs;
use broker_storage::fs::faulty::FaultyFs;
use broker_storage::log::{Log, ReadError};
use broker_storage::log_dir::LogDir;
use proptest::prelude::*;
use support::{
    DIR, NOW, append, batch, config, create, load_one, open_dir, partition, read_all, stored,
};

/// What happens to the log.
#[derive(Debug, Clone)]
enum Step {
    Append { batches: Vec<(i32, usize)>, epoch_moves: bool },
    Follow { gap: i64, count: i32 },
    Truncate { back: i64 },
    TruncateFully { ahead: i64 },
    AdvanceStart { by: i64 },
    Retain,
    Reopen { is_clean: bool },
    Look { back: i64, max_bytes: u32, bound_back: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let batches = prop::collection::vec((1..5_i32, 0..200_usize), 1..12);
    prop_oneof![
        10 => (batches, prop::bool::weighted(0.2))
            .prop_map(|(batches, epoch_moves)| Step::Append { batches, epoch_moves }),
        2 => (0..3_i64, 1..5_i32).prop_map(|(gap, count)| Step::Follow { gap, count }),
        2 => (0..40_i64).prop_map(|back| Step::Truncate { back }),
        1 => (0..40_i64).prop_map(|ahead| Step::TruncateFully { ahead }),
        1 => (0..20_i64).prop_map(|by| Step::AdvanceStart { by }),
        1 => Just(Step::Retain),
        3 => any::<bool>().prop_map(|is_clean| Step::Reopen { is_clean }),
        8 => (0..60_i64, 1..2000_u32, 0..20_i64)
            .prop_map(|(back, max_bytes, bound_back)| Step::Look { back, max_bytes, bound_back }),
    ]
}

/// The log as a vector.
#[derive(Debug, Default)]
struct Model {
    /// First offset, last offset and stored bytes of each batch.
    batches: Vec<(i64, i64, Vec<u8>)>,
    start: i64,
    end: i64,
    epoch: i32,
}

impl Model {
    fn push(&mut self, batch: &[u8], base: i64) {
        let stored = stored(batch, base, self.epoch);
        let last = BatchHeader::parse(&stored).unwrap().last_offset().0;
        self.batches.push((base, last, stored));
        self.end = last + 1;
    }

    fn bytes_from(&self, start: i64) -> Vec<u8> {
        let visible = self.batches.iter().filter(|(_, last, _)| *last >= start);
        visible.flat_map(|(_, _, bytes)| bytes.clone()).collect()
    }
}

struct World {
    fs: Arc<dyn Fs>,
    dir: Option<LogDir>,
    log: Option<Log>,
    model: Model,
    seed: u8,
}

impl World {
    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Append { batches, epoch_moves } => self.append(batches, *epoch_moves),
            Step::Follow { gap, count } => {
                let base = self.model.end + gap;
                let bytes = batch(*count, 20, self.seed, NOW.0);
                self.model.push(&bytes, base);
                let (_, _, bytes) = self.model.batches.last().unwrap().clone();
                self.log().append_as_follower(&bytes, LeaderEpoch(1000), NOW).unwrap().unwrap();
            }
            Step::Truncate { back } => {
                let offset = (self.model.end - back).max(self.model.start);
                self.log().truncate_to(Offset(offset), NOW).unwrap();
                self.model.batches.retain(|(_, last, _)| *last < offset);
                self.model.end = self.model.end.min(offset);
            }
            Step::TruncateFully { ahead } => {
                let offset = self.model.end + ahead;
                self.log().truncate_fully_and_start_at(Offset(offset), NOW).unwrap();
                self.model.batches.clear();
                (self.model.start, self.model.end) = (offset, offset);
            }
            Step::AdvanceStart { by } => {
                let offset = (self.model.start + by).min(self.model.end);
                self.log().flush().unwrap();
                self.log().advance_log_start_offset(Offset(offset));
                self.model.start = offset;
                self.remove_old();
            }
            Step::Retain => {
                let end = Offset(self.model.end);
                if let Some(start) = self.log().retention_end(NOW, end).unwrap() {
                    self.log().flush().unwrap();
                    self.log().advance_log_start_offset(start);
                }
                self.model.start = self.log().log_start_offset().0;
                self.remove_old();
                assert!(self.log().size_in_bytes() <= 4000 + 1000, "retention.bytes is 4000");
            }
            Step::Reopen { is_clean } => self.reopen(*is_clean),
            Step::Look { back, max_bytes, bound_back } => {
                self.look(self.model.end - back, *max_bytes, self.model.end - bound_back);
            }
        }
    }

    fn append(&mut self, batches: &[(i32, usize)], epoch_moves: bool) {
        self.model.epoch += i32::from(epoch_moves);
        let mut sent = Vec::new();
        let (first, epoch) = (self.model.end, self.model.epoch);
        let mut size = 0;
        for (count, filler) in batches {
            let bytes = batch(*count, *filler, self.seed, NOW.0);
            size += bytes.len();
            // An append must fit a segment.
            if size > 1000 {
                break;
            }
            self.seed = self.seed.wrapping_add(1);
            self.model.push(&bytes, self.model.end);
            sent.push(bytes);
        }
        let end = self.model.end;
        let appended = append(self.log(), &sent, epoch).unwrap();
        assert_eq!(appended.first_offset, Offset(first));
        assert_eq!(appended.last_offset, Offset(end - 1));
    }

    fn remove_old(&mut self) {
        let start = Offset(self.model.start);
        let offsets = [(partition(), start)].into_iter().collect();
        self.dir.as_ref().unwrap().write_log_start_offsets(&offsets).unwrap();
        for deleted in self.log().remove_old_segments().unwrap() {
            deleted.purge().unwrap();
        }
    }

    fn reopen(&mut self, is_clean: bool) {
        let mut log = self.log.take().unwrap();
        let dir = self.dir.take().unwrap();
        log.flush().unwrap();
        if is_clean {
            log.close().unwrap();
            dir.mark_clean_shutdown(1).unwrap();
        }
        let config = log.config().clone();
        log.flush_epochs().unwrap();
        let offsets = [(partition(), log.recovery_point())].into_iter().collect();
        dir.write_recovery_points(&offsets).unwrap();
        let offsets = [(partition(), log.log_start_offset())].into_iter().collect();
        dir.write_log_start_offsets(&offsets).unwrap();
        drop((log, dir));
        let dir = open_dir(&self.fs, Path::new(DIR));
        assert_eq!(dir.was_clean(), is_clean);
        let log = load_one(&dir, &config);
        // Offsets that only a truncation reserved are forgotten by a reopened log.
        let last = self.model.batches.last().map_or(self.model.start, |(_, last, _)| last + 1);
        let end = log.log_end_offset().0;
        assert!((last.max(self.model.start)..=self.model.end).contains(&end), "{end}");
        self.model.end = end;
        (self.dir, self.log) = (Some(dir), Some(log));
    }

    fn look(&mut self, start: i64, max_bytes: u32, bound: i64) {
        let read = self.log.as_ref().unwrap().read(Offset(start), max_bytes, Offset(bound), true);
        if start < self.model.start || start > self.model.end {
            assert!(matches!(read, Err(ReadError::OutOfRange { .. })), "{start}: {read:?}");
            return;
        }
        let slice = read.unwrap();
        let mut expected = Vec::new();
        for (_, last, bytes) in &self.model.batches {
            if *last >= start && *last < bound {
                expected.extend(bytes);
            }
        }
        let mut found = vec![0; slice.size as usize];
        slice.file.read_exact_at(&mut found, u64::from(slice.position)).unwrap();
        assert!(expected.starts_with(&found), "from {start} below {bound}");
        assert_eq!(found.is_empty(), expected.is_empty() || start >= bound, "{start}..{bound}");
    }

    fn check(&mut self) {
        let start = self.model.start;
        let expected = self.model.bytes_from(start);
        let epoch = self.model.epoch;
        let log = self.log.as_ref().unwrap();
        assert_eq!(log.log_start_offset(), Offset(start));
        assert_eq!(log.log_end_offset(), Offset(self.model.end));
        assert_eq!(read_all(log, Offset(start), 700), expected);
        if let Some((_, last, bytes)) = self.model.batches.last()
            && *last >= start
        {
            let stored = BatchHeader::parse(bytes).unwrap().partition_leader_epoch;
            assert_eq!(log.epoch_for_offset(Offset(*last)), Some(stored));
            assert!(stored <= LeaderEpoch(epoch));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_vector_of_batches(steps in prop::collection::vec(step(), 1..60)) {
        let fs: Arc<dyn Fs> = Arc::new(FaultyFs::new(7));
        let config = config(&[
            ("segment.bytes", "1000"),
            ("index.interval.bytes", "100"),
            ("retention.bytes", "4000"),
            ("segment.index.bytes", "128"),
        ]);
        let dir = open_dir(&fs, Path::new(DIR));
        let log = create(&dir, &config);
        let model = Model::default();
        let mut world = World { fs, dir: Some(dir), log: Some(log), model, seed: 0 };
        for step in &steps {
            world.apply(step);
            world.check();
        }
    }
}
