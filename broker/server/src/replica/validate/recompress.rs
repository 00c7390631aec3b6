//! The same records under another codec, where the topic forces one.

use std::borrow::Cow;

use broker_protocol::record::batch::crc;
use broker_protocol::record::batch::{BatchHeader, HEADER_SIZE};
use broker_protocol::record::compression::{
    Compression, DECOMPRESSED_SIZE_MAX, compress_at, decompress,
};
use broker_storage::log::AppendBatch;

use super::InvalidRecords;

/// Rewrites a batch with `target` for its codec, at `level`. Records and offsets stay; length, attributes and
/// checksum change.
pub(super) fn recompress(
    header: &BatchHeader,
    bytes: &[u8],
    codec: Compression,
    target: Compression,
    level: Option<i32>,
) -> Result<AppendBatch<'static>, InvalidRecords> {
    let payload = &bytes[HEADER_SIZE..];
    let plain = if codec == Compression::None {
        Cow::Borrowed(payload)
    } else {
        let plain = decompress(codec, payload, DECOMPRESSED_SIZE_MAX);
        Cow::Owned(plain.map_err(|_| InvalidRecords::Undecodable)?)
    };
    let mut bytes = vec![0; HEADER_SIZE];
    if target == Compression::None {
        bytes.extend_from_slice(&plain);
    } else {
        let compressed =
            compress_at(target, level, &plain).map_err(|_| InvalidRecords::Undecodable)?;
        bytes.extend_from_slice(&compressed);
    }
    let header = BatchHeader {
        batch_length: (bytes.len() - 12) as i32,
        attributes: header.attributes.with_compression(target),
        ..*header
    };
    let header = seal(header, &mut bytes);
    Ok(AppendBatch { header, bytes: Cow::Owned(bytes) })
}

/// Writes `header` into a batch, with the checksum of what it then holds.
fn seal(mut header: BatchHeader, bytes: &mut [u8]) -> BatchHeader {
    let mut head = [0; HEADER_SIZE];
    header.write(&mut head);
    bytes[..HEADER_SIZE].copy_from_slice(&head);
    header.crc = crc(bytes);
    header.write(&mut head);
    bytes[..HEADER_SIZE].copy_from_slice(&head);
    header
}
