//! A broker that has gone for ever: what is kept for it goes, too.

use broker_admin::v1::{ForgetBrokerRequest, ForgetBrokerResponse};
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::cordon::Cordon;
use broker_zookeeper::path;
use broker_zookeeper::store::{CreateMode, Op, Store};
use tonic::Status;
use tracing::info;

use super::fence::Admitted;
use super::refusal::of_transaction;
use super::{tree, unavailable};

/// Partitions that are named.
const NAMED_MAX: usize = 10;

/// Takes away the settings and the cordon of a broker.
pub(super) async fn forget(
    store: &dyn Store,
    operator: &Admitted,
    request: &ForgetBrokerRequest,
) -> Result<ForgetBrokerResponse, Status> {
    let id = request.broker_id;
    if id < 0 {
        return Err(Status::invalid_argument("broker_id: the id of a broker, at least 0"));
    }
    loop {
        tree::freshen(store).await.map_err(unavailable)?;
        let kept = kept(store, id).await.map_err(unavailable)?;
        refuse_what_is_used(store, id).await?;
        if kept.iter().all(|op| matches!(op, Op::Check { .. })) {
            return Ok(ForgetBrokerResponse {});
        }
        let ops = kept.into_iter().chain([operator.is_newest()]).collect();
        match store.multi(ops).await.map_err(TreeError::from) {
            Ok(_) => {
                info!(broker = id, "forgotten");
                return Ok(ForgetBrokerResponse {});
            }
            Err(error) => {
                if let Some(status) = of_transaction(&error) {
                    return Err(status);
                }
            }
        }
    }
}

/// What takes away what is kept for a broker, on condition that nobody is cordoned or taken out meanwhile, and that it
/// is not registered: there is no check for a node that is not there, but making one fails if there is. Nobody sees it, for it
/// goes in the same transaction.
async fn kept(store: &dyn Store, id: i32) -> Result<Vec<Op>, TreeError> {
    let paths = [path::CORDONED.to_owned(), path::broker_config(Some(id))];
    let mut found = tree::nodes(store, &paths).await?.into_iter();
    let (cordon, config) = (found.next().flatten(), found.next().flatten());
    let [cordoned, settings] = paths;
    let mut ops = Vec::new();
    if let Some((data, stat)) = cordon {
        let mut brokers = Cordon::decode(path::CORDONED, &data)?.brokers;
        let version = stat.version;
        ops.push(if brokers.remove(&id) {
            let data = Cordon::new(brokers).encode();
            Op::Set { path: cordoned, data, version: Some(version) }
        } else {
            Op::Check { path: cordoned, version }
        });
    }
    if let Some((_, stat)) = config {
        ops.push(Op::Delete { path: settings, version: Some(stat.version) });
    }
    if ops.iter().any(|op| !matches!(op, Op::Check { .. })) {
        let (path, mode) = (path::broker_id(id), CreateMode::Persistent);
        ops.push(Op::Create { path: path.clone(), data: Vec::new(), mode });
        ops.push(Op::Delete { path, version: None });
    }
    Ok(ops)
}

async fn refuse_what_is_used(store: &dyn Store, id: i32) -> Result<(), Status> {
    if tree::registered(store).await.map_err(unavailable)?.contains(&id) {
        return Err(Status::failed_precondition(format!(
            "broker {id} is registered: it is forgotten once it has stopped"
        )));
    }
    let topics = tree::all_topics(store).await.map_err(unavailable)?;
    let mut held = Vec::new();
    for (name, (topic, _)) in &topics {
        let on_it = topic.partitions.iter().filter(|(_, replicas)| replicas.contains(&id));
        held.extend(on_it.map(|(number, _)| format!("{name}-{number}")));
    }
    if held.is_empty() {
        return Ok(());
    }
    let count = held.len();
    held.truncate(NAMED_MAX);
    Err(Status::failed_precondition(format!(
        "{count} replicas are assigned to broker {id}, such as {}: move them to others first",
        held.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use broker_zookeeper::embedded::EmbeddedTree;
    use broker_zookeeper::store::StoreError;

    use super::*;
    use crate::controller::membership::ensure_paths;

    /// Who registers after it was looked for keeps what is kept for it; making and deleting its node leaves none.
    #[tokio::test]
    async fn who_registers_meanwhile_is_not_forgotten() {
        let tree = EmbeddedTree::in_memory();
        let store = tree.session().await;
        ensure_paths(&store).await.unwrap();
        let (config, registration) = (path::broker_config(Some(3)), path::broker_id(3));
        store.create(&config, b"{}", CreateMode::Persistent).await.unwrap();
        let ops = kept(&store, 3).await.unwrap();
        store.create(&registration, b"", CreateMode::Ephemeral).await.unwrap();
        let refused = store.multi(ops).await.unwrap_err();
        assert!(matches!(&refused, StoreError::NodeExists { path } if *path == registration));
        assert!(of_transaction(&refused.into()).is_none(), "it is looked at again");
        assert!(store.exists(&config).await.unwrap().is_some());
        store.delete(&registration, None).await.unwrap();
        store.multi(kept(&store, 3).await.unwrap()).await.unwrap();
        assert!(store.exists(&config).await.unwrap().is_none());
        assert!(store.exists(&registration).await.unwrap().is_none());
        assert!(kept(&store, 3).await.unwrap().is_empty());
    }
}
