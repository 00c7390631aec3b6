//! The marker of a clean stop: `.kafka_cleanshutdown`.
//!
//! `{"version":0,"brokerEpoch":42}`, as Kafka 3.9 writes it; older ones leave an empty file, which means
//! the same, so an unreadable content never makes the stop unclean.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::format::CLEAN_SHUTDOWN_FILE;
use crate::fs::{Fs, read_file, remove_if_exists, replace_file};

/// Much more than the one line it holds.
const SIZE_MAX: u64 = 4096;
const NO_BROKER_EPOCH: i64 = -1;

/// A marker that was found, or is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CleanShutdown {
    pub(super) broker_epoch: i64,
}

impl CleanShutdown {
    /// Reads the marker and removes it, durably.
    pub(super) fn take(fs: &dyn Fs, dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(CLEAN_SHUTDOWN_FILE);
        let bytes = match read_file(fs, &path, SIZE_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        remove_if_exists(fs, &path)?;
        fs.sync_dir(dir)?;
        Ok(Some(Self { broker_epoch: parse(&bytes).unwrap_or(NO_BROKER_EPOCH) }))
    }

    /// Writes the marker, durably.
    pub(super) fn write(self, fs: &dyn Fs, dir: &Path) -> io::Result<()> {
        let text = format!(r#"{{"version":0,"brokerEpoch":{}}}"#, self.broker_epoch);
        replace_file(fs, &dir.join(CLEAN_SHUTDOWN_FILE), text.as_bytes())
    }
}

/// Finds the one number that matters, without a JSON parser for one line.
fn parse(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (_, after) = text.split_once("\"brokerEpoch\"")?;
    let number = after.trim_start().strip_prefix(':')?.trim_start();
    let end = number.find([',', '}', ' ', '\n']).unwrap_or(number.len());
    number[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_marker_is_understood_in_every_form() {
        let cases: [(&[u8], Option<i64>); 5] = [
            (br#"{"version":0,"brokerEpoch":42}"#, Some(42)),
            (b"{\n \"brokerEpoch\" : 7 ,\n\"version\":0}\n", Some(7)),
            (b"", None),
            (b"{\"version\":0}", None),
            (b"\xff", None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(parse(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
