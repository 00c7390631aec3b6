//! ISR changes that leaders ask for: compare-and-set on the partition epoch, judged one by one.
//!
//! | proposal | answer |
//! |---|---|
//! | of a broker that is not registered with that epoch | STALE_BROKER_EPOCH for all |
//! | of an epoch above ours | NOT_CONTROLLER: somebody else has decided since |
//! | of a leader epoch below ours | FENCED_LEADER_EPOCH |
//! | that is already so | its state: a repeated request succeeds |
//! | of a partition epoch below ours | INVALID_UPDATE_VERSION, and a new leader epoch tells the leader of ours |
//! | that makes no sense: not the leader's, no replica, empty, recovering with followers | INVALID_REQUEST |
//! | that adds, or keeps, one that is not up in the life that the leader saw | INELIGIBLE_REPLICA |
//! | written, and the node has changed | INVALID_UPDATE_VERSION |
//!
//! An ISR that the leader asked for has no new leader epoch.
//! Source: Kafka 3.9 `tryProcessAlterPartition`; the check of members' epochs is KIP-903's.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::effect::{Change, StateWrite, View};
use super::event::WriteError;
use super::request::{Altered, IsrProposal, Reply, Token, TopicRef};
use super::turn::Reason;
use super::{Planted, State, named};
use crate::controller::partition_election::Presence;
use crate::planted::{self, Bug};

/// A request whose ISRs are being written.
#[derive(Debug)]
pub(super) struct Alteration {
    token: Token,
    proposals: Vec<IsrProposal>,
    results: Vec<Option<Result<Altered, ErrorCode>>>,
}

/// What is said to a proposal before anything is written.
enum Verdict {
    Refused(ErrorCode),
    /// Somebody else has written in this leader epoch, and nobody tells the leader so.
    Behind(TopicPartition),
    /// It is so already.
    Done(Altered),
    Write(TopicPartition, StateWrite, i32),
}

impl State {
    /// A leader wants to change ISRs.
    pub(super) fn alter_partition(
        &mut self,
        token: Token,
        broker: BrokerId,
        epoch: i64,
        knows_ineligible: bool,
        proposals: Vec<IsrProposal>,
    ) {
        if !self.is_current(broker, epoch) && !planted::is(Bug::StaleBrokerEpoch) {
            let reply = Reply::AlterPartition(Err(ErrorCode::StaleBrokerEpoch));
            self.turn.reply(token, reply);
            return;
        }
        let mut results = Vec::with_capacity(proposals.len());
        let mut seen = std::collections::BTreeSet::new();
        for (number, proposal) in proposals.iter().enumerate() {
            let verdict = if seen.insert((&proposal.topic, proposal.partition)) {
                self.judge(broker, knows_ineligible, proposal)
            } else {
                Verdict::Refused(ErrorCode::InvalidRequest)
            };
            results.push(match verdict {
                Verdict::Refused(error) => Some(Err(error)),
                Verdict::Behind(partition) => {
                    self.facts.bump.insert(partition.clone());
                    self.turn.doubt(partition);
                    Some(Err(ErrorCode::InvalidUpdateVersion))
                }
                Verdict::Done(altered) => Some(Ok(altered)),
                Verdict::Write(partition, state, version) => {
                    let change = Change::SetState { partition, version, state };
                    self.turn.change(change, Reason::Proposed(number));
                    None
                }
            });
        }
        self.altering = Some(Alteration { token, proposals, results });
        self.answer_alterations();
    }

    fn judge(&self, broker: BrokerId, knows_ineligible: bool, asked: &IsrProposal) -> Verdict {
        let name = match &asked.topic {
            TopicRef::Name(name) => Ok(name),
            TopicRef::Id(id) => self.names.get(id).ok_or(ErrorCode::UnknownTopicId),
        };
        let partition = match name {
            Ok(name) => named(name, asked.partition),
            Err(error) => return Verdict::Refused(error),
        };
        let is_going =
            self.topics.get(&partition.topic).is_none_or(|topic| topic.deletion.is_some());
        let Some(view) = self.view(&partition).filter(|_| !is_going) else {
            return Verdict::Refused(ErrorCode::UnknownTopicOrPartition);
        };
        let isr: Vec<_> = asked.isr.iter().map(|(id, _)| *id).collect();
        let is_so = view.leader == Some(broker)
            && same_members(&isr, &view.isr)
            && asked.recovering == view.recovering;
        let is_open =
            self.facts.stale.contains(&partition) || self.facts.ready.contains_key(&partition);
        if asked.leader_epoch > view.leader_epoch || asked.partition_epoch > view.partition_epoch {
            Verdict::Refused(ErrorCode::NotController)
        } else if asked.leader_epoch < view.leader_epoch {
            Verdict::Refused(ErrorCode::FencedLeaderEpoch)
        } else if is_so {
            Verdict::Done(altered(view, broker))
        } else if is_open {
            // One that is being read again, or whose assignment is being written, has changed too.
            Verdict::Refused(ErrorCode::InvalidUpdateVersion)
        } else if asked.partition_epoch < view.partition_epoch
            && !self.planted(Planted::NoPartitionEpochCheck)
        {
            Verdict::Behind(partition)
        } else if !makes_sense(view, broker, asked, &isr) {
            Verdict::Refused(ErrorCode::InvalidRequest)
        } else if !self.are_eligible(&partition, view, asked) {
            Verdict::Refused(if knows_ineligible {
                ErrorCode::IneligibleReplica
            } else {
                ErrorCode::OperationNotAttempted
            })
        } else {
            self.assert_current(asked);
            let state = StateWrite {
                leader: view.leader,
                leader_epoch: view.leader_epoch,
                isr,
                recovering: asked.recovering,
            };
            Verdict::Write(partition, state, view.partition_epoch)
        }
    }

    /// Whether all members live in the life that the leader saw, and the new ones mean to stay.
    fn are_eligible(&self, partition: &TopicPartition, view: &View, asked: &IsrProposal) -> bool {
        asked.isr.iter().all(|(id, epoch)| {
            if self.planted(Planted::NoLivenessCheck) {
                return true;
            }
            let is_same_life =
                *epoch < 0 || self.is_current(*id, *epoch) || planted::is(Bug::StaleBrokerEpoch);
            is_same_life
                && match self.presence(*id, partition) {
                    Presence::Up { .. } => true,
                    Presence::Leaving { .. } => view.isr.contains(id),
                    Presence::Gone => false,
                }
        })
    }

    /// Asserts that nobody is, or becomes, a member of an ISR by what its broker did in an earlier life.
    fn assert_current(&self, asked: &IsrProposal) {
        let is_planted = self.planted(Planted::NoLivenessCheck);
        for (id, epoch) in asked.isr.iter().filter(|(_, epoch)| *epoch >= 0 && !is_planted) {
            assert!(self.is_current(*id, *epoch), "broker {id} is in sync by an earlier life");
        }
    }

    /// A proposal was not written.
    pub(super) fn proposal_failed(&mut self, number: usize, error: WriteError) {
        let Some(Alteration { results, .. }) = &mut self.altering else { return };
        let error = match error {
            WriteError::Conflict | WriteError::Exists | WriteError::NotHeld => {
                ErrorCode::InvalidUpdateVersion
            }
            WriteError::Missing => ErrorCode::UnknownTopicOrPartition,
        };
        if let Some(result) = results.get_mut(number) {
            *result = Some(Err(error));
        }
    }

    /// Notes the state that a proposal has become.
    pub(super) fn proposal_done(&mut self, number: usize, partition: &TopicPartition) {
        let Some(view) = self.view(partition).cloned() else { return };
        let Some(Alteration { results, .. }) = &mut self.altering else { return };
        if let (Some(result), Some(leader)) = (results.get_mut(number), view.leader) {
            *result = Some(Ok(altered(&view, leader)));
        }
    }

    /// Answers the request, once all is known.
    pub(super) fn answer_alterations(&mut self) {
        let Some(alteration) = self.altering.take() else { return };
        if alteration.results.iter().any(Option::is_none) {
            self.altering = Some(alteration);
            return;
        }
        let results = alteration.results.into_iter().flatten();
        let answered = alteration.proposals.into_iter().zip(results).collect();
        self.turn.reply(alteration.token, Reply::AlterPartition(Ok(answered)));
    }
}

fn altered(view: &View, leader: BrokerId) -> Altered {
    Altered {
        leader,
        leader_epoch: view.leader_epoch,
        isr: view.isr.clone(),
        partition_epoch: view.partition_epoch,
        recovering: view.recovering,
    }
}

fn same_members(one: &[BrokerId], other: &[BrokerId]) -> bool {
    one.len() == other.len() && one.iter().all(|id| other.contains(id))
}

/// Whether an ISR is one that this leader may ask for at all.
fn makes_sense(view: &View, broker: BrokerId, asked: &IsrProposal, isr: &[BrokerId]) -> bool {
    let distinct: std::collections::BTreeSet<_> = isr.iter().collect();
    view.leader == Some(broker)
        && isr.contains(&broker)
        && distinct.len() == isr.len()
        && isr.iter().all(|id| view.assignment.replicas.contains(id))
        && (!asked.recovering || view.recovering && isr.len() == 1)
}
