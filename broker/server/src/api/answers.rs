//! Encoded answers of one connection that are not written yet: memory, with file ranges spliced in.
//!
//! Answers to pipelined requests share one buffer and, where no file is involved, one write.
//! Order on the wire: `memory[..splices[0].at]`, `splices[0]`, `memory[splices[0].at..]` and so on.

use std::collections::VecDeque;

use broker_storage::log::Slice;
use bytes::{Buf, BytesMut};

use crate::in_flight::Room;

/// Encoded answers in order.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    memory: BytesMut,
    splices: VecDeque<Splice>,
    /// Bytes of memory that were taken since the value was made: `Splice::at` counts from there,
    /// so that taking does not move it.
    taken: u64,
    /// What answers that are large in memory are counted by, until all is written.
    rooms: Vec<Room>,
}

#[derive(Debug)]
struct Splice {
    at: u64,
    slice: Slice,
}

/// What goes on the wire next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Bytes from the front of [`Answers::memory`]; `more` says whether a file range follows.
    Memory {
        /// How many bytes.
        size: usize,
        /// Whether something follows at once.
        more: bool,
    },
    /// A file range.
    Slice(Slice),
}

impl Answers {
    /// Returns whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.splices.is_empty()
    }

    /// Returns the bytes that wait, file ranges included.
    pub(crate) fn size(&self) -> usize {
        self.memory.len() + self.splices.iter().map(|s| s.slice.size as usize).sum::<usize>()
    }

    /// Returns whether memory that waits is counted in the process's bytes in flight.
    pub(crate) fn has_room(&self) -> bool {
        !self.rooms.is_empty()
    }

    /// Keeps `room`, as large as what is in memory, until all is written.
    pub(crate) fn count(&mut self, mut room: Room) {
        room.shrink(self.memory.len());
        self.rooms.push(room);
    }

    /// The bytes in memory that wait.
    pub(crate) fn memory(&self) -> &[u8] {
        &self.memory
    }

    /// Where an answer is encoded: append only.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.memory
    }

    /// Places `slice` after the first `position` bytes of memory. Positions may not decrease.
    pub(crate) fn splice(&mut self, position: usize, slice: Slice) {
        let at = self.taken + position as u64;
        assert!(self.splices.back().is_none_or(|last| last.at <= at), "splices are in order");
        if slice.size > 0 {
            self.splices.push_back(Splice { at, slice });
        }
    }

    /// Appends everything that `other` holds.
    pub(crate) fn append(&mut self, other: Self) {
        assert_eq!(other.taken, 0, "only answers of which nothing was taken can be appended");
        self.rooms.extend(other.rooms);
        if self.is_empty() && other.memory.len() > self.memory.capacity() {
            (self.memory, self.splices, self.taken) = (other.memory, other.splices, 0);
            return;
        }
        let base = self.taken + self.memory.len() as u64;
        self.memory.extend_from_slice(&other.memory);
        for splice in other.splices {
            self.splices.push_back(Splice { at: base + splice.at, slice: splice.slice });
        }
    }

    /// Returns what goes on the wire next; a slice is taken by this call, memory by [`Self::take`].
    pub(crate) fn next(&mut self) -> Option<Next> {
        let Some(splice) = self.splices.front() else {
            let size = self.memory.len();
            return (size > 0).then_some(Next::Memory { size, more: false });
        };
        let size = (splice.at - self.taken) as usize;
        if size > 0 {
            return Some(Next::Memory { size, more: true });
        }
        self.splices.pop_front().map(|splice| Next::Slice(splice.slice))
    }

    /// Drops the first `size` bytes of memory: they are on the wire.
    pub(crate) fn take(&mut self, size: usize) {
        self.memory.advance(size);
        self.taken += size as u64;
    }

    /// Gives a large buffer and all room back once it is empty; `keep` is the capacity worth keeping,
    /// in bytes.
    pub(crate) fn shrink(&mut self, keep: usize) {
        if !self.memory.is_empty() {
            return;
        }
        if self.memory.capacity() > keep {
            self.memory = BytesMut::new();
        }
        self.rooms.clear();
    }

    /// Copies each range of up to `max` bytes into memory, where it stands, if `read` can fill it; a range
    /// that it cannot stays one.
    pub(crate) fn copy_small(&mut self, max: u32, mut read: impl FnMut(&Slice, &mut [u8]) -> bool) {
        if self.splices.iter().all(|splice| splice.slice.size > max) {
            return;
        }
        let memory = std::mem::take(&mut self.memory);
        let small = self.splices.iter().map(|s| s.slice.size).filter(|size| *size <= max);
        self.memory.reserve(memory.len() + small.map(|size| size as usize).sum::<usize>());
        let mut rest = &memory[..];
        let mut position = self.taken;
        // Each is taken from the front, and put back behind the others if it stays.
        for _ in 0..self.splices.len() {
            let Some(Splice { at, slice }) = self.splices.pop_front() else { break };
            let (before, after) = rest.split_at((at - position) as usize);
            self.memory.extend_from_slice(before);
            (rest, position) = (after, at);
            let start = self.memory.len();
            if slice.size <= max {
                self.memory.resize(start + slice.size as usize, 0);
                if read(&slice, &mut self.memory[start..]) {
                    continue;
                }
                self.memory.truncate(start);
            }
            self.splices.push_back(Splice { at: self.taken + start as u64, slice });
        }
        self.memory.extend_from_slice(rest);
    }
}
