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

/// Fills `buffer` from `slice`, whose size it has, if that needs no waiting for the disk; returns whether
/// it did. Why not is for [`warm`] to say.
pub(crate) fn read_now(slice: &Slice, buffer: &mut [u8]) -> bool {
    let Some(file) = slice.file.as_fd().filter(|_| !slice.last_written_recently) else {
        return read_exact_at(slice, buffer, 0).is_ok();
    };
    let size = buffer.len();
    let buffers = &mut [IoSliceMut::new(buffer)];
    let position = u64::from(slice.position);
    match rustix::io::preadv2(file, buffers, position, ReadWriteFlags::NOWAIT) {
        Ok(read) => read == size,
        // A file system that cannot tell: do as if the pages were there.
        Err(Errno::OPNOTSUPP) => read_exact_at(slice, buffer, 0).is_ok(),
        Err(_) => false,
    }
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
    slice.file.read_exact_at(buffer, u64::from(slice.position) + u64::from(skip))
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::io::IoSlice;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use broker_storage::fs::real::RealFs;
    use broker_storage::fs::{Fs as _, Open};
    use rustix::fs::Advice;

    use super::*;

    /// Of each file, in bytes: many times what the kernel reads ahead. A read that does not wait asks the
    /// disk for its first pages, and a quick one gives them at once (every second time, of a virtual
    /// machine's): it does not do so for every part of this.
    const SIZE: u32 = 8 << 20;

    /// One file of many may stay in memory while the kernel looks at it: this many never do.
    const FILES: usize = 20;

    /// Slices of files whose pages were dropped from memory, on the disk that the build is on: a file
    /// system in memory would keep them.
    fn cold() -> impl Iterator<Item = (tempfile::TempDir, Slice)> {
        let build = std::env::current_exe().unwrap();
        (0..FILES).map(move |_| {
            let dir = tempfile::tempdir_in(build.parent().unwrap()).unwrap();
            let file = RealFs.open(&dir.path().join("cold.log"), Open::Create).unwrap();
            file.write_all_at(&mut [IoSlice::new(&vec![7; SIZE as usize])], 0).unwrap();
            file.sync_data().unwrap();
            rustix::fs::fadvise(file.as_fd().unwrap(), 0, None, Advice::DontNeed).unwrap();
            let slice = Slice {
                file,
                position: 0,
                size: SIZE,
                is_first_batch_incomplete: false,
                last_written_recently: false,
            };
            (dir, slice)
        })
    }

    #[tokio::test]
    async fn a_cold_range_is_waited_for_elsewhere_and_a_resident_one_is_not() {
        let mut context = Context::from_waker(Waker::noop());
        for (_dir, slice) in cold() {
            let mut warming = pin!(warm(&slice));
            let is_elsewhere = warming.as_mut().poll(&mut context).is_pending();
            if is_elsewhere {
                warming.await.unwrap();
                assert!(pin!(warm(&slice)).poll(&mut context).is_ready());
                return;
            }
        }
        panic!("this thread reads the disk");
    }

    #[tokio::test]
    async fn a_range_is_copied_only_if_it_is_in_memory() {
        let mut buffer = vec![0; SIZE as usize];
        let (_dir, slice) = cold().find(|(_, slice)| !read_now(slice, &mut buffer)).unwrap();
        warm(&slice).await.unwrap();
        assert!(read_now(&slice, &mut buffer));
        assert!(buffer.iter().all(|byte| *byte == 7));
        let longer = Slice { size: SIZE + 1, ..slice };
        assert!(!read_now(&longer, &mut vec![0; SIZE as usize + 1]), "the file ends before");
    }
}
