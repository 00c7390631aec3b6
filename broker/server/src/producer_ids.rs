//! Claiming blocks of producer ids in the coordination tree.

use std::ops::Range;
use std::sync::Arc;

use broker_protocol::quantity::BrokerId;
use broker_zookeeper::node::producer_id_block::ProducerIdBlock;
use broker_zookeeper::path;
use broker_zookeeper::store::{Store, StoreError};
use tracing::warn;

use crate::replica::producer_id::{ClaimError, ProducerIds};
use broker_zookeeper::error::TreeError;

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

/// Takes the next block; another broker that is faster makes this one try again.
async fn claim(store: &dyn Store, broker_id: BrokerId) -> Result<Range<i64>, TreeError> {
    loop {
        let (data, stat) = store.get(path::PRODUCER_ID_BLOCK).await?;
        let last = ProducerIdBlock::decode(path::PRODUCER_ID_BLOCK, &data)?;
        let next = ProducerIdBlock::after(last.as_ref(), broker_id.0);
        match store.set(path::PRODUCER_ID_BLOCK, &next.encode(), Some(stat.version)).await {
            Ok(_) => return Ok(next.ids().unwrap_or_default()),
            Err(StoreError::BadVersion { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
