//! Changing bytes on the disk of a broker that is stopped, so that nothing but their content shows it.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use broker_protocol::record::batch::{BatchHeader, crc};

use crate::tools::files;

/// Where a batch has its checksum.
const CRC: std::ops::Range<usize> = 17..21;

/// Replaces every `from` in the logs of partitions whose names begin so by `to`, of the same size,
/// and mends the checksums.
pub(crate) fn bytes(data: &Path, partition: &str, from: &[u8], to: &[u8]) -> Result<()> {
    ensure!(from.len() == to.len(), "another size");
    let mut changed = 0;
    for path in files(data, ".log")? {
        if !path.strip_prefix(data)?.to_string_lossy().starts_with(partition) {
            continue;
        }
        let mut file = File::options().read(true).write(true).open(&path).context("open a log")?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).context("read a log")?;
        changed += replace(&mut bytes, from, to)?;
        file.rewind().context("rewind a log")?;
        file.write_all(&bytes).context("write a log")?;
    }
    ensure!(changed > 0, "{partition} holds no {:?}", from.escape_ascii().to_string());
    Ok(())
}

/// Replaces in every batch; returns in how many.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) -> Result<usize> {
    let (mut position, mut changed) = (0, 0);
    while position < bytes.len() {
        let size = BatchHeader::parse(&bytes[position..])?.size_in_bytes();
        let batch = &mut bytes[position..position + size];
        let found = (0..size - from.len()).filter(|at| batch[*at..].starts_with(from));
        let found: Vec<usize> = found.collect();
        for at in &found {
            batch[*at..at + to.len()].copy_from_slice(to);
        }
        if !found.is_empty() {
            let crc = crc(batch).to_be_bytes();
            batch[CRC].copy_from_slice(&crc);
            changed += 1;
        }
        position += size;
    }
    Ok(changed)
}
