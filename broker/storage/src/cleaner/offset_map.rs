//! The newest offset of each key, in bounded memory.
//!
//! A key is kept as a 128-bit hash under two random keys of this process: two keys that fall together
//! would lose a record, which at 2^-128 a pair is rarer than any damage that a disk does unseen, and
//! nobody outside can look for such a pair. (Kafka keeps MD5 the same way.)
//!
//! Open addressing in one flat allocation: 24 bytes a slot, full at nine tenths.

use std::hash::{BuildHasher, RandomState};

use broker_protocol::quantity::Offset;

const SLOT_SIZE: usize = 24;
const SLOTS_MIN: usize = 64;
/// A record has at least a length, attributes, two deltas, two sizes, a header count and a key.
const RECORD_SIZE_MIN: u64 = 8;

/// A map from keys to offsets that holds a bounded number of keys.
#[derive(Debug)]
pub(super) struct OffsetMap {
    /// Three words a slot: the hash, and the offset plus one, so that fresh memory is an empty map and
    /// costs nothing until it is touched.
    words: Vec<u64>,
    count: usize,
    count_max: usize,
    hashers: [RandomState; 2],
}

impl OffsetMap {
    /// Makes a map for the keys in `dirty_bytes` of batches, in at most `size_max` bytes of memory.
    ///
    /// Compressed batches may hold more keys than that; then the map fills, and a later round goes on.
    pub(super) fn new(size_max: usize, dirty_bytes: u64) -> Self {
        let useful = usize::try_from(dirty_bytes / RECORD_SIZE_MIN).unwrap_or(usize::MAX);
        let slots = useful.saturating_add(useful / 4).min(size_max / SLOT_SIZE).max(SLOTS_MIN);
        Self {
            words: vec![0; slots * 3],
            count: 0,
            count_max: slots / 10 * 9,
            hashers: [RandomState::new(), RandomState::new()],
        }
    }

    /// Sets the offset of a key; returns false, and does nothing, if there is no room for a new key.
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        assert!(offset.0 >= 0, "an offset in a log is not negative");
        let hash = self.hash(key);
        let at = self.find(hash);
        let known = self.words[at + 2];
        if known == 0 {
            if self.count == self.count_max {
                return false;
            }
            self.count += 1;
        }
        let newest = known.max(offset.0 as u64 + 1);
        self.words[at..at + 3].copy_from_slice(&[hash[0], hash[1], newest]);
        true
    }

    /// Returns the newest offset of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        let at = self.find(self.hash(key));
        self.words[at + 2].checked_sub(1).map(|offset| Offset(offset as i64))
    }

    /// Returns how many keys are in the map.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)]
    }

    /// Returns where the words of the hash are, or of the empty slot where they belong.
    fn find(&self, hash: [u64; 2]) -> usize {
        let slots = self.words.len() / 3;
        assert!(self.count < slots, "the search ends because a slot is empty");
        let mut slot = (hash[0] % slots as u64) as usize;
        loop {
            let at = slot * 3;
            if self.words[at + 2] == 0 || self.words[at..at + 2] == hash {
                return at;
            }
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn it_answers_as_a_hash_map_does_until_it_is_full(
            keys in prop::collection::vec(0..200_u16, 0..400),
        ) {
            let mut map = OffsetMap::new(100 * SLOT_SIZE, u64::MAX);
            let mut model: HashMap<u16, i64> = HashMap::new();
            for (key, offset) in keys.into_iter().zip(0..) {
                let has_room = model.len() < 90 || model.contains_key(&key);
                prop_assert_eq!(map.put(&key.to_be_bytes(), Offset(offset)), has_room);
                if has_room {
                    model.insert(key, offset);
                }
            }
            prop_assert_eq!(map.len(), model.len());
            for key in 0..200_u16 {
                let expected = model.get(&key).map(|offset| Offset(*offset));
                prop_assert_eq!(map.get(&key.to_be_bytes()), expected);
            }
        }
    }

    #[test]
    fn a_small_log_gets_a_small_map() {
        assert_eq!(OffsetMap::new(1 << 27, 0).words.len(), SLOTS_MIN * 3);
        assert_eq!(OffsetMap::new(1 << 27, 8000).words.len(), 1250 * 3);
        assert_eq!(OffsetMap::new(24_000, u64::MAX).words.len(), 3000);
    }
}
