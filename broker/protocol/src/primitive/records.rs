//! The records field of Produce and Fetch: bytes at hand, or bytes that stay in a file.
//!
//! What the bytes mean is the business of the record modules.

use std::borrow::Cow;

use super::{DecodeError, EncodeError, Form, Nullable, Reader, Wire, Writer};

/// Concatenated record batches of any magic, possibly cut short at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records<'a> {
    /// The bytes themselves. What was decoded is always of this kind and borrows from the frame.
    Bytes(Cow<'a, [u8]>),
    /// As many bytes as this, which the sender takes from a file: the writer leaves a gap.
    Deferred(u32),
}

impl Records<'_> {
    /// Bytes on the wire, without the length field.
    pub fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Deferred(size) => *size as usize,
        }
    }

    /// The bytes at hand; none for deferred ones.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Deferred(_) => &[],
        }
    }
}

impl Default for Records<'_> {
    fn default() -> Self {
        Self::Bytes(Cow::Borrowed(&[]))
    }
}

impl<'a> Wire<'a> for Records<'a> {
    fn read(reader: &mut Reader<'a>, form: Form) -> Result<Self, DecodeError> {
        Wire::read(reader, form).map(Self::Bytes)
    }

    fn write(&self, writer: &mut Writer, form: Form) -> Result<(), EncodeError> {
        match self {
            Self::Bytes(bytes) => bytes.write(writer, form),
            Self::Deferred(size) => {
                writer.long_length(Some(*size as usize), form.flexible)?;
                writer.gap(*size);
                Ok(())
            }
        }
    }
}

impl<'a> Nullable<'a> for Records<'a> {
    fn read_nullable(reader: &mut Reader<'a>, form: Form) -> Result<Option<Self>, DecodeError> {
        Ok(Nullable::read_nullable(reader, form)?.map(Self::Bytes))
    }

    fn write_null(writer: &mut Writer, form: Form) -> Result<(), EncodeError> {
        writer.long_length(None, form.flexible)
    }
}
