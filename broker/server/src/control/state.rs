//! Which requests of a controller are obeyed, and what they make of each partition. Pure: no
//! partition, no clock, no I/O.
//!
//! Three epochs fence three things: the controller epoch an older controller, the broker epoch an
//! order that was meant for an earlier life of this broker, the leader epoch an older decision about
//! one partition. An order that repeats what is known already is answered as a stale one, which is
//! normal traffic and not a fault.
//!
//! Source: Kafka 3.9 `KafkaApis.isBrokerEpochStale`, `ReplicaManager.becomeLeaderOrFollower` and
//! `stopReplicas`. Ours: an order for a later registration than this broker's is one for another broker,
//! which tells the cluster this one's address, and is refused, where Kafka's takes it for its own; after
//! its session ended a broker obeys no order of that session's time, and what it gave up then it takes
//! again in the same leader epoch.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::uuid::Uuid;

use crate::planted::{self, Bug};
use crate::replica::progress::NO_BROKER_EPOCH;

/// The leader epoch of a StopReplica of old, which had none.
const NO_LEADER_EPOCH: LeaderEpoch = LeaderEpoch(-1);

/// The leader epoch of a StopReplica of a topic that is deleted: it overrides every other.
const EPOCH_DURING_DELETE: LeaderEpoch = LeaderEpoch(-2);

/// What a request says of whom it is from and whom it is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sender {
    /// The controller.
    pub(crate) controller: BrokerId,
    /// How often controllers had been elected when that one was.
    pub(crate) controller_epoch: i32,
    /// The registration that is meant, -1 for any.
    pub(crate) broker_epoch: i64,
}

impl Sender {
    /// As the fields of a request say.
    pub(crate) fn new(controller_id: i32, controller_epoch: i32, broker_epoch: i64) -> Self {
        Self { controller: BrokerId(controller_id), controller_epoch, broker_epoch }
    }
}

/// What is known of controllers. Owned by the control loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ControlState {
    controller_epoch: i32,
    /// The latest registration that was seen.
    registered: i64,
    /// The broker epoch of the session that ended last, until there is another.
    ended: Option<i64>,
}

impl ControlState {
    /// Begins with the highest controller epoch that was ever seen, or -1.
    pub(crate) fn new(controller_epoch: i32) -> Self {
        Self { controller_epoch, registered: NO_BROKER_EPOCH, ended: None }
    }

    /// Obeys a request, or returns the error that answers it. `broker_epoch` is that of this broker's
    /// registration, -1 while there is none.
    ///
    /// A registration that is just being made may be known to the controller first: who calls waits until it
    /// is known here.
    pub(crate) fn admit(&mut self, sender: Sender, broker_epoch: i64) -> Result<(), ErrorCode> {
        self.registered = self.registered.max(broker_epoch);
        if sender.controller_epoch < self.controller_epoch {
            return Err(ErrorCode::StaleControllerEpoch);
        }
        let is_for_another =
            sender.broker_epoch != NO_BROKER_EPOCH && sender.broker_epoch != broker_epoch;
        let is_let_pass = planted::is(Bug::StaleBrokerEpoch) && sender.broker_epoch < broker_epoch;
        if is_for_another && !is_let_pass {
            return Err(ErrorCode::StaleBrokerEpoch);
        }
        if let Some(ended) = self.ended {
            if broker_epoch <= ended {
                return Err(ErrorCode::StaleBrokerEpoch);
            }
            self.ended = None;
        }
        self.controller_epoch = sender.controller_epoch;
        Ok(())
    }

    /// Obeys nobody until there is another registration than the latest, which may be that of
    /// `broker_epoch`.
    pub(crate) fn resign(&mut self, broker_epoch: i64) {
        self.registered = self.registered.max(broker_epoch);
        self.ended = Some(self.registered);
    }
}

/// What this broker has of a partition that LeaderAndIsr is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing.
    Absent,
    /// A log that cannot be used, or may be one.
    Unusable,
    /// A replica.
    Present {
        /// Zero if it has none.
        topic_id: Uuid,
        /// -1 before the first order.
        leader_epoch: LeaderEpoch,
        /// Whether it was given up with the session, and nobody was named since.
        is_resigned: bool,
    },
}

/// What LeaderAndIsr says of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Zero if the request cannot say, or the topic has none.
    pub(crate) topic_id: Uuid,
    /// Of the decision.
    pub(crate) leader_epoch: LeaderEpoch,
    /// Whether this broker is to lead.
    pub(crate) is_leader: bool,
    /// Whether this broker is among the replicas.
    pub(crate) is_replica: bool,
}

/// What becomes of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is led.
    Lead,
    /// It is copied.
    Follow,
    /// It only gets the id of its topic.
    AssignTopicId,
    /// It stays as it is.
    Refuse(ErrorCode),
}

/// Decides what one partition of an admitted LeaderAndIsr becomes.
pub(crate) fn partition(known: Known, asked: Asked) -> Verdict {
    let become_it = if asked.is_leader { Verdict::Lead } else { Verdict::Follow };
    let (topic_id, leader_epoch, is_resigned) = match known {
        Known::Unusable => return Verdict::Refuse(ErrorCode::KafkaStorageError),
        Known::Absent if asked.is_replica => return become_it,
        Known::Absent => return Verdict::Refuse(ErrorCode::UnknownTopicOrPartition),
        Known::Present { topic_id, leader_epoch, is_resigned } => {
            (topic_id, leader_epoch, is_resigned)
        }
    };
    let is_same_topic =
        topic_id.is_zero() || asked.topic_id.is_zero() || topic_id == asked.topic_id;
    if !is_same_topic {
        return Verdict::Refuse(ErrorCode::InconsistentTopicId);
    }
    let is_news =
        asked.leader_epoch > leader_epoch || (asked.leader_epoch == leader_epoch && is_resigned);
    if is_news {
        return if asked.is_replica {
            become_it
        } else {
            Verdict::Refuse(ErrorCode::UnknownTopicOrPartition)
        };
    }
    let gives_id = topic_id.is_zero() && !asked.topic_id.is_zero();
    if asked.leader_epoch == leader_epoch && gives_id {
        return Verdict::AssignTopicId;
    }
    Verdict::Refuse(ErrorCode::StaleControllerEpoch)
}

/// Decides whether a replica, in `known` epoch, is stopped by a StopReplica of epoch `asked`.
///
/// # Errors
/// `FencedLeaderEpoch`: a later leader was told to keep it.
pub(crate) fn stop(known: LeaderEpoch, asked: LeaderEpoch) -> Result<(), ErrorCode> {
    let is_stopped = asked == EPOCH_DURING_DELETE || asked == NO_LEADER_EPOCH || asked >= known;
    if is_stopped { Ok(()) } else { Err(ErrorCode::FencedLeaderEpoch) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(controller_epoch: i32, broker_epoch: i64) -> Sender {
        Sender { controller: BrokerId(2), controller_epoch, broker_epoch }
    }

    /// Method: table of (name, epochs of the request, answer) for a broker registered at 100 that has
    /// obeyed controller epoch 5.
    #[test]
    fn orders_are_fenced_by_both_epochs() {
        let stale_controller = Err(ErrorCode::StaleControllerEpoch);
        let stale_broker = Err(ErrorCode::StaleBrokerEpoch);
        let cases = [
            ("the same controller", 5, 100, Ok(())),
            ("a later controller", 6, 100, Ok(())),
            ("an earlier controller", 4, 100, stale_controller),
            ("an earlier registration", 5, 99, stale_broker),
            ("a registration that is not ours", 5, 101, stale_broker),
            ("an old request does not say", 5, -1, Ok(())),
            ("an earlier controller comes first", 4, 99, stale_controller),
        ];
        for (name, controller_epoch, broker_epoch, expected) in cases {
            let mut state = ControlState::new(5);
            let admitted = state.admit(sender(controller_epoch, broker_epoch), 100);
            assert_eq!(admitted, expected, "{name}");
            let seen = if expected.is_ok() { controller_epoch } else { 5 };
            assert_eq!(state.controller_epoch, seen, "{name}");
        }
    }

    #[test]
    fn after_a_session_nothing_of_its_time_is_obeyed() {
        let mut state = ControlState::new(5);
        state.resign(100);
        assert_eq!(state.admit(sender(5, 100), 100), Err(ErrorCode::StaleBrokerEpoch));
        assert_eq!(state.admit(sender(5, -1), 100), Err(ErrorCode::StaleBrokerEpoch));
        assert_eq!(state.admit(sender(5, 120), 100), Err(ErrorCode::StaleBrokerEpoch));
        assert_eq!(state.admit(sender(5, 120), 120), Ok(()), "it was ours");
        let mut state = ControlState::new(5);
        state.resign(100);
        assert_eq!(state.admit(sender(5, -1), 120), Ok(()), "registered again");
        assert_eq!(state.admit(sender(5, 100), 120), Err(ErrorCode::StaleBrokerEpoch));
        state.resign(-1);
        for own in [-1, 120] {
            assert_eq!(state.admit(sender(5, 120), own), Err(ErrorCode::StaleBrokerEpoch), "{own}");
        }
        assert_eq!(state.admit(sender(5, 121), 121), Ok(()));
    }

    /// Method: table of (name, what is here, epoch and topic asked for, verdict as a follower).
    #[test]
    fn a_partition_obeys_what_is_newer_and_of_its_topic() {
        let (one, two) = (Uuid::from_bytes([1; 16]), Uuid::from_bytes([2; 16]));
        let present = |topic_id, epoch, is_resigned| Known::Present {
            topic_id,
            leader_epoch: LeaderEpoch(epoch),
            is_resigned,
        };
        let stale = Verdict::Refuse(ErrorCode::StaleControllerEpoch);
        let inconsistent = Verdict::Refuse(ErrorCode::InconsistentTopicId);
        let offline = Verdict::Refuse(ErrorCode::KafkaStorageError);
        let cases = [
            ("nothing here", Known::Absent, 0, one, Verdict::Follow),
            ("a dead directory", Known::Unusable, 9, one, offline),
            ("never told", present(one, -1, false), 0, one, Verdict::Follow),
            ("newer", present(one, 4, false), 5, one, Verdict::Follow),
            ("known", present(one, 5, false), 5, one, stale),
            ("older", present(one, 6, false), 5, one, stale),
            ("given up and told again", present(one, 5, true), 5, one, Verdict::Follow),
            ("given up, and older", present(one, 6, true), 5, one, stale),
            ("only the id is new", present(Uuid::ZERO, 5, false), 5, one, Verdict::AssignTopicId),
            ("id and epoch are new", present(Uuid::ZERO, 4, false), 5, one, Verdict::Follow),
            ("an old request has no id", present(one, 4, false), 5, Uuid::ZERO, Verdict::Follow),
            ("another topic", present(two, 4, false), 5, one, inconsistent),
        ];
        for (name, known, epoch, topic_id, expected) in cases {
            let leader_epoch = LeaderEpoch(epoch);
            let asked = Asked { topic_id, leader_epoch, is_leader: false, is_replica: true };
            assert_eq!(partition(known, asked), expected, "{name}");
            let as_leader = partition(known, Asked { is_leader: true, ..asked });
            let leads = if expected == Verdict::Follow { Verdict::Lead } else { expected };
            assert_eq!(as_leader, leads, "{name}");
        }
        let asked = Asked {
            topic_id: one,
            leader_epoch: LeaderEpoch(5),
            is_leader: false,
            is_replica: false,
        };
        let unknown = Verdict::Refuse(ErrorCode::UnknownTopicOrPartition);
        assert_eq!(partition(Known::Absent, asked), unknown);
        assert_eq!(partition(present(one, 4, false), asked), unknown);
    }

    #[test]
    fn a_replica_is_stopped_by_its_epoch_a_later_one_or_none() {
        let fenced = Err(ErrorCode::FencedLeaderEpoch);
        for (asked, expected) in [(4, fenced), (5, Ok(())), (6, Ok(())), (-1, Ok(())), (-2, Ok(()))]
        {
            assert_eq!(stop(LeaderEpoch(5), LeaderEpoch(asked)), expected, "{asked}");
        }
    }
}
