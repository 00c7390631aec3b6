//! Brings the files of a log's directory into order: leftovers are completed or removed.
//!
//! Compaction writes `.cleaned`, renames all of a group to `.swap`, then replaces the sources. So with
//! any `.cleaned` left, the `.swap` files at or above it are of a group that was not complete and go;
//! the others replace every segment whose base lies in their range.
//!
//! Source: Kafka 3.9 `LogLoader.load`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_protocol::quantity::Offset;

use super::LoadError;
use crate::format::{
    CLEANED_SUFFIX, DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, SWAP_SUFFIX, TEMPORARY_SUFFIX,
    TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, file_path, parse_file_name,
};
use crate::fs::{Fs, Open, remove_if_exists};
use crate::segment::scan::{Scanner, Step};

/// How much of a swap file is read at a time, to find its last offset.
const SCAN_SIZE: usize = 64 * 1024;

/// The segments of a directory in order.
pub(super) struct Files {
    /// Rising.
    pub(super) base_offsets: Vec<Offset>,
}

/// A file of a segment.
struct Found {
    name: String,
    base_offset: Offset,
    suffix: String,
}

impl Files {
    /// Removes and completes what a crash left, durably, and lists the segments.
    pub(super) fn settle(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Self, LoadError> {
        let directory = Directory { fs, dir };
        let mut found = directory.list()?;
        let mut is_changed = false;
        let first_cleaned = found
            .iter()
            .filter(|file| file.suffix.ends_with(CLEANED_SUFFIX))
            .map(|file| file.base_offset)
            .min();
        for file in &found {
            let is_undone = file.suffix.ends_with(SWAP_SUFFIX)
                && first_cleaned.is_some_and(|first| file.base_offset >= first);
            let is_left_over = [DELETED_SUFFIX, CLEANED_SUFFIX, TEMPORARY_SUFFIX]
                .iter()
                .any(|suffix| file.suffix.ends_with(suffix));
            if is_undone || is_left_over {
                directory.remove(&file.name)?;
                is_changed = true;
            }
        }
        if found.iter().any(|file| file.suffix.ends_with(SWAP_SUFFIX)) {
            directory.complete_swaps()?;
            is_changed = true;
        }
        if is_changed {
            found = directory.list()?;
        }
        let bases: Vec<_> = found
            .iter()
            .filter(|file| file.suffix == LOG_SUFFIX)
            .map(|file| file.base_offset)
            .collect();
        for file in &found {
            let is_index =
                [INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX].contains(&&*file.suffix);
            if is_index && bases.binary_search(&file.base_offset).is_err() {
                directory.remove(&file.name)?;
                is_changed = true;
            }
        }
        if is_changed {
            fs.sync_dir(dir).map_err(|source| directory.error("sync", dir.into(), source))?;
        }
        Ok(Self { base_offsets: bases })
    }
}

struct Directory<'a> {
    fs: &'a Arc<dyn Fs>,
    dir: &'a Path,
}

impl Directory<'_> {
    #[expect(clippy::unused_self, reason = "reads as the directory's own error")]
    fn error(&self, operation: &'static str, path: PathBuf, source: io::Error) -> LoadError {
        LoadError::Io { operation, path, source }
    }

    /// Lists the segments' files by rising base offset.
    fn list(&self) -> Result<Vec<Found>, LoadError> {
        let names =
            self.fs.list(self.dir).map_err(|source| self.error("list", self.dir.into(), source))?;
        let mut found: Vec<_> = names
            .into_iter()
            .filter_map(|entry| {
                let (base_offset, suffix) = parse_file_name(&entry.name)?;
                let suffix = suffix.to_owned();
                Some(Found { base_offset, suffix, name: entry.name })
            })
            .collect();
        found.sort_by_key(|file| file.base_offset);
        Ok(found)
    }

    fn remove(&self, name: &str) -> Result<(), LoadError> {
        let path = self.dir.join(name);
        match remove_if_exists(self.fs.as_ref(), &path) {
            Ok(_) => Ok(()),
            Err(source) => Err(self.error("remove", path, source)),
        }
    }

    /// Removes the segments that the swap files replace, then gives those their names.
    fn complete_swaps(&self) -> Result<(), LoadError> {
        let found = self.list()?;
        let swap_log = format!("{LOG_SUFFIX}{SWAP_SUFFIX}");
        for swap in found.iter().filter(|file| file.suffix == swap_log) {
            let end = self.end_offset(&self.dir.join(&swap.name), swap.base_offset)?;
            for file in found.iter().filter(|file| file.suffix == LOG_SUFFIX) {
                if file.base_offset >= swap.base_offset && file.base_offset < end {
                    remove_segment(self.fs, self.dir, file.base_offset)?;
                }
            }
        }
        for swap in found.iter().filter(|file| file.suffix.ends_with(SWAP_SUFFIX)) {
            let from = self.dir.join(&swap.name);
            let to = self.dir.join(swap.name.trim_end_matches(SWAP_SUFFIX));
            self.fs.rename(&from, &to).map_err(|source| self.error("rename", from, source))?;
        }
        Ok(())
    }

    /// Returns the offset behind the last batch of a swap file.
    fn end_offset(&self, path: &Path, base_offset: Offset) -> Result<Offset, LoadError> {
        let error = |source| self.error("read", path.into(), source);
        let file = self.fs.open(path, Open::Read).map_err(error)?;
        let size = file.len().map_err(error)?.min(i32::MAX as u64) as u32;
        let mut scanner = Scanner::new(file.as_ref(), 0, size, vec![0; SCAN_SIZE]);
        // Even an empty one replaces the segment of its own name.
        let mut end = Offset(base_offset.0 + 1);
        while let Step::Batch(entry) = scanner.step().map_err(error)? {
            end = Offset(entry.last_offset.0 + 1);
        }
        Ok(end)
    }
}

/// Removes all files of a segment.
pub(super) fn remove_segment(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    base_offset: Offset,
) -> Result<(), LoadError> {
    for suffix in [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX] {
        let path = file_path(dir, base_offset, suffix);
        if let Err(source) = remove_if_exists(fs.as_ref(), &path) {
            return Err(LoadError::Io { operation: "remove", path, source });
        }
    }
    Ok(())
}
