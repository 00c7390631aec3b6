//! Scenarios of the group protocol, without a clock, a log or a connection.

use std::time::Duration;

use broker_protocol::quantity::TimestampMs;
use broker_protocol::topic_partition::TopicPartition;

use super::request::{Commit, CommittedOffset, Leaver, Protocol, Sync};
use super::*;
use crate::clock::{Clock, ManualClock};
use crate::group::record::Entry;
use crate::group::storage::Replay;

mod expiry;
mod membership;
mod random;
mod rebalance;
mod scenarios;
mod written;

/// A state under test, with everything it wrote and answered.
struct World {
    clock: ManualClock,
    state: State,
    replies: BTreeMap<Token, Reply>,
    log: Vec<Entry>,
    /// Appends that are not acknowledged yet, when `holds`.
    held: Vec<AppendId>,
    holds: bool,
    tokens: u64,
}

impl World {
    fn new() -> Self {
        let limits = Limits { max_size: 3, ..Limits::default() };
        Self {
            clock: ManualClock::starting_at(TimestampMs(1_000)),
            state: State::new(limits),
            replies: BTreeMap::new(),
            log: Vec::new(),
            held: Vec::new(),
            holds: false,
            tokens: 0,
        }
    }

    fn now(&self) -> Now {
        Now { monotonic: self.clock.now(), wall: self.clock.wall() }
    }

    fn apply(&mut self, event: Event) {
        let mut effects = self.state.apply(event, self.now());
        while !effects.is_empty() {
            for effect in std::mem::take(&mut effects) {
                match effect {
                    Effect::Reply { token, reply } => {
                        let former = self.replies.insert(token, reply);
                        assert_eq!(former, None, "a request is answered once");
                    }
                    Effect::Append { id, entries, .. } => {
                        self.log.extend(entries);
                        if self.holds {
                            self.held.push(id);
                        } else {
                            let done = Event::Appended { id, result: Ok(()) };
                            effects.extend(self.state.apply(done, self.now()));
                        }
                    }
                }
            }
        }
        for (_, group) in self.state.groups() {
            check(group);
        }
    }

    /// Sends a request to group `g`; the answer is taken later.
    fn send(&mut self, request: Request) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        self.apply(Event::Request { token, group_id: Arc::from("g"), request });
        token
    }

    /// Sends a request that is answered at once.
    fn ask(&mut self, request: Request) -> Reply {
        let token = self.send(request);
        self.taken(token).expect("answered at once")
    }

    fn taken(&mut self, token: Token) -> Option<Reply> {
        self.replies.remove(&token)
    }

    fn joined(&mut self, token: Token) -> JoinReply {
        match self.taken(token) {
            Some(Reply::Join(reply)) => reply,
            other => panic!("not a join's answer: {other:?}"),
        }
    }

    fn synced(&mut self, token: Token) -> SyncReply {
        match self.taken(token) {
            Some(Reply::Sync(reply)) => reply,
            other => panic!("not a sync's answer: {other:?}"),
        }
    }

    /// Moves time, firing each timer that is due on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.clock.now() + time;
        while let Some(deadline) = self.state.next_deadline().filter(|d| *d <= end) {
            self.clock.advance(deadline.saturating_duration_since(self.clock.now()));
            self.apply(Event::Tick);
        }
        self.clock.advance(end.saturating_duration_since(self.clock.now()));
    }

    fn group(&self) -> &Group {
        self.state.groups().next().expect("the group").1
    }
}

/// What `data` says of groups.
fn check(group: &Group) {
    if group.members.is_empty() {
        let quiet = [GroupState::Empty, GroupState::Dead, GroupState::PreparingRebalance];
        assert!(quiet.contains(&group.state), "{:?} without members", group.state);
    }
    for (instance, id) in &group.static_members {
        assert_eq!(group.members[id].group_instance_id.as_ref(), Some(instance));
    }
    if let Some(leader) = &group.leader_id {
        assert!(group.members.contains_key(leader) || group.members.is_empty());
    }
    assert!(group.pending_members.keys().all(|id| !group.members.contains_key(id)));
}

fn join(member_id: &str, new_member_id: &str) -> Join {
    let protocol = |name: &str| Protocol {
        name: Arc::from(name),
        metadata: Arc::from(*b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"),
    };
    Join {
        member_id: Arc::from(member_id),
        new_member_id: Arc::from(new_member_id),
        group_instance_id: None,
        require_known_member_id: false,
        supports_skipping_assignment: true,
        client_id: Arc::from("c"),
        client_host: Arc::from("/h"),
        rebalance_timeout: Duration::from_mins(1),
        session_timeout_ms: 10_000,
        protocol_type: Arc::from("consumer"),
        protocols: vec![protocol("range"), protocol("roundrobin")],
    }
}

fn named(instance: &str, new_member_id: &str) -> Join {
    Join { group_instance_id: Some(Arc::from(instance)), ..join("", new_member_id) }
}

fn identity(generation_id: i32, member_id: &str) -> Identity {
    Identity { generation_id, member_id: Arc::from(member_id), group_instance_id: None }
}

fn sync(generation_id: i32, member_id: &str, assignments: &[(&str, &str)]) -> Request {
    let assignments = assignments.iter().map(|(id, a)| (Arc::from(*id), Arc::from(a.as_bytes())));
    Request::Sync(Sync {
        identity: identity(generation_id, member_id),
        protocol_type: None,
        protocol_name: None,
        assignments: assignments.collect(),
    })
}

fn partition(topic: &str) -> TopicPartition {
    TopicPartition { topic: Arc::from(topic), partition: 0 }
}

fn committed(offset: i64) -> CommittedOffset {
    CommittedOffset {
        offset,
        leader_epoch: -1,
        metadata: Arc::from(""),
        commit_timestamp: 1_000,
        expire_timestamp: None,
    }
}

fn commit(generation_id: i32, member_id: &str, offset: i64) -> Request {
    let identity = identity(generation_id, member_id);
    Request::Commit(Commit { identity, offsets: vec![(partition("t"), committed(offset))] })
}

fn fetch(require_stable: bool) -> Request {
    Request::FetchOffsets { partitions: Some(vec![partition("t")]), require_stable }
}

fn leave(member_id: &str) -> Request {
    Request::Leave(vec![Leaver { member_id: Arc::from(member_id), group_instance_id: None }])
}

fn code(error: ErrorCode) -> Reply {
    Reply::Code(error)
}

fn codes(codes: &[ErrorCode]) -> Reply {
    Reply::Codes(Ok(codes.to_vec()))
}

/// Brings `ids` into a stable generation, each assigned its own name; returns the generation.
fn stable(world: &mut World, ids: &[&str]) -> i32 {
    let tokens: Vec<_> = ids.iter().map(|id| world.send(Request::Join(join("", id)))).collect();
    world.pass(Duration::from_secs(10));
    let replies: Vec<_> = tokens.into_iter().map(|token| world.joined(token)).collect();
    let generation = replies[0].generation_id;
    let assignments: Vec<_> = ids.iter().map(|id| (*id, *id)).collect();
    let leader = replies[0].leader.to_string();
    let syncs: Vec<_> = ids
        .iter()
        .map(|id| {
            let own = if **id == *leader { &assignments[..] } else { &[] };
            world.send(sync(generation, id, own))
        })
        .collect();
    for (id, token) in ids.iter().zip(syncs) {
        let reply = world.synced(token);
        assert_eq!((reply.error, &*reply.assignment), (ErrorCode::None, id.as_bytes()));
    }
    assert_eq!(world.group().state(), GroupState::Stable);
    generation
}

fn reloaded(world: &World) -> State {
    let mut replay = Replay::default();
    for entry in world.log.iter().cloned() {
        replay.apply(entry);
    }
    let mut state = State::new(Limits::default());
    state.apply(Event::Loaded(replay.finish()), world.now());
    state
}
