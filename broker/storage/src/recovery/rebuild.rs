//! Scans a segment batch by batch, builds its indexes anew, and cuts a torn tail.

use broker_protocol::quantity::{LeaderEpoch, Offset};

use super::LoadError;
use crate::format::LOG_SUFFIX;
use crate::segment::scan::{Entry, Scanner, Step};
use crate::segment::{Indexed, Segment, SegmentConfig, SegmentError};

/// How much is read at a time: the disk is read in order, and checksums run from the cache.
const SCAN_SIZE: usize = 256 * 1024;

/// A segment after its scan.
pub(super) struct Rebuilt {
    pub(super) segment: Segment,
    /// The offset behind its last batch.
    pub(super) end_offset: Offset,
    /// How many bytes were cut from its end.
    pub(super) cut_bytes: u64,
}

/// Scans the whole segment; checksums are checked for batches that reach `keep_below` or above, which
/// is the recovery point. There, too, the log ends before a batch of an earlier epoch than the one before
/// it, starting with `epoch`: it is left of what was cut off, and what was written over it is not all there.
///
/// # Errors
/// `Damaged` if the valid prefix ends below `keep_below`, and everything is left as it was.
pub(super) fn rebuild(
    mut segment: Segment,
    config: SegmentConfig,
    keep_below: Offset,
    is_active: bool,
    epoch: &mut LeaderEpoch,
) -> Result<Rebuilt, LoadError> {
    let file = segment.file()?.clone();
    let file_size = segment.reset_for_rebuild(config)?;
    let mut scanner = Scanner::new(file.as_ref(), 0, file_size, vec![0; SCAN_SIZE]);
    let mut end_offset = segment.base_offset;
    let path = segment.path(LOG_SUFFIX);
    let read = |source| SegmentError::Io { operation: "read", path: path.clone(), source };
    while let Step::Batch(entry) = scanner.step().map_err(read)? {
        let follows = entry.base_offset >= end_offset && !segment.overflows(entry.last_offset);
        let is_checked = entry.last_offset >= keep_below;
        let falls = entry.leader_epoch().is_some_and(|found| found < *epoch);
        if !follows || (is_checked && (falls || !scanner.is_intact(&entry).map_err(read)?)) {
            break;
        }
        *epoch = entry.leader_epoch().unwrap_or(*epoch);
        let Entry { size, last_offset, max_timestamp, .. } = entry;
        segment.add(Indexed { size, last_offset, max_timestamp }, config.index_interval_bytes)?;
        end_offset = Offset(last_offset.0 + 1);
    }
    let cut_bytes = u64::from(file_size - segment.size());
    if cut_bytes > 0 && end_offset < keep_below {
        return Err(LoadError::Damaged {
            path,
            position: segment.size(),
            offset: end_offset,
            recovery_point: keep_below,
        });
    }
    segment.finish_rebuild(cut_bytes, end_offset <= keep_below, is_active)?;
    Ok(Rebuilt { segment, end_offset, cut_bytes })
}
