//! LZ4 frames as Java's `Lz4BlockOutputStream` writes them, and the wrong checksum of magic 0.
//!
//! Kafka before 0.10 computed the checksum of the frame's descriptor from the frame's magic on;
//! the format says from after it. Messages of magic 0 keep the wrong one (KAFKA-3160, KIP-57).

use std::io::{self, Write};

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

/// Where the descriptor begins: after the magic.
const DESCRIPTOR: usize = 4;

/// The bit of the descriptor that says that a size of 8 bytes follows.
const CONTENT_SIZE: u8 = 1 << 3;

/// Java's reader knows independent blocks only, and writes them with 64 KiB and no checksum.
pub(super) fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}

pub(super) fn decoder(bytes: &[u8]) -> FrameDecoder<&[u8]> {
    FrameDecoder::new(bytes)
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
