//! Writes primitives to one buffer, with gaps for bytes that stay in files.
//!
//! Positions count bytes of the buffer, gaps not included; sizes on the wire include them.

use bytes::{BufMut, BytesMut};

use crate::uuid::Uuid;

/// Why a message cannot be written in a version. The buffer holds a part of it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A null where the version does not allow one.
    #[error("null before byte {position} is not allowed in this version")]
    Null {
        /// Where the field would start.
        position: usize,
    },
    /// A string, array or frame longer than its length field can say.
    #[error("{size} bytes or items before byte {position} are too many for the length field")]
    TooLong {
        /// Where the field would start.
        position: usize,
        /// Bytes or items to be written.
        size: usize,
    },
    /// A version that is not served.
    #[error("{api} has no version {version} here")]
    UnsupportedVersion {
        /// The API's name.
        api: &'static str,
        /// The version asked for.
        version: i16,
    },
}

/// Bytes of a frame that are not in the buffer: the sender fetches them from where they lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The byte of the buffer before which the missing bytes go.
    pub position: usize,
    /// How many bytes are missing.
    pub size: u32,
}

/// Appends to a buffer. Gaps come in ascending position, in the order of the fields.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: BytesMut,
    gaps: Vec<Gap>,
}

impl Writer {
    /// Starts with an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends to `buffer`; gap positions count its bytes too.
    pub fn with_buffer(buffer: BytesMut) -> Self {
        Self { buffer, gaps: Vec::new() }
    }

    /// The bytes written so far, without gaps.
    pub fn as_slice(&self) -> &[u8] {
        &self.buffer
    }

    /// The gaps left so far.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Gives up the buffer and the gaps.
    pub fn into_parts(self) -> (BytesMut, Vec<Gap>) {
        (self.buffer, self.gaps)
    }

    /// Bytes in the buffer.
    pub fn position(&self) -> usize {
        self.buffer.len()
    }

    /// Writes one frame: its 4-byte length, then what `body` writes. The length includes gaps.
    pub fn frame<E: From<EncodeError>>(
        &mut self,
        body: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let (start, gaps_before) = (self.buffer.len(), self.gaps.len());
        self.i32(0);
        body(self)?;
        let in_gaps: usize = self.gaps[gaps_before..].iter().map(|gap| gap.size as usize).sum();
        let size = self.buffer.len() - start - 4 + in_gaps;
        let length =
            i32::try_from(size).map_err(|_| EncodeError::TooLong { position: start, size })?;
        self.buffer[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Leaves out `size` bytes here; the sender splices them in.
    pub fn gap(&mut self, size: u32) {
        if size > 0 {
            self.gaps.push(Gap { position: self.buffer.len(), size });
        }
    }

    /// Writes one byte.
    #[inline]
    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// Writes 2 bytes.
    #[inline]
    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// Writes 4 bytes.
    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// Writes 8 bytes.
    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// Writes 2 bytes.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// Writes 4 bytes.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.buffer.put_u32(value);
    }

    /// Writes 8 bytes.
    #[inline]
    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// Writes 0 or 1.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.i8(i8::from(value));
    }

    /// Writes 16 bytes.
    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.bytes(value.as_bytes());
    }

    /// Writes bytes as they are, without a length.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// Writes an unsigned varint of up to 5 bytes.
    #[inline]
    pub fn unsigned_varint(&mut self, value: u32) {
        self.base128(u64::from(value));
    }

    /// Writes a zigzag varint of up to 5 bytes.
    #[inline]
    pub fn varint(&mut self, value: i32) {
        self.unsigned_varint((value << 1 ^ value >> 31) as u32);
    }

    /// Writes a zigzag varint of up to 10 bytes.
    #[inline]
    pub fn varlong(&mut self, value: i64) {
        self.base128((value << 1 ^ value >> 63) as u64);
    }

    /// Writes the length of a string, `None` for null: a varint if `compact`, else 16 bits.
    pub fn string_length(
        &mut self,
        length: Option<usize>,
        compact: bool,
    ) -> Result<(), EncodeError> {
        if compact {
            return self.compact_length(length);
        }
        let short = length.map_or(Ok(-1), i16::try_from);
        self.i16(short.map_err(|_| self.too_long(length))?);
        Ok(())
    }

    /// Writes the length of bytes or the count of an array: a varint if `compact`, else 32 bits.
    pub fn long_length(&mut self, length: Option<usize>, compact: bool) -> Result<(), EncodeError> {
        if compact {
            return self.compact_length(length);
        }
        let long = length.map_or(Ok(-1), i32::try_from);
        self.i32(long.map_err(|_| self.too_long(length))?);
        Ok(())
    }

    /// Writes one tagged field: tag, size, and what `field` writes, which must leave no gap.
    pub fn tagged_field(
        &mut self,
        tag: u32,
        field: impl FnOnce(&mut Self) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let mut section = Self::new();
        field(&mut section)?;
        let size = section.buffer.len();
        let length = u32::try_from(size).map_err(|_| self.too_long(Some(size)))?;
        self.unsigned_varint(tag);
        self.unsigned_varint(length);
        self.bytes(&section.buffer);
        Ok(())
    }

    fn compact_length(&mut self, length: Option<usize>) -> Result<(), EncodeError> {
        let encoded = match length {
            None => 0,
            Some(length) => {
                let length = i32::try_from(length).map_err(|_| self.too_long(Some(length)))?;
                length as u32 + 1
            }
        };
        self.unsigned_varint(encoded);
        Ok(())
    }

    #[inline]
    fn base128(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    fn too_long(&self, size: Option<usize>) -> EncodeError {
        EncodeError::TooLong { position: self.buffer.len(), size: size.unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitive::Reader;

    fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new();
        write(&mut writer);
        writer.into_parts().0.to_vec()
    }

    #[test]
    fn varints_take_as_few_bytes_as_they_can_and_read_back() {
        let sizes = [(0, 1), (-1, 1), (63, 1), (64, 2), (-65, 2), (i64::MAX, 10), (i64::MIN, 10)];
        for (value, size) in sizes {
            let bytes = written(|writer| writer.varlong(value));
            assert_eq!(bytes.len(), size, "{value}");
            assert_eq!(Reader::new(&bytes).varlong(), Ok(value));
        }
        for value in [0, 1, -1, 300, i32::MAX, i32::MIN] {
            let bytes = written(|writer| writer.varint(value));
            assert_eq!(Reader::new(&bytes).varint(), Ok(value));
        }
        for value in [0, 127, 128, u32::MAX] {
            let bytes = written(|writer| writer.unsigned_varint(value));
            assert_eq!(Reader::new(&bytes).unsigned_varint(), Ok(value));
        }
    }

    #[test]
    fn a_length_that_its_field_cannot_say_is_refused() {
        let mut writer = Writer::new();
        let too_long = |size| Err(EncodeError::TooLong { position: 0, size });
        assert_eq!(writer.string_length(Some(0x8000), false), too_long(0x8000));
        assert_eq!(writer.string_length(Some(1 << 31), true), too_long(1 << 31));
        assert_eq!(writer.long_length(Some(1 << 31), false), too_long(1 << 31));
        assert_eq!(writer.string_length(Some(0x7fff), false), Ok(()));
        assert_eq!(writer.string_length(None, true), Ok(()));
        assert_eq!(writer.long_length(None, false), Ok(()));
        assert_eq!(writer.as_slice(), [0x7f, 0xff, 0, 0xff, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn the_length_of_a_frame_counts_its_gaps_but_no_earlier_ones() {
        let mut writer = Writer::new();
        for size in [10, 20] {
            let frame = writer.frame(|writer| {
                writer.i16(1);
                writer.gap(size);
                writer.gap(0);
                writer.i8(2);
                Ok::<_, EncodeError>(())
            });
            assert_eq!(frame, Ok(()));
        }
        assert_eq!(writer.as_slice(), [0, 0, 0, 13, 0, 1, 2, 0, 0, 0, 23, 0, 1, 2]);
        assert_eq!(writer.gaps(), [Gap { position: 6, size: 10 }, Gap { position: 13, size: 20 }]);
    }
}
