//! Three brokers, a controller and a network that delays, reorders and drops, in one thread: random
//! fetches, elections, changes of the ISR, crashes, power cuts, sessions that expire under a living leader.
//!
//! After every step, what any leader ever showed below its high watermark (the *committed* log) is
//! * one log: two leaders never show different records at one offset;
//! * on every member of the ISR as the controller has it, dead ones included: whoever is elected has it;
//! * all that followers show.
//!
//! The rules are the real ones (`PartitionState`, `LeaderEpochCache`); logs are vectors. Each row of
//! [`Wrong`] breaks one rule and must be found: the generations of truncation before KIP-320 are among them
//! (invariants A6 to A8).
//!
//! A run is a seed: `simulate(seed, ..)` fails the same way again.

use std::path::Path;
use std::sync::Arc;

use broker_storage::fs::faulty::FaultyFs;
use broker_storage::leader_epoch_cache::LeaderEpochCache;

use super::*;
use crate::replica::progress::NO_BROKER_EPOCH;

const BROKERS: usize = 3;
const STEPS: usize = 800;

/// A record: its leader's epoch, and a value of its own.
type Record = (LeaderEpoch, u32);

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn one_in(&mut self, limit: usize) -> bool {
        self.below(limit) == 0
    }
}

/// What a broker has on its disk.
struct ModelLog {
    records: Vec<Record>,
    /// How many of them a power cut leaves.
    synced: usize,
    high_watermark: Offset,
    epochs: LeaderEpochCache,
}

impl ModelLog {
    fn new() -> Self {
        let epochs = LeaderEpochCache::empty(Arc::new(FaultyFs::new(1)), Path::new("/"));
        Self { records: Vec::new(), synced: 0, high_watermark: Offset(0), epochs }
    }

    fn end(&self) -> Offset {
        Offset(self.records.len() as i64)
    }

    fn push(&mut self, record: Record) {
        self.epochs.assign_in_memory(record.0, self.end());
        self.records.push(record);
    }

    /// Whether a fetch would ask as it did; who does not tell its epoch cannot be told from another.
    fn is_at(&self, (end, epoch): (Offset, LeaderEpoch)) -> bool {
        end == self.end() && (epoch == self.last_epoch() || epoch.0 < 0)
    }

    fn last_epoch(&self) -> LeaderEpoch {
        self.records.last().map_or(LeaderEpoch(-1), |record| record.0)
    }

    fn cut(&mut self, end: Offset) {
        self.records.truncate(end.0 as usize);
        self.synced = self.synced.min(self.records.len());
        self.epochs.truncate_from_end(self.end());
    }

    fn end_for(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_offset_for(epoch, self.end())
    }
}

struct Broker {
    id: BrokerId,
    log: ModelLog,
    /// None while the process is down.
    state: Option<PartitionState>,
    /// Its registration, as it knows it.
    epoch: i64,
    /// What the controller says, in order.
    inbox: Vec<Leadership>,
    /// Whether the log was brought in line with the leader's (only some wrong rules ask).
    is_aligned: bool,
}

/// What is on its way.
#[derive(Debug, Clone)]
enum Message {
    Fetch {
        to: usize,
        leader_epoch: LeaderEpoch,
        last_epoch: LeaderEpoch,
        fetch: ReplicaFetch,
    },
    Records {
        to: usize,
        leader_epoch: LeaderEpoch,
        asked: (Offset, LeaderEpoch),
        records: Vec<Record>,
        high_watermark: Offset,
    },
    Diverging {
        to: usize,
        leader_epoch: LeaderEpoch,
        asked: (Offset, LeaderEpoch),
        found: (LeaderEpoch, Offset),
    },
    Alter {
        from: usize,
        proposal: IsrProposal,
    },
    Altered {
        to: usize,
        proposal: IsrProposal,
        answer: IsrAnswer,
    },
}

struct World {
    random: Random,
    durability: Durability,
    wrong: Option<Wrong>,
    now: Instant,
    brokers: Vec<Broker>,
    /// Registrations that the controller knows; None for the dead.
    live: [Option<i64>; BROKERS],
    /// What the brokers know of them, now or some time ago.
    metadata: [Option<i64>; BROKERS],
    registrations: i64,
    truth: Leadership,
    network: Vec<Message>,
    committed: Vec<Record>,
    written: u32,
}

/// Why a run ended early: what does not hold.
type Broken = String;

fn id(index: usize) -> BrokerId {
    BrokerId(index as i32)
}

fn index(id: BrokerId) -> usize {
    id.0 as usize
}

impl World {
    fn new(seed: u64, durability: Durability, wrong: Option<Wrong>) -> Self {
        let all: Vec<_> = (0..BROKERS).map(id).collect();
        let truth = Leadership {
            isr: all.clone(),
            replicas: all,
            ..Leadership::alone(id(0), LeaderEpoch(0), BROKERS as u32)
        };
        let brokers = (0..BROKERS).map(|index| Broker {
            id: id(index),
            log: ModelLog::new(),
            state: None,
            epoch: 0,
            inbox: Vec::new(),
            is_aligned: false,
        });
        let mut world = Self {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            durability,
            wrong,
            now: now(),
            brokers: brokers.collect(),
            live: [None; BROKERS],
            metadata: [None; BROKERS],
            registrations: 0,
            truth,
            network: Vec::new(),
            committed: Vec::new(),
            written: 0,
        };
        (0..BROKERS).for_each(|index| world.start(index));
        world
    }

    fn step(&mut self) {
        let broker = self.random.below(BROKERS);
        match self.random.below(200) {
            0..22 => self.produce(broker),
            22..44 => self.sync(broker),
            44..88 => self.send_fetch(broker),
            88..164 => self.deliver(),
            164..180 => self.hear(broker),
            180..188 => self.propose(broker),
            188..191 => self.elect_another(),
            191..193 => self.expire(broker),
            193..195 => self.crash(broker),
            195..197 => self.metadata = self.live,
            _ if self.brokers[broker].state.is_none() => self.start(broker),
            _ => self.now += LAG_MAX / 3,
        }
    }

    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    // What brokers do.

    fn produce(&mut self, broker: usize) {
        let Broker { log, state: Some(state), .. } = &mut self.brokers[broker] else { return };
        if state.role() == Role::Leader {
            self.written += 1;
            log.push((state.leader_epoch(), self.written));
            state.appended(log.end());
            if self.wrong == Some(Wrong::AcknowledgeBeforeReplication) {
                state.high_watermark = state.vouched_end_offset();
            }
        }
    }

    fn sync(&mut self, broker: usize) {
        let Broker { log, state: Some(state), .. } = &mut self.brokers[broker] else { return };
        log.synced = log.records.len();
        state.synced(log.end());
    }

    fn send_fetch(&mut self, broker: usize) {
        let is_truncating_to_high_watermark = self.is(Wrong::TruncateToHighWatermark);
        let looks_once = self.is(Wrong::TruncateToTheEndAlone);
        let is_epoch_ignored = self.is(Wrong::IgnoreEpochInFetch);
        let at = self.now;
        let Broker { id, log, state: Some(state), epoch, is_aligned, .. } =
            &mut self.brokers[broker]
        else {
            return;
        };
        let leader_epoch = state.leader_epoch();
        let leader = state.leadership().and_then(|leadership| leadership.leader);
        let Some(leader) = leader.filter(|_| state.role() == Role::Follower) else { return };
        if state.vouched_end_offset() < log.end() {
            return;
        }
        if is_truncating_to_high_watermark && !*is_aligned {
            log.cut(state.high_watermark());
            state.truncated(Offset(0), log.end());
        }
        *is_aligned |= is_truncating_to_high_watermark;
        let is_sure = *is_aligned && looks_once;
        let fetch = ReplicaFetch {
            broker: *id,
            broker_epoch: *epoch,
            leader_epoch: if is_epoch_ignored { LeaderEpoch(-1) } else { leader_epoch },
            offset: log.end(),
            log_start_offset: Offset(0),
            at,
        };
        let last_epoch = if is_sure { LeaderEpoch(-1) } else { log.last_epoch() };
        self.network.push(Message::Fetch { to: index(leader), leader_epoch, last_epoch, fetch });
    }

    fn deliver(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let place = self.random.below(self.network.len());
        let message = self.network.swap_remove(place);
        if self.random.one_in(12) {
            return;
        }
        if self.random.one_in(12) {
            self.network.push(message.clone());
        }
        match message {
            Message::Fetch { to, leader_epoch, last_epoch, fetch } => {
                self.serve(to, leader_epoch, last_epoch, fetch);
            }
            Message::Records { to, leader_epoch, asked, records, high_watermark } => {
                self.append(to, leader_epoch, asked, &records, high_watermark);
            }
            Message::Diverging { to, leader_epoch, asked, found } => {
                self.truncate(to, leader_epoch, asked, found);
            }
            Message::Alter { from, proposal } => self.alter(from, proposal),
            Message::Altered { to, proposal, answer } => {
                if let Some(state) = &mut self.brokers[to].state {
                    let _ = state.answered(&proposal, answer);
                }
            }
        }
    }

    fn serve(&mut self, to: usize, epoch: LeaderEpoch, last: LeaderEpoch, fetch: ReplicaFetch) {
        let (ignores_epoch, looks) =
            (self.is(Wrong::IgnoreEpochInFetch), !self.is(Wrong::NeverTruncate));
        let truncates_by_hw = self.is(Wrong::TruncateToHighWatermark);
        let Broker { log, state: Some(state), .. } = &mut self.brokers[to] else { return };
        let checked = if ignores_epoch { LeaderEpoch(-1) } else { epoch };
        if state.check_leader(checked).is_err() {
            return;
        }
        let found = if looks && !truncates_by_hw && last.0 >= 0 {
            log.end_for(last)
        } else {
            // As after "out of range": the end is all that is known.
            Some((last, log.end()))
        };
        let Some(found) = found else { return };
        let to = index(fetch.broker);
        if found.0 < last || found.1 < fetch.offset {
            let asked = (fetch.offset, last);
            self.network.push(Message::Diverging { to, leader_epoch: epoch, asked, found });
            return;
        }
        let _ = state.replica_fetched(&fetch);
        let records = &log.records[fetch.offset.0 as usize..];
        let count = records.len().min(1 + self.random.below(3));
        self.network.push(Message::Records {
            to,
            leader_epoch: epoch,
            asked: (fetch.offset, last),
            records: records[..count].to_vec(),
            high_watermark: state.high_watermark(),
        });
    }

    fn append(
        &mut self,
        to: usize,
        leader_epoch: LeaderEpoch,
        asked: (Offset, LeaderEpoch),
        records: &[Record],
        high_watermark: Offset,
    ) {
        let Broker { log, state: Some(state), is_aligned, .. } = &mut self.brokers[to] else {
            return;
        };
        let is_usable = state.check_follower(leader_epoch).is_ok();
        // A real log refuses what does not follow its end, and epochs that fall.
        let falls = records.first().is_some_and(|first| first.0 < log.last_epoch());
        if !is_usable || !log.is_at(asked) || falls {
            return;
        }
        *is_aligned = true;
        for record in records {
            log.push(*record);
        }
        state.followed(log.end(), high_watermark);
    }

    fn truncate(
        &mut self,
        to: usize,
        leader_epoch: LeaderEpoch,
        asked: (Offset, LeaderEpoch),
        (epoch, end): (LeaderEpoch, Offset),
    ) {
        let is_blind = self.is(Wrong::TruncateToTheEndAlone);
        let is_late = self.is(Wrong::TruncateByLateAnswers);
        let Broker { log, state: Some(state), is_aligned, .. } = &mut self.brokers[to] else {
            return;
        };
        let is_current = log.is_at(asked) || is_late;
        if state.check_follower(leader_epoch).is_err() || !is_current {
            return;
        }
        *is_aligned = true;
        let offset = match log.end_for(epoch) {
            _ if is_blind => end,
            Some((own, own_end)) if own == epoch => own_end.min(end),
            Some((_, own_end)) => own_end,
            None => end,
        };
        if offset < log.end() {
            log.cut(offset);
        }
        state.truncated(Offset(0), log.end());
    }

    fn hear(&mut self, broker: usize) {
        let now = self.now;
        let Broker { id, log, state: Some(state), inbox, is_aligned, .. } =
            &mut self.brokers[broker]
        else {
            return;
        };
        if inbox.is_empty() {
            return;
        }
        let leadership = inbox.remove(0);
        let epoch = leadership.leader_epoch;
        if leadership.leader == Some(*id) {
            if state.lead(leadership, now).is_ok() {
                log.epochs.assign_in_memory(epoch, log.end());
            }
        } else if state.follow(leadership).is_ok() {
            log.epochs.truncate_from_end(log.end());
            *is_aligned = false;
        }
    }

    fn propose(&mut self, broker: usize) {
        let live = self.metadata;
        let Some(state) = &mut self.brokers[broker].state else { return };
        let proposal = state.propose(self.now, LAG_MAX, &|broker| live[index(broker)].is_some());
        let proposal = proposal.or_else(|| state.proposed().cloned());
        if let Some(proposal) = proposal {
            self.network.push(Message::Alter { from: broker, proposal });
        }
    }

    // What the controller does.

    fn alter(&mut self, from: usize, proposal: IsrProposal) {
        let ignores = self.is(Wrong::IgnoreBrokerEpoch);
        let truth = &mut self.truth;
        let isr: Vec<_> = proposal.isr.iter().map(|(broker, _)| *broker).collect();
        let is_live = |(broker, epoch): &(BrokerId, i64)| {
            let live = self.live[index(*broker)];
            live == Some(*epoch) || (live.is_some() && (ignores || *epoch == NO_BROKER_EPOCH))
        };
        let is_leaders = truth.leader == Some(id(from))
            && truth.leader_epoch == proposal.leader_epoch
            && (truth.isr == isr || truth.partition_epoch == proposal.partition_epoch);
        let answer = if !is_leaders {
            IsrAnswer::Awaited
        } else if truth.isr != isr && !proposal.isr.iter().all(is_live) {
            IsrAnswer::Refused
        } else {
            if truth.isr != isr {
                truth.isr = isr;
                truth.partition_epoch += 1;
            }
            IsrAnswer::Committed(Committed {
                leader_epoch: truth.leader_epoch,
                partition_epoch: truth.partition_epoch,
                isr: truth.isr.clone(),
                recovering: false,
            })
        };
        self.network.push(Message::Altered { to: from, proposal, answer });
    }

    /// Writes another state: the members of the ISR that live stay, if any does.
    fn elect(&mut self, leader: Option<BrokerId>) {
        let is_live = |broker: &&BrokerId| self.live[index(**broker)].is_some();
        let live: Vec<_> = self.truth.isr.iter().filter(is_live).copied().collect();
        if !live.is_empty() {
            self.truth.isr = live;
        }
        self.truth.leader = leader;
        self.truth.leader_epoch.0 += 1;
        self.truth.partition_epoch += 1;
        for broker in 0..BROKERS {
            if self.live[broker].is_some() {
                self.brokers[broker].inbox.push(self.truth.clone());
            }
        }
    }

    fn live_member(&mut self) -> Option<BrokerId> {
        let isr = self.truth.isr.clone();
        let first = self.random.below(isr.len());
        let mut members = isr.iter().cycle().skip(first).take(isr.len());
        members.find(|member| self.live[index(**member)].is_some()).copied()
    }

    fn elect_another(&mut self) {
        if let Some(member) = self.live_member() {
            self.elect(Some(member));
        }
    }

    /// The session ends; the process may live on and not know yet.
    fn expire(&mut self, broker: usize) {
        if self.live[broker].take().is_none() {
            return;
        }
        self.brokers[broker].inbox.clear();
        let is_member = self.truth.isr.contains(&id(broker));
        if self.truth.leader == Some(id(broker)) {
            let next = self.live_member();
            self.elect(next);
        } else if is_member {
            self.elect(self.truth.leader);
        }
        if self.random.one_in(2) {
            self.rejoin(broker);
        }
    }

    /// A process that lives resigns and registers anew.
    fn rejoin(&mut self, broker: usize) {
        if let Some(state) = &mut self.brokers[broker].state {
            state.resign();
            self.register(broker);
        }
    }

    fn register(&mut self, broker: usize) {
        self.registrations += 1;
        self.live[broker] = Some(self.registrations);
        self.brokers[broker].epoch = self.registrations;
        self.brokers[broker].inbox = vec![self.truth.clone()];
        let is_led = self.truth.leader.is_some();
        if !is_led && let Some(member) = self.live_member() {
            self.elect(Some(member));
        }
    }

    fn crash(&mut self, broker: usize) {
        let Some(state) = self.brokers[broker].state.take() else { return };
        self.brokers[broker].inbox.clear();
        let log = &mut self.brokers[broker].log;
        log.high_watermark = state.high_watermark();
        if self.durability == Durability::Synced {
            // The power went, too.
            let synced = Offset(log.synced as i64);
            log.cut(synced);
        }
    }

    fn start(&mut self, broker: usize) {
        self.expire(broker);
        if self.live[broker].is_some() {
            return;
        }
        // A new disk, for a replica that nobody counts on by now.
        if !self.truth.isr.contains(&id(broker)) && self.random.one_in(3) {
            self.brokers[broker].log = ModelLog::new();
        }
        let log = &mut self.brokers[broker].log;
        log.epochs.truncate_from_end(log.end());
        // The checkpoint is of some time before.
        let known = log.high_watermark.min(log.end());
        let high_watermark = Offset(self.random.below(known.0 as usize + 1) as i64);
        log.synced = log.records.len();
        let mut state =
            PartitionState::opened(Offset(0), log.end(), high_watermark, self.durability);
        state.wrong = self.wrong;
        self.brokers[broker].state = Some(state);
        self.register(broker);
    }

    // What must hold.

    fn check(&mut self) -> Result<(), Broken> {
        for Broker { id, log, state, .. } in &self.brokers {
            let Some(state) = state else { continue };
            let shown = &log.records[..state.high_watermark().0 as usize];
            let both = shown.len().min(self.committed.len());
            if shown[..both] != self.committed[..both] {
                return Err(format!("broker {id} shows other records"));
            }
            if shown.len() > self.committed.len() {
                if state.role() != Role::Leader {
                    return Err(format!("follower {id} shows what no leader did"));
                }
                self.committed = shown.to_vec();
            }
        }
        for member in &self.truth.isr {
            if !self.brokers[index(*member)].log.records.starts_with(&self.committed) {
                return Err(format!("broker {member} is in sync without all that was shown"));
            }
        }
        Ok(())
    }
}

/// Runs one seed; returns how many records were shown, or what broke.
fn simulate(seed: u64, durability: Durability, wrong: Option<Wrong>) -> Result<usize, Broken> {
    let mut world = World::new(seed, durability, wrong);
    for step in 0..STEPS {
        world.step();
        world.check().map_err(|broken| format!("seed {seed}, step {step}: {broken}"))?;
    }
    Ok(world.committed.len())
}

fn runs(seeds: std::ops::Range<u64>, wrong: Option<Wrong>) -> Result<usize, Broken> {
    let both = [Durability::Replicated, Durability::Synced];
    let mut runs = seeds.flat_map(|seed| both.map(|durability| (seed, durability)));
    runs.try_fold(0, |shown, (seed, durability)| Ok(shown + simulate(seed, durability, wrong)?))
}

#[test]
fn what_was_shown_is_on_every_member_of_the_isr_whatever_happens() {
    let shown = runs(1..800, None).unwrap();
    assert!(shown > 10_000, "the runs are worth something: {shown} records were shown");
}

/// Method: each wrong rule is found by some seed.
#[test]
fn every_wrong_rule_is_found() {
    let all = [
        Wrong::ProposedIsrOnly,
        Wrong::ConfirmedIsrOnly,
        Wrong::JoinBeforeHighWatermark,
        Wrong::AcknowledgeBeforeReplication,
        Wrong::TruncateToHighWatermark,
        Wrong::TruncateToTheEndAlone,
        Wrong::NeverTruncate,
        Wrong::IgnoreEpochInFetch,
        Wrong::TruncateByLateAnswers,
        Wrong::IgnoreBrokerEpoch,
    ];
    for wrong in all {
        let outcome = std::panic::catch_unwind(|| runs(1..6_000, Some(wrong)));
        // An assertion of the state machine is as good.
        let is_found = outcome.map_or(true, |outcome| outcome.is_err());
        assert!(is_found, "{wrong:?} is not found");
    }
}
