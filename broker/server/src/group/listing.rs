//! What is told of groups to those who look at all of them: ListGroups, and the metrics.

use std::sync::Arc;

use broker_protocol::topic_partition::TopicPartition;

use super::state::GroupState;
use super::state::request::CommittedOffset;

/// What is known of one group, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFacts {
    /// Its id.
    pub group_id: Arc<str>,
    /// Where it is in its life.
    pub state: GroupState,
    /// Its generation.
    pub generation_id: i32,
    /// Its kind, if it has had members.
    pub protocol_type: Option<Arc<str>>,
    /// The number of its members.
    pub members_count: usize,
    /// Its visible offsets, if they were asked for.
    pub offsets: Vec<(TopicPartition, CommittedOffset)>,
}

/// All groups, at about one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The groups, by id.
    pub groups: Vec<GroupFacts>,
    /// Whether some are missing because their partition is still being read.
    pub is_loading: bool,
}
