//! A group as it comes back from `__consumer_offsets`, and as it is shown to those who ask.
//!
//! Source: Kafka 3.9 `GroupMetadata.loadGroup`, `GroupCoordinator.onGroupLoaded`.

use std::sync::Arc;
use std::time::Duration;

use broker_protocol::quantity::TimestampMs;
use broker_protocol::topic_partition::TopicPartition;

use super::data::{Group, GroupState, Kept};
use super::member::Member;
use super::request::Protocol;
use super::request::{CommittedOffset, DescribedMember, Description};
use super::turn::{AppendId, Now, Turn};
use crate::group::record::{GroupValue, MemberValue};

/// What was found of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedGroup {
    /// Its id.
    pub group_id: Arc<str>,
    /// Its last generation, if it ever had one.
    pub value: Option<GroupValue>,
    /// Its offsets.
    pub offsets: Vec<(TopicPartition, CommittedOffset)>,
}

impl Group {
    /// Makes the group that was found; its members get a session timeout to show up.
    pub(super) fn load(loaded: LoadedGroup, now: Now) -> Self {
        let mut group = Self::new(loaded.group_id, now);
        group.state_timestamp = None;
        if let Some(value) = loaded.value {
            group.load_value(value, now);
        }
        let append = AppendId(0);
        group.offsets = loaded
            .offsets
            .into_iter()
            .map(|(partition, committed)| (partition, Kept { append, committed }))
            .collect();
        group
    }

    fn load_value(&mut self, value: GroupValue, now: Now) {
        self.generation_id = value.generation_id;
        self.protocol_name = value.protocol_name;
        self.state_timestamp =
            (value.state_timestamp >= 0).then_some(TimestampMs(value.state_timestamp));
        let protocol = self.protocol_name.clone().unwrap_or_else(|| Arc::from(""));
        for member in value.members {
            self.add(load_member(member, &protocol, now), &value.protocol_type);
        }
        let has_type = !value.protocol_type.is_empty();
        self.protocol_type = has_type.then_some(value.protocol_type);
        if !self.members.is_empty() {
            self.state = GroupState::Stable;
            // A leader that is no member would be waited for in vain.
            let leader = value.leader_id.filter(|id| self.members.contains_key(id));
            self.leader_id = leader.or_else(|| self.members.keys().next().cloned());
        }
        self.compute_subscribed_topics();
    }

    /// Lets a group that is larger than allowed by now find its size.
    pub(super) fn settle_after_load(&mut self, turn: &mut Turn<'_>) {
        if self.members.len() > turn.limits.max_size {
            self.maybe_prepare_rebalance(turn);
        }
    }

    /// Describes it; what members say is shown only while it is agreed on.
    pub(super) fn describe(&self) -> Description {
        let is_stable = self.state == GroupState::Stable;
        let protocol = self.protocol_name.clone().filter(|_| is_stable);
        let protocol_name = protocol.unwrap_or_else(|| Arc::from(""));
        let members = self.members.values().map(|member| DescribedMember {
            member_id: Arc::clone(&member.member_id),
            group_instance_id: member.group_instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            metadata: if is_stable { member.metadata(&protocol_name) } else { Arc::from([]) },
            assignment: if is_stable { Arc::clone(&member.assignment) } else { Arc::from([]) },
        });
        Description {
            state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| Arc::from("")),
            members: members.collect(),
            protocol_name,
        }
    }
}

fn load_member(value: MemberValue, protocol: &Arc<str>, now: Now) -> Member {
    let session_timeout = Duration::from_millis(value.session_timeout_ms.max(0) as u64);
    let rebalance_timeout = Duration::from_millis(value.rebalance_timeout_ms.max(0) as u64);
    Member {
        member_id: value.member_id,
        group_instance_id: value.group_instance_id,
        client_id: value.client_id,
        client_host: value.client_host,
        rebalance_timeout,
        session_timeout,
        protocols: vec![Protocol { name: Arc::clone(protocol), metadata: value.subscription }],
        assignment: value.assignment,
        awaiting_join: None,
        awaiting_sync: None,
        is_new: false,
        session_deadline: Some(now.monotonic + session_timeout),
    }
}
