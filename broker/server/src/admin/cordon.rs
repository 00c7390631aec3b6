//! Which brokers get no new replicas: written for the newest operator alone.

use std::collections::BTreeSet;

use broker_admin::v1::{SetCordonRequest, SetCordonResponse};
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::cordon::Cordon;
use broker_zookeeper::path;
use broker_zookeeper::settle;
use broker_zookeeper::store::{CreateMode, Op, Store, StoreError};
use tonic::Status;
use tracing::info;

use super::fence::Admitted;
use super::unavailable;

/// Cordons a broker, or takes it out.
///
/// # Errors
/// `UNAVAILABLE` where the tree does not answer, or another operator has come meanwhile: it may be asked for again.
pub(super) async fn set(
    store: &dyn Store,
    operator: &Admitted,
    request: &SetCordonRequest,
) -> Result<SetCordonResponse, Status> {
    if request.broker_id < 0 {
        return Err(Status::invalid_argument("broker_id: the id of a broker, at least 0"));
    }
    loop {
        let found = settle::current(store, path::CORDONED).await.map_err(unavailable)?;
        let known = found.as_ref().map_or(Ok(BTreeSet::new()), |(data, _)| {
            Cordon::decode(path::CORDONED, data).map(|cordon| cordon.brokers)
        });
        let mut brokers = known.map_err(TreeError::from).map_err(unavailable)?;
        let changes = if request.cordoned {
            brokers.insert(request.broker_id)
        } else {
            brokers.remove(&request.broker_id)
        };
        let cordoned_brokers = brokers.iter().copied().collect();
        if !changes {
            return Ok(SetCordonResponse { cordoned_brokers });
        }
        let (path, data) = (path::CORDONED.to_owned(), Cordon::new(brokers).encode());
        let write = match found {
            Some((_, stat)) => Op::Set { path, data, version: Some(stat.version) },
            None => Op::Create { path, data, mode: CreateMode::Persistent },
        };
        match store.multi(vec![operator.is_newest(), write]).await {
            Ok(_) => {
                let SetCordonRequest { broker_id, cordoned, .. } = request;
                info!(broker = broker_id, cordoned, "gets new replicas, or no more");
                return Ok(SetCordonResponse { cordoned_brokers });
            }
            Err(StoreError::BadVersion { path, .. }) if path == path::OPERATOR => {
                return Err(super::refusal::overtaken());
            }
            // Another call was first, or this one was.
            Err(
                StoreError::BadVersion { .. }
                | StoreError::NodeExists { .. }
                | StoreError::ConnectionLoss,
            ) => {}
            Err(error) => return Err(unavailable(error)),
        }
    }
}
