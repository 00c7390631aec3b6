//! What an answer of a broker means for the look at an object. Pure.

use crate::admin::client::BrokerError;
use crate::error::Error;
use crate::reason::Reason;

/// What somebody was asked for, and what came of it.
pub fn of(doing: &'static str, what: &str, error: BrokerError) -> Error {
    let what = what.to_owned();
    match error {
        BrokerError::Address { .. }
        | BrokerError::Unavailable { .. }
        | BrokerError::Refused { .. }
        | BrokerError::NotController { .. } => {
            Error::Transient { doing, what, source: error.into() }
        }
        BrokerError::Lacks { call, .. } => Error::Waiting {
            reason: Reason::Waiting,
            on: format!("the brokers are too old: they lack {call}; upgrade the Cluster first"),
        },
        BrokerError::Fenced { .. } => Error::Waiting {
            reason: Reason::Waiting,
            on: "brokers have heard of a later term, and take no changes from this operator: another one looks after them. \
                 Have one operator look after a namespace; if the other one is gone, delete the Lease of this one, and \
                 the next term is higher"
                .to_owned(),
        },
        BrokerError::Invalid { words, .. } => Error::InvalidSpec { message: words },
        // It was so a moment ago: the next look sees what is.
        BrokerError::NotFound { .. }
        | BrokerError::Exists { .. }
        | BrokerError::Precondition { .. } => Error::Conflict { what },
    }
}
