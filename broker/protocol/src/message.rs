//! The requests and responses that this broker speaks, one file an API.
//!
//! A file is a table: each row gives a field's name, type, default where it is not zero, the
//! versions that have it, the versions in which it may be null and its tag.
//! `table::message!` makes a struct and both directions of the codec of it. One struct serves all
//! versions: a field that the version lacks is left at its default on the way in and dropped on the
//! way out.
//!
//! Names are those of Kafka's message definitions, fields in snake case.
//! Source: the message definitions of Kafka 3.9 (old versions) and 4.2 (new ones).

mod table;

pub mod allocate_producer_ids;
pub mod alter_configs;
pub mod alter_partition;
pub mod alter_partition_reassignments;
pub mod alter_replica_log_dirs;
pub mod api_versions;
pub mod controlled_shutdown;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
pub mod heartbeat;
pub mod incremental_alter_configs;
pub mod init_producer_id;
pub mod join_group;
pub mod leader_and_isr;
pub mod leave_group;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod stop_replica;
pub mod sync_group;
pub mod update_metadata;

pub use table::Message;
