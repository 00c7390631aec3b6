//! snappy: written in Xerial's framing, as Java clients do; read with the framing or without it.
//!
//! The framing is a magic, two versions, and then blocks, each a big-endian size and a raw block.

use std::io;

/// What a framed stream begins with.
const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];

/// The magic, then the version that wrote it and the oldest that reads it.
const PREAMBLE: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];

/// Plain bytes of a block: Xerial's default.
const BLOCK_SIZE: usize = 32 * 1024;

/// The most that one byte can become: a copy is 3 bytes and gives 64.
const RATIO_MAX: usize = 22;

pub(super) fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = PREAMBLE.to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for block in plain.chunks(BLOCK_SIZE) {
        let compressed = encoder.compress_vec(block)?;
        bytes.extend_from_slice(&(compressed.len() as u32).to_be_bytes());
        bytes.extend_from_slice(&compressed);
    }
    Ok(bytes)
}

/// Returns `None` when more than `limit` bytes would come out.
pub(super) fn decompress(bytes: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut plain = Vec::new();
    if !bytes.starts_with(&MAGIC) {
        return Ok(block(bytes, limit, &mut plain)?.then_some(plain));
    }
    let mut rest = bytes.get(PREAMBLE.len()..).ok_or(io::ErrorKind::UnexpectedEof)?;
    while let Some((size, after)) = rest.split_first_chunk::<4>() {
        let size = u32::from_be_bytes(*size) as usize;
        let (compressed, after) =
            after.split_at_checked(size).ok_or(io::ErrorKind::UnexpectedEof)?;
        if !block(compressed, limit, &mut plain)? {
            return Ok(None);
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(plain))
}

/// Appends one raw block; `false` when `limit` does not hold it.
fn block(compressed: &[u8], limit: usize, plain: &mut Vec<u8>) -> io::Result<bool> {
    let size = snap::raw::decompress_len(compressed)?;
    if size > compressed.len().saturating_mul(RATIO_MAX) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let start = plain.len();
    if size > limit - start {
        return Ok(false);
    }
    plain.resize(start + size, 0);
    let written = snap::raw::Decoder::new().decompress(compressed, &mut plain[start..])?;
    plain.truncate(start + written);
    Ok(true)
}
