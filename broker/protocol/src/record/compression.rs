//! The codecs of record batches and message sets, each with a hard limit on what comes out.
//!
//! What is reserved for the output is bounded by the limit and by what the compressed bytes can become
//! at most, never by a size that they declare. Output goes to its place at once: a codec's window or
//! block is not held beside it. Sizes are bytes. Source: Kafka 3.9 `CompressionType`, KIP-110.

use std::io;

mod gzip;
mod lz4;
mod snappy;
mod zstandard;

pub use lz4::{break_checksum, mend_checksum};

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// snappy, in the framing of the Xerial library.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
}

/// A codec number that no Kafka has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("compression codec {0} is unknown")]
pub struct UnknownCodec(pub u8);

/// Why bytes were not decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// More would come out than the caller takes.
    #[error("decompressed size is above {limit} bytes")]
    TooLarge {
        /// The most bytes that the caller takes.
        limit: usize,
    },
    /// The bytes are not what the codec writes.
    #[error("read {compression:?} data")]
    Damaged {
        /// The codec that was asked for.
        compression: Compression,
        /// What its library found.
        source: io::Error,
    },
}

/// A codec's library failed to compress.
#[derive(Debug, thiserror::Error)]
#[error("compress with {compression:?}")]
pub struct CompressError {
    /// The codec that was asked for.
    pub compression: Compression,
    source: io::Error,
}

/// Compresses `plain` so that Java clients read it, at the level that Kafka has as its default.
///
/// # Errors
/// When the codec's library fails.
pub fn compress(compression: Compression, plain: &[u8]) -> Result<Vec<u8>, CompressError> {
    compress_at(compression, None, plain)
}

/// As [`compress`], at a level of the codec's own scale. Snappy and LZ4 have one level only.
///
/// # Errors
/// When the codec's library fails.
pub fn compress_at(
    compression: Compression,
    level: Option<i32>,
    plain: &[u8],
) -> Result<Vec<u8>, CompressError> {
    match compression {
        Compression::None => Ok(plain.to_vec()),
        Compression::Gzip => gzip::compress(level, plain),
        Compression::Snappy => snappy::compress(plain),
        Compression::Lz4 => lz4::compress(plain),
        Compression::Zstd => zstandard::compress(level, plain),
    }
    .map_err(|source| CompressError { compression, source })
}

/// The most that the records of one batch may be once they are decompressed, in bytes: wherever a batch
/// is opened, however small it arrived. Kafka has no such bound.
pub const DECOMPRESSED_SIZE_MAX: usize = 64 * 1024 * 1024;

/// Decompresses `bytes` to at most `limit` bytes.
///
/// # Errors
/// When the bytes are not the codec's, or more than `limit` would come out.
pub fn decompress(
    compression: Compression,
    bytes: &[u8],
    limit: usize,
) -> Result<Vec<u8>, DecompressError> {
    let plain = match compression {
        Compression::None if bytes.len() > limit => Ok(None),
        Compression::None => Ok(Some(bytes.to_vec())),
        Compression::Gzip => gzip::decompress(bytes, limit),
        Compression::Snappy => snappy::decompress(bytes, limit),
        Compression::Lz4 => lz4::decompress(bytes, limit),
        Compression::Zstd => zstandard::decompress(bytes, limit),
    }
    .map_err(|source| DecompressError::Damaged { compression, source })?;
    plain.ok_or(DecompressError::TooLarge { limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];

    /// Sizes around the blocks of snappy (32 KiB) and LZ4 (64 KiB).
    #[test]
    fn every_codec_gives_back_what_it_was_given() {
        for size in [0, 1, 100, 32_768, 32_769, 65_536, 65_537, 300_000] {
            let plain: Vec<u8> = (0..size).map(|i: usize| ((i * i) >> 5) as u8).collect();
            for codec in ALL {
                let bytes = compress(codec, &plain).unwrap();
                assert_eq!(decompress(codec, &bytes, size).unwrap(), plain, "{codec:?} {size}");
            }
        }
    }

    #[test]
    fn a_higher_level_makes_fewer_bytes_of_the_same() {
        let plain: Vec<u8> =
            (0..40_000_u32).flat_map(|i| (i / 7).to_string().into_bytes()).collect();
        for (codec, low, high) in [(Compression::Gzip, 1, 9), (Compression::Zstd, -5, 12)] {
            let [low, high] = [low, high].map(|level| {
                let bytes = compress_at(codec, Some(level), &plain).unwrap();
                assert_eq!(decompress(codec, &bytes, plain.len()).unwrap(), plain, "{codec:?}");
                bytes.len()
            });
            assert!(high < low, "{codec:?}: {high} {low}");
        }
    }

    #[test]
    fn what_is_larger_than_the_limit_is_refused() {
        for codec in ALL {
            let bytes = compress(codec, &vec![0; 1 << 20]).unwrap();
            let error = decompress(codec, &bytes, (1 << 20) - 1).unwrap_err();
            assert!(matches!(error, DecompressError::TooLarge { .. }), "{codec:?}: {error}");
        }
    }

    #[test]
    fn raw_snappy_is_read_and_its_declared_size_is_not_believed() {
        let raw = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        let plain = decompress(Compression::Snappy, &raw, 100).unwrap();
        assert_eq!(plain, b"hello hello hello");
        let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 1];
        assert!(decompress(Compression::Snappy, &bomb, usize::MAX).is_err());
    }

    /// Frames that other clients write: of any block size, linked, with sizes and checksums.
    #[test]
    fn every_form_of_lz4_frame_is_read() {
        use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
        use std::io::Write;

        let plain: Vec<u8> = (0..300_000).map(|i: usize| ((i * i) >> 9) as u8).collect();
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
                for (checksums, content_size) in [(false, None), (true, Some(plain.len() as u64))] {
                    let info = FrameInfo::new()
                        .block_mode(mode)
                        .block_size(size)
                        .block_checksums(checksums)
                        .content_checksum(checksums)
                        .content_size(content_size);
                    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                    encoder.write_all(&plain).unwrap();
                    let bytes = encoder.finish().unwrap();
                    let read = decompress(Compression::Lz4, &bytes, plain.len()).unwrap();
                    assert!(read == plain, "{mode:?} {size:?} {checksums}");
                    let less = decompress(Compression::Lz4, &bytes, plain.len() - 1);
                    assert!(matches!(less, Err(DecompressError::TooLarge { .. })));
                }
            }
        }
    }

    /// Streams in a row are one, where Java's reader takes them so.
    #[test]
    fn streams_in_a_row_are_read() {
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Zstd] {
            let first = compress(codec, b"first, ").unwrap();
            let bytes = [first, compress(codec, b"second").unwrap()].concat();
            assert_eq!(decompress(codec, &bytes, 13).unwrap(), b"first, second", "{codec:?}");
            let less = decompress(codec, &bytes, 12);
            assert!(matches!(less, Err(DecompressError::TooLarge { .. })), "{codec:?}");
        }
    }

    /// A stream, unlike a buffer, does not know its size when it begins: so Java writes. A frame to skip
    /// is nothing.
    #[test]
    fn zstd_of_a_stream_is_read() {
        for size in [0, 1, 1000, 131_072, 131_073, 1 << 20] {
            let plain: Vec<u8> = (0..size).map(|i: usize| ((i * i) >> 9) as u8).collect();
            for level in [1, 3, 19] {
                let mut bytes = vec![0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 7, 7];
                bytes.append(&mut zstd::stream::encode_all(&plain[..], level).unwrap());
                let read = decompress(Compression::Zstd, &bytes, size).unwrap();
                assert!(read == plain, "{size} {level}");
            }
        }
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let plain: Vec<u8> = (0..2000).map(|i| (i / 7) as u8).collect();
        for codec in ALL {
            let bytes = compress(codec, &plain).unwrap();
            for position in 0..bytes.len().min(400) {
                let mut damaged = bytes.clone();
                damaged[position] ^= 0x55;
                let _ = decompress(codec, &damaged, 10_000);
                let _ = decompress(codec, &bytes[..position], 10_000);
            }
        }
    }

    /// Byte 6 is the checksum in a frame that declares no size.
    #[test]
    fn the_lz4_checksum_of_magic_0_is_broken_and_mended() {
        let right = compress(Compression::Lz4, b"some bytes").unwrap();
        let mut bytes = right.clone();
        break_checksum(&mut bytes);
        assert_ne!(bytes[6], right[6]);
        assert!(decompress(Compression::Lz4, &bytes, 100).is_err());
        mend_checksum(&mut bytes);
        assert_eq!(bytes, right);
    }
}
