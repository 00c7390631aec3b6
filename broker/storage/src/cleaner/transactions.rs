//! Which batches and markers of transactions compaction may drop.
//!
//! Records of an aborted transaction go at once. A marker stays as long as any batch of its transaction
//! was met on the way, since readers need it to close what they read; after that it gets a delete
//! horizon, like a tombstone. Batches must be offered in the order of the log.
//!
//! Source: Kafka 3.9 `CleanedTransactionMetadata`.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use broker_protocol::quantity::Offset;

use crate::transaction_index::AbortedTxn;

/// What a marker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    /// The transaction was aborted.
    Abort,
    /// The transaction was committed.
    Commit,
    /// The batch had been emptied by compaction before.
    Empty,
    /// A control record of another kind: kept.
    Other,
}

/// What to do with a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MarkerFate {
    /// Whether no record of its transaction was met.
    pub(super) can_go: bool,
    /// The entry for the new segment's transaction index.
    pub(super) aborted: Option<AbortedTxn>,
}

/// The transactions that are open at this point of the walk.
#[derive(Debug)]
pub(super) struct Transactions {
    /// Aborted transactions that begin further on, by their first offset.
    ahead: VecDeque<AbortedTxn>,
    /// Aborted transactions under way by producer, and whether a batch of theirs was met.
    aborted: HashMap<i64, (AbortedTxn, bool)>,
    /// Producers of which a batch of a transaction was met that will be committed.
    committed: HashSet<i64>,
}

impl Transactions {
    /// Makes the state before the first batch, given every aborted transaction of the range.
    pub(super) fn new(aborted: impl IntoIterator<Item = AbortedTxn>) -> Self {
        // Segments tell of a transaction once, but a repeated entry would be taken for a second one.
        let ahead: BTreeMap<(Offset, i64), AbortedTxn> =
            aborted.into_iter().map(|txn| ((txn.first_offset, txn.producer_id), txn)).collect();
        Self {
            ahead: ahead.into_values().collect(),
            aborted: HashMap::new(),
            committed: HashSet::new(),
        }
    }

    fn advance(&mut self, last_offset: Offset) {
        while let Some(txn) = self.ahead.pop_front_if(|txn| txn.first_offset <= last_offset) {
            self.aborted.entry(txn.producer_id).or_insert((txn, false));
        }
    }

    /// Takes a data batch; returns whether it belongs to an aborted transaction.
    pub(super) fn on_batch(
        &mut self,
        producer_id: i64,
        last_offset: Offset,
        is_transactional: bool,
    ) -> bool {
        self.advance(last_offset);
        if !is_transactional {
            return false;
        }
        if let Some((_, was_met)) = self.aborted.get_mut(&producer_id) {
            *was_met = true;
            return true;
        }
        self.committed.insert(producer_id);
        false
    }

    /// Takes a marker.
    pub(super) fn on_marker(
        &mut self,
        producer_id: i64,
        last_offset: Offset,
        marker: Marker,
    ) -> MarkerFate {
        self.advance(last_offset);
        match marker {
            Marker::Abort => {
                let met = self.aborted.remove(&producer_id).filter(|(_, was_met)| *was_met);
                MarkerFate { can_go: met.is_none(), aborted: met.map(|(txn, _)| txn) }
            }
            Marker::Commit => {
                MarkerFate { can_go: !self.committed.remove(&producer_id), aborted: None }
            }
            Marker::Empty => MarkerFate { can_go: true, aborted: None },
            Marker::Other => MarkerFate { can_go: false, aborted: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txn(producer_id: i64, first: i64, last: i64) -> AbortedTxn {
        AbortedTxn {
            producer_id,
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(last + 1),
        }
    }

    const STAYS: MarkerFate = MarkerFate { can_go: false, aborted: None };
    const GOES: MarkerFate = MarkerFate { can_go: true, aborted: None };

    #[test]
    fn an_aborted_batch_goes_and_its_marker_stays_until_no_batch_is_met() {
        let mut first = Transactions::new([txn(1, 5, 12)]);
        assert!(!first.on_batch(1, Offset(3), true), "the transaction before was committed");
        assert_eq!(first.on_marker(1, Offset(4), Marker::Commit), STAYS);
        assert!(first.on_batch(1, Offset(7), true));
        assert!(!first.on_batch(2, Offset(9), false), "another producer");
        let fate = first.on_marker(1, Offset(12), Marker::Abort);
        assert_eq!(fate, MarkerFate { can_go: false, aborted: Some(txn(1, 5, 12)) });
        assert!(!first.on_batch(1, Offset(14), true), "the next transaction");

        let mut second = Transactions::new([txn(1, 5, 12)]);
        assert_eq!(second.on_marker(1, Offset(12), Marker::Abort), GOES);
    }

    #[test]
    fn a_commit_goes_when_no_batch_of_its_transaction_is_met() {
        let mut walk = Transactions::new([]);
        assert_eq!(walk.on_marker(1, Offset(0), Marker::Commit), GOES);
        walk.on_batch(1, Offset(1), true);
        assert_eq!(walk.on_marker(2, Offset(2), Marker::Commit), GOES);
        assert_eq!(walk.on_marker(1, Offset(3), Marker::Commit), STAYS);
        assert_eq!(walk.on_marker(1, Offset(4), Marker::Commit), GOES);
        assert_eq!(walk.on_marker(1, Offset(5), Marker::Empty), GOES);
        assert_eq!(walk.on_marker(1, Offset(6), Marker::Other), STAYS);
    }
}
