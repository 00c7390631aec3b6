//! `AllocateProducerIds`: a broker asks the controller for a block of producer ids (KIP-730).

use crate::message::table::message;

message! {
    AllocateProducerIds;
    /// The broker that asks.
    pub struct AllocateProducerIdsRequest {
        broker_id: i32, 0..;
        broker_epoch: i64 = -1, 0..;
    }
}

message! {
    AllocateProducerIds;
    /// The block: `producer_id_len` ids from `producer_id_start` on.
    pub struct AllocateProducerIdsResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        producer_id_start: i64, 0..;
        producer_id_len: i32, 0..;
    }
}
