//! What the controller reads in the tree, in the words of its state.
//!
//! Many nodes are read by one request. A node that cannot be understood is left out, and what it says is
//! not taken for missing: one bad topic must not stop the others, nor be lost itself. What is read is no snapshot; whatever changes meanwhile
//! is told by a watch that was set before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use broker_zookeeper::node::config::Config;
use broker_zookeeper::node::log_dir_event::LogDirEvent;
use broker_zookeeper::node::partition_list::PartitionName;
use broker_zookeeper::node::partition_state::PartitionState;
use broker_zookeeper::node::producer_id_block::ProducerIdBlock;
use broker_zookeeper::node::standing::Standing;
use broker_zookeeper::node::{
    NodeError, broker, isr_change, preferred_election, reassignment, topic,
};
use broker_zookeeper::path;
use broker_zookeeper::store::{NodeRead, Store, StoreError};
use tracing::{error, warn};

use super::membership::ensure_with_parents;
use super::state::assignment::Assignment;
pub(crate) use super::state::event::StateReading;
use super::state::event::{Endpoint, LiveBroker, ProducerIdsRead, Snapshot, StateRead, TopicRead};

/// Nodes that are read by one request.
const MANY: usize = 500;

/// The setting of a topic that the controller itself obeys.
const UNCLEAN: &str = "unclean.leader.election.enable";

/// States of partitions.
pub(crate) type States = Vec<(TopicPartition, StateReading)>;

/// What became of the reading of topics.
#[derive(Debug, Default)]
pub(super) struct Topics {
    pub(super) read: Vec<TopicRead>,
    pub(super) gone: Vec<Arc<str>>,
    /// Those that are there and cannot be understood.
    pub(super) unread: Vec<Arc<str>>,
}

/// Paths of notifications, with what they are about.
#[derive(Debug)]
pub(super) struct Notified<T> {
    pub(super) paths: Vec<Arc<str>>,
    pub(super) about: BTreeSet<T>,
}

/// Reads everything that a new controller must know.
pub(super) async fn everything(store: &dyn Store) -> Result<Snapshot, StoreError> {
    let mut notifications = Vec::new();
    for parent in [path::ISR_CHANGES, path::LOG_DIR_EVENTS] {
        let children = children(store, parent).await?;
        notifications.extend(children.iter().map(|name| format!("{parent}/{name}").into()));
    }
    let names = store.children(path::TOPICS).await?.into_iter().map(Arc::from).collect();
    let topics = topics(store, &names).await?;
    Ok(Snapshot {
        brokers: brokers(store).await?,
        topics: topics.read,
        unread: topics.unread,
        deletions: deletions(store).await?,
        reassignments: reassignments(store).await?,
        preferred: preferred(store).await?,
        unclean: unclean(store).await?,
        notifications,
    })
}

/// Reads the registrations.
pub(super) async fn brokers(
    store: &dyn Store,
) -> Result<BTreeMap<BrokerId, LiveBroker>, StoreError> {
    loop {
        if let Some(brokers) = brokers_once(store).await? {
            return Ok(brokers);
        }
    }
}

/// Reads the registrations, each with what its broker says that it cannot prove; `None` if a broker was registered
/// anew in between.
///
/// What was said in another registration is not about this one. To know that it was, the registration is read
/// before and after: both are written at once.
async fn brokers_once(
    store: &dyn Store,
) -> Result<Option<BTreeMap<BrokerId, LiveBroker>>, StoreError> {
    let ids: Vec<i32> =
        store.children(path::BROKER_IDS).await?.iter().filter_map(|id| id.parse().ok()).collect();
    let nodes = store.get_many(&paths(&ids, |id| path::broker_id(*id))).await?;
    let standings = store.get_many(&paths(&ids, |id| path::standing(*id))).await?;
    let mut brokers = BTreeMap::new();
    for ((id, node), standing) in ids.into_iter().zip(nodes).zip(standings) {
        let Some((data, stat)) = found(node)? else { continue };
        let unproven = match found(standing)? {
            Some((data, _)) => match understood(Standing::decode(&path::standing(id), &data)) {
                Some(standing) if standing.is_of(stat.ephemeral_owner) => names_of(standing),
                Some(_) => {
                    let now = store.exists(&path::broker_id(id)).await?;
                    if now.is_none_or(|now| now.czxid != stat.czxid) {
                        return Ok(None);
                    }
                    BTreeSet::new()
                }
                // Nobody knows which it means: any may lack something.
                None => assigned(store, BrokerId(id)).await?,
            },
            None => BTreeSet::new(),
        };
        let Some(node) = understood(broker::Broker::decode(&path::broker_id(id), &data)) else {
            continue;
        };
        let live = LiveBroker {
            epoch: stat.czxid,
            endpoints: node.endpoints.iter().map(endpoint).collect(),
            rack: node.rack.map(Into::into),
            unproven: Arc::new(unproven),
        };
        brokers.insert(BrokerId(id), live);
    }
    Ok(Some(brokers))
}

fn endpoint(node: &broker::Endpoint) -> Endpoint {
    let security_protocol = match node.security_protocol.as_str() {
        "SSL" => 1,
        "SASL_PLAINTEXT" => 2,
        "SASL_SSL" => 3,
        _ => 0,
    };
    Endpoint {
        listener: node.listener.as_str().into(),
        security_protocol,
        host: node.host.as_str().into(),
        port: node.port,
    }
}

fn names_of(standing: Standing) -> BTreeSet<TopicPartition> {
    let of_topic = |(topic, partitions): (String, BTreeSet<i32>)| {
        let topic: Arc<str> = topic.into();
        let name = move |partition| TopicPartition { topic: Arc::clone(&topic), partition };
        partitions.into_iter().map(name).collect::<Vec<_>>()
    };
    standing.unproven.into_iter().flat_map(of_topic).collect()
}

/// Reads topics with the states of their partitions.
pub(super) async fn topics(
    store: &dyn Store,
    names: &BTreeSet<Arc<str>>,
) -> Result<Topics, StoreError> {
    let Topics { mut read, mut gone, mut unread } = Topics::default();
    let names: Vec<_> = names.iter().collect();
    for names in names.chunks(MANY) {
        let nodes = store.get_many(&paths(names, |name| path::topic(name))).await?;
        for (name, node) in names.iter().zip(nodes) {
            match found(node)? {
                Some((data, stat)) => match topic_read(name, &data, stat.version) {
                    Some(topic) => read.push(topic),
                    None => unread.push(Arc::clone(name)),
                },
                None => gone.push(Arc::clone(name)),
            }
        }
    }
    let partitions: Vec<_> = read
        .iter()
        .enumerate()
        .flat_map(|(at, topic)| topic.partitions.keys().map(move |number| (at, *number)))
        .collect();
    for chunk in partitions.chunks(MANY) {
        let nodes = paths(chunk, |(at, number)| path::partition_state(&read[*at].name, *number));
        for ((at, number), node) in chunk.iter().zip(store.get_many(&nodes).await?) {
            match state_read(&read[*at].name, *number, node)? {
                StateReading::Is(state) => drop(read[*at].states.insert(*number, state)),
                StateReading::Unreadable => drop(read[*at].unreadable.insert(*number)),
                StateReading::Missing => {}
            }
        }
    }
    Ok(Topics { read, gone, unread })
}

fn topic_read(name: &Arc<str>, data: &[u8], version: i32) -> Option<TopicRead> {
    let node = topic::Topic::decode(&path::topic(name), data).inspect_err(|error| {
        error!(
            topic = %name, %error, cause = %error.source,
            "a topic cannot be read: its partitions stay as they are, and no broker puts logs aside, until \
             its node is mended or deleted"
        );
    });
    let node = node.ok()?;
    let of = |all: &BTreeMap<i32, Vec<i32>>, number: i32| {
        all.get(&number).into_iter().flatten().copied().map(BrokerId).collect::<Vec<_>>()
    };
    let assignment = |number: i32| Assignment {
        replicas: of(&node.partitions, number),
        adding: of(&node.adding_replicas, number),
        removing: of(&node.removing_replicas, number),
    };
    if !node.partitions.keys().copied().eq(0..node.partitions.len() as i32) {
        error!(
            topic = %name, path = path::topic(name),
            "a topic's partitions are not numbered from 0 without holes: they stay as they are, and no \
             broker puts logs aside, until the node is mended or deleted"
        );
        return None;
    }
    Some(TopicRead {
        name: Arc::clone(name),
        version,
        id: node.topic_id.as_deref().and_then(|id| id.parse().ok()),
        spare_id: fresh_id(),
        partitions: node.partitions.keys().map(|number| (*number, assignment(*number))).collect(),
        states: BTreeMap::new(),
        unreadable: BTreeSet::new(),
    })
}

/// Reads which partitions a broker has replicas of.
pub(crate) async fn assigned(
    store: &dyn Store,
    broker: BrokerId,
) -> Result<BTreeSet<TopicPartition>, StoreError> {
    let names: Vec<Arc<str>> =
        store.children(path::TOPICS).await?.into_iter().map(Arc::from).collect();
    let mut assigned = BTreeSet::new();
    for names in names.chunks(MANY) {
        let nodes = store.get_many(&paths(names, |name| path::topic(name))).await?;
        for (name, node) in names.iter().zip(nodes) {
            let Some((data, stat)) = found(node)? else { continue };
            let topic = topic_read(name, &data, stat.version);
            let all = topic.into_iter().flat_map(|topic| topic.partitions);
            let own = all.filter(|(_, assignment)| assignment.replicas.contains(&broker));
            let one = |partition| TopicPartition { topic: Arc::clone(name), partition };
            assigned.extend(own.map(|(number, _)| one(number)));
        }
    }
    Ok(assigned)
}

/// Reads states.
pub(crate) async fn states(
    store: &dyn Store,
    partitions: &BTreeSet<TopicPartition>,
) -> Result<States, StoreError> {
    let all: Vec<_> = partitions.iter().collect();
    let mut read = Vec::with_capacity(all.len());
    for chunk in all.chunks(MANY) {
        let nodes = paths(chunk, |one| path::partition_state(&one.topic, one.partition));
        for (name, node) in chunk.iter().zip(store.get_many(&nodes).await?) {
            read.push(((*name).clone(), state_read(&name.topic, name.partition, node)?));
        }
    }
    Ok(read)
}

fn state_read(topic: &str, number: i32, node: NodeRead) -> Result<StateReading, StoreError> {
    let Some((data, stat)) = found(node)? else { return Ok(StateReading::Missing) };
    let path = path::partition_state(topic, number);
    let node = match PartitionState::decode(&path, &data) {
        Ok(node) => node,
        Err(error) => {
            error!(
                topic, partition = number, %error, cause = %error.source,
                "a partition's state cannot be read: it stays as it is, and no broker puts logs aside, \
                 until its node is mended or deleted"
            );
            return Ok(StateReading::Unreadable);
        }
    };
    Ok(StateReading::Is(StateRead {
        leader: Some(BrokerId(node.leader)).filter(|leader| leader.0 >= 0),
        leader_epoch: LeaderEpoch(node.leader_epoch),
        isr: node.isr.into_iter().map(BrokerId).collect(),
        recovering: node.leader_recovery_state != 0,
        controller_epoch: node.controller_epoch,
        version: stat.version,
    }))
}

/// Reads which topics are marked for deletion.
pub(super) async fn deletions(store: &dyn Store) -> Result<BTreeSet<Arc<str>>, StoreError> {
    Ok(children(store, path::DELETE_TOPICS).await?.into_iter().map(Arc::from).collect())
}

/// Reads which partitions a tool wants to move.
pub(super) async fn reassignments(
    store: &dyn Store,
) -> Result<BTreeMap<TopicPartition, Vec<BrokerId>>, StoreError> {
    let path = path::REASSIGN_PARTITIONS;
    let Some((data, _)) = found(store.get(path).await)? else { return Ok(BTreeMap::new()) };
    let asked = understood(reassignment::decode(path, &data)).unwrap_or_default();
    let of_one = |one: reassignment::Reassigned| {
        let name = TopicPartition { topic: one.topic.into(), partition: one.partition };
        (name, one.replicas.into_iter().map(BrokerId).collect())
    };
    Ok(asked.into_iter().map(of_one).collect())
}

/// Reads which partitions a tool wants to be led by their first replicas; `None` if none asks.
pub(super) async fn preferred(
    store: &dyn Store,
) -> Result<Option<BTreeSet<TopicPartition>>, StoreError> {
    let path = path::PREFERRED_REPLICA_ELECTION;
    let Some((data, _)) = found(store.get(path).await)? else { return Ok(None) };
    let asked = understood(preferred_election::decode(path, &data)).unwrap_or_default();
    Ok(Some(asked.into_iter().map(named).collect()))
}

/// Reads which topics say themselves whether they elect uncleanly.
async fn unclean(store: &dyn Store) -> Result<BTreeMap<Arc<str>, bool>, StoreError> {
    let topics = children(store, path::CONFIG_TOPICS).await?;
    let mut unclean = BTreeMap::new();
    for topics in topics.chunks(MANY) {
        let nodes = store.get_many(&paths(topics, |topic| path::topic_config(topic))).await?;
        for (topic, node) in topics.iter().zip(nodes) {
            let Some((data, _)) = found(node)? else { continue };
            let said = says_unclean(topic, &data);
            unclean.extend(said.map(|said| (Arc::from(topic.as_str()), said)));
        }
    }
    Ok(unclean)
}

/// Reads whether a topic elects uncleanly, if it says so.
pub(super) async fn unclean_of(store: &dyn Store, topic: &str) -> Result<Option<bool>, StoreError> {
    let node = found(store.get(&path::topic_config(topic)).await)?;
    Ok(node.and_then(|(data, _)| says_unclean(topic, &data)))
}

/// What a topic says itself. Of one whose settings cannot be understood, nothing may be lost.
fn says_unclean(topic: &str, data: &[u8]) -> Option<bool> {
    match understood(Config::decode(&path::topic_config(topic), data)) {
        Some(node) => node.config.get(UNCLEAN).map(|said| said.parse().unwrap_or(false)),
        None => Some(false),
    }
}

/// Reads which partitions' in-sync replicas were changed by their leaders.
pub(super) async fn isr_changes(store: &dyn Store) -> Result<Notified<TopicPartition>, StoreError> {
    let mut notified = Notified { paths: Vec::new(), about: BTreeSet::new() };
    for (path, data) in notifications(store, path::ISR_CHANGES).await? {
        let partitions = understood(isr_change::decode(&path, &data)).unwrap_or_default();
        notified.about.extend(partitions.into_iter().map(named));
        notified.paths.push(path.into());
    }
    Ok(notified)
}

/// Reads which brokers lost a log directory.
pub(super) async fn log_dirs(store: &dyn Store) -> Result<Notified<BrokerId>, StoreError> {
    let mut notified = Notified { paths: Vec::new(), about: BTreeSet::new() };
    for (path, data) in notifications(store, path::LOG_DIR_EVENTS).await? {
        let event = understood(LogDirEvent::decode(&path, &data));
        notified.about.extend(event.map(|event| BrokerId(event.broker)));
        notified.paths.push(path.into());
    }
    Ok(notified)
}

async fn notifications(
    store: &dyn Store,
    parent: &str,
) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let children = children(store, parent).await?;
    let paths = paths(&children, |name| format!("{parent}/{name}"));
    let nodes = store.get_many(&paths).await?;
    let mut read = Vec::with_capacity(paths.len());
    for (path, node) in paths.into_iter().zip(nodes) {
        read.extend(found(node)?.map(|(data, _)| (path, data)));
    }
    Ok(read)
}

/// Reads which producer ids were handed out. Of a node that cannot be understood all were: none may
/// be given out twice. One that somebody has deleted is begun anew.
pub(super) async fn producer_ids(store: &dyn Store) -> Result<ProducerIdsRead, StoreError> {
    let path = path::PRODUCER_ID_BLOCK;
    let (data, stat) = loop {
        match store.get(path).await {
            Err(StoreError::NoNode { .. }) => make_again(store, path).await?,
            answered => break answered?,
        }
    };
    let next = match understood(ProducerIdBlock::decode(path, &data)) {
        Some(last) => last.map_or(0, |last| last.ids.end),
        None => i64::MAX,
    };
    Ok(ProducerIdsRead { next, version: stat.version })
}

/// Reads what is below a node that every cluster has; nothing is below one that somebody has deleted, and
/// which is made again, so that others can ask there.
async fn children(store: &dyn Store, parent: &str) -> Result<Vec<String>, StoreError> {
    match store.children(parent).await {
        Err(StoreError::NoNode { .. }) => {
            make_again(store, parent).await?;
            Ok(Vec::new())
        }
        answered => answered,
    }
}

async fn make_again(store: &dyn Store, path: &str) -> Result<(), StoreError> {
    warn!(path, "a node that every cluster has was deleted: it is made again, empty");
    ensure_with_parents(store, path).await
}

fn named(name: PartitionName) -> TopicPartition {
    TopicPartition { topic: name.topic.into(), partition: name.partition }
}

fn paths<T>(of: &[T], path: impl Fn(&T) -> String) -> Vec<String> {
    of.iter().map(path).collect()
}

/// A node that does not exist is no failure.
fn found<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::NoNode { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn understood<T>(node: Result<T, NodeError>) -> Option<T> {
    node.inspect_err(|error| warn!(%error, cause = %error.source, "node ignored")).ok()
}

/// Makes a topic id that is none of Kafka's reserved ones.
pub(crate) fn fresh_id() -> Uuid {
    Uuid::from_bytes(uuid::Uuid::new_v4().into_bytes())
}

#[cfg(test)]
mod tests {
    use broker_zookeeper::embedded::{EmbeddedStore, EmbeddedTree};
    use broker_zookeeper::store::{CreateMode, Op};

    use super::*;
    use crate::controller::membership::{ensure, ensure_paths};

    const NODE: &[u8] =
        br#"{"version":5,"endpoints":[],"jmx_port":-1,"host":null,"port":-1,"timestamp":"1"}"#;

    /// Registers broker `id` in this session, whoever has the place, and says of which session its list is.
    async fn register(store: &EmbeddedStore, id: i32, session: Option<i64>) {
        let (place, standing) = (path::broker_id(id), path::standing(id));
        let session = session.map(|id| format!(r#""session":{id},"#)).unwrap_or_default();
        let list = format!(r#"{{"version":1,{session}"unproven":{{"t":[0]}}}}"#).into_bytes();
        let delete = |path: &str| Op::Delete { path: path.to_owned(), version: None };
        let create = |path: &str, data: &[u8], mode| Op::Create {
            path: path.to_owned(),
            data: data.to_owned(),
            mode,
        };
        let mut ops = Vec::new();
        for path in [&place, &standing] {
            ops.extend(store.exists(path).await.unwrap().map(|_| delete(path)));
        }
        ops.push(create(&place, NODE, CreateMode::Ephemeral));
        ops.push(create(&standing, &list, CreateMode::Persistent));
        store.multi(ops).await.unwrap();
    }

    async fn tree() -> (EmbeddedTree, EmbeddedStore) {
        let tree = EmbeddedTree::in_memory();
        let look = tree.session().await;
        ensure_paths(&look).await.unwrap();
        for parent in [path::parent_of(path::STANDING), path::STANDING] {
            ensure(&look, parent, b"").await.unwrap();
        }
        (tree, look)
    }

    /// A broker of Kafka that took over an id of ours says nothing of what it has, and what was said of the one
    /// before it is not about it.
    #[tokio::test]
    async fn what_was_said_in_another_registration_is_not_believed() {
        let (tree, look) = tree().await;
        let own = tree.session().await;
        let session = own.session_id();
        for (id, said, counts) in
            [(1, Some(session), true), (2, None, true), (3, Some(session + 1), false)]
        {
            register(&own, id, said).await;
            let read = brokers(&look).await.unwrap();
            assert_eq!(!read[&BrokerId(id)].unproven.is_empty(), counts, "{said:?}");
        }
    }

    /// A broker that registers anew while it is read has said what it says.
    #[tokio::test]
    async fn a_list_is_read_with_its_registration() {
        let (tree, look) = tree().await;
        let sessions = [tree.session().await, tree.session().await];
        let is_over = std::cell::Cell::new(false);
        let registers = async {
            for store in sessions.iter().cycle().take(300) {
                register(store, 1, Some(store.session_id())).await;
            }
            is_over.set(true);
        };
        let reads = async {
            while !is_over.get() {
                let read = brokers(&look).await.unwrap();
                assert!(read.values().all(|broker| !broker.unproven.is_empty()));
            }
        };
        tokio::join!(registers, reads);
    }

    /// What is spoilt is taken for the worst: all of the broker's replicas may lack something, and the topic
    /// may lose nothing.
    #[tokio::test]
    async fn nothing_is_lost_by_what_cannot_be_read() {
        let store = EmbeddedTree::in_memory().session().await;
        let host = r#"{"version":5,"host":"h","port":9092,"jmx_port":-1,"timestamp":"0","endpoints":["PLAINTEXT://h:9092"]}"#;
        let topic = r#"{"version":2,"partitions":{"0":[1,2],"1":[2]},"adding_replicas":{},"removing_replicas":{}}"#;
        let nodes = [
            (path::broker_id(1), host),
            (path::standing(1), "{"),
            (path::topic("t"), topic),
            (path::topic_config("t"), "{"),
            // Nobody may decide by an ISR that is empty.
            (
                path::partition_state("t", 1),
                r#"{"controller_epoch":1,"leader":-1,"version":1,"leader_epoch":3,"isr":[]}"#,
            ),
        ];
        for (path, data) in &nodes {
            for parent in path::parents(path).filter(|parent| !parent.is_empty()) {
                let _ = store.create(parent, b"", CreateMode::Persistent).await;
            }
            store.create(path, data.as_bytes(), CreateMode::Persistent).await.unwrap();
        }
        let all = BTreeSet::from([TopicPartition { topic: "t".into(), partition: 0 }]);
        assert_eq!(*brokers(&store).await.unwrap()[&BrokerId(1)].unproven, all);
        let topics = topics(&store, &BTreeSet::from(["t".into()])).await.unwrap();
        assert_eq!(topics.read[0].unreadable, BTreeSet::from([1]));
        assert_eq!(unclean_of(&store, "t").await.unwrap(), Some(false));
        assert_eq!(unclean(&store).await.unwrap(), BTreeMap::from([("t".into(), false)]));
    }
}
