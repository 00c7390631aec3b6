//! What lies one after the other in a partition's bytes: batches, and messages of old formats.

use super::batch::{Batch, BatchHeader, HeaderError, LOG_OVERHEAD, MAGIC_POSITION};
use super::legacy::LegacyMessage;

/// One batch or message.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    /// Magic 2.
    Batch(Batch<'a>),
    /// Magic 0 or 1; several records if it is compressed.
    Legacy(LegacyMessage<'a>),
}

/// Why bytes do not go on with a whole entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes end within it.
    #[error("{size} bytes are less than the entry that begins there")]
    Short {
        /// The bytes that are left.
        size: usize,
    },
    /// The header is not one of a batch.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A message's sizes do not fit each other.
    #[error("sizes within a message of magic {0} do not fit")]
    Message(i8),
}

/// Iterates over the entries that `bytes` hold; ends after the first error.
pub fn entries(bytes: &[u8]) -> Entries<'_> {
    Entries { rest: bytes }
}

/// Iterates over batches and messages.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// Returns the bytes after the last entry.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn read(&self) -> Result<Entry<'a>, EntryError> {
        let short = EntryError::Short { size: self.rest.len() };
        let magic = *self.rest.get(MAGIC_POSITION).ok_or(short)? as i8;
        let length = self.rest[8..].first_chunk::<4>().ok_or(short)?;
        let length = i32::from_be_bytes(*length);
        let size = usize::try_from(length).map_err(|_| HeaderError::Length(length))? + LOG_OVERHEAD;
        match magic {
            0 | 1 => {
                let bytes = self.rest.get(..size).ok_or(short)?;
                let message = LegacyMessage::parse(bytes).ok_or(EntryError::Message(magic))?;
                Ok(Entry::Legacy(message))
            }
            _ => {
                let header = BatchHeader::parse(self.rest)?;
                Ok(Entry::Batch(Batch { header, bytes: self.rest.get(..size).ok_or(short)? }))
            }
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.read();
        self.rest = match &entry {
            Ok(Entry::Batch(batch)) => &self.rest[batch.bytes.len()..],
            Ok(Entry::Legacy(message)) => &self.rest[message.bytes.len()..],
            Err(_) => &[],
        };
        Some(entry)
    }
}
