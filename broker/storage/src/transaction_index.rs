//! The aborted transactions whose markers lie in one segment: the `.txnindex` file.
//!
//! An entry is 34 bytes, big-endian: version 0 (`i16`), producer id, first offset, last offset (that of
//! the marker) and the last stable offset at the time of the abort (`i64` each). Last offsets rise
//! strictly, asserted at append. The file is made when the first transaction aborts; most segments
//! have none, and an absent file means no entries.
//!
//! Readers of committed data are told of the aborted transactions in what they fetch, and drop those
//! records. Entries are rebuilt from the log when the segment is recovered.
//!
//! Concurrency: not shared; owned by a segment. Source: Kafka 3.9 `TransactionIndex`, `AbortedTxn`.

use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_protocol::quantity::Offset;

use crate::fs::{File, Fs, Open, read_file, remove_if_exists};
use crate::index_file::IndexError;

const ENTRY_SIZE: usize = 34;
const VERSION: i16 = 0;
/// Nearly two million aborted transactions in a segment; a damaged length cannot fill memory.
const SIZE_MAX: u64 = 64 * 1024 * 1024;

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTxn {
    /// The producer.
    pub producer_id: i64,
    /// The first offset of the transaction.
    pub first_offset: Offset,
    /// The offset of the abort marker.
    pub last_offset: Offset,
    /// The last stable offset once this transaction was over.
    pub last_stable_offset: Offset,
}

/// The aborted transactions of a range, from one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbortedTxns {
    /// Those that overlap the range, by rising last offset.
    pub transactions: Vec<AbortedTxn>,
    /// Whether no later segment can have more of them.
    pub is_complete: bool,
}

/// The transaction index of one segment.
#[derive(Debug)]
pub struct TransactionIndex {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    base_offset: Offset,
    /// Small: aborts are rare, and a fetch needs all of them.
    entries: Vec<AbortedTxn>,
}

impl TransactionIndex {
    /// Opens the index of the segment that starts at `base_offset`; an absent file is an empty index.
    ///
    /// # Errors
    /// Every error but `Io` means: rebuild from the log, starting with [`TransactionIndex::reset`] of
    /// [`TransactionIndex::empty`].
    pub fn open(fs: Arc<dyn Fs>, path: PathBuf, base_offset: Offset) -> Result<Self, IndexError> {
        let mut index = Self::empty(fs, path, base_offset);
        let bytes = match read_file(index.fs.as_ref(), &index.path, SIZE_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(index),
            Err(source) => return Err(index.io("read", source)),
        };
        let (entries, rest) = bytes.as_chunks::<ENTRY_SIZE>();
        if !rest.is_empty() {
            return Err(IndexError::TornEntry { path: index.path, size: bytes.len() as u64 });
        }
        for (number, entry) in entries.iter().enumerate() {
            let sound = decode(entry).filter(|txn| index.is_next(txn));
            let disorder = || IndexError::Disorder { path: index.path.clone(), entry: number };
            let txn = sound.ok_or_else(disorder)?;
            index.entries.push(txn);
        }
        Ok(index)
    }

    /// Makes an index without entries, whatever its file says.
    pub fn empty(fs: Arc<dyn Fs>, path: PathBuf, base_offset: Offset) -> Self {
        Self { fs, path, base_offset, entries: Vec::new() }
    }

    fn is_next(&self, txn: &AbortedTxn) -> bool {
        txn.first_offset <= txn.last_offset
            && txn.last_offset >= self.base_offset
            && self.entries.last().is_none_or(|last| last.last_offset < txn.last_offset)
    }

    fn io(&self, operation: &'static str, source: io::Error) -> IndexError {
        IndexError::Io { operation, path: self.path.clone(), source }
    }

    fn open_file(&self, how: Open) -> Result<Arc<dyn File>, IndexError> {
        self.fs.open(&self.path, how).map_err(|source| self.io("open", source))
    }

    /// Appends a transaction whose marker was appended to the segment.
    ///
    /// # Panics
    /// If its marker is not behind that of the last entry, or not in the segment.
    pub fn append(&mut self, txn: AbortedTxn) -> Result<(), IndexError> {
        assert!(self.is_next(&txn), "{txn:?} does not follow {:?}", self.entries.last());
        let file = self.open_file(Open::Create)?;
        let position = (self.entries.len() * ENTRY_SIZE) as u64;
        file.write_all_at(&mut [IoSlice::new(&encode(&txn))], position)
            .map_err(|source| self.io("append to", source))?;
        self.entries.push(txn);
        Ok(())
    }

    /// Returns the aborted transactions that overlap `start..end` (offsets).
    pub fn collect(&self, start: Offset, end: Offset) -> AbortedTxns {
        let mut transactions = Vec::new();
        for txn in &self.entries {
            if txn.last_offset >= start && txn.first_offset < end {
                transactions.push(*txn);
            }
            if txn.last_stable_offset >= end {
                return AbortedTxns { transactions, is_complete: true };
            }
        }
        AbortedTxns { transactions, is_complete: false }
    }

    /// Returns all entries.
    pub fn entries(&self) -> &[AbortedTxn] {
        &self.entries
    }

    /// Removes the transactions whose marker is at `offset` or above.
    pub fn truncate_to(&mut self, offset: Offset) -> Result<(), IndexError> {
        let kept = self.entries.partition_point(|txn| txn.last_offset < offset);
        if kept == self.entries.len() {
            return Ok(());
        }
        self.entries.truncate(kept);
        self.cut()
    }

    /// Removes every entry, from the file as well.
    pub fn reset(&mut self) -> Result<(), IndexError> {
        self.entries.clear();
        self.cut()
    }

    fn cut(&self) -> Result<(), IndexError> {
        match self.fs.open(&self.path, Open::Write) {
            Ok(file) => file
                .set_len((self.entries.len() * ENTRY_SIZE) as u64)
                .map_err(|source| self.io("cut", source)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(source) => Err(self.io("open", source)),
        }
    }

    /// Makes the entries durable. A failure is final.
    pub fn flush(&self) -> Result<(), IndexError> {
        if self.entries.is_empty() {
            return Ok(());
        }
        self.open_file(Open::Write)?.sync_data().map_err(|source| self.io("sync", source))
    }

    /// Renames the file, if it exists. Durable once the directory is synced.
    pub fn rename_to(&mut self, path: PathBuf) -> Result<(), IndexError> {
        match self.fs.rename(&self.path, &path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(self.io("rename", source)),
        }
        self.path = path;
        Ok(())
    }

    /// Follows the file into a directory that was renamed.
    pub fn set_path(&mut self, path: PathBuf) {
        self.path = path;
    }

    /// Returns the file's path, whether or not it exists.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file; returns whether it was there.
    pub fn delete(self) -> Result<bool, IndexError> {
        remove_if_exists(self.fs.as_ref(), &self.path).map_err(|source| self.io("delete", source))
    }
}

fn encode(txn: &AbortedTxn) -> [u8; ENTRY_SIZE] {
    let mut bytes = [0; ENTRY_SIZE];
    bytes[..2].copy_from_slice(&VERSION.to_be_bytes());
    let fields = [txn.producer_id, txn.first_offset.0, txn.last_offset.0, txn.last_stable_offset.0];
    for (slot, field) in bytes[2..].chunks_exact_mut(8).zip(fields) {
        slot.copy_from_slice(&field.to_be_bytes());
    }
    bytes
}

/// `None` for another version.
fn decode(bytes: &[u8; ENTRY_SIZE]) -> Option<AbortedTxn> {
    let (version, fields) = bytes.split_first_chunk()?;
    let (fields, _) = fields.as_chunks();
    let mut fields = fields.iter().map(|field| i64::from_be_bytes(*field));
    (i16::from_be_bytes(*version) == VERSION).then_some(AbortedTxn {
        producer_id: fields.next()?,
        first_offset: Offset(fields.next()?),
        last_offset: Offset(fields.next()?),
        last_stable_offset: Offset(fields.next()?),
    })
}

#[cfg(test)]
mod tests;
