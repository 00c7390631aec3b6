//! The APIs that this broker speaks, in which versions, and which of them it serves.
//!
//! This table is the truth of `ApiVersions` and of every decoder: a version outside it is refused
//! before a byte of the body is read. Kafka 4 ends what Kafka 3.9 began at version 0; the ranges
//! here are the union. A row that says `unserved` has its messages, for a broker that sends them,
//! and is neither named in `ApiVersions` nor answered: whoever writes its handler deletes the word.
//!
//! Source: the message definitions of Kafka 3.9 and 4.2.

use std::ops::RangeInclusive;

macro_rules! api_keys {
    ($(
        $name:ident = $key:literal, $versions:expr
        $(, flexible $flexible:literal..)? $(=> $unserved:ident)?;
    )*) => {
        /// One of the APIs that this broker speaks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {$(
            #[doc = concat!("Key ", $key, ", versions `", stringify!($versions), "`.")]
            $name = $key,
        )*}

        impl ApiKey {
            /// Every API spoken, by ascending key.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Finds an API by its key; `None` if it is not spoken.
            pub const fn from_i16(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Whether a request of it is answered, and `ApiVersions` names it.
            pub const fn is_served(self) -> bool {
                match self {
                    $(Self::$name => api_keys!(@served $($unserved)?),)*
                }
            }

            /// The versions spoken, both ends included.
            pub const fn versions(self) -> RangeInclusive<i16> {
                match self {
                    $(Self::$name => $versions,)*
                }
            }

            /// The first version with compact lengths and tagged fields, if any has them.
            pub const fn flexible_from(self) -> Option<i16> {
                match self {
                    $(Self::$name => api_keys!(@flexible $($flexible)?),)*
                }
            }

            /// Its name as Kafka writes it, such as `ListOffsets`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
    (@flexible $version:literal) => { Some($version) };
    (@flexible) => { None };
    (@served unserved) => { false };
    (@served) => { true };
}

api_keys! {
    Produce = 0, 0..=13, flexible 9..;
    Fetch = 1, 0..=18, flexible 12..;
    ListOffsets = 2, 0..=11, flexible 6..;
    Metadata = 3, 0..=13, flexible 9..;
    LeaderAndIsr = 4, 0..=7, flexible 4..;
    StopReplica = 5, 0..=4, flexible 2..;
    UpdateMetadata = 6, 0..=8, flexible 6..;
    ControlledShutdown = 7, 0..=3, flexible 3..;
    OffsetCommit = 8, 0..=10, flexible 8..;
    OffsetFetch = 9, 0..=10, flexible 6..;
    FindCoordinator = 10, 0..=6, flexible 3..;
    JoinGroup = 11, 0..=9, flexible 6..;
    Heartbeat = 12, 0..=4, flexible 4..;
    LeaveGroup = 13, 0..=5, flexible 4..;
    SyncGroup = 14, 0..=5, flexible 4..;
    DescribeGroups = 15, 0..=6, flexible 5..;
    ListGroups = 16, 0..=5, flexible 3..;
    ApiVersions = 18, 0..=4, flexible 3..;
    CreateTopics = 19, 0..=7, flexible 5..;
    DeleteTopics = 20, 0..=6, flexible 4..;
    DeleteRecords = 21, 0..=2, flexible 2..;
    InitProducerId = 22, 0..=5, flexible 2..;
    OffsetForLeaderEpoch = 23, 0..=4, flexible 4..;
    DescribeConfigs = 32, 0..=4, flexible 4..;
    AlterConfigs = 33, 0..=2, flexible 2..;
    AlterReplicaLogDirs = 34, 0..=2, flexible 2..;
    DescribeLogDirs = 35, 0..=4, flexible 2..;
    CreatePartitions = 37, 0..=3, flexible 2..;
    DeleteGroups = 42, 0..=2, flexible 2..;
    ElectLeaders = 43, 0..=2, flexible 2..;
    IncrementalAlterConfigs = 44, 0..=1, flexible 1..;
    AlterPartitionReassignments = 45, 0..=1, flexible 0..;
    ListPartitionReassignments = 46, 0..=0, flexible 0..;
    OffsetDelete = 47, 0..=0;
    AlterPartition = 56, 0..=3, flexible 0..;
    DescribeCluster = 60, 0..=2, flexible 0..;
    DescribeProducers = 61, 0..=0, flexible 0..;
    AllocateProducerIds = 67, 0..=0, flexible 0..;
    DescribeTopicPartitions = 75, 0..=0, flexible 0..;
}

impl ApiKey {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether `version`, spoken or not, has compact lengths and tagged fields.
    pub fn is_flexible(self, version: i16) -> bool {
        self.flexible_from().is_some_and(|first| version >= first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_is_found_by_its_key_and_knows_its_first_version() {
        assert!(ApiKey::ALL.is_sorted());
        for api in ApiKey::ALL {
            assert_eq!(ApiKey::from_i16(api.code()), Some(*api));
            assert_eq!(*api.versions().start(), 0, "{}", api.name());
        }
        assert_eq!(ApiKey::from_i16(-1), None);
        // Envelope, which a cluster on ZooKeeper does not use.
        assert_eq!(ApiKey::from_i16(58), None);
    }
}
