//! Producer ids: each is given out once in the life of the cluster.
//!
//! Ids come in blocks that the cluster's store hands out (`/latest_producer_id_block`); how a block is
//! claimed is the caller's, who gives it as a function. What is left of a block when the process
//! ends is lost, as in Kafka: ids are plenty.
//!
//! Concurrency: shared; giving an id out is one short lock, claiming a block is done by one caller
//! while the others wait. Source: Kafka 3.9 `ZkProducerIdManager`.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

use parking_lot::Mutex;

/// The store did not give a block; the client may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("claim a block of producer ids")]
pub struct ClaimError;

/// Claims the next block of ids. The log of why it failed is the claimer's.
pub type Claim = Box<
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<Range<i64>, ClaimError>> + Send>> + Send + Sync,
>;

/// Gives producer ids out. Shared.
pub struct ProducerIds {
    claim: Claim,
    /// What is left of the block.
    block: Mutex<Range<i64>>,
    /// Held by the one that claims.
    claiming: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for ProducerIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProducerIds").field("block", &self.block).finish_non_exhaustive()
    }
}

impl ProducerIds {
    /// Makes a source that claims its first block when the first id is asked for.
    pub fn new(claim: Claim) -> Self {
        Self { claim, block: Mutex::new(0..0), claiming: tokio::sync::Mutex::new(()) }
    }

    /// Returns an id that nobody had before. Cancel-safe: at worst a block is lost.
    ///
    /// # Errors
    /// When the block is used up and no other could be claimed.
    pub async fn next(&self) -> Result<i64, ClaimError> {
        if let Some(id) = self.take() {
            return Ok(id);
        }
        let _turn = self.claiming.lock().await;
        // Whoever had the turn before may have claimed for all.
        if let Some(id) = self.take() {
            return Ok(id);
        }
        let mut block = (self.claim)().await?;
        let id = block.next().ok_or(ClaimError)?;
        *self.block.lock() = block;
        Ok(id)
    }

    fn take(&self) -> Option<i64> {
        self.block.lock().next()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    fn blocks_of(size: i64) -> (ProducerIds, Arc<AtomicI64>) {
        let claimed = Arc::new(AtomicI64::new(0));
        let counter = Arc::clone(&claimed);
        let ids = ProducerIds::new(Box::new(move || {
            let start = counter.fetch_add(1, Ordering::Relaxed) * size;
            Box::pin(async move { Ok(start..start + size) })
        }));
        (ids, claimed)
    }

    #[tokio::test]
    async fn ids_are_consecutive_over_blocks() {
        let (ids, claimed) = blocks_of(2);
        for expected in 0..5 {
            assert_eq!(ids.next().await, Ok(expected));
        }
        assert_eq!(claimed.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_failed_claim_is_tried_again_by_the_next_caller() {
        let failures = Arc::new(AtomicI64::new(1));
        let ids = ProducerIds::new(Box::new(move || {
            let fails = failures.fetch_sub(1, Ordering::Relaxed) > 0;
            Box::pin(async move { if fails { Err(ClaimError) } else { Ok(7..8) } })
        }));
        assert_eq!(ids.next().await, Err(ClaimError));
        assert_eq!(ids.next().await, Ok(7));
    }
}
