//! InitProducerId: an identity for an idempotent producer.

use std::sync::Arc;

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::RequestContext;
use crate::context::Context;

/// What a producer sends that has no id or epoch.
const NONE: i64 = -1;

/// Gives out an id.
pub(crate) async fn init_producer_id(
    context: &Arc<Context>,
    request: InitProducerIdRequest<'_>,
    _rc: &RequestContext<'_>,
) -> InitProducerIdResponse {
    if let Err(code) = check(&request) {
        return failed(code);
    }
    // An idempotent producer that brings its id gets a new one all the same: nobody bumps epochs
    // without a transactional id.
    match context.replicas.producer_ids().next().await {
        Ok(producer_id) => {
            InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() }
        }
        // The client asks again.
        Err(_) => failed(ErrorCode::CoordinatorLoadInProgress),
    }
}

fn check(request: &InitProducerIdRequest<'_>) -> Result<(), ErrorCode> {
    if (request.producer_id == NONE) != (i64::from(request.producer_epoch) == NONE) {
        return Err(ErrorCode::InvalidRequest);
    }
    match request.transactional_id.as_deref() {
        None => Ok(()),
        Some("") => Err(ErrorCode::InvalidRequest),
        // There is no transaction coordinator. A code that clients retry would have them hang; this
        // one ends the producer, and says what is not to be had.
        Some(_) => Err(ErrorCode::TransactionalIdAuthorizationFailed),
    }
}

fn failed(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse {
        error_code: code.code(),
        producer_id: NONE,
        producer_epoch: -1,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_identity_and_transactions_are_refused() {
        let cases = [
            (None, -1, -1, Ok(())),
            (None, 5, 1, Ok(())),
            (None, 5, -1, Err(ErrorCode::InvalidRequest)),
            (None, -1, 0, Err(ErrorCode::InvalidRequest)),
            (Some(""), -1, -1, Err(ErrorCode::InvalidRequest)),
            (Some("t"), -1, -1, Err(ErrorCode::TransactionalIdAuthorizationFailed)),
        ];
        for (transactional_id, producer_id, producer_epoch, expected) in cases {
            let request = InitProducerIdRequest {
                transactional_id: transactional_id.map(Into::into),
                producer_id,
                producer_epoch,
                ..Default::default()
            };
            assert_eq!(check(&request), expected, "{request:?}");
        }
    }
}
