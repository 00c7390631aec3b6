//! Whether this broker may have been deposed without hearing of it.
//!
//! A leader that reaches neither the coordination tree nor a follower may have a successor: followers of
//! the new epoch feed it no more, so nothing with `acks=all` is lost, for nothing is acknowledged. What it
//! took with `acks=1` or 0 would be lost when it follows. So it takes nothing once
//!
//! * the tree has not answered for a while, and
//! * for as long no member of the ISR, itself excepted, has fetched anything at all.
//!
//! A tree that is down alone changes nothing: followers go on fetching. A leader alone in its ISR has no
//! successor but an unclean one.
//!
//! Concurrency: shared; who produces looks at one flag while the tree answers. Source: ours.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use broker_protocol::quantity::BrokerId;
use parking_lot::Mutex;

/// What this broker hears of the others.
#[derive(Debug, Default)]
pub struct Contact {
    is_lost: AtomicBool,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    /// When the tree was found not to answer, and how long that, and silence, are nothing.
    lost: Option<(Instant, Duration)>,
    /// When each broker last fetched as a replica.
    of: HashMap<BrokerId, Instant>,
}

impl Contact {
    /// Notes that `broker` fetches as a replica.
    pub fn heard(&self, broker: BrokerId, at: Instant) {
        self.heard.lock().of.insert(broker, at);
    }

    /// Notes whether the tree answers; silence of less than `patience` is none.
    pub fn tree(&self, answers: bool, patience: Duration, now: Instant) {
        let mut heard = self.heard.lock();
        heard.lost = match heard.lost {
            _ if answers => None,
            Some((since, _)) => Some((since, patience)),
            None => Some((now, patience)),
        };
        self.is_lost.store(heard.lost.is_some(), Ordering::Release);
    }

    /// Returns whether the tree does not answer.
    pub fn is_tree_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// Returns whether a leader whose ISR has `others` in it may have been deposed.
    pub fn is_cut_off(&self, others: &[BrokerId], now: Instant) -> bool {
        let heard = self.heard.lock();
        let Some((since, patience)) = heard.lost else { return false };
        let is_silent = |other: &BrokerId| {
            let last = heard.of.get(other).copied().map_or(since, |last| last.max(since));
            now.saturating_duration_since(last) > patience
        };
        !others.is_empty() && others.iter().all(is_silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[test]
    fn who_hears_neither_the_tree_nor_a_follower_may_be_deposed() {
        let (start, patience) = (SystemClock.now(), Duration::from_secs(3));
        let at = |seconds| start + Duration::from_secs(seconds);
        let others = [BrokerId(2), BrokerId(3)];
        let contact = Contact::default();
        contact.heard(BrokerId(2), at(0));
        assert!(!contact.is_cut_off(&others, at(60)), "the tree answers, whoever is silent");
        contact.tree(false, patience, at(60));
        assert!(contact.is_tree_lost() && !contact.is_cut_off(&others, at(62)), "not for long");
        assert!(contact.is_cut_off(&others, at(64)));
        assert!(!contact.is_cut_off(&[], at(64)), "nobody can succeed who is alone");
        contact.heard(BrokerId(3), at(64));
        assert!(!contact.is_cut_off(&others, at(66)), "one that fetches knows no other leader");
        contact.tree(false, patience, at(66));
        assert!(contact.is_cut_off(&others, at(68)));
        contact.tree(true, patience, at(69));
        assert!(!contact.is_tree_lost() && !contact.is_cut_off(&others, at(90)));
    }
}
