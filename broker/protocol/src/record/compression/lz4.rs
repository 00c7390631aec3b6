//! LZ4 frames as Java's `Lz4BlockOutputStream` writes them, and the wrong checksum of magic 0.
//!
//! Kafka before 0.10 computed the checksum of the frame's descriptor from the frame's magic on;
//! the format says from after it. Messages of magic 0 keep the wrong one (KAFKA-3160, KIP-57).

use std::io::{self, Write};

use lz4_flex::block::{DecompressError, decompress_into_with_dict};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

/// What a frame begins with.
const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();

/// Where the descriptor begins: after the magic.
const DESCRIPTOR: usize = 4;

/// The bits of the descriptor's first byte: the format's version, ...
const VERSION_MASK: u8 = 0b1100_0000;

/// ... which is always this, ...
const VERSION: u8 = 0b0100_0000;

/// ... that blocks do not copy from those before, ...
const INDEPENDENT: u8 = 1 << 5;

/// ... that a checksum follows each block, ...
const BLOCK_CHECKSUM: u8 = 1 << 4;

/// ... that a size of 8 bytes follows, ...
const CONTENT_SIZE: u8 = 1 << 3;

/// ... that a dictionary is needed, or that the frame is of a later format.
const UNKNOWN: u8 = 0b11;

/// The bit of a block's size that says that it is not compressed.
const STORED: u32 = 1 << 31;

/// What follows the last block.
const END: [u8; 4] = [0; 4];

/// How far back a block may copy.
const WINDOW: usize = 64 * 1024;

/// The most that one byte can become: each further byte of a length counts 255.
const RATIO_MAX: usize = 255;

/// Java's reader knows independent blocks only, and writes them with 64 KiB and no checksum.
pub(super) fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}

/// Returns `None` when more than `limit` bytes would come out.
///
/// Checksums of blocks and content are not looked at: the batch's own covers the same bytes. What
/// follows the end mark is left out, as Java's reader does.
pub(super) fn decompress(bytes: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let blocks = Blocks::open(bytes).ok_or(io::ErrorKind::InvalidData)?;
    let mut most: usize = 0;
    for block in blocks.clone() {
        most = most.saturating_add(block.ok_or(io::ErrorKind::UnexpectedEof)?.size_max);
    }
    let independent = blocks.flags & INDEPENDENT != 0;
    let mut plain = Vec::with_capacity(most.min(limit));
    for block in blocks.flatten() {
        let start = plain.len();
        let room = block.size_max.min(limit - start);
        if block.is_stored {
            if room < block.bytes.len() {
                return Ok(None);
            }
            plain.extend_from_slice(block.bytes);
            continue;
        }
        plain.resize(start + room, 0);
        let (before, output) = plain.split_at_mut(start);
        let window = if independent { start } else { start.saturating_sub(WINDOW) };
        match decompress_into_with_dict(block.bytes, output, &before[window..]) {
            Ok(written) => plain.truncate(start + written),
            Err(DecompressError::OutputTooSmall { .. }) if room < block.size_max => {
                return Ok(None);
            }
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
    Ok(Some(plain))
}

/// A block of a frame.
struct Block<'a> {
    bytes: &'a [u8],
    is_stored: bool,
    /// The most bytes that it becomes.
    size_max: usize,
}

/// The blocks of a frame; a `None` among them is one that the bytes end within.
#[derive(Clone)]
struct Blocks<'a> {
    rest: &'a [u8],
    flags: u8,
    block_size_max: usize,
    is_at_end: bool,
}

impl<'a> Blocks<'a> {
    /// Reads the frame's header, and checks it as far as Java's reader does.
    fn open(frame: &'a [u8]) -> Option<Self> {
        let descriptor = frame.strip_prefix(&MAGIC)?;
        let [flags, block_size] = *descriptor.first_chunk()?;
        let size = if flags & CONTENT_SIZE == 0 { 2 } else { 10 };
        let checksum = (xxh32_of_few(descriptor.get(..size)?) >> 8) as u8;
        let block_size_max = match block_size >> 4 {
            power @ 4..=7 => 1 << (8 + 2 * power),
            _ => return None,
        };
        let is_known = flags & VERSION_MASK == VERSION && flags & UNKNOWN == 0;
        let is_whole = is_known && *descriptor.get(size)? == checksum;
        let rest = &descriptor[size + 1..];
        is_whole.then_some(Self { rest, flags, block_size_max, is_at_end: false })
    }

    /// Reads a block, which the end mark is not.
    fn read(&mut self) -> Option<Block<'a>> {
        let (size, rest) = self.rest.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size);
        let (size, is_stored) = ((size & !STORED) as usize, size & STORED != 0);
        let (bytes, rest) = rest.split_at_checked(size)?;
        let checksum = if self.flags & BLOCK_CHECKSUM == 0 { 0 } else { 4 };
        self.rest = rest.get(checksum..)?;
        let size_max = if is_stored { size } else { self.block_size_max.min(size * RATIO_MAX) };
        (size <= self.block_size_max).then_some(Block { bytes, is_stored, size_max })
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Option<Block<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_at_end || self.rest.starts_with(&END) {
            return None;
        }
        let block = self.read();
        self.is_at_end = block.is_none();
        Some(block)
    }
}

/// Writes the checksum that readers of magic 0 expect into the frame that `frame` begins with.
pub fn break_checksum(frame: &mut [u8]) {
    set_checksum(frame, 0);
}

/// Writes the checksum that the format demands into the frame that `frame` begins with.
pub fn mend_checksum(frame: &mut [u8]) {
    set_checksum(frame, DESCRIPTOR);
}

fn set_checksum(frame: &mut [u8], from: usize) {
    let Some(flags) = frame.get(DESCRIPTOR) else { return };
    let end = DESCRIPTOR + if flags & CONTENT_SIZE == 0 { 2 } else { 10 };
    if end < frame.len() {
        frame[end] = (xxh32_of_few(&frame[from..end]) >> 8) as u8;
    }
}

/// Computes XXH32 with seed 0 of fewer than 16 bytes; above that it has another form.
fn xxh32_of_few(bytes: &[u8]) -> u32 {
    const PRIMES: [u32; 5] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1];
    let mut hash = PRIMES[4].wrapping_add(bytes.len() as u32);
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(PRIMES[2]));
        hash = hash.rotate_left(17).wrapping_mul(PRIMES[3]);
    }
    for byte in rest {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIMES[4]));
        hash = hash.rotate_left(11).wrapping_mul(PRIMES[0]);
    }
    hash = (hash ^ hash >> 15).wrapping_mul(PRIMES[1]);
    hash = (hash ^ hash >> 13).wrapping_mul(PRIMES[2]);
    hash ^ hash >> 16
}
