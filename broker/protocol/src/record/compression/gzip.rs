//! gzip, of one member or several.

use std::io::{self, Read, Write};

use flate2::bufread::MultiGzDecoder;

/// The most that one byte can become: deflate's longest match is 258 bytes, its shortest code 2 bits.
const RATIO_MAX: usize = 1032;

/// A level is 1 to 9.
pub(super) fn compress(level: Option<i32>, plain: &[u8]) -> io::Result<Vec<u8>> {
    let level = level.and_then(|level| u32::try_from(level).ok());
    let level = level.map_or_else(flate2::Compression::default, |level| {
        flate2::Compression::new(level.clamp(1, 9))
    });
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(plain)?;
    encoder.finish()
}

/// Returns `None` when more than `limit` bytes would come out.
pub(super) fn decompress(bytes: &[u8], limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut decoder = MultiGzDecoder::new(bytes);
    // Two reservations, the first of a usual ratio: most batches need no second, and a bomb is
    // never copied more often than once.
    let usual = limit.min(bytes.len().saturating_mul(4));
    let most = limit.min(bytes.len().saturating_mul(RATIO_MAX));
    let mut plain = Vec::with_capacity(usual);
    for capacity in [usual, most] {
        plain.reserve_exact(capacity - plain.len());
        let room = (capacity - plain.len()) as u64;
        decoder.by_ref().take(room).read_to_end(&mut plain)?;
        if plain.len() < capacity {
            return Ok(Some(plain));
        }
    }
    let is_at_end = decoder.read(&mut [0])? == 0;
    Ok(is_at_end.then_some(plain))
}
