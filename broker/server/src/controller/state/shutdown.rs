//! Controlled shutdown: a broker that wants to stop hands over what it leads, then is let go.
//!
//! It stays registered and is told of leaders that it handed over to; what it only follows is
//! stopped. It is answered once the moves are written: what remains nobody else can lead.
//! Source: Kafka 3.9 `doControlledShutdown`.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::request::{Reply, Token};
use super::story::Cause;
use super::waiting::Waiting;
use super::{State, named};

impl State {
    /// A broker wants to stop.
    pub(super) fn controlled_shutdown(&mut self, token: Token, broker: BrokerId, epoch: i64) {
        let refusal = match self.brokers.get(&broker) {
            None => Some(ErrorCode::BrokerNotAvailable),
            Some(known) if epoch >= 0 && epoch < known.epoch => Some(ErrorCode::StaleBrokerEpoch),
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            self.turn.reply(token, Reply::ControlledShutdown(Err(refusal)));
            return;
        }
        if self.shutting_down.insert(broker) {
            self.story.broker(Cause::Stops, broker);
        }
        let held = self.partitions_where(|partition| {
            let replicas = &partition.assignment.replicas;
            replicas.len() > 1 && replicas.contains(&broker)
        });
        for partition in held {
            if self.view(&partition).is_some_and(|view| view.leader != Some(broker)) {
                self.turn.halt(broker, partition.clone());
            }
            self.turn.doubt(partition);
        }
        self.waiting.push(Waiting::Shutdown { token, broker });
    }

    /// The partitions with other replicas that a broker leads all the same.
    pub(super) fn still_led(&self, broker: BrokerId) -> Vec<TopicPartition> {
        let mut led = Vec::new();
        for (name, topic) in self.topics.iter().filter(|(_, topic)| topic.deletion.is_none()) {
            for (number, partition) in &topic.partitions {
                let is_led =
                    partition.view.as_ref().is_some_and(|view| view.leader == Some(broker));
                if is_led && partition.assignment.replicas.len() > 1 {
                    led.push(named(name, *number));
                }
            }
        }
        led
    }
}
