//! The classic group protocol as a pure function: an event in, effects out.
//!
//! A [`State`] holds groups of one owner. It decides who is a member, in which generation, and
//! which offsets are visible. It does not know of connections, logs or partitions of
//! `__consumer_offsets`: answers are named by tokens, appends by numbers, and time is handed in.
//! Nothing is answered on the strength of an append that has not been acknowledged.
//!
//! Timers are data: [`State::next_deadline`] says when [`Event::Tick`] is due.
//!
//! Reading path: `data` (a group), `join`, `rebalance`, `membership`, `offsets`, `load`.
//! Source: Kafka 3.9 `GroupCoordinator`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use broker_protocol::error_code::ErrorCode;

mod data;
mod join;
mod load;
mod member;
mod membership;
mod offsets;
mod rebalance;
pub mod request;
mod subscription;
mod turn;

pub use data::{Group, GroupState};
pub use load::LoadedGroup;
pub use member::Member;
pub use turn::{AppendId, Effect, Limits, Now};

use request::{FetchedOffset, Identity, Join, JoinReply, Reply, Request, SyncReply, Token};
use turn::{Appends, Continuation, Turn};

/// Something that happens to groups.
#[derive(Debug)]
pub enum Event {
    /// A client asks.
    Request {
        /// Names the answer.
        token: Token,
        /// The group that is asked.
        group_id: Arc<str>,
        /// What is asked.
        request: Request,
    },
    /// An append is acknowledged, or will never be.
    Appended {
        /// Which.
        id: AppendId,
        /// What the clients are told if it failed.
        result: Result<(), ErrorCode>,
    },
    /// [`State::next_deadline`] has passed.
    Tick,
    /// It is time to look for offsets that have expired.
    ExpireOffsets,
    /// Topics are gone, and their offsets with them.
    TopicsDeleted(BTreeSet<Arc<str>>),
    /// Groups have been read from the log.
    Loaded(Vec<LoadedGroup>),
    /// Groups are kept elsewhere from here on.
    Unloaded(BTreeSet<Arc<str>>),
    /// The limits have been changed.
    Limits(Limits),
}

/// The groups of one owner.
#[derive(Debug, Default)]
pub struct State {
    limits: Limits,
    groups: BTreeMap<Arc<str>, Group>,
    appends: Appends,
    /// Every group's next deadline.
    deadlines: BTreeSet<(Instant, Arc<str>)>,
    deadline_of: BTreeMap<Arc<str>, Instant>,
}

impl State {
    /// Makes a state without groups.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Returns all groups, by id.
    pub fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &Group)> {
        self.groups.iter()
    }

    /// Returns when [`Event::Tick`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Handles `event`; the effects are to be carried out in order.
    pub fn apply(&mut self, event: Event, now: Now) -> Vec<Effect> {
        match event {
            Event::Request { token, group_id, request } => {
                self.request(token, &group_id, request, now)
            }
            Event::Appended { id, result } => self.appended(id, result, now),
            Event::Tick => self.tick(now),
            Event::ExpireOffsets => self.on_all(now, Group::expire_offsets),
            Event::TopicsDeleted(topics) => {
                self.on_all(now, |group, turn| group.forget_topics(&topics, turn))
            }
            Event::Loaded(groups) => self.load(groups, now),
            Event::Unloaded(group_ids) => self.unload(&group_ids),
            Event::Limits(limits) => {
                self.limits = limits;
                Vec::new()
            }
        }
    }

    /// Runs `step` on a group that exists, then notes its next deadline.
    fn on_group<T>(
        &mut self,
        group_id: &str,
        now: Now,
        step: impl FnOnce(&mut Group, &mut Turn<'_>) -> T,
    ) -> Option<(T, Vec<Effect>)> {
        let group = self.groups.get_mut(group_id)?;
        let appends = &mut self.appends;
        let mut turn = Turn { now, limits: &self.limits, appends, effects: Vec::new() };
        let outcome = step(group, &mut turn);
        let effects = turn.effects;
        self.note_deadline(group_id);
        Some((outcome, effects))
    }

    fn on_all(&mut self, now: Now, step: impl Fn(&mut Group, &mut Turn<'_>)) -> Vec<Effect> {
        let ids: Vec<_> = self.groups.keys().cloned().collect();
        let mut effects = Vec::new();
        for group_id in ids {
            let done = self.on_group(&group_id, now, |group, turn| {
                // One that is being deleted has nothing left to lose.
                if group.state() != GroupState::Dead {
                    step(group, turn);
                    return group.state() == GroupState::Dead;
                }
                false
            });
            let Some((is_dead, more)) = done else { continue };
            effects.extend(more);
            if is_dead {
                self.remove(&group_id);
            }
        }
        effects
    }

    fn note_deadline(&mut self, group_id: &str) {
        let Some(group) = self.groups.get(group_id) else { return };
        let next = group.next_deadline();
        let former = self.deadline_of.get(group_id).copied();
        if next == former {
            return;
        }
        let id = Arc::clone(&group.id);
        if let Some(former) = former {
            self.deadlines.remove(&(former, Arc::clone(&id)));
        }
        if let Some(next) = next {
            self.deadlines.insert((next, Arc::clone(&id)));
            self.deadline_of.insert(id, next);
        } else {
            self.deadline_of.remove(group_id);
        }
    }

    fn remove(&mut self, group_id: &str) {
        if let Some(deadline) = self.deadline_of.remove(group_id) {
            self.deadlines.remove(&(deadline, Arc::from(group_id)));
        }
        self.groups.remove(group_id);
    }

    fn request(
        &mut self,
        token: Token,
        group_id: &Arc<str>,
        request: Request,
        now: Now,
    ) -> Vec<Effect> {
        let creates = match self.judge(&request, self.groups.contains_key(group_id)) {
            Ok(creates) => creates,
            Err(reply) => return vec![Effect::Reply { token, reply: *reply }],
        };
        if creates {
            self.groups
                .entry(Arc::clone(group_id))
                .or_insert_with(|| Group::new(Arc::clone(group_id), now));
        }
        let done = self.on_group(group_id, now, |group, turn| {
            handle(group, request, token, turn);
            let is_unused = group.state() == GroupState::Empty
                && group.generation_id() == 0
                && group.next_deadline().is_none()
                && group.offsets.is_empty()
                && group.pending_commits.is_empty();
            // Only a deletion that has nothing to write down is over at once.
            is_unused || (group.state() == GroupState::Dead && turn.effects.iter().all(is_reply))
        });
        let Some((is_over, effects)) = done else { return Vec::new() };
        if is_over {
            self.remove(group_id);
        }
        effects
    }

    /// Answers what can be said without the group, else tells whether the request may create it.
    fn judge(&self, request: &Request, exists: bool) -> Result<bool, Box<Reply>> {
        let limits = &self.limits;
        let reply = match request {
            Request::Join(join) => {
                let range = limits.min_session_timeout_ms..=limits.max_session_timeout_ms;
                if !range.contains(&join.session_timeout_ms) {
                    failed_join(join, ErrorCode::InvalidSessionTimeout)
                } else if exists || join.member_id.is_empty() {
                    return Ok(true);
                } else {
                    failed_join(join, ErrorCode::UnknownMemberId)
                }
            }
            Request::Commit(commit) if !exists => match commit.identity {
                Identity { generation_id, .. } if generation_id < 0 => return Ok(true),
                _ => Reply::Codes(Err(ErrorCode::IllegalGeneration)),
            },
            _ if exists => return Ok(false),
            Request::Sync(_) => Reply::Sync(SyncReply::failed(ErrorCode::UnknownMemberId)),
            Request::Heartbeat(_) => Reply::Code(ErrorCode::UnknownMemberId),
            Request::Leave(leavers) => {
                Reply::Codes(Ok(vec![ErrorCode::UnknownMemberId; leavers.len()]))
            }
            Request::FetchOffsets { partitions, .. } => {
                Reply::Offsets(no_offsets(partitions.as_ref()))
            }
            Request::DeleteOffsets(_) => Reply::Codes(Err(ErrorCode::GroupIdNotFound)),
            Request::Describe => Reply::Description(None),
            Request::Delete => Reply::Code(ErrorCode::GroupIdNotFound),
            Request::Commit(_) => return Ok(true),
        };
        Err(Box::new(reply))
    }

    fn appended(&mut self, id: AppendId, result: Result<(), ErrorCode>, now: Now) -> Vec<Effect> {
        let Some((group_id, then)) = self.appends.take(id) else { return Vec::new() };
        let mut replies = Vec::new();
        let mut is_deleted = false;
        match &then {
            Continuation::Commit { token, codes, .. }
            | Continuation::DeleteOffsets { token, codes } => {
                replies.push((*token, Reply::Codes(Ok(settle(codes, result, commit_error)))));
            }
            Continuation::DeleteGroup { token } => {
                is_deleted = result.is_ok();
                let code = result.map_err(commit_error).err().unwrap_or_default();
                replies.push((*token, Reply::Code(code)));
            }
            Continuation::Nothing | Continuation::Assign { .. } | Continuation::Replace(_) => {}
        }
        let done = self.on_group(&group_id, now, |group, turn| match then {
            Continuation::Assign { generation_id, assignments } => {
                let result = result.map_err(group_error);
                group.finish_assignment(generation_id, &assignments, result, turn);
            }
            Continuation::Replace(replacement) => {
                group.finish_replacement(&replacement, result.map_err(group_error), turn);
            }
            Continuation::Commit { offsets, .. } => group.finish_commit(id, offsets, result),
            Continuation::DeleteGroup { .. } if result.is_err() => {
                group.transition_to(GroupState::Empty, turn.now);
            }
            Continuation::Nothing
            | Continuation::DeleteOffsets { .. }
            | Continuation::DeleteGroup { .. } => {}
        });
        if is_deleted {
            self.remove(&group_id);
        }
        let mut effects = done.map(|((), effects)| effects).unwrap_or_default();
        effects.extend(replies.into_iter().map(|(token, reply)| Effect::Reply { token, reply }));
        effects
    }

    fn tick(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some((deadline, group_id)) = self.deadlines.first().cloned() {
            if deadline > now.monotonic {
                break;
            }
            let done = self.on_group(&group_id, now, |group, turn| {
                group.expire_sessions(turn);
                if group.join_wait.is_some_and(|wait| wait.deadline <= now.monotonic) {
                    group.expire_join(turn);
                }
                if group.sync_deadline.is_some_and(|deadline| deadline <= now.monotonic) {
                    group.expire_sync(turn);
                }
            });
            let Some(((), more)) = done else {
                self.deadlines.remove(&(deadline, group_id));
                continue;
            };
            effects.extend(more);
            // A deadline of no length is due again at once: the next tick, or this would not end.
            if self.deadline_of.get(&group_id) == Some(&deadline) {
                break;
            }
        }
        effects
    }

    fn load(&mut self, groups: Vec<LoadedGroup>, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        for loaded in groups {
            let group_id = Arc::clone(&loaded.group_id);
            self.groups.insert(Arc::clone(&group_id), Group::load(loaded, now));
            let settled = self.on_group(&group_id, now, Group::settle_after_load);
            effects.extend(settled.map(|((), more)| more).unwrap_or_default());
        }
        effects
    }

    fn unload(&mut self, group_ids: &BTreeSet<Arc<str>>) -> Vec<Effect> {
        let error = ErrorCode::NotCoordinator;
        let mut tokens = self.appends.drop_groups(|group_id| group_ids.contains(group_id));
        for group_id in group_ids {
            for member in self.groups.get(group_id).into_iter().flat_map(Group::members) {
                tokens.extend(member.awaiting_join);
                tokens.extend(member.awaiting_sync);
            }
            self.remove(group_id);
        }
        let unavailable = |token| Effect::Reply { token, reply: Reply::Unavailable(error) };
        tokens.into_iter().map(unavailable).collect()
    }
}

fn handle(group: &mut Group, request: Request, token: Token, turn: &mut Turn<'_>) {
    let reply = match request {
        Request::Join(join) => return group.join(join, token, turn),
        Request::Sync(sync) => return group.sync(sync, token, turn),
        Request::Commit(commit) => return group.commit(commit, token, turn),
        Request::DeleteOffsets(partitions) => {
            return group.delete_offsets(&partitions, token, turn);
        }
        Request::Delete => return group.delete(token, turn),
        Request::Heartbeat(identity) => Reply::Code(group.heartbeat(&identity, turn)),
        Request::Leave(leavers) => group.leave(&leavers, turn),
        Request::FetchOffsets { partitions, require_stable } => {
            Reply::Offsets(group.fetch_offsets(partitions, require_stable))
        }
        Request::Describe if group.state() == GroupState::Dead => Reply::Description(None),
        Request::Describe => Reply::Description(Some(Box::new(group.describe()))),
    };
    turn.reply(token, reply);
}

fn is_reply(effect: &Effect) -> bool {
    matches!(effect, Effect::Reply { .. })
}

fn failed_join(join: &Join, error: ErrorCode) -> Reply {
    Reply::Join(JoinReply::failed(Arc::clone(&join.member_id), error))
}

fn no_offsets(
    partitions: Option<&Vec<broker_protocol::topic_partition::TopicPartition>>,
) -> Vec<FetchedOffset> {
    let partitions = partitions.into_iter().flatten().cloned();
    let none = |partition| FetchedOffset { partition, committed: None, error: ErrorCode::None };
    partitions.map(none).collect()
}

/// Parts that were fine so far take the result of the append.
fn settle(
    codes: &[ErrorCode],
    result: Result<(), ErrorCode>,
    told: fn(ErrorCode) -> ErrorCode,
) -> Vec<ErrorCode> {
    let code = result.map_err(told).err().unwrap_or_default();
    codes.iter().map(|own| if *own == ErrorCode::None { code } else { *own }).collect()
}

/// What a failed append means to a client that commits. Kafka's `createPutCacheCallback`.
fn commit_error(error: ErrorCode) -> ErrorCode {
    if is_too_large(error) { ErrorCode::InvalidCommitOffsetSize } else { append_error(error) }
}

/// What a failed append means to a member. Kafka's `storeGroup`.
fn group_error(error: ErrorCode) -> ErrorCode {
    if error == ErrorCode::RequestTimedOut {
        ErrorCode::RebalanceInProgress
    } else if is_too_large(error) {
        ErrorCode::UnknownServerError
    } else {
        append_error(error)
    }
}

fn append_error(error: ErrorCode) -> ErrorCode {
    let moved = [ErrorCode::NotLeaderOrFollower, ErrorCode::KafkaStorageError];
    let lacking = [
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::NotEnoughReplicas,
        ErrorCode::NotEnoughReplicasAfterAppend,
        ErrorCode::RequestTimedOut,
    ];
    if moved.contains(&error) {
        ErrorCode::NotCoordinator
    } else if lacking.contains(&error) {
        ErrorCode::CoordinatorNotAvailable
    } else {
        error
    }
}

fn is_too_large(error: ErrorCode) -> bool {
    let large =
        [ErrorCode::MessageTooLarge, ErrorCode::RecordListTooLarge, ErrorCode::InvalidFetchSize];
    large.contains(&error)
}

#[cfg(test)]
mod tests;
