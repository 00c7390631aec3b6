//! Kafka's primitive types on the wire: big-endian integers, varints, strings, bytes, arrays, tags.
//!
//! Nothing here knows a message. A [`Reader`] borrows from the frame it reads and never allocates
//! more than its budget; a [`Writer`] appends to one buffer and remembers where the bytes of files
//! belong. [`Wire`] is the one trait through which the message tables read and write a field.
//!
//! Source: Kafka 3.9 protocol guide; KIP-482 for compact types and tagged fields.

mod owned;
mod reader;
mod records;
#[cfg(feature = "sample")]
mod sample;
mod wire;
mod writer;

pub use owned::IntoOwned;
pub use reader::{DecodeError, Reader, UNKNOWN_TAGGED_FIELDS_MAX, UnknownTaggedField};
pub use records::Records;
#[cfg(feature = "sample")]
pub use sample::Sample;
pub use wire::{Form, Nullable, Wire};
pub use writer::{EncodeError, Gap, Writer};
