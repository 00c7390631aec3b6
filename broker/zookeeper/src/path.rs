//! Where things are in the coordination tree. Source: Kafka 3.9 `ZkData`.

/// The cluster's id.
pub const CLUSTER_ID: &str = "/cluster/id";
/// One ephemeral child a live broker.
pub const BROKER_IDS: &str = "/brokers/ids";
/// One child a topic.
pub const TOPICS: &str = "/brokers/topics";
/// The active controller, ephemeral.
pub const CONTROLLER: &str = "/controller";
/// How many controllers there have been, in decimal text.
pub const CONTROLLER_EPOCH: &str = "/controller_epoch";
/// One child a topic that is to be deleted.
pub const DELETE_TOPICS: &str = "/admin/delete_topics";
/// Replicas that an old tool wants elsewhere; there while it is to be done.
pub const REASSIGN_PARTITIONS: &str = "/admin/reassign_partitions";
/// Partitions whose preferred replica an old tool wants to lead.
pub const PREFERRED_REPLICA_ELECTION: &str = "/admin/preferred_replica_election";
/// One sequential child a batch of states that leaders wrote themselves.
pub const ISR_CHANGES: &str = "/isr_change_notification";
/// One sequential child a log directory that failed.
pub const LOG_DIR_EVENTS: &str = "/log_dir_event_notification";
/// Its version gives ids to brokers that have none.
pub const BROKER_SEQUENCE: &str = "/brokers/seqid";
/// There once somebody has begun to move the cluster to KRaft.
pub const MIGRATION: &str = "/migration";
/// One child a topic that has configuration of its own.
pub const CONFIG_TOPICS: &str = "/config/topics";
/// One child a broker that has dynamic configuration, and [`DEFAULT_ENTITY`].
pub const CONFIG_BROKERS: &str = "/config/brokers";
/// One sequential child a change of configuration.
pub const CONFIG_CHANGES: &str = "/config/changes";
/// The last block of producer ids that was handed out.
pub const PRODUCER_ID_BLOCK: &str = "/latest_producer_id_block";
/// The finalized features.
pub const FEATURE: &str = "/feature";
/// There while topics are taken over from log directories that came without a tree: ours, not Kafka's.
pub const ADOPTION: &str = "/ottla_adoption";
/// There while another tree is moved into this one, with the id of its cluster: ours, not Kafka's.
pub const MOVE: &str = "/ottla_move";
/// One child a broker that has unproven replicas: ours, not Kafka's. Its parents are made on need.
pub const STANDING: &str = "/ottla/standing";
/// The newest operator that has changed something: ours, not Kafka's. Its parents are made on need.
pub const OPERATOR: &str = "/ottla/operator";
/// Brokers that get no new replicas: ours, not Kafka's. It is there before the first is cordoned.
pub const CORDONED: &str = "/ottla/cordoned";
/// Settings that were set for the sake of moves: ours, not Kafka's. Its parents are made on need.
pub const THROTTLES: &str = "/ottla/throttles";
/// The name that stands for all entities of a kind.
pub const DEFAULT_ENTITY: &str = "<default>";

/// The nodes that a broker makes when it starts, parents first.
pub const PERSISTENT: [&str; 18] = [
    "/admin",
    "/admin/delete_topics",
    "/brokers",
    "/brokers/ids",
    "/brokers/seqid",
    "/brokers/topics",
    "/cluster",
    "/config",
    "/config/brokers",
    "/config/changes",
    "/config/clients",
    "/config/ips",
    "/config/topics",
    "/config/users",
    "/consumers",
    "/isr_change_notification",
    "/latest_producer_id_block",
    "/log_dir_event_notification",
];

/// Returns the registration of broker `id`.
pub fn broker_id(id: i32) -> String {
    format!("{BROKER_IDS}/{id}")
}

/// Returns the assignment of `topic`.
pub fn topic(topic: &str) -> String {
    format!("{TOPICS}/{topic}")
}

/// Returns the parent of a topic's partitions.
pub fn partitions(topic: &str) -> String {
    format!("{TOPICS}/{topic}/partitions")
}

/// Returns the parent of a partition's state.
pub fn partition(topic: &str, partition: i32) -> String {
    format!("{TOPICS}/{topic}/partitions/{partition}")
}

/// Returns the state of a partition.
pub fn partition_state(topic: &str, partition: i32) -> String {
    format!("{TOPICS}/{topic}/partitions/{partition}/state")
}

/// Returns the marker that asks for `topic` to be deleted.
pub fn delete_topic(topic: &str) -> String {
    format!("{DELETE_TOPICS}/{topic}")
}

/// Returns the configuration of `topic`.
pub fn topic_config(topic: &str) -> String {
    format!("{CONFIG_TOPICS}/{topic}")
}

/// Returns the dynamic configuration of broker `id`; `None` is that of all brokers.
pub fn broker_config(id: Option<i32>) -> String {
    match id {
        Some(id) => format!("{CONFIG_BROKERS}/{id}"),
        None => format!("{CONFIG_BROKERS}/{DEFAULT_ENTITY}"),
    }
}

/// Returns the prefix of the sequential nodes that announce changes of configuration.
pub fn config_change() -> String {
    format!("{CONFIG_CHANGES}/config_change_")
}

/// Returns the prefix of the sequential nodes that announce states that leaders wrote.
pub fn isr_change() -> String {
    format!("{ISR_CHANGES}/isr_change_")
}

/// Returns the prefix of the sequential nodes that announce failed log directories.
pub fn log_dir_event() -> String {
    format!("{LOG_DIR_EVENTS}/log_dir_event_")
}

/// Returns which replicas of broker `id` are unproven.
pub fn standing(id: i32) -> String {
    format!("{STANDING}/{id}")
}

/// Returns where old consumers, and OffsetCommit v0, keep an offset.
pub fn consumer_offset(group: &str, topic: &str, partition: i32) -> String {
    format!("/consumers/{group}/offsets/{topic}/{partition}")
}

/// Returns the path of the node above `path`.
pub fn parent_of(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(slash) => &path[..slash],
    }
}

/// Returns the parents of `path` without the root, the highest first.
pub fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every parent comes before its children, so that they can be made in this order.
    #[test]
    fn parents_come_first() {
        let of_offset: Vec<_> = parents("/consumers/g/offsets/t/0").collect();
        assert_eq!(
            of_offset,
            ["/consumers", "/consumers/g", "/consumers/g/offsets", "/consumers/g/offsets/t"]
        );
        for (at, path) in PERSISTENT.iter().enumerate() {
            for parent in parents(path) {
                assert!(PERSISTENT[..at].contains(&parent), "{parent} before {path}");
            }
        }
    }
}
