//! Where the last few batches of the active segment lie, so that a reader at the tail needs no I/O.
//!
//! A consumer that keeps up asks for the offset that follows the last batch it saw, which is almost
//! always among these; so do the bounds of a read, the high watermark above all.
//!
//! Memory: nothing until the first append, then [`COUNT_MAX`] entries, overwritten in turn.

use std::collections::VecDeque;

use broker_protocol::quantity::Offset;

/// How many batches are remembered: what a busy partition takes in while one fetch is on its way.
const COUNT_MAX: usize = 64;

/// A batch's place in the active segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) position: u32,
    pub(crate) size: u32,
}

/// The places of the last batches, oldest first, without gaps between them.
#[derive(Debug, Default)]
pub(crate) struct Recent(VecDeque<Place>);

impl Recent {
    pub(crate) fn push(&mut self, place: Place) {
        if let Some(last) = self.0.back() {
            assert!(last.last_offset < place.base_offset, "batches come in order");
            assert_eq!(last.position + last.size, place.position, "batches touch");
        }
        if self.0.len() == COUNT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(place);
    }

    /// Returns the first batch whose last offset is `offset` or above, if it is surely among these.
    pub(crate) fn find(&self, offset: Offset) -> Option<Place> {
        // Before the first one there may be others that end at `offset` or above.
        if self.0.front()?.base_offset > offset {
            return None;
        }
        let index = self.0.partition_point(|place| place.last_offset < offset);
        self.0.get(index).copied()
    }

    /// Forgets everything: the active segment is another, or was cut.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_only_what_it_surely_knows() {
        let mut recent = Recent::default();
        assert_eq!(recent.find(Offset(0)), None);
        let place = |number: i64| Place {
            base_offset: Offset(number * 10),
            last_offset: Offset(number * 10 + 8),
            position: number as u32 * 100,
            size: 100,
        };
        (0..100).for_each(|number| recent.push(place(number)));

        assert_eq!(recent.find(Offset(359)), None, "perhaps in an older batch");
        assert_eq!(recent.find(Offset(360)), Some(place(36)));
        assert_eq!(recent.find(Offset(365)), Some(place(36)));
        assert_eq!(recent.find(Offset(369)), Some(place(37)), "a hole leads to the next");
        assert_eq!(recent.find(Offset(998)), Some(place(99)));
        assert_eq!(recent.find(Offset(999)), None, "behind the end");
        recent.clear();
        assert_eq!(recent.find(Offset(998)), None);
    }
}
