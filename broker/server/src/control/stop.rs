//! StopReplica: replicas that this broker gives up, some of them with their logs.
//!
//! A replica is copied no more before its log goes. One that is not here any more is given up already.
//!
//! Source: Kafka 3.9 `ReplicaManager.stopReplicas`.

use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::stop_replica::{
    StopReplicaPartitionError, StopReplicaRequest, StopReplicaResponse,
};
use broker_protocol::quantity::LeaderEpoch;
use broker_protocol::topic_partition::TopicPartition;
use tracing::warn;

use super::Control;
use super::state::{self, Sender};
use crate::replica::manager::Stop;

impl Control {
    pub(super) async fn stop_replica(
        &mut self,
        request: &StopReplicaRequest<'_>,
    ) -> StopReplicaResponse<'static> {
        let (id, epoch) = (request.controller_id, request.controller_epoch);
        let sender = Sender::new(id, epoch, request.broker_epoch);
        if let Err(code) = self.admit(sender).await {
            return respond(request, code, |_| code);
        }
        let mut codes = Vec::new();
        let (mut stops, mut places) = (Vec::new(), Vec::new());
        for (place, (topic, asked)) in request.partitions().enumerate() {
            let partition =
                TopicPartition { topic: topic.into(), partition: asked.partition_index };
            match self.may_stop(&partition, LeaderEpoch(asked.leader_epoch)) {
                Ok(()) => {
                    codes.push(ErrorCode::None);
                    stops.push(Stop { partition, delete: asked.delete_partition });
                    places.push(place);
                }
                Err(code) => codes.push(code),
            }
        }
        let names: Vec<_> = stops.iter().map(|stop| stop.partition.clone()).collect();
        self.parts.fetchers.leave(&names).await;
        let replicas = Arc::clone(&self.parts.replicas);
        let Some(stopped) = self.on_disk(move || replicas.stop(&stops)).await else {
            let failed = ErrorCode::UnknownServerError;
            return respond(request, failed, |_| failed);
        };
        for ((place, name), stopped) in places.into_iter().zip(names).zip(stopped) {
            if let Err(error) = stopped {
                warn!(partition = %name, %error, "replica not deleted");
                codes[place] = ErrorCode::KafkaStorageError;
            }
        }
        respond(request, ErrorCode::None, |place| codes[place])
    }

    fn may_stop(&self, partition: &TopicPartition, asked: LeaderEpoch) -> Result<(), ErrorCode> {
        let here = self.parts.replicas.partition(&partition.topic, partition.partition);
        let Some(here) = here else { return Ok(()) };
        if here.dir().offline().is_offline() {
            return Err(ErrorCode::KafkaStorageError);
        }
        state::stop(here.obeyed().0, asked)
    }
}

fn respond(
    request: &StopReplicaRequest<'_>,
    error: ErrorCode,
    code: impl Fn(usize) -> ErrorCode,
) -> StopReplicaResponse<'static> {
    let answers = request.partitions().enumerate();
    let answers = answers.map(|(place, (topic, asked))| StopReplicaPartitionError {
        topic_name: topic.to_owned().into(),
        partition_index: asked.partition_index,
        error_code: code(place).code(),
    });
    StopReplicaResponse { error_code: error.code(), partition_errors: answers.collect() }
}
