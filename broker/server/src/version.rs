//! Which version a request to another broker is sent with, by `inter.broker.protocol.version`.
//!
//! Brokers do not negotiate these: each sender is told the oldest release in the cluster. The one
//! exception is `AlterPartition`, whose version the answer of the controller to `ApiVersions` bounds.
//! A receiver takes every version; what a broker of several may be told to send begins with 0.11.0
//! (`broker_config::broker`), the table with 0.8.0.
//!
//! Source: Kafka 3.9 `MetadataVersion`, `ControllerChannelManager`, `KafkaServer`.

use broker_config::broker::BrokerConfig;
use broker_config::release::Release;

/// The versions that one release speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    release: Release,
    pub(crate) leader_and_isr: i16,
    pub(crate) update_metadata: i16,
    pub(crate) stop_replica: i16,
    pub(crate) controlled_shutdown: i16,
    /// See [`Versions::fetch`].
    newest_fetch: i16,
    pub(crate) list_offsets: i16,
    /// `None`: the release truncates to the high watermark.
    pub(crate) offset_for_leader_epoch: Option<i16>,
}

impl Versions {
    /// What this broker sends.
    pub(crate) fn of_broker(config: &BrokerConfig) -> Self {
        Self::of(config.inter_broker_protocol_version)
    }

    /// What a broker of `release` understands, and everything older does not have to.
    pub(crate) fn of(release: Release) -> Self {
        Self {
            release,
            leader_and_isr: newest(release, &LEADER_AND_ISR),
            update_metadata: newest(release, &UPDATE_METADATA),
            stop_replica: newest(release, &STOP_REPLICA),
            controlled_shutdown: newest(release, &CONTROLLED_SHUTDOWN),
            newest_fetch: newest(release, &FETCH),
            list_offsets: newest(release, &LIST_OFFSETS),
            offset_for_leader_epoch: (release >= Release::V0_11_0_IV2)
                .then(|| newest(release, &OFFSET_FOR_LEADER_EPOCH)),
        }
    }

    /// Returns the version of the node `/feature`, where the release has one.
    pub(crate) fn feature_node(&self) -> Option<i32> {
        (self.release >= Release::V2_7_IV0)
            .then(|| if self.release >= Release::V3_3_IV0 { 2 } else { 1 })
    }

    /// Whether a leader that was elected unclean says so.
    pub(crate) fn leader_recovery(&self) -> bool {
        self.release >= Release::V3_2_IV0
    }

    /// The version of a follower's Fetch: from 13 on it names topics by id, so that every partition
    /// in it must have one.
    pub(crate) fn fetch(&self, all_have_topic_ids: bool) -> i16 {
        if all_have_topic_ids { self.newest_fetch } else { self.newest_fetch.min(FETCH_BY_NAME) }
    }

    /// Whether leaders ask the controller for other ISRs, and do not write them themselves.
    pub(crate) fn alter_partition(&self) -> bool {
        self.release >= Release::V2_7_IV2
    }

    /// The version of `AlterPartition` for a controller that takes up to `newest_there`: from 2 on
    /// it names topics by id.
    pub(crate) fn of_alter_partition(newest_there: i16, all_have_topic_ids: bool) -> i16 {
        let ours = if all_have_topic_ids { 3 } else { 1 };
        newest_there.min(ours)
    }
}

/// The last version of Fetch that names topics by name.
const FETCH_BY_NAME: i16 = 12;

/// From which release on which version is sent; before the first, version 0.
type Steps = [(Release, i16)];

const LEADER_AND_ISR: [(Release, i16); 7] = [
    (Release::V1_0_IV0, 1),
    (Release::V2_2_IV0, 2),
    (Release::V2_4_IV0, 3),
    (Release::V2_4_IV1, 4),
    (Release::V2_8_IV1, 5),
    (Release::V3_2_IV0, 6),
    (Release::V3_4_IV0, 7),
];

const UPDATE_METADATA: [(Release, i16); 8] = [
    (Release::V0_9_0, 1),
    (Release::V0_10_0_IV1, 2),
    (Release::V0_10_2_IV0, 3),
    (Release::V1_0_IV0, 4),
    (Release::V2_2_IV0, 5),
    (Release::V2_4_IV1, 6),
    (Release::V2_8_IV1, 7),
    (Release::V3_4_IV0, 8),
];

const STOP_REPLICA: [(Release, i16); 4] = [
    (Release::V2_2_IV0, 1),
    (Release::V2_4_IV1, 2),
    (Release::V2_6_IV0, 3),
    (Release::V3_4_IV0, 4),
];

const CONTROLLED_SHUTDOWN: [(Release, i16); 3] =
    [(Release::V0_9_0, 1), (Release::V2_2_IV0, 2), (Release::V2_4_IV1, 3)];

const FETCH: [(Release, i16); 15] = [
    (Release::V0_9_0, 1),
    (Release::V0_10_0_IV0, 2),
    (Release::V0_10_1_IV1, 3),
    (Release::V0_11_0_IV0, 4),
    (Release::V0_11_0_IV1, 5),
    (Release::V1_1_IV0, 7),
    (Release::V2_0_IV1, 8),
    (Release::V2_1_IV2, 10),
    (Release::V2_3_IV1, 11),
    (Release::V2_7_IV1, 12),
    (Release::V3_1_IV0, 13),
    (Release::V3_5_IV0, 14),
    (Release::V3_5_IV1, 15),
    (Release::V3_7_IV4, 16),
    (Release::V3_9_IV0, 17),
];

const LIST_OFFSETS: [(Release, i16); 9] = [
    (Release::V0_10_1_IV2, 1),
    (Release::V0_11_0_IV0, 2),
    (Release::V2_0_IV1, 3),
    (Release::V2_1_IV1, 4),
    (Release::V2_2_IV1, 5),
    (Release::V2_8_IV0, 6),
    (Release::V3_0_IV1, 7),
    (Release::V3_5_IV0, 8),
    (Release::V3_9_IV0, 9),
];

const OFFSET_FOR_LEADER_EPOCH: [(Release, i16); 4] = [
    (Release::V2_0_IV0, 1),
    (Release::V2_1_IV1, 2),
    (Release::V2_3_IV1, 3),
    (Release::V2_8_IV0, 4),
];

fn newest(release: Release, steps: &Steps) -> i16 {
    let reached = steps.iter().rev().find(|(first, _)| release >= *first);
    reached.map_or(0, |(_, version)| *version)
}

#[cfg(test)]
mod tests {
    use broker_protocol::api_key::ApiKey;

    use super::*;

    fn versions(release: &str) -> Versions {
        Versions::of(Release::parse(release).expect(release))
    }

    /// Pairs of a release and the version sent from there on.
    type Table = &'static [(&'static str, i16)];

    const LEADER_AND_ISR_SENT: Table = &[
        ("0.8.0", 0),
        ("0.11.0", 0),
        ("1.0", 1),
        ("2.1", 1),
        ("2.2-IV0", 2),
        ("2.3", 2),
        ("2.4-IV0", 3),
        ("2.4-IV1", 4),
        ("2.8-IV0", 4),
        ("2.8-IV1", 5),
        ("3.1", 5),
        ("3.2", 6),
        ("3.3", 6),
        ("3.4", 7),
        ("3.9", 7),
    ];

    const UPDATE_METADATA_SENT: Table = &[
        ("0.8.2", 0),
        ("0.9.0", 1),
        ("0.10.0-IV0", 1),
        ("0.10.0-IV1", 2),
        ("0.10.1", 2),
        ("0.10.2", 3),
        ("0.11.0", 3),
        ("1.0", 4),
        ("2.2-IV0", 5),
        ("2.4-IV0", 5),
        ("2.4-IV1", 6),
        ("2.8-IV0", 6),
        ("2.8-IV1", 7),
        ("3.3", 7),
        ("3.4", 8),
        ("3.9", 8),
    ];

    const STOP_REPLICA_SENT: Table = &[
        ("0.8.0", 0),
        ("2.1", 0),
        ("2.2-IV0", 1),
        ("2.4-IV0", 1),
        ("2.4-IV1", 2),
        ("2.5", 2),
        ("2.6", 3),
        ("3.3", 3),
        ("3.4", 4),
        ("3.9", 4),
    ];

    const CONTROLLED_SHUTDOWN_SENT: Table = &[
        ("0.8.2", 0),
        ("0.9.0", 1),
        ("2.1", 1),
        ("2.2-IV0", 2),
        ("2.4-IV0", 2),
        ("2.4-IV1", 3),
        ("3.9", 3),
    ];

    const FETCH_SENT: Table = &[
        ("0.8.2", 0),
        ("0.9.0", 1),
        ("0.10.0-IV0", 2),
        ("0.10.1-IV0", 2),
        ("0.10.1-IV1", 3),
        ("0.11.0-IV0", 4),
        ("0.11.0-IV1", 5),
        ("1.0", 5),
        ("1.1", 7),
        ("2.0-IV0", 7),
        ("2.0-IV1", 8),
        ("2.1-IV1", 8),
        ("2.1-IV2", 10),
        ("2.3-IV0", 10),
        ("2.3-IV1", 11),
        ("2.7-IV0", 11),
        ("2.7-IV1", 12),
        ("3.0", 12),
        ("3.1", 13),
        ("3.5-IV0", 14),
        ("3.5-IV1", 15),
        ("3.7-IV3", 15),
        ("3.7-IV4", 16),
        ("3.8", 16),
        ("3.9", 17),
    ];

    const LIST_OFFSETS_SENT: Table = &[
        ("0.10.1-IV1", 0),
        ("0.10.1-IV2", 1),
        ("0.11.0-IV0", 2),
        ("2.0-IV0", 2),
        ("2.0-IV1", 3),
        ("2.1-IV0", 3),
        ("2.1-IV1", 4),
        ("2.2-IV0", 4),
        ("2.2-IV1", 5),
        ("2.7", 5),
        ("2.8-IV0", 6),
        ("3.0-IV0", 6),
        ("3.0-IV1", 7),
        ("3.5-IV0", 8),
        ("3.8", 8),
        ("3.9", 9),
    ];

    const OFFSET_FOR_LEADER_EPOCH_SENT: Table = &[
        ("0.11.0-IV1", -1),
        ("0.11.0-IV2", 0),
        ("1.1", 0),
        ("2.0-IV0", 1),
        ("2.1-IV0", 1),
        ("2.1-IV1", 2),
        ("2.3-IV0", 2),
        ("2.3-IV1", 3),
        ("2.7", 3),
        ("2.8-IV0", 4),
        ("3.9", 4),
    ];

    /// Every release of the table, and the one before each step.
    #[test]
    fn each_request_has_the_version_of_the_release() {
        let cases: [(&str, fn(&Versions) -> i16, Table); 7] = [
            ("LeaderAndIsr", |v| v.leader_and_isr, LEADER_AND_ISR_SENT),
            ("UpdateMetadata", |v| v.update_metadata, UPDATE_METADATA_SENT),
            ("StopReplica", |v| v.stop_replica, STOP_REPLICA_SENT),
            ("ControlledShutdown", |v| v.controlled_shutdown, CONTROLLED_SHUTDOWN_SENT),
            ("Fetch", |v| v.fetch(true), FETCH_SENT),
            ("ListOffsets", |v| v.list_offsets, LIST_OFFSETS_SENT),
            (
                "OffsetForLeaderEpoch",
                |v| v.offset_for_leader_epoch.unwrap_or(-1),
                OFFSET_FOR_LEADER_EPOCH_SENT,
            ),
        ];
        for (name, version, table) in cases {
            for (release, expected) in table {
                assert_eq!(version(&versions(release)), *expected, "{name} at {release}");
            }
        }
    }

    #[test]
    fn what_a_release_does_begins_with_it() {
        let does = Versions::leader_recovery;
        assert!(!does(&versions("3.1")));
        assert!(does(&versions("3.2-IV0")) && does(&versions("3.9")));
    }

    #[test]
    fn a_topic_without_an_id_is_named() {
        assert_eq!(versions("3.9").fetch(false), 12);
        assert_eq!(versions("2.3").fetch(false), 11);
        assert_eq!(Versions::of_alter_partition(3, true), 3);
        assert_eq!(Versions::of_alter_partition(3, false), 1);
        assert_eq!(Versions::of_alter_partition(0, false), 0);
        assert_eq!(Versions::of_alter_partition(2, true), 2);
    }

    /// No release asks for what the codec cannot write, and a newer one never for less.
    #[test]
    fn every_release_speaks_versions_that_are_known() {
        let all = |v: &Versions| {
            [
                (ApiKey::LeaderAndIsr, v.leader_and_isr),
                (ApiKey::UpdateMetadata, v.update_metadata),
                (ApiKey::StopReplica, v.stop_replica),
                (ApiKey::ControlledShutdown, v.controlled_shutdown),
                (ApiKey::Fetch, v.fetch(true)),
                (ApiKey::ListOffsets, v.list_offsets),
                (ApiKey::OffsetForLeaderEpoch, v.offset_for_leader_epoch.unwrap_or(0)),
            ]
        };
        let mut before = Versions::of(Release::ALL[0]);
        for release in Release::ALL {
            let now = Versions::of(*release);
            for ((api, version), (_, earlier)) in all(&now).into_iter().zip(all(&before)) {
                assert!(api.versions().contains(&version), "{release}: {api:?} {version}");
                assert!(version >= earlier, "{release}: {api:?} {version}");
            }
            before = now;
        }
    }
}
