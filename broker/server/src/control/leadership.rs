//! LeaderAndIsr: the replicas that this broker leads or copies, as its controller says.
//!
//! In this order, so that nothing that was asked in an older epoch is used in a newer one: the request is
//! admitted, each partition judged, all of them turned at once where nobody waits for the disk (which
//! fences whatever is on its way), fetchers changed, and only then the answer. A request that names all
//! of this broker's partitions first puts aside what it does not name, by its topic's id: then a topic
//! that was made again has its place. What the UpdateMetadata before it said is being deleted is not
//! named and stays, for the StopReplica that follows.
//!
//! Source: Kafka 3.9 `ReplicaManager.becomeLeaderOrFollower`.

use std::collections::HashSet;
use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::leader_and_isr::{
    LeaderAndIsrPartitionError, LeaderAndIsrPartitionState, LeaderAndIsrRequest,
    LeaderAndIsrResponse, LeaderAndIsrTopicError,
};
use broker_protocol::quantity::{BrokerId, LeaderEpoch};
use broker_protocol::topic_partition::TopicPartition;
use broker_protocol::uuid::Uuid;
use tracing::info;

use super::Control;
use super::settings::Settings;
use super::state::{self, Asked, Known, Sender, Verdict};
use crate::replica::manager::{Become, Outcome};
use crate::replica::partition::Partition;
use crate::replica::partition_state::Leadership;
use crate::replica::progress::NO_BROKER_EPOCH;

/// The type of a request that names every partition of the broker.
const FULL: i8 = 2;

/// The recovery state of a partition whose leader was elected out of the ISR.
const RECOVERING: i8 = 1;

/// What one partition of a request asks for.
enum Judged {
    /// It is led or copied.
    Turn(Become),
    /// It stays, and gets its topic's id.
    GiveId(Arc<Partition>),
}

impl Control {
    pub(super) async fn leader_and_isr(
        &mut self,
        request: &LeaderAndIsrRequest<'_>,
    ) -> LeaderAndIsrResponse<'static> {
        let (id, epoch) = (request.controller_id, request.controller_epoch);
        let sender = Sender::new(id, epoch, request.broker_epoch);
        if let Err(code) = self.admit(sender).await {
            return respond(request, code, |_| code);
        }
        self.is_told = true;
        let announced = self.announced.take();
        // Who does not say whom it means may mean another.
        if request.request_type == FULL && request.broker_epoch != NO_BROKER_EPOCH {
            if let Some(announced) = &announced {
                self.forget_topics(&announced.topics);
            }
            let going = announced.map(|announced| announced.going);
            self.sweep(request, going.unwrap_or_default()).await;
        }
        let leaders = request.live_leaders.iter();
        self.parts.fetchers.reach(leaders.filter_map(|leader| {
            let port = u16::try_from(leader.port).ok()?;
            Some((BrokerId(leader.broker_id), &*leader.host_name, port))
        }));
        let mut codes = vec![ErrorCode::None; request.partitions().count()];
        let mut changes = Vec::new();
        let mut ids = Vec::new();
        let mut places = Vec::new();
        let mut settings = Settings::new(Arc::clone(&self.parts.dynamic_config));
        let mut name: Arc<str> = Arc::default();
        for (place, (topic, id, state)) in request.partitions().enumerate() {
            if *name != *topic {
                name = Arc::from(topic);
            }
            let partition =
                TopicPartition { topic: Arc::clone(&name), partition: state.partition_index };
            match self.judge(partition, id, state, &mut settings).await {
                Ok(Judged::Turn(change)) => {
                    changes.push(change);
                    places.push(place);
                }
                Ok(Judged::GiveId(partition)) => ids.push((place, partition, id)),
                Err(code) => codes[place] = code,
            }
        }
        let doubted = self.doubted(&changes).await;
        if !doubted.is_empty() {
            let is_doubted = |change: &Become| doubted.contains(&change.partition);
            let refused = changes.iter().zip(&places).filter(|(change, _)| is_doubted(change));
            for (_, place) in refused {
                codes[*place] = ErrorCode::KafkaStorageError;
            }
            (changes, places) =
                changes.into_iter().zip(places).filter(|(change, _)| !is_doubted(change)).unzip();
        }
        for (place, code) in places.into_iter().zip(self.turn(changes).await) {
            codes[place] = code;
        }
        for (place, partition, id) in ids {
            codes[place] = self.give_id(partition, id).await;
        }
        self.telling.led(request.request_type, !codes.is_empty());
        self.told();
        respond(request, ErrorCode::None, |place| codes[place])
    }

    /// Decides what a partition becomes.
    async fn judge(
        &self,
        partition: TopicPartition,
        topic_id: Uuid,
        state: &LeaderAndIsrPartitionState,
        settings: &mut Settings,
    ) -> Result<Judged, ErrorCode> {
        let me = self.parts.broker_id;
        let here = self.parts.replicas.partition(&partition.topic, partition.partition);
        let known = here.as_ref().map_or(Known::Absent, |here| {
            if here.dir().offline().is_offline() {
                return Known::Unusable;
            }
            let (leader_epoch, is_resigned) = here.obeyed();
            Known::Present { topic_id: here.topic_id(), leader_epoch, is_resigned }
        });
        let leads = state.leader == me.0;
        let asked = Asked {
            topic_id,
            leader_epoch: LeaderEpoch(state.leader_epoch),
            is_leader: leads,
            is_replica: state.replicas.contains(&me.0),
        };
        match state::partition(known, asked) {
            Verdict::Refuse(code) => return Err(code),
            Verdict::AssignTopicId => {
                // What is not here gets its id when it is made.
                return here.map(Judged::GiveId).ok_or(ErrorCode::UnknownTopicOrPartition);
            }
            Verdict::Lead if !state.isr.contains(&me.0) => return Err(ErrorCode::InvalidRequest),
            Verdict::Lead | Verdict::Follow => {}
        }
        let config = match here {
            // Kept up to date by the notifications of changes.
            Some(here) => Arc::clone(&here.config()),
            None => settings.of(&partition.topic).await?,
        };
        Ok(Judged::Turn(Become {
            partition,
            topic_id,
            config,
            leadership: leadership(state),
            leads,
            is_in_sync: state.isr.contains(&me.0),
            is_new: state.is_new,
        }))
    }

    /// Gives a partition its topic's id; from now on it is asked for by that.
    async fn give_id(&mut self, partition: Arc<Partition>, id: Uuid) -> ErrorCode {
        let (replicas, given) = (Arc::clone(&self.parts.replicas), Arc::clone(&partition));
        let outcome = self.on_disk(move || replicas.assign_topic_id(&given, id)).await;
        let Some(Outcome::Done(_)) = outcome else { return ErrorCode::KafkaStorageError };
        if partition.follower_position().is_some() {
            self.parts.fetchers.follow(vec![partition]).await;
        }
        ErrorCode::None
    }

    /// Turns the partitions and the fetchers; answers in the same order.
    async fn turn(&mut self, changes: Vec<Become>) -> Vec<ErrorCode> {
        if changes.is_empty() {
            return Vec::new();
        }
        let count = changes.len();
        let names: Vec<_> = changes.iter().map(|change| change.partition.clone()).collect();
        let follows: Vec<_> = changes.iter().map(|change| !change.leads).collect();
        let replicas = Arc::clone(&self.parts.replicas);
        let Some(outcomes) = self.on_disk(move || replicas.apply(changes)).await else {
            return vec![ErrorCode::KafkaStorageError; count];
        };
        let (mut copied, mut left) = (Vec::new(), Vec::new());
        let mut codes = Vec::with_capacity(count);
        for ((outcome, name), follows) in outcomes.into_iter().zip(names).zip(follows) {
            codes.push(match outcome {
                Outcome::Done(partition) => {
                    if follows {
                        copied.push(partition);
                    } else {
                        left.push(name);
                    }
                    ErrorCode::None
                }
                Outcome::Stale => ErrorCode::StaleControllerEpoch,
                Outcome::InconsistentTopicId => ErrorCode::InconsistentTopicId,
                Outcome::Offline => {
                    left.push(name);
                    ErrorCode::KafkaStorageError
                }
            });
        }
        self.parts.fetchers.leave(&left).await;
        self.parts.fetchers.follow(copied).await;
        codes
    }

    /// Takes out of what clients are told the topics that a controller that announced all did not announce.
    fn forget_topics(&self, announced: &HashSet<Arc<str>>) {
        let known = self.parts.metadata.load();
        let gone: Vec<_> =
            known.topics.keys().filter(|name| !announced.contains(*name)).cloned().collect();
        if gone.is_empty() {
            return;
        }
        let mut metadata = (*known).clone();
        for name in gone {
            info!(topic = %name, "the cluster knows nothing of this topic; it is forgotten");
            metadata.remove_topic(&name);
        }
        self.parts.metadata.publish(metadata);
    }
}

fn leadership(state: &LeaderAndIsrPartitionState) -> Leadership {
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    Leadership {
        leader: (state.leader >= 0).then_some(BrokerId(state.leader)),
        leader_epoch: LeaderEpoch(state.leader_epoch),
        partition_epoch: state.partition_epoch,
        isr: ids(&state.isr),
        replicas: ids(&state.replicas),
        adding: ids(&state.adding_replicas),
        removing: ids(&state.removing_replicas),
        recovering: state.leader_recovery_state == RECOVERING,
    }
}

/// Makes the answer, with partitions named in both ways.
fn respond(
    request: &LeaderAndIsrRequest<'_>,
    error: ErrorCode,
    code: impl Fn(usize) -> ErrorCode,
) -> LeaderAndIsrResponse<'static> {
    let mut response =
        LeaderAndIsrResponse { error_code: error.code(), ..LeaderAndIsrResponse::default() };
    for (place, (topic, id, state)) in request.partitions().enumerate() {
        let answer = LeaderAndIsrPartitionError {
            topic_name: topic.to_owned().into(),
            partition_index: state.partition_index,
            error_code: code(place).code(),
        };
        match response.topics.last_mut().filter(|topic| topic.topic_id == id) {
            Some(topic) => topic.partition_errors.push(answer.clone()),
            None => response.topics.push(LeaderAndIsrTopicError {
                topic_id: id,
                partition_errors: vec![answer.clone()],
            }),
        }
        response.partition_errors.push(answer);
    }
    response
}
