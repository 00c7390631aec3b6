//! The rules of one partition, as tables and by hand.

use std::time::Duration;

use super::*;
use crate::clock::{Clock, SystemClock};

mod simulation;

/// Rules that lose records: each must be caught by the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The high watermark waits for the proposed ISR only.
    ProposedIsrOnly,
    /// The high watermark waits for the confirmed ISR only.
    ConfirmedIsrOnly,
    /// A replica joins as soon as it has fetched.
    JoinBeforeHighWatermark,
    /// The high watermark is the leader's own end.
    AcknowledgeBeforeReplication,
    /// A follower cuts to its high watermark (before KIP-101).
    TruncateToHighWatermark,
    /// A follower asks once in an epoch, and cuts at the offset of the answer whatever the epoch in it
    /// (KIP-101 without KIP-279).
    TruncateToTheEndAlone,
    /// A follower goes on where its log ends.
    NeverTruncate,
    /// The leader serves, and counts, fetches of another epoch (before KIP-320).
    IgnoreEpochInFetch,
    /// A follower cuts by an answer to an earlier question.
    TruncateByLateAnswers,
    /// A replica joins by a fetch of an earlier registration.
    IgnoreBrokerEpoch,
}

impl Wrong {
    pub(super) fn waits_for(
        self,
        broker: BrokerId,
        confirmed: &[BrokerId],
        proposed: Option<&IsrProposal>,
    ) -> bool {
        match self {
            Self::ProposedIsrOnly => {
                proposed.is_none_or(|it| it.isr.iter().any(|(member, _)| *member == broker))
            }
            Self::ConfirmedIsrOnly => confirmed.contains(&broker),
            Self::JoinBeforeHighWatermark
            | Self::AcknowledgeBeforeReplication
            | Self::TruncateToHighWatermark
            | Self::TruncateToTheEndAlone
            | Self::NeverTruncate
            | Self::IgnoreEpochInFetch
            | Self::TruncateByLateAnswers
            | Self::IgnoreBrokerEpoch => true,
        }
    }
}

const ME: BrokerId = BrokerId(1);

fn now() -> Instant {
    SystemClock.now()
}

/// Returns what the controller says: broker 1 leads in `epoch`, of three replicas, with `others` in sync.
fn leadership(epoch: i32, others: &[i32]) -> Leadership {
    let isr = [ME].into_iter().chain(others.iter().copied().map(BrokerId)).collect();
    Leadership { isr, ..Leadership::alone(ME, LeaderEpoch(epoch), 3) }
}

fn leader(durability: Durability, others: &[i32]) -> PartitionState {
    let mut state = PartitionState::opened(Offset(0), Offset(0), Offset(0), durability);
    let _ = state.lead(leadership(5, others), now()).unwrap();
    state
}

fn fetch(broker: i32, offset: i64) -> ReplicaFetch {
    let (broker, offset) = (BrokerId(broker), Offset(offset));
    ReplicaFetch {
        broker,
        broker_epoch: 70,
        leader_epoch: LeaderEpoch(-1),
        offset,
        log_start_offset: Offset(0),
        at: now(),
    }
}

/// A member of the ISR has all that is committed: one that begins below has lost it. Nothing is said of
/// later fetches, which may have waited, nor of who is out of sync.
#[test]
fn a_replica_in_sync_that_lacks_committed_records_is_seen() {
    let mut state = leader(Durability::Replicated, &[2, 3]);
    state.appended(Offset(10));
    for broker in [2, 3] {
        assert!(!state.lacks_committed(&fetch(broker, 10)));
        let _ = state.replica_fetched(&fetch(broker, 10));
    }
    assert_eq!(state.high_watermark(), Offset(10));
    assert!(!state.lacks_committed(&fetch(2, 7)), "a fetch that waited");
    for (isr, offset, lacks) in [(&[2, 3][..], 10, false), (&[2, 3], 9, true), (&[3], 9, false)] {
        let mut next = state.clone();
        let _ = next.lead(leadership(6, isr), now()).unwrap();
        let fetch = ReplicaFetch { leader_epoch: LeaderEpoch(6), ..fetch(2, offset) };
        assert_eq!(next.lacks_committed(&fetch), lacks, "{isr:?} {offset}");
    }
}

/// The high watermark is the lowest end in the ISR and never moves back.
///
/// Method: pure table. A row is (name, high watermark, end, ISR ends, expected).
#[test]
fn high_watermark_is_lowest_isr_end_and_monotonic() {
    let cases: [(&str, i64, i64, &[i64], i64); 4] = [
        ("a leader alone advances it at once", 5, 9, &[], 9),
        ("the slowest member holds it back", 5, 9, &[7, 8], 7),
        ("a member that is behind cannot pull it back", 7, 9, &[3], 7),
        ("nothing new, nothing moves", 9, 9, &[9], 9),
    ];
    for (name, high_watermark, end, ends, expected) in cases {
        let (end, high_watermark) = (Offset(end), Offset(high_watermark));
        let durability = Durability::Replicated;
        let mut state = PartitionState::opened(Offset(0), end, high_watermark, durability);
        let others: Vec<_> = (2..).take(ends.len()).collect();
        let _ = state.lead(leadership(5, &others), now()).unwrap();
        for (broker, end) in others.iter().zip(ends) {
            let _ = state.replica_fetched(&fetch(*broker, *end));
        }
        assert_eq!(state.high_watermark(), Offset(expected), "{name}");
    }
}

#[test]
fn a_replicated_topic_shows_a_record_at_once_and_a_synced_one_after_the_sync() {
    let mut replicated = leader(Durability::Replicated, &[]);
    assert!(replicated.appended(Offset(4)));
    assert_eq!(replicated.high_watermark(), Offset(4));

    let mut synced = leader(Durability::Synced, &[]);
    assert!(!synced.appended(Offset(4)));
    assert_eq!(synced.high_watermark(), Offset(0));
    assert!(synced.synced(Offset(3)));
    assert_eq!(synced.high_watermark(), Offset(3));
    assert!(!synced.synced(Offset(2)), "an older sync that ends later moves nothing");
    assert!(synced.synced(Offset(4)));
}

#[test]
fn a_change_of_durability_moves_the_high_watermark_forward_only() {
    let mut state = leader(Durability::Synced, &[]);
    state.appended(Offset(4));
    assert!(state.set_durability(Durability::Replicated));
    assert_eq!(state.high_watermark(), Offset(4));
    assert!(!state.set_durability(Durability::Synced));
    assert_eq!(state.high_watermark(), Offset(4), "what was seen stays seen");
}

#[test]
fn an_in_sync_replica_holds_the_high_watermark_back_until_it_fetches() {
    let mut state = leader(Durability::Replicated, &[2]);
    assert!(!state.appended(Offset(4)));
    assert!(!state.replica_fetched(&fetch(9, 4)).high_watermark, "a stranger moves nothing");
    assert!(state.replica_fetched(&fetch(2, 3)).high_watermark);
    assert_eq!(state.high_watermark(), Offset(3));
}

/// Method: table of (name, role, epoch asked for, expected) against a state in epoch 5.
#[test]
fn requests_are_fenced_by_role_and_epoch() {
    let older =
        StateError::FencedLeaderEpoch { requested: LeaderEpoch(4), current: LeaderEpoch(5) };
    let newer =
        StateError::UnknownLeaderEpoch { requested: LeaderEpoch(6), current: LeaderEpoch(5) };
    let cases = [
        ("the client does not say", None, -1, Ok(())),
        ("the same epoch", None, 5, Ok(())),
        ("an older epoch", None, 4, Err(older)),
        ("a newer epoch", None, 6, Err(newer)),
        ("a broken disk comes first", Some(Role::Offline), 4, Err(StateError::Offline)),
        ("a deleted partition", Some(Role::Deleted), -1, Err(StateError::Deleted)),
    ];
    for (name, end, epoch, expected) in cases {
        let mut state = leader(Durability::Replicated, &[]);
        if let Some(role) = end {
            state.end(role);
        }
        assert_eq!(state.check_leader(LeaderEpoch(epoch)), expected, "{name}");
    }
    let follower = PartitionState::opened(Offset(0), Offset(0), Offset(0), Durability::Replicated);
    assert_eq!(follower.check_leader(LeaderEpoch(-1)), Err(StateError::NotLeader));
}

#[test]
fn an_older_epoch_cannot_take_the_lead_and_an_ended_partition_never_leads_again() {
    let mut state = leader(Durability::Replicated, &[]);
    assert!(state.lead(leadership(4, &[]), now()).is_err());
    assert_eq!(state.leader_epoch(), LeaderEpoch(5));
    state.end(Role::Deleted);
    state.end(Role::Offline);
    assert_eq!(state.role(), Role::Deleted);
    assert!(state.lead(leadership(9, &[]), now()).is_err());
}

#[test]
fn min_insync_replicas_never_asks_for_more_than_are_assigned() {
    let mut alone = PartitionState::opened(Offset(0), Offset(0), Offset(0), Durability::Synced);
    let _ = alone.lead(Leadership::alone(ME, LeaderEpoch(0), 1), now()).unwrap();
    assert_eq!(alone.check_in_sync(2), Ok(()));
    let of_three = leader(Durability::Synced, &[]);
    let expected = StateError::NotEnoughReplicas { in_sync: 1, required: 2 };
    assert_eq!(of_three.check_in_sync(2), Err(expected));
}

#[test]
fn the_start_of_the_log_carries_the_high_watermark_with_it() {
    let mut state = leader(Durability::Synced, &[]);
    state.appended(Offset(9));
    state.log_start_moved(Offset(6));
    assert_eq!(state.high_watermark(), Offset(6));
}

const LAG_MAX: Duration = Duration::from_secs(30);

fn all_live(_: BrokerId) -> bool {
    true
}

fn ids(proposal: Option<&IsrProposal>) -> Vec<i32> {
    proposal.into_iter().flat_map(|it| &it.isr).map(|(broker, _)| broker.0).collect()
}

fn committed(partition_epoch: i32, isr: &[i32]) -> IsrAnswer {
    let isr = isr.iter().copied().map(BrokerId).collect();
    let leader_epoch = LeaderEpoch(5);
    IsrAnswer::Committed(Committed { leader_epoch, partition_epoch, isr, recovering: false })
}

/// Lets broker 3 be asked for beside 1 and 2, which have ten records, and appends ten more.
fn growing(wrong: Option<Wrong>) -> (PartitionState, IsrProposal) {
    let mut state = leader(Durability::Replicated, &[2]);
    state.wrong = wrong;
    state.appended(Offset(10));
    assert!(state.replica_fetched(&fetch(2, 10)).high_watermark);
    assert!(!state.replica_fetched(&fetch(3, 9)).may_join || wrong.is_some());
    assert!(state.replica_fetched(&fetch(3, 10)).may_join);
    let proposal = state.propose(now(), LAG_MAX, &all_live).unwrap();
    state.appended(Offset(20));
    (state, proposal)
}

#[test]
fn who_was_asked_to_join_is_waited_for_before_the_controller_answers() {
    let (mut state, proposal) = growing(None);
    assert_eq!(ids(Some(&proposal)), [1, 2, 3]);
    assert!(!state.replica_fetched(&fetch(2, 20)).high_watermark);
    assert_eq!(state.check_in_sync(3).is_ok(), state.check_still_in_sync(3).is_err());
    assert!(state.replica_fetched(&fetch(3, 15)).high_watermark);
    assert!(!state.answered(&proposal, committed(1, &[1, 2, 3])).high_watermark);
    assert_eq!((state.high_watermark(), state.check_in_sync(3)), (Offset(15), Ok(())));
    let (mut wrong, _) = growing(Some(Wrong::ConfirmedIsrOnly));
    assert!(wrong.replica_fetched(&fetch(2, 20)).high_watermark, "the fault shows here");
}

#[test]
fn who_is_to_leave_is_waited_for_until_the_controller_answers() {
    for wrong in [None, Some(Wrong::ProposedIsrOnly)] {
        let mut state = leader(Durability::Replicated, &[2, 3]);
        state.wrong = wrong;
        state.appended(Offset(10));
        let late = now() + LAG_MAX * 2;
        let _ = state.replica_fetched(&ReplicaFetch { at: late, ..fetch(3, 10) });
        let proposal = state.propose(late, LAG_MAX, &all_live).unwrap();
        assert_eq!(ids(Some(&proposal)), [1, 3]);
        state.appended(Offset(20));
        let moved = state.replica_fetched(&ReplicaFetch { at: late, ..fetch(3, 20) });
        assert_eq!(moved.high_watermark, wrong.is_some());
        let _ = state.answered(&proposal, committed(1, &[1, 3]));
        assert_eq!(state.high_watermark(), Offset(20));
    }
}

#[test]
fn a_replica_joins_only_alive_and_with_the_epochs_first_record() {
    let mut state = leader(Durability::Replicated, &[2]);
    state.appended(Offset(10));
    let _ = state.replica_fetched(&fetch(2, 4));
    let _ = state.lead(leadership(6, &[2]), now()).unwrap();
    assert_eq!(state.high_watermark(), Offset(4));
    for offset in [3, 4, 9] {
        let moved = state.replica_fetched(&fetch(3, offset));
        assert!(!moved.may_join, "the epoch began at 10, not at {offset}");
    }
    assert!(state.replica_fetched(&fetch(3, 10)).may_join);
    assert_eq!(state.propose(now(), LAG_MAX, &|broker| broker != BrokerId(3)), None);
    let proposal = state.propose(now(), LAG_MAX, &all_live).unwrap();
    assert_eq!(ids(Some(&proposal)), [1, 2, 3]);
    assert_eq!(proposal.isr[2], (BrokerId(3), 70), "with the registration that it fetched with");
    assert_eq!(state.propose(now(), LAG_MAX, &all_live), None, "one at a time");
}

#[test]
fn an_answer_that_says_nothing_keeps_both_and_a_refusal_drops_what_was_proposed() {
    let (mut state, proposal) = growing(None);
    let _ = state.answered(&proposal, IsrAnswer::Awaited);
    assert!(!state.replica_fetched(&fetch(2, 20)).high_watermark);
    let other = IsrProposal { partition_epoch: 9, ..proposal.clone() };
    assert_eq!(state.answered(&other, IsrAnswer::Refused), Moved::default());
    assert!(state.answered(&proposal, IsrAnswer::Refused).high_watermark);
    assert_eq!(state.maximal_isr().count(), 2);
}

#[test]
fn a_follower_believes_a_high_watermark_as_far_as_its_own_log_goes() {
    let mut state = PartitionState::opened(Offset(0), Offset(5), Offset(2), Durability::Synced);
    state.follow(Leadership { leader: Some(BrokerId(2)), ..leadership(6, &[2]) }).unwrap();
    assert!(state.followed(Offset(9), Offset(8)));
    assert_eq!(state.high_watermark(), Offset(5), "what is not synced is not vouched for");
    state.synced(Offset(9));
    assert!(state.followed(Offset(9), Offset(8)));
    assert!(!state.followed(Offset(9), Offset(3)), "a new leader may know less");
    state.truncated(Offset(0), Offset(6));
    assert_eq!((state.high_watermark(), state.vouched_end_offset()), (Offset(6), Offset(6)));
}

/// The lag of a leader is that of the replica furthest behind, in the ISR or not; of one that has not
/// fetched from it, all that there is. That of a follower is what its leader shows and it lacks.
#[test]
fn lag_is_what_the_replica_furthest_behind_lacks() {
    let mut state = leader(Durability::Replicated, &[2]);
    let _ = state.appended(Offset(10));
    let lag = |state: &PartitionState| state.replication(now()).lag;
    assert_eq!(lag(&state), 10);
    let _ = state.replica_fetched(&fetch(2, 10));
    assert_eq!(lag(&state), 10, "broker 3 has not fetched");
    let _ = state.replica_fetched(&fetch(3, 4));
    assert_eq!(lag(&state), 6);
    let later = now() + Duration::from_mins(1);
    assert!(state.replication(later).late_by > Duration::from_secs(59), "since the lead began");
    let _ = state.replica_fetched(&fetch(3, 10));
    assert_eq!((lag(&state), state.replication(later).late_by), (0, Duration::ZERO));
    let _ = state.appended(Offset(11));
    assert!(state.replication(later).late_by > Duration::from_secs(59));
    let told = state.replication(later);
    assert_eq!((told.in_sync, told.wanted, told.is_reassigning), (2, 3, false));

    let followed = Leadership { leader: Some(BrokerId(2)), ..leadership(6, &[2]) };
    state.follow(followed).unwrap();
    assert!(state.followed(Offset(11), Offset(15)));
    let told = state.replication(later);
    assert_eq!((told.lag, told.source, told.wanted), (4, Some(BrokerId(2)), 0));
    state.resign();
    assert_eq!(state.replication(later), Replication::default());
}

#[test]
fn who_resigned_is_told_anew_in_the_same_epoch_and_nobody_else_is() {
    let mut state = leader(Durability::Replicated, &[]);
    let followed = Leadership { leader: Some(BrokerId(2)), ..leadership(5, &[2]) };
    assert!(state.follow(followed.clone()).is_err(), "one leader in an epoch");
    state.resign();
    assert_eq!(state.check_leader(LeaderEpoch(5)), Err(StateError::NotLeader));
    assert_eq!(state.leadership(), None);
    state.follow(followed).unwrap();
    assert!(state.lead(leadership(5, &[]), now()).is_err(), "one leader in an epoch");
}
