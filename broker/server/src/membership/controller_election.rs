//! Standing for controller: one transaction makes `/controller` and raises the epoch, so that there is
//! never an office without its epoch. Source: Kafka 3.9 `registerControllerAndIncrementControllerEpoch`.

use broker_protocol::quantity::BrokerId;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::controller::Controller;
use broker_zookeeper::node::controller_epoch;
use broker_zookeeper::path;
use broker_zookeeper::settle;
use broker_zookeeper::store::{CreateMode, Op, Store, StoreError};

use crate::controller::membership::Term;

/// Stands for controller; `None` when another broker has the office.
///
/// A session that has it already gets its term again: nobody else can have raised the epoch since.
pub(crate) async fn stand(
    store: &dyn Store,
    id: BrokerId,
    now_ms: i64,
) -> Result<Option<Term>, TreeError> {
    loop {
        match settle::current(store, path::CONTROLLER).await? {
            Some((_, stat)) if stat.ephemeral_owner == store.session_id() => {
                return Ok(Some(term(store).await?));
            }
            Some(_) => return Ok(None),
            None => {}
        }
        let last = term(store).await?;
        let term = Term { epoch: last.epoch + 1, version: last.version + 1 };
        let office = Op::Create {
            path: path::CONTROLLER.to_owned(),
            data: Controller::new(id.0, now_ms).encode(),
            mode: CreateMode::Ephemeral,
        };
        let raise = Op::Set {
            path: path::CONTROLLER_EPOCH.to_owned(),
            data: controller_epoch::encode(term.epoch),
            version: Some(last.version),
        };
        match store.multi(vec![office, raise]).await {
            Ok(_) => return Ok(Some(term)),
            Err(
                StoreError::ConnectionLoss
                | StoreError::NodeExists { .. }
                | StoreError::BadVersion { .. },
            ) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives the office up, if this session has it.
pub(crate) async fn give_up(store: &dyn Store) -> Result<(), TreeError> {
    loop {
        let Some((_, stat)) = settle::current(store, path::CONTROLLER).await? else {
            return Ok(());
        };
        if stat.ephemeral_owner != store.session_id() {
            return Ok(());
        }
        match store.delete(path::CONTROLLER, Some(stat.version)).await {
            Ok(()) => return Ok(()),
            Err(
                StoreError::ConnectionLoss
                | StoreError::NoNode { .. }
                | StoreError::BadVersion { .. },
            ) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes the office from broker `id`, whose process is gone, unless another has it by now.
pub(crate) async fn depose(store: &dyn Store, id: BrokerId) -> Result<(), TreeError> {
    loop {
        // Each election raises the epoch: while it is this one, the office is the one that is read now.
        let last = term(store).await?;
        let Some((data, stat)) = settle::current(store, path::CONTROLLER).await? else {
            return Ok(());
        };
        let is_his = Controller::decode(path::CONTROLLER, &data)?.brokerid == id.0;
        if !is_his || stat.ephemeral_owner == store.session_id() {
            return Ok(());
        }
        let version = Some(stat.version);
        let vacate = Op::Delete { path: path::CONTROLLER.to_owned(), version };
        match store.multi(vec![last.check(), vacate]).await {
            Ok(_) => return Ok(()),
            Err(
                StoreError::ConnectionLoss
                | StoreError::NoNode { .. }
                | StoreError::BadVersion { .. },
            ) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the present controller's term, as the epoch's node says.
pub(crate) async fn term(store: &dyn Store) -> Result<Term, TreeError> {
    let path = path::CONTROLLER_EPOCH;
    let found = settle::current(store, path).await?;
    let (data, stat) = found.ok_or(StoreError::NoNode { path: path.to_owned() })?;
    Ok(Term { epoch: controller_epoch::decode(path, &data)?, version: stat.version })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use broker_zookeeper::embedded::EmbeddedTree;
    use broker_zookeeper::faulty::{Faults, FaultyStore};

    use super::*;
    use crate::controller::membership::ensure_paths;

    /// Of two that stand at once one wins, and knows it, whatever is lost; each term is one higher.
    #[tokio::test]
    async fn one_wins_and_knows_it() {
        for seed in 0..50 {
            let tree = EmbeddedTree::in_memory();
            ensure_paths(&tree.session().await).await.unwrap();
            let mut stores = Vec::new();
            for number in 0..2 {
                let faults = Faults { seed: seed * 2 + number, lost_answers: 0.3, ..Faults::NONE };
                stores.push(FaultyStore::new(Arc::new(tree.session().await), faults));
            }
            for round in 1..5 {
                let (a, b) = tokio::join!(
                    stand(&stores[0], BrokerId(0), 7),
                    stand(&stores[1], BrokerId(1), 7)
                );
                let terms = [a.unwrap(), b.unwrap()];
                let winner = terms.iter().position(Option::is_some).unwrap();
                assert_eq!(terms[1 - winner], None, "seed {seed}");
                let won = terms[winner].unwrap();
                assert_eq!(won.epoch, round, "seed {seed}");
                let again = stand(&stores[winner], BrokerId(winner as i32), 8).await.unwrap();
                assert_eq!(again, Some(won), "the office is not won twice");
                let check = settle::current(&stores[winner], path::CONTROLLER_EPOCH).await;
                assert_eq!(check.unwrap().unwrap().1.version, won.version);
                give_up(&stores[1 - winner]).await.unwrap();
                assert_eq!(term(&stores[winner]).await.unwrap(), won);
                give_up(&stores[winner]).await.unwrap();
            }
        }
    }

    /// Whose process is gone loses the office; who has it by then does not, whatever is lost.
    #[tokio::test]
    async fn an_office_is_taken_from_its_owner_and_from_no_other() {
        for seed in 0..50 {
            let tree = EmbeddedTree::in_memory();
            ensure_paths(&tree.session().await).await.unwrap();
            let (gone, look) = (tree.session().await, tree.session().await);
            let first = stand(&gone, BrokerId(0), 7).await.unwrap().unwrap();
            let faults = |seed| Faults { seed, lost_answers: 0.3, ..Faults::NONE };
            let heir = FaultyStore::new(Arc::new(tree.session().await), faults(seed));
            let late = FaultyStore::new(Arc::new(tree.session().await), faults(seed + 100));
            depose(&late, BrokerId(9)).await.unwrap();
            assert!(look.exists(path::CONTROLLER).await.unwrap().is_some(), "another's");
            depose(&heir, BrokerId(0)).await.unwrap();
            let next = stand(&heir, BrokerId(1), 8).await.unwrap().unwrap();
            assert_eq!(next.epoch, first.epoch + 1);
            depose(&late, BrokerId(0)).await.unwrap();
            let (data, _) = look.get(path::CONTROLLER).await.unwrap();
            assert_eq!(Controller::decode(path::CONTROLLER, &data).unwrap().brokerid, 1);
            assert!(gone.multi(vec![first.check()]).await.is_err(), "its writes are fenced");
        }
    }
}
