//! Pages that are not in memory: found out without waiting, and read on a thread that may wait.
//!
//! `sendfile` on a cold page blocks its thread, and with it every connection that lives there
//! (KAFKA-7504). So a range is sampled first with reads that refuse to wait; only a range that
//! was cold is read once on a blocking thread, which leaves it in the page cache.

use std::io::{self, IoSliceMut};

use broker_storage::log::Slice;
use rustix::io::{Errno, ReadWriteFlags};

/// Distance of the samples, in bytes: the kernel's usual read-ahead window, within which pages
/// come and go together.
const SAMPLE_STEP: u64 = 128 * 1024;

/// The buffer through which a cold range is read, in bytes.
const SCRATCH: usize = 256 * 1024;

/// Returns once `slice` can be sent without waiting for the disk.
///
/// # Errors
/// When the disk does not give the bytes.
pub(crate) async fn warm(slice: &Slice) -> io::Result<()> {
    if slice.last_written_recently || is_resident(slice) {
        return Ok(());
    }
    let slice = slice.clone();
    tokio::task::spawn_blocking(move || {
        let mut scratch = vec![0; SCRATCH.min(slice.size as usize)];
        let mut done = 0;
        while done < slice.size {
            let part = scratch.len().min((slice.size - done) as usize);
            read_exact_at(&slice, &mut scratch[..part], done)?;
            done += part as u32;
        }
        Ok(())
    })
    .await
    .map_err(io::Error::other)?
}

/// Samples whether the range is in the page cache. A wrong "yes" costs time, never bytes.
fn is_resident(slice: &Slice) -> bool {
    let Some(file) = slice.file.as_fd() else { return true };
    let start = u64::from(slice.position);
    let last = start + u64::from(slice.size) - 1;
    let samples = (start..last).step_by(SAMPLE_STEP as usize).chain([last]);
    let mut byte = [0];
    for position in samples {
        let mut buffers = [IoSliceMut::new(&mut byte)];
        match rustix::io::preadv2(file, &mut buffers, position, ReadWriteFlags::NOWAIT) {
            Ok(_) => {}
            // A file system that cannot tell: do as if the pages were there.
            Err(Errno::OPNOTSUPP) => return true,
            Err(_) => return false,
        }
    }
    true
}

/// Fills `buffer` from the bytes of `slice` after the first `skip`.
///
/// # Errors
/// When the disk fails or the file is shorter than the slice.
pub(crate) fn read_exact_at(slice: &Slice, buffer: &mut [u8], skip: u32) -> io::Result<()> {
    let mut position = u64::from(slice.position) + u64::from(skip);
    let mut rest = buffer;
    while !rest.is_empty() {
        let read = slice.file.read_at(rest, position)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        position += read as u64;
        rest = &mut rest[read..];
    }
    Ok(())
}
