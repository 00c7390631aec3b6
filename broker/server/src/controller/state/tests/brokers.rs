//! Brokers as far as the controller sees them: they apply directives in order, replicate, and
//! acknowledge what the whole of a leader's maximal ISR has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;

use crate::control::state::{ControlState, Sender};
use crate::controller::state::effect::{Directive, View};
use crate::controller::state::event::{Answer, End, Outcome};

/// One record: the epoch it was written in, and a number that no other has.
pub(super) type Record = (i32, u64);

/// A log and what its broker believes about it.
#[derive(Debug, Clone, Default)]
pub(super) struct Replica {
    pub(super) topic_id: Uuid,
    /// What the last LeaderAndIsr of this life said.
    pub(super) told: Option<Arc<View>>,
    /// The ISR that the leader goes by, and its partition epoch: moves with AlterPartition.
    pub(super) isr: Vec<BrokerId>,
    pub(super) partition_epoch: i32,
    /// What the leader has proposed and has no answer to, with the registration of each member.
    pub(super) proposed: Option<Vec<(BrokerId, i64)>>,
    pub(super) log: Vec<Record>,
    /// Whether a crash has cut the log since it was last complete.
    pub(super) is_cut: bool,
    /// Whether this follower has the log of its leader in the present epoch.
    pub(super) is_caught_up: bool,
    pub(super) has_failed: bool,
}

impl Replica {
    pub(super) fn end(&self) -> End {
        End {
            leader_epoch: LeaderEpoch(self.log.last().map_or(-1, |record| record.0)),
            log_end_offset: Offset(self.log.len() as i64),
        }
    }

    pub(super) fn maximal_isr(&self) -> BTreeSet<BrokerId> {
        let proposed = self.proposed.iter().flatten().map(|(id, _)| id);
        self.isr.iter().chain(proposed).copied().collect()
    }
}

/// A broker's process.
#[derive(Debug)]
pub(super) struct Process {
    /// The epoch of its registration; `None` while its session is over and it knows.
    pub(super) epoch: i64,
    /// Whom it obeys.
    pub(super) control: ControlState,
    pub(super) inbox: VecDeque<(Sender, Directive)>,
    pub(super) replicas: BTreeMap<TopicPartition, Replica>,
    /// What clients are told.
    pub(super) metadata: BTreeMap<TopicPartition, Arc<View>>,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            epoch: -1,
            control: ControlState::new(-1),
            inbox: VecDeque::new(),
            replicas: BTreeMap::new(),
            metadata: BTreeMap::new(),
        }
    }
}

impl Process {
    /// Applies a directive; returns what the controller is answered.
    pub(super) fn take(&mut self, me: BrokerId, directive: Directive) -> Option<Answer> {
        match directive {
            Directive::Lead { view, .. } => {
                let error = self.lead(me, &view);
                let outcome =
                    Outcome { partition: view.partition.clone(), topic_id: view.topic_id, error };
                Some(Answer::Led(vec![outcome]))
            }
            Directive::Announce(view) => {
                if let Some(known) = self.metadata.get(&view.partition)
                    && known.topic_id == view.topic_id
                {
                    // A later controller begins anew where a hand took the state away.
                    let is_anew =
                        view.partition_epoch == 0 && view.controller_epoch > known.controller_epoch;
                    let is_later = known.partition_epoch <= view.partition_epoch;
                    assert!(is_later || is_anew, "{view:?} is old");
                }
                // Another id is that of another topic.
                self.metadata.retain(|name, known| {
                    name.topic != view.partition.topic || known.topic_id == view.topic_id
                });
                self.metadata.insert(view.partition.clone(), view);
                None
            }
            Directive::Forget(view) => {
                self.metadata.remove(&view.partition);
                None
            }
            Directive::Stop { partition, topic_id, delete, leader_epoch } => {
                let error = self.stop(&partition, delete, leader_epoch);
                let outcomes = vec![Outcome { partition, topic_id, error }];
                Some(Answer::Stopped { outcomes, delete })
            }
        }
    }

    fn lead(&mut self, me: BrokerId, view: &Arc<View>) -> ErrorCode {
        assert!(view.assignment.replicas.contains(&me), "{me} is told of a foreign {view:?}");
        let replica = self.replicas.entry(view.partition.clone()).or_default();
        if replica.topic_id != view.topic_id && !replica.topic_id.is_zero() {
            return ErrorCode::InconsistentTopicId;
        }
        replica.topic_id = view.topic_id;
        if replica.has_failed {
            return ErrorCode::KafkaStorageError;
        }
        let known = replica.told.as_ref().map(|told| told.leader_epoch);
        if known.is_some_and(|known| known >= view.leader_epoch) {
            return ErrorCode::StaleControllerEpoch;
        }
        replica.told = Some(Arc::clone(view));
        replica.isr.clone_from(&view.isr);
        replica.partition_epoch = view.partition_epoch;
        replica.proposed = None;
        replica.is_caught_up = view.leader == Some(me);
        ErrorCode::None
    }

    fn stop(
        &mut self,
        partition: &TopicPartition,
        delete: bool,
        leader_epoch: LeaderEpoch,
    ) -> ErrorCode {
        let Some(replica) = self.replicas.get_mut(partition) else { return ErrorCode::None };
        // StopReplica names no id: whatever log has the name is meant.
        if replica.has_failed {
            return ErrorCode::KafkaStorageError;
        }
        let known = replica.told.as_ref().map_or(LeaderEpoch(-1), |told| told.leader_epoch);
        if leader_epoch.0 >= 0 && leader_epoch < known {
            return ErrorCode::FencedLeaderEpoch;
        }
        if delete {
            self.replicas.remove(partition);
        } else {
            replica.told = None;
            replica.is_caught_up = false;
        }
        ErrorCode::None
    }

    /// Being told all there is, drops what is not in it: logs of topics that are no more (what is to be
    /// stopped among them: no LeaderAndIsr names it), and the topics themselves.
    pub(super) fn sweep(&mut self, directives: &[Directive]) {
        let (mut led, mut announced) = (BTreeMap::new(), BTreeSet::new());
        for directive in directives {
            match directive {
                Directive::Lead { view, .. } => {
                    led.insert(view.partition.clone(), view.topic_id);
                }
                Directive::Announce(view) => {
                    announced.insert(Arc::clone(&view.partition.topic));
                }
                Directive::Stop { .. } | Directive::Forget(_) => {}
            }
        }
        self.replicas.retain(|partition, replica| {
            let is_of = |id: &Uuid| *id == replica.topic_id || replica.topic_id.is_zero();
            led.get(partition).is_some_and(is_of)
        });
        self.metadata.retain(|partition, _| announced.contains(&partition.topic));
    }

    /// Becomes a follower of nobody: the session is over.
    pub(super) fn resign(&mut self) {
        self.inbox.clear();
        self.control.resign(self.epoch);
        for replica in self.replicas.values_mut() {
            replica.told = None;
            replica.proposed = None;
            replica.is_caught_up = false;
        }
    }
}
