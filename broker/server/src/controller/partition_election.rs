//! Who leads a partition, and who stays in its ISR. Pure: one table of facts in, one decision out.
//!
//! | leader | then |
//! |---|---|
//! | is up and proven | stays, unless the first replica is asked for and can lead |
//! | is drained, and another member of the ISR can lead | the first such replica leads; the drained one stays in the ISR |
//! | is leaving, and another member of the ISR can lead | the first such replica leads |
//! | is leaving and proven, and no other can | stays: nothing is moved |
//! | is gone, unproven, or not to be kept | the first replica in the ISR that is up and proven leads |
//! | nobody in the ISR can prove that it is complete | once all of the ISR is here, who has most leads, alone |
//! | nobody in the ISR is left, unclean elections on | the first replica that is up leads, alone |
//! | else | nobody leads, and the ISR stays what it was: it says who may lead again |
//!
//! A led partition's ISR keeps its leader and those members that are up. Where the leader changes,
//! members that cannot prove their logs go too: the new leader does not know what they lack.
//!
//! **Who has most**: what is acknowledged was on every member of the ISR. Where none of them can prove its
//! log they may all have lost some of it, which a replica that was on its way into the ISR may still have.
//! Of logs the one whose last epoch is the latest, and of those the longest, holds whatever of the
//! acknowledged the others hold. So every replica that is up is asked; the members' answers are waited for,
//! another's silence is no answer and decides nothing. Who is to lead asks the same (`control/proof.rs`).
//! One that is out of the ISR and has more than all of it is elected uncleanly: what the members have lost
//! it may never have had. So is a member where loss is allowed and another, which is away, may have more.
//! Source: Kafka 3.9 `PartitionLeaderElectionAlgorithms`, `ReplicaStateMachine`; proof is ours, and the idea
//! KIP-966's (unclean recovery).

use std::collections::BTreeMap;

use broker_protocol::quantity::BrokerId;

use super::state::event::End;

/// How a broker stands towards one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is registered, and its replica's directory works.
    Up {
        /// Whether nothing casts doubt on its log's being complete.
        proven: bool,
    },
    /// It is registered, but shutting down, or its port refuses.
    Leaving {
        /// Whether nothing casts doubt on its log's being complete.
        proven: bool,
    },
    /// It is not registered, or its replica's directory failed.
    Gone,
}

/// What an election looks at.
pub struct Facts<'a> {
    /// The replicas that may lead or stay in the ISR, in order of preference.
    pub replicas: &'a [BrokerId],
    /// Who leads, if somebody does and has not restarted since.
    pub leader: Option<BrokerId>,
    /// The ISR in its order; never empty.
    pub isr: &'a [BrokerId],
    /// How each broker stands.
    pub presence: &'a dyn Fn(BrokerId) -> Presence,
    /// Whether the first replica is to lead if it can.
    pub prefers_first: bool,
    /// Who is to lead only if nobody else can, and stays in the ISR.
    pub drained: Option<BrokerId>,
    /// Whether a replica outside of the ISR may lead.
    pub is_unclean: bool,
    /// Where the logs end of those who were asked and have answered; `None` of one that does not say.
    pub ends: &'a BTreeMap<BrokerId, Option<End>>,
}

/// A decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elected {
    /// The leader, if there can be one.
    pub leader: Option<BrokerId>,
    /// The ISR.
    pub isr: Vec<BrokerId>,
    /// Whether the leader may lack what was acknowledged: it was not in the ISR, or cannot prove its log and
    /// others of the ISR are away.
    pub is_unclean: bool,
    /// Whose ends must be known before anybody is elected.
    pub ask: Vec<BrokerId>,
}

impl Facts<'_> {
    fn is_up(&self, id: BrokerId) -> bool {
        matches!((self.presence)(id), Presence::Up { .. })
    }

    fn is_kept(&self, id: BrokerId) -> bool {
        self.replicas.contains(&id)
    }

    /// Whether ISR membership is enough for `id` to lead.
    fn can_lead(&self, id: BrokerId) -> bool {
        self.isr.contains(&id) && (self.presence)(id) == Presence::Up { proven: true }
    }

    fn stays(&self, any_other: bool) -> Option<BrokerId> {
        let leader = self.leader?;
        let stays = match (self.presence)(leader) {
            Presence::Up { proven } => proven && !(any_other && self.drained == Some(leader)),
            Presence::Leaving { proven } => proven && !any_other,
            Presence::Gone => false,
        };
        (stays && self.is_kept(leader) && self.isr.contains(&leader)).then_some(leader)
    }
}

/// Makes the state of a partition that never had one: all live replicas are in sync.
pub fn first(replicas: &[BrokerId], is_up: impl Fn(BrokerId) -> bool) -> Option<Elected> {
    let isr: Vec<_> = replicas.iter().copied().filter(|id| is_up(*id)).collect();
    let leader = isr.first().copied()?;
    Some(Elected { leader: Some(leader), isr, is_unclean: false, ask: Vec::new() })
}

/// Decides who leads and who stays in the ISR.
pub fn elect(facts: &Facts<'_>) -> Elected {
    let able = || facts.replicas.iter().copied().filter(|id| facts.can_lead(*id));
    let first = able().find(|id| facts.drained != Some(*id));
    let preferred = facts.replicas.first().copied().filter(|_| facts.prefers_first);
    let preferred = preferred.filter(|id| facts.can_lead(*id) && facts.drained != Some(*id));
    let stays = || facts.stays(first.is_some());
    let Some(leader) = preferred.or_else(stays).or(first).or_else(|| able().next()) else {
        return without_proof(facts);
    };
    let stays = |id: &BrokerId| match (facts.presence)(*id) {
        _ if *id == leader => true,
        Presence::Up { proven } => proven || facts.leader == Some(leader),
        Presence::Leaving { .. } | Presence::Gone => false,
    };
    let isr = facts.isr.iter().copied().filter(|id| facts.is_kept(*id)).filter(stays).collect();
    Elected { leader: Some(leader), isr, is_unclean: false, ask: Vec::new() }
}

/// Decides where ISR membership proves nothing, or where nobody of the ISR is here.
fn without_proof(facts: &Facts<'_>) -> Elected {
    let alone = |leader, is_unclean| Elected {
        leader: Some(leader),
        isr: vec![leader],
        is_unclean,
        ask: Vec::new(),
    };
    let nobody = |ask| {
        let kept: Vec<_> = facts.isr.iter().copied().filter(|id| facts.is_kept(*id)).collect();
        let isr = if kept.is_empty() { facts.isr.to_vec() } else { kept };
        Elected { leader: None, isr, is_unclean: false, ask }
    };
    let is_member = |id: &BrokerId| facts.isr.contains(id);
    let here: Vec<_> = facts.replicas.iter().copied().filter(is_member).collect();
    let here: Vec<_> = here.into_iter().filter(|id| facts.is_up(*id)).collect();
    if here.is_empty() {
        // A member that is no replica never leads: nobody waits for it.
        let is_gone =
            |id: &BrokerId| !facts.is_kept(*id) || (facts.presence)(*id) == Presence::Gone;
        let winner = facts.replicas.iter().copied().find(|id| facts.is_up(*id));
        return match winner {
            Some(winner) if facts.is_unclean && facts.isr.iter().all(is_gone) => {
                alone(winner, true)
            }
            _ => nobody(Vec::new()),
        };
    }
    // One that is away may be able to prove more: it is waited for, unless loss is allowed.
    let others_are_away = here.len() < facts.isr.len();
    if others_are_away && !facts.is_unclean {
        return nobody(Vec::new());
    }
    let others = facts.replicas.iter().copied().filter(|id| !is_member(id) && facts.is_up(*id));
    let asked: Vec<_> = here.iter().copied().chain(others).collect();
    if let [only] = asked[..] {
        return alone(only, others_are_away);
    }
    let has_answered = |id: &BrokerId| match facts.ends.get(id) {
        Some(end) => end.is_some() || !is_member(id),
        None => false,
    };
    if !asked.iter().all(has_answered) {
        return nobody(asked);
    }
    // Of equals the first, and a member before another; `max_by_key` takes the last.
    let ends = asked.iter().rev().filter_map(|id| Some((facts.ends.get(id).copied()??, *id)));
    let winner = ends.max_by_key(|(end, _)| *end).map(|(_, id)| id);
    match winner {
        Some(winner) => alone(winner, others_are_away || !is_member(&winner)),
        None => nobody(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use broker_protocol::quantity::{LeaderEpoch, Offset};

    use super::*;

    const UP: Presence = Presence::Up { proven: true };
    const DOUBTED: Presence = Presence::Up { proven: false };
    const LEAVING: Presence = Presence::Leaving { proven: true };
    const DOUBTED_LEAVING: Presence = Presence::Leaving { proven: false };
    const GONE: Presence = Presence::Gone;

    fn ids(numbers: &[i32]) -> Vec<BrokerId> {
        numbers.iter().copied().map(BrokerId).collect()
    }

    /// Elects among replicas 1, 2 and 3, which stand as `presence` says.
    fn decided(
        presence: [Presence; 3],
        leader: i32,
        isr: &[i32],
        change: impl Fn(&mut Facts<'_>),
    ) -> Elected {
        let (replicas, isr, ends) = (ids(&[1, 2, 3]), ids(isr), BTreeMap::new());
        let presence = |id: BrokerId| presence[id.0 as usize - 1];
        let mut facts = Facts {
            replicas: &replicas,
            leader: Some(BrokerId(leader)).filter(|leader| leader.0 > 0),
            isr: &isr,
            presence: &presence,
            prefers_first: false,
            drained: None,
            is_unclean: false,
            ends: &ends,
        };
        change(&mut facts);
        elect(&facts)
    }

    /// As [`decided`]; returns leader, ISR and who is to be asked.
    fn run(
        presence: [Presence; 3],
        leader: i32,
        isr: &[i32],
        change: impl Fn(&mut Facts<'_>),
    ) -> (i32, Vec<i32>, Vec<i32>) {
        let elected = decided(presence, leader, isr, change);
        let numbers = |ids: Vec<BrokerId>| ids.iter().map(|id| id.0).collect();
        (elected.leader.map_or(-1, |id| id.0), numbers(elected.isr), numbers(elected.ask))
    }

    /// Method: pure table. A row is (name, presence of 1 2 3, leader, ISR, leader and ISR then).
    #[test]
    fn the_first_replica_that_is_up_and_in_sync_leads() {
        type Row = (&'static str, [Presence; 3], i32, &'static [i32], i32, &'static [i32]);
        let rows: [Row; 15] = [
            ("a healthy partition is left alone", [UP; 3], 2, &[3, 2, 1], 2, &[3, 2, 1]),
            ("a dead leader is followed by the first in sync", [GONE, UP, UP], 1, &[1, 3], 3, &[3]),
            ("by order of replicas, not of the ISR", [GONE, UP, UP], 1, &[3, 1, 2], 2, &[3, 2]),
            ("a dead follower leaves the ISR", [UP, GONE, UP], 1, &[1, 2, 3], 1, &[1, 3]),
            ("nobody in sync is up: the ISR stands", [GONE, UP, UP], 1, &[1], -1, &[1]),
            ("all are dead: the ISR stands", [GONE; 3], 1, &[1, 2], -1, &[1, 2]),
            ("it comes back", [UP, GONE, UP], -1, &[1, 2], 1, &[1]),
            ("who leaves hands over", [LEAVING, UP, UP], 1, &[1, 2, 3], 2, &[2, 3]),
            ("who leaves and is alone in sync stays", [LEAVING, UP, UP], 1, &[1], 1, &[1]),
            ("so does not the doubted", [DOUBTED_LEAVING, GONE, UP], 1, &[1], -1, &[1]),
            ("a follower that leaves goes", [UP, LEAVING, UP], 1, &[1, 2], 1, &[1]),
            ("nobody is elected who leaves", [GONE, LEAVING, GONE], 1, &[1, 2], -1, &[1, 2]),
            ("the doubted give way", [DOUBTED, UP, UP], 1, &[1, 2, 3], 2, &[2, 3]),
            ("the doubted wait for the others", [DOUBTED, GONE, UP], -1, &[1, 2], -1, &[1, 2]),
            ("the doubted lead if they are alone", [DOUBTED, GONE, GONE], -1, &[1], 1, &[1]),
        ];
        for (name, presence, leader, isr, then, isr_then) in rows {
            let (leader, isr, _) = run(presence, leader, isr, |_| ());
            assert_eq!((leader, isr.as_slice()), (then, isr_then), "{name}");
        }
    }

    /// Where nobody of the ISR is left, one that is up leads alone; who may come back is waited for.
    #[test]
    fn unclean_elections_take_any_replica_once_the_isr_is_gone() {
        let unclean = |facts: &mut Facts<'_>| facts.is_unclean = true;
        assert_eq!(run([GONE, UP, UP], 1, &[1], unclean), (2, vec![2], vec![]));
        assert_eq!(run([GONE, UP, UP], 1, &[1, 3], unclean), (3, vec![3], vec![]));
        assert_eq!(run([LEAVING, UP, UP], 1, &[1], unclean), (1, vec![1], vec![]));
        assert_eq!(run([GONE, LEAVING, UP], 1, &[1, 2], unclean), (-1, vec![1, 2], vec![]));
        assert_eq!(run([DOUBTED, GONE, GONE], -1, &[1, 2], unclean), (1, vec![1], vec![]));
        let no_replica = |facts: &mut Facts<'_>| {
            facts.is_unclean = true;
            facts.replicas = &[BrokerId(2), BrokerId(3)];
        };
        assert_eq!(run([UP; 3], -1, &[1], no_replica), (2, vec![2], vec![]));
    }

    /// What may be lost is said to be: by who leads from outside of the ISR, and by who cannot prove that it has
    /// what another member has that is away.
    #[test]
    fn an_election_that_may_lose_is_an_unclean_one() {
        let rows: [([Presence; 3], &[i32], bool); 6] = [
            ([GONE, UP, GONE], &[1], true),
            ([DOUBTED, GONE, GONE], &[1, 2], true),
            ([DOUBTED, GONE, UP], &[1, 2], true),
            ([DOUBTED, GONE, GONE], &[1], false),
            ([DOUBTED, UP, GONE], &[1, 2], false),
            ([UP, GONE, GONE], &[1, 2], false),
        ];
        let end = Some(End { leader_epoch: LeaderEpoch(3), log_end_offset: Offset(7) });
        let ends = BTreeMap::from([(BrokerId(1), end), (BrokerId(3), end)]);
        let ends: &BTreeMap<_, _> = Box::leak(Box::new(ends));
        for (presence, isr, is_unclean) in rows {
            let elected = decided(presence, -1, isr, |facts| {
                facts.is_unclean = true;
                facts.ends = ends;
            });
            assert!(elected.leader.is_some(), "{presence:?}");
            assert_eq!(elected.is_unclean, is_unclean, "{presence:?} {isr:?}");
        }
    }

    /// The first replica leads when it is asked for, in sync and up.
    #[test]
    fn the_preferred_replica_leads_if_it_can() {
        let prefer = |facts: &mut Facts<'_>| facts.prefers_first = true;
        assert_eq!(run([UP; 3], 3, &[3, 1], prefer), (1, vec![3, 1], vec![]));
        assert_eq!(run([UP; 3], 3, &[3, 2], prefer), (3, vec![3, 2], vec![]));
        assert_eq!(run([LEAVING, UP, UP], 3, &[3, 1], prefer), (3, vec![3], vec![]));
    }

    /// A broker that is drained leads what nobody else can, and stays in sync.
    #[test]
    fn a_drained_broker_hands_over_and_stays() {
        let rows: [([Presence; 3], i32, &[i32], bool, i32, &[i32]); 6] = [
            ([UP; 3], 1, &[1, 2, 3], false, 2, &[1, 2, 3]),
            ([UP; 3], 1, &[1], false, 1, &[1]),
            ([UP, DOUBTED, UP], 1, &[1, 2], false, 1, &[1, 2]),
            ([UP; 3], 2, &[1, 2], true, 2, &[1, 2]),
            ([UP, UP, GONE], 3, &[1, 2, 3], false, 2, &[1, 2]),
            ([UP, GONE, GONE], 3, &[1, 2, 3], false, 1, &[1]),
        ];
        for (presence, leader, isr, prefers_first, then, isr_then) in rows {
            let drain = |facts: &mut Facts<'_>| {
                facts.drained = Some(BrokerId(1));
                facts.prefers_first = prefers_first;
            };
            let (leader, isr, _) = run(presence, leader, isr, drain);
            assert_eq!((leader, isr.as_slice()), (then, isr_then), "{presence:?}");
        }
    }

    /// If no member can prove its log, all who are up are asked, and who has most leads alone.
    #[test]
    fn of_the_doubted_and_those_out_of_the_isr_who_has_most_leads() {
        let doubted = [DOUBTED, DOUBTED, UP];
        assert_eq!(run(doubted, -1, &[1, 2], |_| ()), (-1, vec![1, 2], vec![1, 2, 3]));
        let said = |leader_epoch, end| {
            let log_end_offset = Offset(end);
            Some(Some(End { leader_epoch: LeaderEpoch(leader_epoch), log_end_offset }))
        };
        // What 1, 2 and 3 say; `None` before the answer, `Some(None)` for one that does not know.
        let rows = [
            ([said(3, 10), said(3, 11), said(3, 10)], 2),
            ([said(4, 1), said(3, 11), said(3, 12)], 1),
            ([said(3, 10), said(3, 10), said(3, 10)], 1),
            ([said(5, 100), said(5, 100), said(5, 110)], 3),
            ([said(-1, 0), said(-1, 0), said(2, 1)], 3),
            ([said(3, 10), said(3, 11), Some(None)], 2),
            ([said(3, 10), said(3, 11), None], -1),
            ([said(3, 10), Some(None), said(3, 12)], -1),
        ];
        for (said, winner) in rows {
            let ends = said.into_iter().zip(1..).filter_map(|(end, id)| Some((BrokerId(id), end?)));
            let ends: BTreeMap<_, _> = ends.collect();
            let (leader, isr, ask) = run(doubted, -1, &[1, 2], |facts| {
                // The table outlives the call, not the closure's argument.
                facts.ends = Box::leak(Box::new(ends.clone()));
            });
            assert_eq!(leader, winner, "{ends:?}");
            let is_elected = leader > 0;
            assert_eq!(isr, if is_elected { vec![leader] } else { vec![1, 2] });
            assert_eq!(ask.is_empty(), is_elected);
        }
    }

    /// A replica that is not to be kept neither leads nor stays in the ISR.
    #[test]
    fn who_is_removed_hands_over() {
        let keep = |facts: &mut Facts<'_>| facts.replicas = &[BrokerId(3), BrokerId(2)];
        assert_eq!(run([UP; 3], 1, &[1, 2, 3], keep), (3, vec![2, 3], vec![]));
        assert_eq!(run([UP; 3], 1, &[1], keep).0, -1);
    }

    /// A new partition begins with all its live replicas in sync, or not at all.
    #[test]
    fn a_new_partition_needs_one_live_replica() {
        let elected = first(&ids(&[1, 2, 3]), |id| id.0 != 1).unwrap();
        assert_eq!((elected.leader, elected.isr), (Some(BrokerId(2)), ids(&[2, 3])));
        assert_eq!(first(&ids(&[1]), |_| false), None);
    }
}
