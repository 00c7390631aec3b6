//! Whether this broker may lead replicas that cannot prove that they are complete.
//!
//! A controller of Kafka knows nothing of such replicas and elects by the ISR alone; a directory that was
//! wiped is found only when its log is missing. So a broker that is to lead such a replica first asks the
//! others where their logs end. It leads if all other members of the ISR answer and nobody has more; it
//! answers KAFKA_STORAGE_ERROR otherwise, whereupon the controller elects another, now or when one comes.
//!
//! The rule is that of `controller/partition_election.rs`, where its reasons are: our controller asks the same
//! replicas and elects who has most, so a broker refuses what it decides only where one has come since that
//! has more, which the next election asks too. Kafka's never elects one that is out of the ISR: then a
//! person has to choose.
//!
//! | replica | leads |
//! |---|---|
//! | proven, or the only one assigned | yes |
//! | elected uncleanly, or of a topic that allows that | yes: somebody has said that records may be lost |
//! | some other has more | no |
//! | another member of the ISR does not answer | no: it may have more |
//! | else | yes |
//!
//! A log that lies aside is taken back first (`replica/manager/apply.rs`): it is what this broker has.
//!
//! Source: ours; what is asked is what [`ends`] says.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use broker_protocol::quantity::{BrokerId, LeaderEpoch, Offset};
use broker_protocol::topic_partition::TopicPartition;
use tracing::{error, info};

use super::Control;
use crate::controller::ends::{self, Asked};
use crate::controller::state::event::{End, Said};
use crate::replica::manager::Become;
use crate::replica::partition::admin::Target;

/// Why a replica does not lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Doubt {
    #[error("broker {0} has more: {1:?}")]
    HasMore(BrokerId, End),
    #[error("broker {0}, which is in sync, does not say what it has")]
    Silent(BrokerId),
}

/// Decides by what the others said; `members` are those of the ISR.
fn judge(own: End, members: &[BrokerId], ends: &BTreeMap<BrokerId, End>) -> Result<(), Doubt> {
    if let Some((broker, end)) = ends.iter().find(|(_, end)| **end > own) {
        return Err(Doubt::HasMore(*broker, *end));
    }
    match members.iter().find(|member| !ends.contains_key(member)) {
        Some(silent) => Err(Doubt::Silent(*silent)),
        None => Ok(()),
    }
}

impl Control {
    /// Returns which of `changes` this broker must not obey: it would lead by a log that may lack what was
    /// acknowledged.
    pub(super) async fn doubted(&self, changes: &[Become]) -> HashSet<TopicPartition> {
        let claims: Vec<_> = changes.iter().filter(|change| self.must_ask(change)).collect();
        if claims.is_empty() {
            return HashSet::new();
        }
        let may_lie_aside: Vec<_> = claims.iter().copied().cloned().collect();
        let replicas = Arc::clone(&self.parts.replicas);
        self.on_disk(move || replicas.take_strays_back(&may_lie_aside)).await;
        let ends = self.ask_the_others(&claims).await;
        let (me, mut doubted) = (self.parts.broker_id, HashSet::new());
        for claim in claims {
            let name = &claim.partition;
            let members = claim.leadership.isr.iter().copied().filter(|member| *member != me);
            let members: Vec<_> = members.collect();
            let known = ends.get(name).cloned().unwrap_or_default();
            match judge(self.own_end(name), &members, &known) {
                Ok(()) => info!(partition = %name, "nobody has more: the replica leads"),
                Err(doubt) => {
                    error!(
                        partition = %name, %doubt,
                        "this replica may lack what was acknowledged, so it does not lead; start the brokers \
                         of the other replicas, or have it elected uncleanly"
                    );
                    self.parts.replicas.attention().refusals.add(1);
                    doubted.insert(name.clone());
                }
            }
        }
        doubted
    }

    fn must_ask(&self, change: &Become) -> bool {
        let Become { partition, leadership, config, .. } = change;
        let is_asked_for = leadership.recovering || config.unclean_leader_election_enable;
        let is_alone = leadership.replicas.len() <= 1;
        change.leads && !is_asked_for && !is_alone && {
            let is_missing = self
                .parts
                .replicas
                .partition(&partition.topic, partition.partition)
                .is_none_or(|here| here.is_deleted());
            (is_missing && change.should_have_a_log())
                || self.parts.replicas.standings().is_unproven(partition)
        }
    }

    /// Where the log here ends: nowhere, if there is none.
    fn own_end(&self, name: &TopicPartition) -> End {
        let nothing = End { leader_epoch: LeaderEpoch(-1), log_end_offset: Offset(0) };
        let here = self.parts.replicas.partition(&name.topic, name.partition);
        let found =
            here.and_then(|here| here.find(Target::Latest, None, LeaderEpoch(-1)).ok().flatten());
        found.map_or(nothing, |found| End {
            leader_epoch: found.leader_epoch,
            log_end_offset: found.offset,
        })
    }

    /// Asks every other replica that is assigned, each broker once.
    async fn ask_the_others(
        &self,
        claims: &[&Become],
    ) -> BTreeMap<TopicPartition, BTreeMap<BrokerId, End>> {
        let me = self.parts.broker_id;
        let mut by_broker: BTreeMap<BrokerId, Vec<_>> = BTreeMap::new();
        for claim in claims {
            for other in claim.leadership.replicas.iter().filter(|other| **other != me) {
                by_broker
                    .entry(*other)
                    .or_default()
                    .push((claim.partition.clone(), LeaderEpoch(-1)));
            }
        }
        let metadata = self.parts.metadata.load();
        let asked = by_broker.into_iter().map(|(broker, partitions)| {
            let endpoint = metadata.endpoint(broker, &self.parts.inter_broker_listener);
            let endpoint = endpoint.map(|found| (found.host.to_string(), found.port));
            Asked { broker, epoch: -1, endpoint, partitions }
        });
        let asked = asked.collect();
        let mut ends: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for said in ends::ask(me, asked).await {
            if let Said::End(end) = said.said {
                ends.entry(said.partition).or_default().insert(said.broker, end);
            }
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row is (name, own end, what brokers 2 and 3 say, the ISR besides this broker, the verdict).
    #[test]
    fn who_may_lack_something_leads_if_nobody_who_counts_can_have_more() {
        let end = |epoch, offset| End {
            leader_epoch: LeaderEpoch(epoch),
            log_end_offset: Offset(offset),
        };
        let (two, three) = (BrokerId(2), BrokerId(3));
        let (both, none) = (vec![two, three], vec![]);
        let own = end(4, 90);
        let more = |broker, end| Err(Doubt::HasMore(broker, end));
        let rows = [
            (
                "all say that they have less",
                vec![(two, end(4, 80)), (three, end(3, 99))],
                &both,
                Ok(()),
            ),
            ("or as much", vec![(two, own), (three, own)], &both, Ok(())),
            (
                "one has more records",
                vec![(two, end(4, 91)), (three, own)],
                &both,
                more(two, end(4, 91)),
            ),
            (
                "one has a later epoch",
                vec![(two, own), (three, end(5, 1))],
                &both,
                more(three, end(5, 1)),
            ),
            ("a member is silent", vec![(two, own)], &both, Err(Doubt::Silent(three))),
            ("others may be silent", vec![(two, own)], &none, Ok(())),
            ("but not have more", vec![(two, end(4, 91))], &none, more(two, end(4, 91))),
            ("the last one, and nobody answers", vec![], &none, Ok(())),
        ];
        for (name, said, members, verdict) in rows {
            assert_eq!(judge(own, members, &said.into_iter().collect()), verdict, "{name}");
        }
    }
}
