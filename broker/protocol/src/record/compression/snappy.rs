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
    let mut size: usize = 0;
    for block in blocks(bytes) {
        size = size.saturating_add(size_of(block?)?);
    }
    if size > limit {
        return Ok(None);
    }
    let mut plain = vec![0; size];
    let mut written = 0;
    let mut decoder = snap::raw::Decoder::new();
    for block in blocks(bytes) {
        written += decoder.decompress(block?, &mut plain[written..])?;
    }
    plain.truncate(written);
    Ok(Some(plain))
}

/// Returns the size that a raw block declares, if it can be true.
fn size_of(block: &[u8]) -> io::Result<usize> {
    let size = snap::raw::decompress_len(block)?;
    if size > block.len().saturating_mul(RATIO_MAX) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(size)
}

/// Iterates over the raw blocks of a framed stream, or of several in a row; of bytes without the framing,
/// over the one block that they are.
fn blocks(bytes: &[u8]) -> impl Iterator<Item = io::Result<&[u8]>> {
    let mut rest = bytes;
    let is_framed = bytes.starts_with(&MAGIC);
    std::iter::from_fn(move || {
        if !is_framed {
            let block = std::mem::take(&mut rest);
            return (!block.is_empty()).then_some(Ok(block));
        }
        while rest.starts_with(&MAGIC) {
            rest = rest.get(PREAMBLE.len()..).unwrap_or_default();
        }
        if rest.is_empty() {
            return None;
        }
        let block = rest
            .split_first_chunk::<4>()
            .and_then(|(size, after)| after.split_at_checked(u32::from_be_bytes(*size) as usize));
        let Some((block, after)) = block else {
            rest = &[];
            return Some(Err(io::ErrorKind::UnexpectedEof.into()));
        };
        rest = after;
        Some(Ok(block))
    })
}
