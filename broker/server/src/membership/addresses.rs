//! No two brokers tell the cluster one address: what is meant for the one would reach the other.
//!
//! Looked at before the registration, as Kafka does, and once more after it: of two that begin at the same
//! time each may have missed the other, and then the later one gives way. A broker whose session ended and who
//! registers again keeps its place: who came in between gives way, or is told of.
//!
//! Source: Kafka 3.9 `KafkaServer.createBrokerInfo`, which refuses at once; here the session of a broker that
//! is gone has its time to end, as where the id is taken.

use broker_protocol::quantity::BrokerId;
use broker_zookeeper::node::broker::Broker;
use broker_zookeeper::path;
use broker_zookeeper::store::{Stat, Store, StoreError};

/// Another broker that tells the cluster an address of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shared {
    /// The address, with its port.
    pub(super) address: String,
    /// The other broker.
    pub(super) other: BrokerId,
    /// Its session.
    pub(super) owner: i64,
    /// The epoch of its registration.
    pub(super) epoch: i64,
}

/// Finds a broker with an address of `broker`, which has the id `id`.
pub(super) async fn shared(
    store: &dyn Store,
    id: BrokerId,
    broker: &Broker,
) -> Result<Option<Shared>, StoreError> {
    loop {
        match read(store, id).await {
            Err(StoreError::ConnectionLoss) => {}
            Err(error) => return Err(error),
            Ok(others) => {
                let shared = |(other, node, stat): &(BrokerId, Broker, Stat)| {
                    let address = common(broker, node)?;
                    let (owner, epoch) = (stat.ephemeral_owner, stat.czxid);
                    Some(Shared { address, other: *other, owner, epoch })
                };
                return Ok(others.iter().find_map(shared));
            }
        }
    }
}

/// Reads the other brokers; one that cannot be understood tells no address.
async fn read(
    store: &dyn Store,
    id: BrokerId,
) -> Result<Vec<(BrokerId, Broker, Stat)>, StoreError> {
    let ids = store.children(path::BROKER_IDS).await?;
    let ids = ids.iter().filter_map(|other| other.parse().ok().map(BrokerId));
    let ids: Vec<_> = ids.filter(|other| *other != id).collect();
    let paths: Vec<_> = ids.iter().map(|other| path::broker_id(other.0)).collect();
    let mut others = Vec::with_capacity(ids.len());
    for ((other, path), node) in ids.into_iter().zip(&paths).zip(store.get_many(&paths).await?) {
        match node {
            Ok((data, stat)) => {
                let node = Broker::decode(path, &data).ok();
                others.extend(node.map(|node| (other, node, stat)));
            }
            Err(StoreError::NoNode { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(others)
}

/// Returns the first address of `ours` that is one of `theirs`, whatever the listeners are called.
fn common(ours: &Broker, theirs: &Broker) -> Option<String> {
    let is_theirs = |host: &str, port| {
        let mut theirs = theirs.endpoints.iter();
        theirs.any(|one| one.port == port && one.host.eq_ignore_ascii_case(host))
    };
    let found = ours.endpoints.iter().find(|one| is_theirs(&one.host, one.port))?;
    Some(format!("{}:{}", found.host, found.port))
}

#[cfg(test)]
mod tests {
    use broker_zookeeper::node::broker::Endpoint;

    use super::*;

    fn at(addresses: &[(&str, &str, u16)]) -> Broker {
        let endpoint = |(listener, host, port): &(&str, &str, u16)| Endpoint {
            listener: (*listener).to_owned(),
            security_protocol: "PLAINTEXT".to_owned(),
            host: (*host).to_owned(),
            port: *port,
        };
        Broker {
            version: 5,
            endpoints: addresses.iter().map(endpoint).collect(),
            rack: None,
            features: std::collections::BTreeMap::new(),
            timestamp_ms: 0,
        }
    }

    #[test]
    fn an_address_is_its_host_and_its_port() {
        let ours = at(&[("INSIDE", "a", 1), ("OUTSIDE", "b", 2)]);
        let cases = [
            (at(&[]), None),
            (at(&[("INSIDE", "a", 2), ("OUTSIDE", "b", 1)]), None),
            (at(&[("PLAINTEXT", "c", 3), ("OTHER", "B", 2)]), Some("b:2".to_owned())),
        ];
        for (theirs, expected) in cases {
            assert_eq!(common(&ours, &theirs), expected);
        }
    }
}
