//! Blocks of producer ids: one broker, one block, never the same twice.
//!
//! Brokers of before 3.0 take blocks from the tree by themselves: a conflict means "read again".
//! Source: Kafka 3.9 `processAllocateProducerIds`, `ZkProducerIdManager`.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::quantity::BrokerId;
use broker_zookeeper::node::producer_id_block::BLOCK_SIZE;

use super::State;
use super::effect::Change;
use super::event::{ProducerIdsRead, WriteError};
use super::request::{Reply, Token};
use super::turn::Reason;

/// What is known of the node, and who waits for a block.
#[derive(Debug, Default)]
pub(super) struct ProducerIds {
    known: Option<ProducerIdsRead>,
    /// Where the last block ends that was given out in this term, whatever the node says since.
    given: i64,
    waiting: Vec<(Token, BrokerId)>,
}

impl State {
    /// A broker needs a block.
    pub(super) fn allocate_producer_ids(&mut self, token: Token, broker: BrokerId, epoch: i64) {
        let refusal = match self.brokers.get(&broker) {
            None => Some(ErrorCode::BrokerIdNotRegistered),
            Some(known) if known.epoch != epoch => Some(ErrorCode::StaleBrokerEpoch),
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            self.turn.reply(token, Reply::AllocateProducerIds(Err(refusal)));
            return;
        }
        self.producer_ids.waiting.push((token, broker));
        self.take_block();
    }

    /// Takes a block for the first who waits.
    fn take_block(&mut self) {
        let Some((token, broker)) = self.producer_ids.waiting.first().copied() else { return };
        let Some(known) = self.producer_ids.known else {
            self.turn.read_producer_ids();
            return;
        };
        if known.next > i64::MAX - BLOCK_SIZE {
            // The ids of a lifetime are used up: there is nothing else to say.
            self.producer_ids.waiting.remove(0);
            let error = ErrorCode::UnknownServerError;
            self.turn.reply(token, Reply::AllocateProducerIds(Err(error)));
            return;
        }
        let change = Change::SetProducerIds { version: known.version, broker, start: known.next };
        self.turn.change(change, Reason::Plain);
    }

    /// The node was read.
    pub(super) fn producer_ids_read(&mut self, read: ProducerIdsRead) {
        let next = read.next.max(self.producer_ids.given);
        self.producer_ids.known = Some(ProducerIdsRead { next, ..read });
        self.take_block();
    }

    /// Takes in what became of a block.
    pub(super) fn producer_ids_written(&mut self, start: i64, outcome: Result<i32, WriteError>) {
        if let Ok(version) = outcome {
            let next = start + BLOCK_SIZE;
            self.producer_ids.given = next;
            self.producer_ids.known = Some(ProducerIdsRead { next, version });
            if !self.producer_ids.waiting.is_empty() {
                let (token, _) = self.producer_ids.waiting.remove(0);
                self.turn.reply(token, Reply::AllocateProducerIds(Ok(start)));
            }
        } else {
            self.producer_ids.known = None;
        }
        self.take_block();
    }
}
