//! The newest offset of each key, in bounded memory.
//!
//! A key is kept as a 128-bit hash under two random keys of this process: two keys that fall together
//! would lose a record, which at 2^-128 a pair is rarer than any damage that a disk does unseen, and
//! nobody outside can look for such a pair. (Kafka keeps MD5 the same way.)
//!
//! Open addressing in one flat allocation: 24 bytes a slot, full at the load factor.

use std::hash::{BuildHasher, RandomState};

use broker_protocol::quantity::Offset;

const SLOT_SIZE: usize = 24;
const SLOTS_MIN: usize = 64;
/// A record has at least a length, attributes, two deltas, two sizes, a header count and a key.
const RECORD_SIZE_MIN: u64 = 8;

/// How much the map of one round may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MapLimit {
    /// The most memory it takes, in bytes.
    pub size_max: usize,
    /// How full it may get: above 0 and below 1, for a full map is slow and one without an empty slot
    /// would search for ever. What lies outside is brought to the nearest bound.
    pub load_factor: f64,
}

impl MapLimit {
    /// Returns how many keys fit into `slots`.
    fn count_max(self, slots: usize) -> usize {
        let count = (slots as f64 * self.load_factor) as usize;
        count.clamp(1, slots - 1)
    }
}

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
    /// Makes a map for the keys in `dirty_bytes` of batches.
    ///
    /// Compressed batches may hold more keys than that; then the map fills, and a later round goes on.
    pub(super) fn new(limit: MapLimit, dirty_bytes: u64) -> Self {
        let useful = usize::try_from(dirty_bytes / RECORD_SIZE_MIN).unwrap_or(usize::MAX);
        let slots =
            useful.saturating_add(useful / 4).min(limit.size_max / SLOT_SIZE).max(SLOTS_MIN);
        Self {
            words: vec![0; slots * 3],
            count: 0,
            count_max: limit.count_max(slots),
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

    fn limit(size_max: usize) -> MapLimit {
        MapLimit { size_max, load_factor: 0.9 }
    }

    #[test]
    fn the_load_factor_bounds_the_keys_and_leaves_a_slot_empty() {
        for (load_factor, keys) in [(0.5, 50), (0.9, 90), (1.0, 99), (7.0, 99), (0.0, 1)] {
            let limit = MapLimit { size_max: 100 * SLOT_SIZE, load_factor };
            assert_eq!(OffsetMap::new(limit, u64::MAX).count_max, keys, "{load_factor}");
        }
    }

    proptest! {
        #[test]
        fn it_answers_as_a_hash_map_does_until_it_is_full(
            keys in prop::collection::vec(0..200_u16, 0..400),
        ) {
            let mut map = OffsetMap::new(limit(100 * SLOT_SIZE), u64::MAX);
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
        assert_eq!(OffsetMap::new(limit(1 << 27), 0).words.len(), SLOTS_MIN * 3);
        assert_eq!(OffsetMap::new(limit(1 << 27), 8000).words.len(), 1250 * 3);
        assert_eq!(OffsetMap::new(limit(24_000), u64::MAX).words.len(), 3000);
    }
}
