//! Records: how they lie on the wire and on disk.
//!
//! `batch` reads a batch's header without touching its records; everything else is asked for only
//! where a topic's settings or an old client force it.

pub mod batch;
pub mod builder;
pub mod compression;
pub mod convert;
pub mod entries;
pub mod iteration;
pub mod legacy;
mod varint;
pub mod wrapper;
