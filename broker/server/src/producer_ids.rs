//! Claiming blocks of producer ids in the coordination tree.
//!
//! No id may be given out twice: the second producer's first batches would be taken for duplicates of
//! the other's and answered without being appended. Logs that were adopted without their tree know ids
//! that the tree does not; a tree that has given out none passes over these.

use std::ops::Range;
use std::sync::Arc;

use broker_protocol::quantity::BrokerId;
use broker_zookeeper::node::producer_id_block::{BLOCK_SIZE, ProducerIdBlock};
use broker_zookeeper::path;
use broker_zookeeper::settle::{self, Outcome};
use broker_zookeeper::store::{Stat, Store, StoreError};
use tracing::warn;

use crate::replica::producer_id::{ClaimError, ProducerIds};
use broker_zookeeper::error::TreeError;

/// Ids that an adopted log may not know, though producers hold them: they have written nothing yet, or
/// not for so long that the logs forgot them. A thousand of Kafka's blocks.
const UNKNOWN: i64 = 1_000 * BLOCK_SIZE;

/// Makes a source of ids that claims its blocks in `store`.
pub(crate) fn claiming(store: Arc<dyn Store>, broker_id: BrokerId) -> ProducerIds {
    ProducerIds::new(Box::new(move || {
        let store = Arc::clone(&store);
        Box::pin(async move {
            claim(&*store, broker_id).await.map_err(|error| {
                warn!(%error, "no block of producer ids");
                ClaimError
            })
        })
    }))
}

/// Takes the next block; another broker that is faster makes this one try again, and so does an answer
/// that is lost, unless the block is found to be this broker's.
async fn claim(store: &dyn Store, broker_id: BrokerId) -> Result<Range<i64>, TreeError> {
    let path = path::PRODUCER_ID_BLOCK;
    loop {
        let (data, stat) = read(store).await?;
        let last = ProducerIdBlock::decode(path, &data)?;
        let next = ProducerIdBlock::after(last.as_ref(), broker_id.0);
        let wanted = next.encode();
        let written = settle::replace(store, path, &wanted, stat.version).await?;
        if let Outcome::Done(_) = written {
            return Ok(next.ids);
        }
    }
}

async fn read(store: &dyn Store) -> Result<(Vec<u8>, Stat), StoreError> {
    let path = path::PRODUCER_ID_BLOCK;
    let found = settle::current(store, path).await?;
    found.ok_or_else(|| StoreError::NoNode { path: path.to_owned() })
}

/// Marks ids up to `known` and [`UNKNOWN`] more as given out, if the tree has given out none.
pub(crate) async fn pass_over(
    store: &dyn Store,
    broker_id: BrokerId,
    known: i64,
) -> Result<(), TreeError> {
    let (data, stat) = read(store).await?;
    if ProducerIdBlock::decode(path::PRODUCER_ID_BLOCK, &data)?.is_some() {
        return Ok(());
    }
    // A log from elsewhere may claim any id: half of all stay to be given out.
    let blocks = known.clamp(0, i64::MAX / 2) / BLOCK_SIZE;
    let first = blocks * BLOCK_SIZE + UNKNOWN;
    let block = ProducerIdBlock::beginning(first, broker_id.0);
    store.set(path::PRODUCER_ID_BLOCK, &block.encode(), Some(stat.version)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use broker_zookeeper::embedded::EmbeddedTree;
    use broker_zookeeper::faulty::{Faults, FaultyStore};

    use super::*;
    use crate::controller::membership::ensure_paths;

    /// Of blocks that are claimed through lost answers none is given out twice.
    #[tokio::test]
    async fn no_id_is_given_out_twice() {
        let tree = EmbeddedTree::in_memory();
        ensure_paths(&tree.session().await).await.unwrap();
        let mut given = std::collections::BTreeSet::new();
        let mut stores = Vec::new();
        for seed in 0..3 {
            let faults = Faults { seed, lost_answers: 0.3, ..Faults::NONE };
            stores.push(FaultyStore::new(Arc::new(tree.session().await), faults));
        }
        for _ in 0..50 {
            let (a, b, c) = tokio::join!(
                claim(&stores[0], BrokerId(0)),
                claim(&stores[1], BrokerId(1)),
                claim(&stores[2], BrokerId(2))
            );
            for ids in [a, b, c] {
                assert!(given.insert(ids.unwrap().start));
            }
        }
    }

    #[tokio::test]
    async fn ids_begin_after_those_that_adopted_logs_know() {
        for known in [0, 4_321, i64::MAX] {
            let store = EmbeddedTree::in_memory().session().await;
            ensure_paths(&store).await.unwrap();
            pass_over(&store, BrokerId(0), known).await.unwrap();
            let first = claim(&store, BrokerId(0)).await.unwrap();
            assert!(first.start > known.min(i64::MAX / 2) + 1_000 && first.end > first.start);
            pass_over(&store, BrokerId(0), known).await.unwrap();
            let second = claim(&store, BrokerId(0)).await.unwrap();
            assert_eq!(second.start, first.end, "what the tree knows stands");
        }
    }
}
