//! The `.snapshot` file: what is kept of each producer, with a checksum over all.
//!
//! ```text
//! version 1: i16 | CRC-32C of the rest: u32 | count: i32 | count * 46 bytes:
//! producer id: i64 | epoch: i16 | last sequence: i32 | last offset: i64 | offset delta: i32
//! | timestamp: i64 | coordinator epoch: i32 | first offset of the open transaction, or -1: i64
//! ```
//!
//! Big-endian. Of the last five batches only the newest is kept, as in Kafka; the others are found in the
//! log when a retry asks for one of them (`log/recall.rs`), which Kafka does not do.

use std::io::{self, IoSlice};
use std::path::Path;

use broker_protocol::quantity::{Offset, TimestampMs};

use super::entry::{BatchMetadata, ProducerEntry};
use crate::format::TEMPORARY_SUFFIX;
use crate::fs::{Fs, Open, read_file, replace_file};

const VERSION: i16 = 1;
const CRC_START: usize = 2;
const COVERED_START: usize = 6;
const ENTRIES_START: usize = 10;
const ENTRY_SIZE: usize = 46;
/// Some 5.8 million producers: more than a broker can hold; a damaged length cannot fill memory.
const SIZE_MAX: u64 = 256 * 1024 * 1024;

/// Why a snapshot cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotDamage {
    /// The file is too short, or its size does not match its count.
    #[error("size does not match the count of entries")]
    Size,
    /// The version is not 1.
    #[error("unknown version {0}")]
    Version(i16),
    /// The checksum does not match.
    #[error("checksum does not match")]
    Crc,
}

/// Writes a snapshot so that a crash leaves all of it or nothing, or at worst one that fails its
/// checksum if not `durably`.
pub(super) fn write<'a>(
    fs: &dyn Fs,
    path: &Path,
    entries: impl ExactSizeIterator<Item = &'a ProducerEntry>,
    durably: bool,
) -> io::Result<()> {
    let bytes = encode(entries);
    if durably {
        return replace_file(fs, path, &bytes);
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY_SUFFIX);
    let temporary = Path::new(&temporary);
    let file = fs.open(temporary, Open::Truncate)?;
    file.write_all_at(&mut [IoSlice::new(&bytes)], 0)?;
    fs.rename(temporary, path)
}

/// Reads a snapshot. The outer error is the disk's, the inner one the file's.
pub(super) fn read(
    fs: &dyn Fs,
    path: &Path,
) -> io::Result<Result<Vec<ProducerEntry>, SnapshotDamage>> {
    match read_file(fs, path, SIZE_MAX) {
        Ok(bytes) => Ok(decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Ok(Err(SnapshotDamage::Size)),
        Err(error) => Err(error),
    }
}

fn encode<'a>(entries: impl ExactSizeIterator<Item = &'a ProducerEntry>) -> Vec<u8> {
    let count = entries.len();
    let mut sorted: Vec<&ProducerEntry> = entries.collect();
    // A fixed order makes equal states equal files.
    sorted.sort_unstable_by_key(|entry| entry.producer_id());
    let mut bytes = Vec::with_capacity(ENTRIES_START + count * ENTRY_SIZE);
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend([0; COVERED_START - CRC_START]);
    bytes.extend((count as i32).to_be_bytes());
    for entry in sorted {
        let last = entry.batches().last();
        bytes.extend(entry.producer_id().to_be_bytes());
        bytes.extend(entry.producer_epoch().to_be_bytes());
        bytes.extend(entry.last_sequence().to_be_bytes());
        bytes.extend(last.map_or(-1, |batch| batch.last_offset.0).to_be_bytes());
        bytes.extend(last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        bytes.extend(entry.last_timestamp().0.to_be_bytes());
        bytes.extend(entry.coordinator_epoch().to_be_bytes());
        bytes.extend(entry.current_txn_first_offset().map_or(-1, |first| first.0).to_be_bytes());
    }
    assert_eq!(bytes.len(), ENTRIES_START + count * ENTRY_SIZE, "entries have a fixed size");
    let crc = checksum(&bytes);
    bytes[CRC_START..COVERED_START].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Result<Vec<ProducerEntry>, SnapshotDamage> {
    let mut fields = Fields(bytes);
    let version = fields.take().map(i16::from_be_bytes).ok_or(SnapshotDamage::Size)?;
    if version != VERSION {
        return Err(SnapshotDamage::Version(version));
    }
    let crc = fields.take().map(u32::from_be_bytes).ok_or(SnapshotDamage::Size)?;
    if checksum(bytes) != crc {
        return Err(SnapshotDamage::Crc);
    }
    let count = fields.take().map(i32::from_be_bytes).ok_or(SnapshotDamage::Size)?;
    if usize::try_from(count).ok() != fields.0.len().checked_div(ENTRY_SIZE)
        || fields.0.len() % ENTRY_SIZE != 0
    {
        return Err(SnapshotDamage::Size);
    }
    (0..count).map(|_| decode_entry(&mut fields).ok_or(SnapshotDamage::Size)).collect()
}

fn decode_entry(fields: &mut Fields<'_>) -> Option<ProducerEntry> {
    let producer_id = i64::from_be_bytes(fields.take()?);
    let producer_epoch = i16::from_be_bytes(fields.take()?);
    let last_sequence = i32::from_be_bytes(fields.take()?);
    let last_offset = Offset(i64::from_be_bytes(fields.take()?));
    let offset_delta = i32::from_be_bytes(fields.take()?);
    let timestamp = TimestampMs(i64::from_be_bytes(fields.take()?));
    let coordinator_epoch = i32::from_be_bytes(fields.take()?);
    let first_offset = Offset(i64::from_be_bytes(fields.take()?));
    let batch = BatchMetadata { last_sequence, last_offset, offset_delta, timestamp };
    Some(ProducerEntry::restored(
        producer_id,
        producer_epoch,
        coordinator_epoch,
        timestamp,
        (first_offset.0 >= 0).then_some(first_offset),
        (last_offset.0 >= 0).then_some(batch),
    ))
}

fn checksum(bytes: &[u8]) -> u32 {
    let covered = bytes.get(COVERED_START..).unwrap_or_default();
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, covered) as u32
}

/// The bytes not read yet.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }
}
