//! Framing: where one request ends in a stream of bytes, and which streams are no Kafka client.
//!
//! A frame is a 4-byte big-endian length and that many bytes, of which the first eight hold the
//! API key, the version and the correlation id. Pure: no socket, no clock. A fault is found with
//! the fewest bytes that show it, before anything is allocated for the frame.
//! Source: Kafka 3.9 `NetworkReceive`, `RequestHeader`.

use broker_protocol::api_key::ApiKey;

/// Bytes of the length prefix.
pub(crate) const LENGTH_SIZE: usize = 4;

/// The least a request can hold: API key, version, correlation id.
const MIN_FRAME_SIZE: usize = 8;

/// What the bytes that have arrived hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A whole frame: `size` bytes follow the length prefix.
    Complete {
        /// Bytes after the length prefix.
        size: usize,
    },
    /// The beginning of a frame, if anything.
    Partial {
        /// Bytes after the length prefix, once the prefix itself is here.
        size: Option<usize>,
    },
}

/// Why a stream cannot be a Kafka client's; the connection is closed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the client speaks TLS on a plaintext listener; give it security.protocol=PLAINTEXT")]
    Tls,
    #[error("the client speaks HTTP on a Kafka listener; metrics are on metrics.listener")]
    Http,
    #[error("a frame of {size} bytes is shorter than a request header")]
    TooShort { size: i32 },
    #[error("a frame of {size} bytes is above socket.request.max.bytes ({max})")]
    TooLarge { size: i32, max: usize },
    #[error("API key {key} is not served here")]
    UnknownApiKey { key: i16 },
}

/// Looks at the bytes that have arrived since the last frame; `max` bounds a frame, in bytes.
pub(crate) fn peek(bytes: &[u8], max: usize) -> Result<Frame, FrameError> {
    let Some((length, body)) = bytes.split_first_chunk::<LENGTH_SIZE>() else {
        return Ok(Frame::Partial { size: None });
    };
    let size = i32::from_be_bytes(*length);
    if let Some(error) = foreign(*length) {
        // Only above the bound: a frame of that very size would be a legal request.
        if size as usize > max {
            return Err(error);
        }
    }
    if size < MIN_FRAME_SIZE as i32 {
        return Err(FrameError::TooShort { size });
    }
    if size as usize > max {
        return Err(FrameError::TooLarge { size, max });
    }
    if let Some(key) = body.first_chunk::<2>() {
        let key = i16::from_be_bytes(*key);
        if !ApiKey::from_i16(key).is_some_and(ApiKey::is_served) {
            return Err(FrameError::UnknownApiKey { key });
        }
    }
    let size = size as usize;
    Ok(if body.len() >= size {
        Frame::Complete { size }
    } else {
        Frame::Partial { size: Some(size) }
    })
}

/// Recognises other protocols by their first four bytes.
fn foreign(first: [u8; 4]) -> Option<FrameError> {
    match &first {
        // A TLS record: handshake, version 3.0 to 3.3.
        [0x16, 0x03, 0x00..=0x03, _] => Some(FrameError::Tls),
        b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" | b"DELE" | b"PRI " => {
            Some(FrameError::Http)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    /// Each stream is judged by the fewest bytes that tell.
    #[test]
    fn streams_are_judged_by_their_first_bytes() {
        let cases: [(&str, &[u8], Result<Frame, FrameError>); 11] = [
            ("nothing yet", &[], Ok(Frame::Partial { size: None })),
            ("half a length", &[0, 0], Ok(Frame::Partial { size: None })),
            ("a length", &[0, 0, 0, 10], Ok(Frame::Partial { size: Some(10) })),
            (
                "a whole one",
                &[0, 0, 0, 8, 0, 18, 0, 0, 0, 0, 0, 1],
                Ok(Frame::Complete { size: 8 }),
            ),
            ("negative", &[255, 255, 255, 255], Err(FrameError::TooShort { size: -1 })),
            ("empty", &[0, 0, 0, 0], Err(FrameError::TooShort { size: 0 })),
            ("no header", &[0, 0, 0, 7], Err(FrameError::TooShort { size: 7 })),
            ("oversized", &[0, 0, 4, 0], Err(FrameError::TooLarge { size: 1024, max: MAX })),
            ("TLS hello", &[0x16, 3, 1, 2], Err(FrameError::Tls)),
            ("HTTP", b"GET / HTTP/1.1", Err(FrameError::Http)),
            ("unknown key", &[0, 0, 0, 9, 3, 231], Err(FrameError::UnknownApiKey { key: 999 })),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(peek(bytes, MAX), expected, "{name}");
        }
    }
}
