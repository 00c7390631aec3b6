//! Offsets of a group: committed, read, deleted, expired.
//!
//! A commit is visible once its append is acknowledged, never before. Of two commits of one
//! partition the one that is later in the log wins, in whichever order they are acknowledged.
//!
//! Source: Kafka 3.9 `GroupCoordinator` (`validateOffsetCommit`, `handleDeleteOffsets`),
//! `GroupMetadata.removeExpiredOffsets`, KIP-211.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::topic_partition::TopicPartition;

use super::data::{CONSUMER, Group, GroupState, Kept};
use super::request::{Commit, CommittedOffset, FetchedOffset, Identity, Reply, Token};
use super::turn::{AppendId, Continuation, Turn};
use crate::group::record::Entry;

impl Group {
    /// Handles a commit; partitions whose metadata is too long fail alone.
    pub(super) fn commit(&mut self, commit: Commit, token: Token, turn: &mut Turn<'_>) {
        if let Err(error) = self.check_commit(&commit.identity) {
            turn.reply(token, Reply::Codes(Err(error)));
            return;
        }
        if !self.members.is_empty() {
            self.extend_session(&commit.identity.member_id, turn);
        }
        let limit = turn.limits.offset_metadata_max_bytes;
        let mut codes = Vec::with_capacity(commit.offsets.len());
        let mut offsets = Vec::with_capacity(commit.offsets.len());
        for (partition, committed) in commit.offsets {
            if committed.metadata.len() > limit {
                codes.push(ErrorCode::OffsetMetadataTooLarge);
            } else {
                codes.push(ErrorCode::None);
                offsets.push((partition, committed));
            }
        }
        if offsets.is_empty() {
            turn.reply(token, Reply::Codes(Ok(codes)));
            return;
        }
        let entries = offsets.iter().map(|(partition, committed)| Entry::Offset {
            group_id: Arc::clone(&self.id),
            partition: partition.clone(),
            value: Some(committed.clone()),
        });
        let entries = entries.collect();
        let partitions: Vec<_> = offsets.iter().map(|(partition, _)| partition.clone()).collect();
        let then = Continuation::Commit { token, codes, offsets };
        let append = turn.append(&self.id, entries, then);
        for partition in partitions {
            self.pending_commits.insert(partition, append);
        }
    }

    /// Judges who commits: members of this generation, or anybody while there are none.
    fn check_commit(&self, identity: &Identity) -> Result<(), ErrorCode> {
        if self.state == GroupState::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let is_simple = identity.generation_id < 0;
        if is_simple && self.state == GroupState::Empty {
            return Ok(());
        }
        let is_anonymous = identity.member_id.is_empty() && identity.group_instance_id.is_none();
        if is_simple && is_anonymous {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_identity(identity)?;
        match self.state {
            // The member has the answer to its join, and must sync before it commits.
            GroupState::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            GroupState::Empty
            | GroupState::PreparingRebalance
            | GroupState::Stable
            | GroupState::Dead => Ok(()),
        }
    }

    /// A commit is written down, or could not be.
    pub(super) fn finish_commit(
        &mut self,
        append: AppendId,
        offsets: Vec<(TopicPartition, CommittedOffset)>,
        result: Result<(), ErrorCode>,
    ) {
        for (partition, committed) in offsets {
            // Deleted meanwhile: the tombstone is later in the log.
            let Some(newest) = self.pending_commits.get(&partition).copied() else { continue };
            if newest == append {
                self.pending_commits.remove(&partition);
            }
            let is_newer = self.offsets.get(&partition).is_none_or(|kept| kept.append < append);
            if result.is_ok() && is_newer {
                self.offsets.insert(partition, Kept { append, committed });
            }
        }
    }

    /// Reads offsets; `None` asks for all.
    pub(super) fn fetch_offsets(
        &self,
        partitions: Option<Vec<TopicPartition>>,
        require_stable: bool,
    ) -> Vec<FetchedOffset> {
        let partitions = partitions.unwrap_or_else(|| {
            let pending = self.pending_commits.keys().filter(|_| require_stable);
            let all: BTreeSet<_> = self.offsets.keys().chain(pending).cloned().collect();
            all.into_iter().collect()
        });
        let fetched = partitions.into_iter().map(|partition| {
            if require_stable && self.pending_commits.contains_key(&partition) {
                let error = ErrorCode::UnstableOffsetCommit;
                return FetchedOffset { partition, committed: None, error };
            }
            let committed = self.offsets.get(&partition).map(|kept| kept.committed.clone());
            FetchedOffset { partition, committed, error: ErrorCode::None }
        });
        fetched.collect()
    }

    /// Deletes offsets of topics that no member reads.
    pub(super) fn delete_offsets(
        &mut self,
        partitions: &[TopicPartition],
        token: Token,
        turn: &mut Turn<'_>,
    ) {
        let is_consumer = self.protocol_type.as_deref() == Some(CONSUMER);
        let refusal = match self.state {
            GroupState::Dead => Some(ErrorCode::GroupIdNotFound),
            GroupState::Empty => None,
            GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Stable => (!is_consumer).then_some(ErrorCode::NonEmptyGroup),
        };
        if let Some(error) = refusal {
            turn.reply(token, Reply::Codes(Err(error)));
            return;
        }
        let has_members = self.state != GroupState::Empty;
        let mut codes = Vec::with_capacity(partitions.len());
        let mut entries = Vec::new();
        for partition in partitions {
            if has_members && self.is_subscribed(&partition.topic) {
                codes.push(ErrorCode::GroupSubscribedToTopic);
                continue;
            }
            codes.push(ErrorCode::None);
            entries.extend(self.forget(partition));
        }
        if entries.is_empty() {
            turn.reply(token, Reply::Codes(Ok(codes)));
        } else {
            turn.append(&self.id, entries, Continuation::DeleteOffsets { token, codes });
        }
    }

    /// Deletes the group with its offsets, if it has no members.
    pub(super) fn delete(&mut self, token: Token, turn: &mut Turn<'_>) {
        match self.state {
            GroupState::Dead => turn.reply(token, Reply::Code(ErrorCode::GroupIdNotFound)),
            GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Stable => turn.reply(token, Reply::Code(ErrorCode::NonEmptyGroup)),
            GroupState::Empty => {
                self.transition_to(GroupState::Dead, turn.now);
                let kept: BTreeSet<_> =
                    self.offsets.keys().chain(self.pending_commits.keys()).cloned().collect();
                let mut entries: Vec<_> =
                    kept.iter().filter_map(|partition| self.forget(partition)).collect();
                entries.extend(self.tombstone());
                if entries.is_empty() {
                    turn.reply(token, Reply::Code(ErrorCode::None));
                } else {
                    turn.append(&self.id, entries, Continuation::DeleteGroup { token });
                }
            }
        }
    }

    /// Forgets what has expired, and the group itself once nothing is left of it.
    pub(super) fn expire_offsets(&mut self, turn: &mut Turn<'_>) {
        let expired: Vec<_> = self
            .offsets
            .iter()
            .filter(|(partition, kept)| self.is_expired(partition, &kept.committed, turn))
            .map(|(partition, _)| partition.clone())
            .collect();
        self.forget_all(&expired, turn);
    }

    /// Forgets the offsets of partitions that exist no more.
    pub(super) fn forget_topics(&mut self, topics: &BTreeSet<Arc<str>>, turn: &mut Turn<'_>) {
        let gone: Vec<_> = self
            .offsets
            .keys()
            .chain(self.pending_commits.keys())
            .filter(|partition| topics.contains(&partition.topic))
            .cloned()
            .collect();
        self.forget_all(&gone, turn);
    }

    fn forget_all(&mut self, partitions: &[TopicPartition], turn: &mut Turn<'_>) {
        let mut entries: Vec<_> =
            partitions.iter().filter_map(|partition| self.forget(partition)).collect();
        let is_unused = self.state == GroupState::Empty
            && self.offsets.is_empty()
            && self.pending_commits.is_empty()
            && self.pending_members.is_empty();
        if is_unused {
            self.transition_to(GroupState::Dead, turn.now);
            entries.extend(self.tombstone());
        }
        if !entries.is_empty() {
            turn.append(&self.id, entries, Continuation::Nothing);
        }
    }

    fn is_expired(
        &self,
        partition: &TopicPartition,
        committed: &CommittedOffset,
        turn: &Turn<'_>,
    ) -> bool {
        if self.pending_commits.contains_key(partition) {
            return false;
        }
        // A group without members ages as a whole, from when the last one left; one that never
        // had any, and topics that nobody reads any more, age by each commit.
        let since = match (&self.protocol_type, self.state) {
            (Some(_), GroupState::Empty) => {
                self.state_timestamp.map_or(committed.commit_timestamp, |timestamp| timestamp.0)
            }
            (Some(kind), GroupState::Stable)
                if **kind == *CONSUMER && !self.is_subscribed(&partition.topic) =>
            {
                committed.commit_timestamp
            }
            (None, _) => committed.commit_timestamp,
            (Some(_), _) => return false,
        };
        let now = turn.now.wall.0;
        match committed.expire_timestamp {
            Some(expire_timestamp) => now >= expire_timestamp,
            None => now.saturating_sub(since) >= turn.limits.offsets_retention_ms,
        }
    }

    /// Drops an offset; returns the tombstone that it needs, if it was ever there.
    fn forget(&mut self, partition: &TopicPartition) -> Option<Entry> {
        let was_kept = self.offsets.remove(partition).is_some();
        let was_pending = self.pending_commits.remove(partition).is_some();
        (was_kept || was_pending).then(|| Entry::Offset {
            group_id: Arc::clone(&self.id),
            partition: partition.clone(),
            value: None,
        })
    }

    /// A group that never had members was never written down.
    fn tombstone(&self) -> Option<Entry> {
        let group_id = Arc::clone(&self.id);
        (self.generation_id > 0).then_some(Entry::Group { group_id, value: None })
    }
}
