//! Idempotent producers that go on from one broker to the next.

use anyhow::{Context, Result, ensure};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::Compression;
use broker_protocol::record::builder::BatchBuilder;
use e2e::wire::{Connection, PRODUCE_VERSION};

use crate::load::append;
use crate::portrait::Portrait;

/// The topic of these producers.
pub(crate) const IDEMPOTENT: &str = "idempotent";
const PARTITIONS: i32 = 2;

/// A producer of one partition.
#[derive(Debug)]
pub(crate) struct Producer {
    id: i64,
    epoch: i16,
    partition: i32,
    next_sequence: i32,
    last: Option<(Vec<u8>, i64)>,
    time: i64,
}

impl Producer {
    /// Makes the topic, and several producers in each partition, of which each has written.
    pub(crate) fn start_all(connection: &mut Connection, time: i64) -> Result<Vec<Self>> {
        connection.create_topic(IDEMPOTENT, PARTITIONS, &[("segment.bytes", "4096")])?;
        let mut producers = Vec::new();
        for number in 0..3 * PARTITIONS {
            producers.push(Self::new(connection, number % PARTITIONS, time)?);
        }
        for _ in 0..12 {
            for producer in &mut producers {
                producer.write(connection)?;
            }
        }
        Ok(producers)
    }

    fn new(connection: &mut Connection, partition: i32, time: i64) -> Result<Self> {
        let (id, epoch) = connection.init_producer_id()?;
        Ok(Self { id, epoch, partition, next_sequence: 0, last: None, time })
    }

    /// A new producer whose id nobody had; its records are appended, not taken for another's.
    pub(crate) fn begin(connection: &mut Connection, served: &Portrait, time: i64) -> Result<Self> {
        let mut producer = Self::new(connection, 0, time)?;
        let is_new = !served.producer_ids.contains(&producer.id);
        ensure!(is_new, "producer id {} is given out again", producer.id);
        let end = producer.end(served)?;
        let base_offset = producer.write(connection)?;
        ensure!(base_offset == end, "{producer:?}: at {base_offset}, the end was {end}");
        Ok(producer)
    }

    fn end(&self, served: &Portrait) -> Result<i64> {
        let end = served.ends.get(&(IDEMPOTENT.to_owned(), self.partition));
        end.copied().context("no end of the partition")
    }

    /// Appends a batch and returns its offset.
    fn write(&mut self, connection: &mut Connection) -> Result<i64> {
        let records = self.batch(self.next_sequence)?;
        let base_offset = append(connection, IDEMPOTENT, self.partition, &records)?;
        self.next_sequence += 3;
        self.last = Some((records, base_offset));
        Ok(base_offset)
    }

    fn batch(&self, sequence: i32) -> Result<Vec<u8>> {
        let codec = if sequence % 2 == 0 { Compression::None } else { Compression::Zstd };
        let mut builder = BatchBuilder::new(Offset(0), codec);
        builder.header.producer_id = self.id;
        builder.header.producer_epoch = self.epoch;
        builder.header.base_sequence = sequence;
        for number in sequence..sequence + 3 {
            let value = format!("{number} of producer {}", self.id);
            builder.push(TimestampMs(self.time), Some(b"key"), Some(value.as_bytes()));
        }
        Ok(builder.finish()?)
    }

    /// What was answered last is answered again as it was, a gap is refused, and the next batch is
    /// appended.
    pub(crate) fn goes_on(&mut self, connection: &mut Connection) -> Result<()> {
        let (records, base_offset) = self.last.clone().context("nothing was written")?;
        let again = append(connection, IDEMPOTENT, self.partition, &records)?;
        ensure!(again == base_offset, "{self:?}: the duplicate is at {again}");
        let gap = self.batch(self.next_sequence + 3)?;
        let refused = connection.produce(IDEMPOTENT, self.partition, &gap, PRODUCE_VERSION)?;
        let expected = ErrorCode::OutOfOrderSequenceNumber as i16;
        ensure!(refused.error_code == expected, "{self:?}: a gap gives {refused:?}");
        let next = self.write(connection)?;
        ensure!(next > base_offset, "{self:?}: the next is at {next}");
        Ok(())
    }
}
