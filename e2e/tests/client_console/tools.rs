//! The tools of each release: their classes, what they are told differently, and what they lack.

use e2e::verdict::Lacks;

/// The classes of one release's tools; a class that is missing is a tool that is.
pub(crate) struct Tools {
    pub(crate) version: &'static str,
    pub(crate) producer: &'static str,
    /// The producer's option for the broker's address.
    pub(crate) producer_broker: &'static str,
    pub(crate) consumer: Option<&'static str>,
    pub(crate) consumer_options: &'static [&'static str],
    /// Reads one partition from an offset; without it the consumer does.
    pub(crate) partition_reader: Option<&'static str>,
    pub(crate) offsets: &'static str,
    /// The option of `offsets` for the broker's address.
    pub(crate) offsets_broker: &'static str,
    pub(crate) groups: Option<&'static str>,
    pub(crate) groups_options: &'static [&'static str],
    pub(crate) topics: Option<&'static str>,
    pub(crate) configs: Option<&'static str>,
    pub(crate) delete_records: Option<&'static str>,
    pub(crate) log_dirs: Option<&'static str>,
    pub(crate) transactions: Option<&'static str>,
    pub(crate) versions: Option<&'static str>,
    pub(crate) codecs: &'static [&'static str],
    /// Operations for which a tool of earlier releases has got an option or a setting.
    pub(crate) options: &'static [&'static str],
    pub(crate) lacks: &'static [Lacks],
}

/// Every release, oldest first.
pub(crate) const ALL: [&Tools; 8] = [&V0_8, &V0_9, &V0_10, &V0_11, &V1, &V2, &V3, &V4];

pub(crate) const CODECS: &[&str] = &["none", "gzip", "snappy", "lz4", "zstd"];
const OLD_CODECS: &[&str] = &["none", "gzip", "snappy", "lz4"];
const NEW_CONSUMER: &[&str] = &["--new-consumer"];

const BEFORE_3_0: Lacks =
    Lacks { why: "kafka-transactions came with 3.0", operations: &["describe_producers"] };
const BEFORE_2_4: Lacks =
    Lacks { why: "--delete-offsets came with 2.4", operations: &["delete_offsets"] };
const BEFORE_2_3: Lacks =
    Lacks { why: "static members came with 2.3", operations: &["static_member"] };
const BEFORE_2_2: Lacks = Lacks {
    why: "kafka-topics and kafka-configs reach topics through ZooKeeper alone",
    operations: &["describe_configs", "alter_configs", "create_partitions", "delete_topic"],
};
const BEFORE_2_1: Lacks = Lacks { why: "zstd came with 2.1", operations: &["produce_zstd"] };
const BEFORE_1_1: Lacks =
    Lacks { why: "kafka-consumer-groups deletes from 1.1 on", operations: &["delete_group"] };
const BEFORE_1_0: Lacks = Lacks { why: "kafka-log-dirs came with 1.0", operations: &["log_dirs"] };
const BEFORE_0_11: Lacks = Lacks {
    why: "idempotence, kafka-delete-records and --reset-offsets came with 0.11",
    operations: &["produce_idempotent", "delete_records", "reset_offsets", "consume_timestamp"],
};
const BEFORE_0_9: Lacks = Lacks {
    why: "the consumer of groups and the tools for them need ZooKeeper",
    operations: &[
        "group_rebalance",
        "commit",
        "resume",
        "resume_after_restart",
        "list_groups",
        "describe_group",
    ],
};

pub(crate) const V0_8: Tools = Tools {
    version: "0.8.2.2",
    producer: "kafka.tools.ConsoleProducer",
    producer_broker: "--broker-list",
    consumer: None,
    consumer_options: &[],
    partition_reader: Some("kafka.tools.SimpleConsumerShell"),
    offsets: "kafka.tools.GetOffsetShell",
    offsets_broker: "--broker-list",
    groups: None,
    groups_options: &[],
    topics: None,
    configs: None,
    delete_records: None,
    log_dirs: None,
    transactions: None,
    versions: None,
    codecs: OLD_CODECS,
    options: &[],
    lacks: &[
        BEFORE_3_0,
        BEFORE_2_4,
        BEFORE_2_3,
        BEFORE_2_2,
        BEFORE_2_1,
        BEFORE_1_1,
        BEFORE_1_0,
        BEFORE_0_11,
        BEFORE_0_9,
    ],
};
pub(crate) const V0_9: Tools = Tools {
    version: "0.9.0.1",
    consumer: Some("kafka.tools.ConsoleConsumer"),
    consumer_options: NEW_CONSUMER,
    groups: Some("kafka.admin.ConsumerGroupCommand"),
    groups_options: NEW_CONSUMER,
    lacks: &[
        BEFORE_3_0,
        BEFORE_2_4,
        BEFORE_2_3,
        BEFORE_2_2,
        BEFORE_2_1,
        BEFORE_1_1,
        BEFORE_1_0,
        BEFORE_0_11,
    ],
    ..V0_8
};
pub(crate) const V0_10: Tools = Tools {
    version: "0.10.2.2",
    partition_reader: None,
    versions: Some("kafka.admin.BrokerApiVersionsCommand"),
    ..V0_9
};
pub(crate) const V0_11: Tools = Tools {
    version: "0.11.0.3",
    groups_options: &[],
    consumer_options: &[],
    delete_records: Some("kafka.admin.DeleteRecordsCommand"),
    options: &["produce_idempotent", "reset_offsets"],
    lacks: &[BEFORE_3_0, BEFORE_2_4, BEFORE_2_3, BEFORE_2_2, BEFORE_2_1, BEFORE_1_1, BEFORE_1_0],
    ..V0_10
};
pub(crate) const V1: Tools = Tools {
    version: "1.1.1",
    options: &["produce_idempotent", "reset_offsets", "delete_group"],
    log_dirs: Some("kafka.admin.LogDirsCommand"),
    lacks: &[BEFORE_3_0, BEFORE_2_4, BEFORE_2_3, BEFORE_2_2, BEFORE_2_1],
    ..V0_11
};
pub(crate) const V2: Tools = Tools {
    version: "2.8.2",
    producer_broker: "--bootstrap-server",
    topics: Some("kafka.admin.TopicCommand"),
    configs: Some("kafka.admin.ConfigCommand"),
    options: &[
        "produce_idempotent",
        "reset_offsets",
        "delete_group",
        "static_member",
        "delete_offsets",
    ],
    codecs: CODECS,
    lacks: &[BEFORE_3_0],
    ..V1
};
pub(crate) const V3: Tools = Tools {
    version: "3.9.2",
    consumer: Some("org.apache.kafka.tools.consumer.ConsoleConsumer"),
    offsets: "org.apache.kafka.tools.GetOffsetShell",
    offsets_broker: "--bootstrap-server",
    groups: Some("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"),
    topics: Some("org.apache.kafka.tools.TopicCommand"),
    delete_records: Some("org.apache.kafka.tools.DeleteRecordsCommand"),
    log_dirs: Some("org.apache.kafka.tools.LogDirsCommand"),
    transactions: Some("org.apache.kafka.tools.TransactionsCommand"),
    lacks: &[],
    ..V2
};
pub(crate) const V4: Tools = Tools {
    version: "4.3.1",
    producer: "org.apache.kafka.tools.ConsoleProducer",
    versions: Some("org.apache.kafka.tools.BrokerApiVersionsCommand"),
    ..V3
};

impl Tools {
    /// The class that does `operation`, if it has the option for it.
    pub(crate) fn with_option(
        &self,
        class: Option<&'static str>,
        operation: &str,
    ) -> Option<&'static str> {
        class.filter(|_| self.options.contains(&operation))
    }
}
