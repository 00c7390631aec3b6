//! Reads primitives from one frame, and refuses what would cost more memory than was sent.
//!
//! Positions and sizes are bytes from the start of the frame. A reader that returned an error is
//! spent: nothing after the error can be trusted.

use std::str::Utf8Error;

use crate::uuid::Uuid;

/// Bytes of memory that decoding may take for each byte received.
///
/// The densest honest requests, such as Metadata for topics with names of ten characters, need 3.5.
const BUDGET_PER_BYTE: usize = 4;

/// Bytes of memory that decoding may take for each byte of an answer that was asked for.
///
/// An empty partition in a Fetch answer of version 0 takes 7.1, one in `LeaderAndIsr`'s 4.6.
const ANSWER_BUDGET_PER_BYTE: usize = 8;

/// Bytes of memory that decoding any frame may take.
///
/// It lets a small request name a few thousand topics with very short names.
const BUDGET_BASE: usize = 64 * 1024;

/// Why bytes are not the message they claim to be. The connection they came from is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside a field.
    #[error("{needed} bytes are wanted at byte {position} and only {remaining} are left")]
    Truncated {
        /// Where the field starts.
        position: usize,
        /// What the field says it takes.
        needed: usize,
        /// What the frame still holds.
        remaining: usize,
    },
    /// A varint does not end, or does not fit its type.
    #[error("varint at byte {position} is too long")]
    Varint {
        /// Where the varint starts.
        position: usize,
    },
    /// A length below -1, or beyond what any length may be.
    #[error("length {length} at byte {position} is illegal")]
    Length {
        /// Where the length stands.
        position: usize,
        /// What it says.
        length: i64,
    },
    /// A null where the version does not allow one.
    #[error("null before byte {position} is not allowed in this version")]
    Null {
        /// Where the field ends.
        position: usize,
    },
    /// A string that is not UTF-8.
    #[error("string before byte {position} is not UTF-8")]
    Utf8 {
        /// Where the string ends.
        position: usize,
        /// What is wrong with it.
        source: Utf8Error,
    },
    /// A tag that repeats or comes after a larger one.
    #[error("tag {tag} does not come after tag {previous}")]
    TagOrder {
        /// The offending tag.
        tag: u32,
        /// The one before it.
        previous: u32,
    },
    /// A known tagged field that is shorter than its section.
    #[error("tagged field {tag} leaves {left} bytes of its section unread")]
    TagSize {
        /// The offending tag.
        tag: u32,
        /// Bytes of the section that the field did not take.
        left: usize,
    },
    /// Counts in the frame that would take more memory than its size justifies.
    #[error("decoding needs {needed} bytes of memory, {left} of the frame's budget are left")]
    Budget {
        /// What one array needs.
        needed: usize,
        /// What may still be taken.
        left: usize,
    },
    /// An API key that is not served.
    #[error("API key {0} is not known")]
    UnknownApiKey(i16),
    /// A version that is not served.
    #[error("{api} has no version {version} here")]
    UnsupportedVersion {
        /// The API's name.
        api: &'static str,
        /// The version asked for.
        version: i16,
    },
}

/// The most unknown tagged fields that are kept of one frame, as far as its budget of memory goes.
pub const UNKNOWN_TAGGED_FIELDS_MAX: usize = 64;

/// A tagged field that no schema here knows: of a newer peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownTaggedField<'a> {
    /// Where its value stands in the frame.
    pub position: usize,
    /// Its number, within the struct that it extends.
    pub tag: u32,
    /// Its value, as it arrived.
    pub value: &'a [u8],
}

/// A position in one frame, and the memory that decoding the rest may take.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    budget: usize,
    unknown_tagged_fields: Vec<UnknownTaggedField<'a>>,
}

macro_rules! integers {
    ($($name:ident)*) => {$(
        #[doc = concat!("Reads a big-endian `", stringify!($name), "`.")]
        #[inline]
        pub fn $name(&mut self) -> Result<$name, DecodeError> {
            self.array().map($name::from_be_bytes)
        }
    )*};
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of a frame (without its length prefix).
    pub fn new(bytes: &'a [u8]) -> Self {
        let budget = bytes.len().saturating_mul(BUDGET_PER_BYTE).saturating_add(BUDGET_BASE);
        Self::with_budget(bytes, budget)
    }

    /// Starts at the first byte of an answer to a request of our own, whose size we had a say in.
    pub fn answer(bytes: &'a [u8]) -> Self {
        let budget = bytes.len().saturating_mul(ANSWER_BUDGET_PER_BYTE);
        Self::with_budget(bytes, budget.saturating_add(BUDGET_BASE))
    }

    /// Starts at the first byte of a frame, with `budget` bytes of memory for all arrays together.
    pub fn with_budget(bytes: &'a [u8], budget: usize) -> Self {
        Self { bytes, position: 0, budget, unknown_tagged_fields: Vec::new() }
    }

    integers! { i8 i16 i32 i64 u16 u32 f64 }

    /// Bytes not read yet.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Bytes read so far.
    #[inline]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Returns the unknown tagged fields that were met so far, the first [`UNKNOWN_TAGGED_FIELDS_MAX`].
    ///
    /// They are kept here and not in the messages, whose every element would pay for them.
    pub fn unknown_tagged_fields(&self) -> &[UnknownTaggedField<'a>] {
        &self.unknown_tagged_fields
    }

    /// Reads the next `size` bytes as they are.
    #[inline]
    pub fn take(&mut self, size: usize) -> Result<&'a [u8], DecodeError> {
        if size > self.remaining() {
            return Err(self.truncated(size));
        }
        let taken = &self.bytes[self.position..self.position + size];
        self.position += size;
        Ok(taken)
    }

    /// Reads one byte; any but 0 is true, as Kafka has it.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// Reads 16 bytes.
    #[inline]
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.array().map(Uuid::from_bytes)
    }

    /// Reads an unsigned varint of up to 5 bytes.
    #[inline]
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let position = self.position;
        let value = self.base128(5)?;
        u32::try_from(value).map_err(|_| DecodeError::Varint { position })
    }

    /// Reads a zigzag varint of up to 5 bytes.
    #[inline]
    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let value = self.unsigned_varint()?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    /// Reads a zigzag varint of up to 10 bytes.
    #[inline]
    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let value = self.base128(10)?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Reads the length of a string, `None` for null: a varint if `compact`, else 16 bits.
    #[inline]
    pub fn string_length(&mut self, compact: bool) -> Result<Option<usize>, DecodeError> {
        if compact {
            return self.compact_length();
        }
        let position = self.position;
        let length = self.i16()?;
        self.length(position, i64::from(length))
    }

    /// Reads the length of bytes or the count of an array: a varint if `compact`, else 32 bits.
    #[inline]
    pub fn long_length(&mut self, compact: bool) -> Result<Option<usize>, DecodeError> {
        if compact {
            return self.compact_length();
        }
        let position = self.position;
        let length = self.i32()?;
        self.length(position, i64::from(length))
    }

    /// Reads `size` bytes that must be UTF-8.
    pub fn str(&mut self, size: usize) -> Result<&'a str, DecodeError> {
        let bytes = self.take(size)?;
        std::str::from_utf8(bytes)
            .map_err(|source| DecodeError::Utf8 { position: self.position, source })
    }

    /// Makes room for `count` elements, after checking that the frame can hold and justify them.
    pub fn vec<T>(&mut self, count: usize) -> Result<Vec<T>, DecodeError> {
        // No element of any message takes less than a byte.
        if count > self.remaining() {
            return Err(self.truncated(count));
        }
        let needed = count.saturating_mul(size_of::<T>());
        let left = self.budget;
        self.budget = left.checked_sub(needed).ok_or(DecodeError::Budget { needed, left })?;
        Ok(Vec::with_capacity(count))
    }

    /// Reads a section of tagged fields, handing each to `field`, which says if it knew the tag.
    ///
    /// `field` sees only the bytes of its own section. Unknown fields are kept apart, see
    /// [`Reader::unknown_tagged_fields`].
    pub fn tagged_fields(
        &mut self,
        mut field: impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.unsigned_varint()?;
        let mut previous = None;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            if let Some(previous) = previous.filter(|previous| *previous >= tag) {
                return Err(DecodeError::TagOrder { tag, previous });
            }
            previous = Some(tag);
            let size = self.unsigned_varint()? as usize;
            if size > self.remaining() {
                return Err(self.truncated(size));
            }
            let whole = self.bytes;
            let (position, end) = (self.position, self.position + size);
            self.bytes = &whole[..end];
            if !field(tag, self)? {
                let value = &whole[position..end];
                self.keep_unknown(UnknownTaggedField { position, tag, value });
            } else if self.position != end {
                return Err(DecodeError::TagSize { tag, left: end - self.position });
            }
            self.bytes = whole;
            self.position = end;
        }
        Ok(())
    }

    #[cold]
    fn keep_unknown(&mut self, field: UnknownTaggedField<'a>) {
        // A vector begins with room for four, and never has more than four times what it holds.
        let needed = 4 * size_of_val(&field);
        if self.unknown_tagged_fields.len() < UNKNOWN_TAGGED_FIELDS_MAX
            && let Some(left) = self.budget.checked_sub(needed)
        {
            self.budget = left;
            self.unknown_tagged_fields.push(field);
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.bytes[self.position..].first_chunk::<N>() {
            Some(chunk) => {
                self.position += N;
                Ok(*chunk)
            }
            None => Err(self.truncated(N)),
        }
    }

    #[inline]
    fn base128(&mut self, size_max: usize) -> Result<u64, DecodeError> {
        let position = self.position;
        let mut value = 0_u64;
        for index in 0..size_max {
            let byte = self.i8()? as u8;
            let bits = u64::from(byte & 0x7f);
            // Only the tenth byte can have bits that 64 do not hold.
            if index == 9 && bits > 1 {
                break;
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Varint { position })
    }

    #[inline]
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        let position = self.position;
        match self.unsigned_varint()? {
            0 => Ok(None),
            length => self.length(position, i64::from(length) - 1),
        }
    }

    #[inline]
    fn length(&self, position: usize, length: i64) -> Result<Option<usize>, DecodeError> {
        match length {
            -1 => Ok(None),
            0..=0x7fff_ffff => {
                let size = length as usize;
                if size > self.remaining() { Err(self.truncated(size)) } else { Ok(Some(size)) }
            }
            _ => Err(DecodeError::Length { position, length }),
        }
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        DecodeError::Truncated { position: self.position, needed, remaining: self.remaining() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DecodeError::{Budget, Length, TagOrder, TagSize, Truncated, Varint};

    /// Bytes, whether compact, and what they say.
    type LengthCase = (&'static [u8], bool, Result<Option<usize>, DecodeError>);

    fn truncated<T>(position: usize, needed: usize, remaining: usize) -> Result<T, DecodeError> {
        Err(Truncated { position, needed, remaining })
    }

    #[test]
    fn integers_are_big_endian_and_need_all_their_bytes() {
        let bytes = [0x80, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(Reader::new(&bytes).i8(), Ok(-128));
        assert_eq!(Reader::new(&bytes).i16(), Ok(-0x7fff));
        assert_eq!(Reader::new(&bytes).u16(), Ok(0x8001));
        assert_eq!(Reader::new(&bytes).u32(), Ok(0x8001_0203));
        assert_eq!(Reader::new(&bytes).i32(), Ok(i32::MIN + 0x1_0203));
        assert_eq!(Reader::new(&bytes).i64(), Ok(i64::MIN + 0x1_0203_0405_0607));
        assert_eq!(Reader::new(&bytes[..7]).i64(), truncated(0, 8, 7));
        assert_eq!(Reader::new(&bytes).uuid(), truncated(0, 16, 8));
        assert_eq!(Reader::new(&[]).bool(), truncated(0, 1, 0));
        assert_eq!(Reader::new(&[2]).bool(), Ok(true));
        assert_eq!(Reader::new(&bytes).take(9), truncated(0, 9, 8));
    }

    #[test]
    fn varints_end_in_time_and_fit_their_type() {
        let unsigned: [(&[u8], Result<u32, DecodeError>); 9] = [
            (&[0], Ok(0)),
            (&[0x7f], Ok(127)),
            (&[0x80, 0x01], Ok(128)),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], Ok(u32::MAX)),
            (&[0x80, 0x80, 0x80, 0x80, 0x00], Ok(0)),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f], Err(Varint { position: 0 })),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], Err(Varint { position: 0 })),
            (&[0x80], truncated(1, 1, 0)),
            (&[], truncated(0, 1, 0)),
        ];
        for (bytes, expected) in unsigned {
            assert_eq!(Reader::new(bytes).unsigned_varint(), expected, "{bytes:x?}");
        }

        let signed: [(&[u8], i32); 5] = [
            (&[0], 0),
            (&[1], -1),
            (&[2], 1),
            (&[0xfe, 0xff, 0xff, 0xff, 0x0f], i32::MAX),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], i32::MIN),
        ];
        for (bytes, expected) in signed {
            assert_eq!(Reader::new(bytes).varint(), Ok(expected), "{bytes:x?}");
        }

        let mut longest = [0xff; 10];
        longest[9] = 0x01;
        assert_eq!(Reader::new(&longest).varlong(), Ok(i64::MIN));
        longest[9] = 0x02;
        assert_eq!(Reader::new(&longest).varlong(), Err(Varint { position: 0 }));
        assert_eq!(Reader::new(&[0xff; 11]).varlong(), Err(Varint { position: 0 }));
    }

    #[test]
    fn lengths_are_null_or_within_the_frame() {
        let strings: [LengthCase; 7] = [
            (&[0xff, 0xff], false, Ok(None)),
            (&[0, 1, 9], false, Ok(Some(1))),
            (&[0, 2, 9], false, truncated(2, 2, 1)),
            (&[0x80, 0], false, Err(Length { position: 0, length: -0x8000 })),
            (&[0], true, Ok(None)),
            (&[1], true, Ok(Some(0))),
            (&[3, 9], true, truncated(1, 2, 1)),
        ];
        for (bytes, compact, expected) in strings {
            assert_eq!(Reader::new(bytes).string_length(compact), expected, "{bytes:x?}");
        }

        let longs: [LengthCase; 6] = [
            (&[0xff; 4], false, Ok(None)),
            (&[0, 0, 0, 1, 9], false, Ok(Some(1))),
            (&[0xff, 0xff, 0xff, 0xfe], false, Err(Length { position: 0, length: -2 })),
            (&[0x7f, 0xff, 0xff, 0xff], false, truncated(4, i32::MAX as usize, 0)),
            (&[0x80, 0x80, 0x80, 0x80, 0x08], true, truncated(5, i32::MAX as usize, 0)),
            (
                &[0xff, 0xff, 0xff, 0xff, 0x0f],
                true,
                Err(Length { position: 0, length: i64::from(u32::MAX) - 1 }),
            ),
        ];
        for (bytes, compact, expected) in longs {
            assert_eq!(Reader::new(bytes).long_length(compact), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn text_must_be_utf8() {
        assert_eq!(Reader::new("é".as_bytes()).str(2), Ok("é"));
        let error = Reader::new(&[0xc3]).str(1);
        assert!(matches!(error, Err(DecodeError::Utf8 { position: 1, .. })), "{error:?}");
    }

    #[test]
    fn arrays_are_charged_to_the_budget_before_they_exist() {
        let mut reader = Reader::with_budget(&[0; 100], 64);
        assert_eq!(reader.vec::<u64>(101), truncated(0, 101, 100));
        assert_eq!(reader.vec::<u64>(9), Err(Budget { needed: 72, left: 64 }));
        assert_eq!(reader.vec::<u64>(5).map(|vec| vec.capacity()), Ok(5));
        assert_eq!(reader.vec::<u64>(4), Err(Budget { needed: 32, left: 24 }));
        assert_eq!(reader.vec::<u64>(3).map(|vec| vec.capacity()), Ok(3));
    }

    #[test]
    fn tags_ascend_and_their_sections_are_exact() {
        let known = |tag, reader: &mut Reader<'_>| match tag {
            1 => reader.i16().map(|_| true),
            _ => Ok(false),
        };
        let cases: [(&[u8], Result<(), DecodeError>); 10] = [
            (&[0], Ok(())),
            (&[1, 1, 2, 0, 0], Ok(())),
            (&[2, 0, 1, 9, 1, 2, 0, 0], Ok(())),
            (&[1, 9, 0], Ok(())),
            (&[2, 3, 0, 3, 0], Err(TagOrder { tag: 3, previous: 3 })),
            (&[2, 3, 0, 2, 0], Err(TagOrder { tag: 2, previous: 3 })),
            (&[1, 1, 3, 0, 0, 0], Err(TagSize { tag: 1, left: 1 })),
            (&[1, 1, 1, 0, 0, 0], truncated(3, 2, 1)),
            (&[1, 9, 4, 0], truncated(3, 4, 1)),
            (&[0xff, 0xff, 0xff, 0x7f, 0, 0], truncated(6, 1, 0)),
        ];
        for (bytes, expected) in cases {
            let mut reader = Reader::new(bytes);
            assert_eq!(reader.tagged_fields(known), expected, "{bytes:x?}");
            if expected.is_ok() {
                assert_eq!(reader.remaining(), 0, "{bytes:x?}");
            }
        }
    }

    #[test]
    fn unknown_tags_are_kept_apart_wherever_they_stand_and_in_bounds() {
        let known = |tag, reader: &mut Reader<'_>| match tag {
            // A struct with a section of its own.
            1 => reader.tagged_fields(|_, _| Ok(false)).map(|()| true),
            _ => Ok(false),
        };
        let mut reader = Reader::new(&[3, 0, 1, 7, 1, 4, 1, 5, 1, 9, 6, 0]);
        assert_eq!(reader.tagged_fields(known), Ok(()));
        let kept = |position, tag, value| UnknownTaggedField { position, tag, value };
        let expected = [kept(3, 0, &[7][..]), kept(9, 5, &[9]), kept(12, 6, &[])];
        assert_eq!(reader.unknown_tagged_fields(), expected);

        let count = 2 * UNKNOWN_TAGGED_FIELDS_MAX as u8 - 1;
        let mut bytes = vec![count];
        bytes.extend((0..count).flat_map(|tag| [tag, 0]));
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.tagged_fields(|_, _| Ok(false)), Ok(()));
        assert_eq!(reader.unknown_tagged_fields().len(), UNKNOWN_TAGGED_FIELDS_MAX);
    }
}
