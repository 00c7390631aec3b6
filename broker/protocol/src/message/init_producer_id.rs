//! `InitProducerId`: identity and epoch for an idempotent or transactional producer.

use std::borrow::Cow;

use crate::message::table::message;

message! {
    InitProducerId;
    /// The producer that asks.
    pub struct InitProducerIdRequest<'a> {
        /// Null from a producer that is only idempotent.
        transactional_id: Option<Cow<'a, str>>, 0..;
        transaction_timeout_ms: i32, 0..;
        producer_id: i64 = -1, 3..;
        producer_epoch: i16 = -1, 3..;
    }
}

message! {
    InitProducerId;
    /// Its identity and epoch.
    pub struct InitProducerIdResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        producer_id: i64 = -1, 0..;
        producer_epoch: i16, 0..;
    }
}
