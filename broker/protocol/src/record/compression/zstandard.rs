//! Zstandard: decompressed into one buffer, so that no window is kept, however large a frame declares it.

use std::io;

use zstd::bulk::Decompressor;

/// What a frame begins with.
const MAGIC: u32 = 0xfd2f_b528;

/// What a frame to skip begins with, but for the last four bits.
const SKIPPABLE: u32 = 0x184d_2a50;

/// The most that a block holds.
const BLOCK_SIZE_MAX: usize = 128 * 1024;

/// How the library says that the output is full.
const FULL: &str = "Destination buffer is too small";

/// A level is -131072 to 22.
pub(super) fn compress(level: Option<i32>, plain: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(plain, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))
}

/// Returns `None` when more than `limit` bytes would come out.
pub(super) fn decompress(bytes: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let most = size_max(bytes).ok_or(io::ErrorKind::InvalidData)?;
    let mut plain = Vec::with_capacity(most.min(limit));
    match Decompressor::new()?.decompress_to_buffer(bytes, &mut plain) {
        Ok(_) => Ok(Some(plain)),
        Err(error) if most > limit && error.to_string() == FULL => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the most that all frames can become, by the blocks that are there; `None` if they do not
/// end where the bytes do.
fn size_max(mut rest: &[u8]) -> Option<usize> {
    let mut size: usize = 0;
    while !rest.is_empty() {
        let magic = u32::from_le_bytes(split_chunk(&mut rest)?);
        if magic & !0xf == SKIPPABLE {
            let skip = u32::from_le_bytes(split_chunk(&mut rest)?);
            rest = rest.get(skip as usize..)?;
        } else if magic == MAGIC {
            size = size.checked_add(frame_size_max(&mut rest)?)?;
        } else {
            return None;
        }
    }
    Some(size)
}

/// Reads a frame without its magic (RFC 8878, 3.1.1).
fn frame_size_max(rest: &mut &[u8]) -> Option<usize> {
    let descriptor = *rest.split_off_first()?;
    let is_single_segment = descriptor & 0x20 != 0;
    let content_size = match descriptor >> 6 {
        0 => usize::from(is_single_segment),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let dictionary_id = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let window = usize::from(!is_single_segment);
    *rest = rest.get(window + dictionary_id + content_size..)?;
    let mut size: usize = 0;
    loop {
        let [low, middle, high] = split_chunk(rest)?;
        let block = u32::from_le_bytes([low, middle, high, 0]);
        let block_size = (block >> 3) as usize;
        let (stored, becomes) = match block >> 1 & 3 {
            0 => (block_size, block_size),
            1 => (1, block_size),
            2 => (block_size, BLOCK_SIZE_MAX),
            _ => return None,
        };
        *rest = rest.get(stored..)?;
        size = size.checked_add(becomes.min(BLOCK_SIZE_MAX))?;
        if block & 1 != 0 {
            break;
        }
    }
    let checksum = if descriptor & 4 == 0 { 0 } else { 4 };
    *rest = rest.get(checksum..)?;
    Some(size)
}

fn split_chunk<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (chunk, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*chunk)
}
