//! The record batch of magic 2: its header, its checksum and where it ends.
//!
//! The checksum (CRC-32C) covers everything from `attributes` on, so that a broker may write
//! `base_offset` and `partition_leader_epoch` into a batch without computing it again.
//!
//! Sizes are bytes; offsets count records. `last_offset = base_offset + last_offset_delta`.
//! Source: Kafka 3.9 `DefaultRecordBatch`.

use super::compression::UnknownCodec;
use crate::quantity::{LeaderEpoch, Offset, TimestampMs};

pub use super::compression::Compression;

/// Bytes of a batch before its records.
pub const HEADER_SIZE: usize = 61;

/// Bytes that `batch_length` does not count: the base offset and itself.
pub const LOG_OVERHEAD: usize = 12;

/// Where the magic is, in batches and in messages of every version.
pub const MAGIC_POSITION: usize = 16;

/// Where the part that the checksum covers begins.
const CRC_FROM: usize = 21;

/// The magic of the batches that this module reads.
const MAGIC: i8 = 2;

/// The bits of a batch that say how to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// Returns the codec of the records.
    pub fn compression(self) -> Result<Compression, UnknownCodec> {
        match self.0 & 7 {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            codec => Err(UnknownCodec(codec as u8)),
        }
    }

    /// Returns the same bits with another codec.
    #[must_use]
    pub fn with_compression(self, compression: Compression) -> Self {
        Self(self.0 & !7 | compression as i16)
    }

    /// Whether all records have the time of their append.
    pub fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Returns the same bits, with the time of the append or of the creation.
    #[must_use]
    pub fn with_log_append_time(self, log_append_time: bool) -> Self {
        let rest = self.0 & !Self::LOG_APPEND_TIME;
        Self(if log_append_time { rest | Self::LOG_APPEND_TIME } else { rest })
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether its records are markers of the broker, invisible to consumers.
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether `base_timestamp` is when tombstones may go (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }
}

/// All that stands before the records of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// Bytes after this field; see [`BatchHeader::size_in_bytes`].
    pub batch_length: i32,
    /// The epoch of the leader that appended it, or -1.
    pub partition_leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    /// How to read it.
    pub attributes: Attributes,
    /// The last record's offset, less the first's.
    pub last_offset_delta: i32,
    /// What the records' timestamps count from; the delete horizon where there is one.
    pub base_timestamp: TimestampMs,
    /// The largest timestamp of a record.
    pub max_timestamp: TimestampMs,
    /// Who produced it, or -1.
    pub producer_id: i64,
    /// Which incarnation of the producer.
    pub producer_epoch: i16,
    /// The producer's number of the first record, or -1.
    pub base_sequence: i32,
    /// The number of records.
    pub records_count: i32,
}

/// Why bytes do not begin with a batch header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Fewer bytes than a header has.
    #[error("{size} bytes are shorter than a batch header")]
    Short {
        /// The bytes that are there.
        size: usize,
    },
    /// Another magic than 2.
    #[error("magic {0} is not that of a record batch")]
    Magic(i8),
    /// A length that does not even hold the header.
    #[error("batch length {0} does not hold a batch header")]
    Length(i32),
}

impl BatchHeader {
    /// Reads the header that `bytes` begin with. The checksum is not looked at.
    ///
    /// # Errors
    /// When it cannot be one, by size, magic or length; no other field is judged.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let short = HeaderError::Short { size: bytes.len() };
        let header = bytes.first_chunk::<HEADER_SIZE>().ok_or(short)?;
        let magic = header[MAGIC_POSITION] as i8;
        if magic != MAGIC {
            return Err(HeaderError::Magic(magic));
        }
        let batch_length = i32::from_be_bytes(at(header, 8));
        if batch_length < (HEADER_SIZE - LOG_OVERHEAD) as i32 {
            return Err(HeaderError::Length(batch_length));
        }
        Ok(Self {
            base_offset: Offset(i64::from_be_bytes(at(header, 0))),
            batch_length,
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(at(header, 12))),
            crc: u32::from_be_bytes(at(header, 17)),
            attributes: Attributes(i16::from_be_bytes(at(header, 21))),
            last_offset_delta: i32::from_be_bytes(at(header, 23)),
            base_timestamp: TimestampMs(i64::from_be_bytes(at(header, 27))),
            max_timestamp: TimestampMs(i64::from_be_bytes(at(header, 35))),
            producer_id: i64::from_be_bytes(at(header, 43)),
            producer_epoch: i16::from_be_bytes(at(header, 51)),
            base_sequence: i32::from_be_bytes(at(header, 53)),
            records_count: i32::from_be_bytes(at(header, 57)),
        })
    }

    /// Writes the header.
    #[inline]
    pub fn write(&self, bytes: &mut [u8; HEADER_SIZE]) {
        bytes[0..8].copy_from_slice(&self.base_offset.0.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.partition_leader_epoch.0.to_be_bytes());
        bytes[16] = MAGIC as u8;
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.0.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.0.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.0.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.records_count.to_be_bytes());
    }

    /// Returns the size of the whole batch, header and records.
    #[inline]
    pub fn size_in_bytes(&self) -> usize {
        LOG_OVERHEAD + self.batch_length as usize
    }

    /// Returns the offset of the last record; the largest there is where a damaged header is above it.
    #[inline]
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// Returns the offset after the last record.
    #[inline]
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }
}

/// Takes `N` bytes from a fixed place.
#[inline]
fn at<const N: usize>(header: &[u8; HEADER_SIZE], position: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&header[position..position + N]);
    bytes
}

/// A whole batch: `bytes` are its header and its records, and nothing after them.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// The header of `bytes`.
    pub header: BatchHeader,
    /// The batch, big-endian, `header.size_in_bytes()` long.
    pub bytes: &'a [u8],
}

impl Batch<'_> {
    /// Returns whether the bytes are the ones that were written.
    pub fn check_crc(&self) -> bool {
        crc(self.bytes) == self.header.crc
    }
}

/// Computes the checksum of the batch that `bytes` hold. Shorter bytes than a header have none: 0.
pub fn crc(bytes: &[u8]) -> u32 {
    let covered = bytes.get(CRC_FROM..).unwrap_or_default();
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, covered) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> BatchHeader {
        BatchHeader {
            base_offset: Offset(7),
            batch_length: 49,
            partition_leader_epoch: LeaderEpoch(3),
            crc: 0xdead_beef,
            attributes: Attributes(0b11_1100),
            last_offset_delta: 4,
            base_timestamp: TimestampMs(1),
            max_timestamp: TimestampMs(2),
            producer_id: 9,
            producer_epoch: 10,
            base_sequence: 11,
            records_count: 5,
        }
    }

    /// What is written is read, and says where it ends.
    #[test]
    fn a_header_round_trips() {
        let mut bytes = [0; HEADER_SIZE];
        header().write(&mut bytes);
        let read = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(read, header());
        assert_eq!((read.size_in_bytes(), read.next_offset()), (HEADER_SIZE, Offset(12)));
        assert_eq!(read.attributes.compression(), Ok(Compression::Zstd));
        assert!(read.attributes.is_control() && read.attributes.is_transactional());
    }

    /// Offsets at either end of what there is do not overflow.
    #[test]
    fn offsets_end_at_the_largest() {
        for delta in [i32::MIN, 0, 3, i32::MAX] {
            for base in [i64::MIN, i64::MAX - 3, i64::MAX] {
                let base_offset = Offset(base);
                let header = BatchHeader { base_offset, last_offset_delta: delta, ..header() };
                assert!(header.last_offset() <= header.next_offset());
            }
        }
        let base_offset = Offset(i64::MAX - 4);
        let header = BatchHeader { base_offset, last_offset_delta: 9, ..header() };
        assert_eq!(header.last_offset(), Offset(i64::MAX));
    }

    /// Bytes that cannot be a header are refused for the reason that is theirs.
    #[test]
    fn what_is_no_header_is_refused() {
        let mut bytes = [0; HEADER_SIZE];
        header().write(&mut bytes);
        assert_eq!(BatchHeader::parse(&bytes[..60]), Err(HeaderError::Short { size: 60 }));
        bytes[16] = 1;
        assert_eq!(BatchHeader::parse(&bytes), Err(HeaderError::Magic(1)));
        BatchHeader { batch_length: 48, ..header() }.write(&mut bytes);
        assert_eq!(BatchHeader::parse(&bytes), Err(HeaderError::Length(48)));
    }
}
