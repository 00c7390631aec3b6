//! Why a broker has not done what it was asked, as the operator can act on it.

use std::error::Error;

use tonic::{Code, Status};

/// The trailer by which a broker that is no controller names the one that is; -1 where it knows none.
const CONTROLLER: &str = "ottla-controller";

/// Why a broker has not answered, or has not done what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Its address is none.
    #[error("{address} is no address of an admin port")]
    Address {
        /// What was given.
        address: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// It is older than this operator, and lacks the call.
    #[error("the broker at {address} is too old: it lacks {call}")]
    Lacks {
        /// Where.
        address: String,
        /// What.
        call: &'static str,
    },
    /// Another operator has taken over.
    #[error("another operator has taken over: {words}")]
    Fenced {
        /// What the broker says.
        words: String,
    },
    /// Only the controller does this, and it is another broker.
    #[error("{call} at {address}: {words}")]
    NotController {
        /// Where.
        address: String,
        /// What.
        call: &'static str,
        /// The controller as the broker knows it; `None` while it knows none.
        controller: Option<i32>,
        /// What the broker says.
        words: String,
    },
    /// There is no such topic with that id, or no such partition.
    #[error("{call}: {words}")]
    NotFound {
        /// What.
        call: &'static str,
        /// What the broker says.
        words: String,
    },
    /// There is another one of that name.
    #[error("{call}: {words}")]
    Exists {
        /// What.
        call: &'static str,
        /// What the broker says.
        words: String,
    },
    /// It can never be done as it was asked: only another spec helps.
    #[error("{call}: {words}")]
    Invalid {
        /// What.
        call: &'static str,
        /// What the broker says.
        words: String,
    },
    /// It cannot be done as things stand: another look at them comes first.
    #[error("{call}: {words}")]
    Precondition {
        /// What.
        call: &'static str,
        /// What the broker says.
        words: String,
    },
    /// It cannot answer now, or its answer was lost: what was asked may have been done, and may be asked for again.
    #[error("{call} at {address}: {words}")]
    Unavailable {
        /// Where.
        address: String,
        /// What.
        call: &'static str,
        /// What the broker says, or what became of the connection.
        words: String,
    },
    /// It refuses in a way that this operator does not know.
    #[error("{call} at {address}: {words}")]
    Refused {
        /// Where.
        address: String,
        /// What.
        call: &'static str,
        /// What the broker says.
        words: String,
    },
}

impl BrokerError {
    /// Whether nobody said anything: another broker may answer what this one did not.
    pub fn is_silence(&self) -> bool {
        match self {
            Self::Address { .. } | Self::Unavailable { .. } => true,
            Self::Lacks { .. }
            | Self::Fenced { .. }
            | Self::NotController { .. }
            | Self::NotFound { .. }
            | Self::Exists { .. }
            | Self::Invalid { .. }
            | Self::Precondition { .. }
            | Self::Refused { .. } => false,
        }
    }
}

/// Reads what a call ended with.
pub(super) fn refused(address: &str, call: &'static str, status: &Status) -> BrokerError {
    let (address, words) = (address.to_owned(), status.message().to_owned());
    if status.source().is_some() {
        // Made here, of what became of the connection: its code is not the broker's word.
        return BrokerError::Unavailable { address, call, words };
    }
    match status.code() {
        Code::Unimplemented => BrokerError::Lacks { address, call },
        Code::PermissionDenied => BrokerError::Fenced { words },
        Code::NotFound => BrokerError::NotFound { call, words },
        Code::AlreadyExists => BrokerError::Exists { call, words },
        Code::InvalidArgument => BrokerError::Invalid { call, words },
        Code::FailedPrecondition => match status.metadata().get(CONTROLLER) {
            Some(id) => {
                let id = id.to_str().ok().and_then(|id| id.parse().ok());
                let controller = id.filter(|id| *id >= 0);
                BrokerError::NotController { address, call, controller, words }
            }
            None => BrokerError::Precondition { call, words },
        },
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled
        | Code::Aborted
        | Code::ResourceExhausted
        | Code::Unknown => BrokerError::Unavailable { address, call, words },
        Code::Ok | Code::OutOfRange | Code::Internal | Code::DataLoss | Code::Unauthenticated => {
            BrokerError::Refused { address, call, words }
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::metadata::MetadataMap;

    use super::*;

    /// What an operator can act on is told apart; what only a lost connection says is nobody's word.
    #[test]
    fn a_refused_call_says_what_is_to_be_done() {
        let error = |code| refused("b:9095", "SetCordon", &Status::new(code, "words"));
        assert!(matches!(error(Code::Unimplemented), BrokerError::Lacks { call: "SetCordon", .. }));
        assert!(matches!(error(Code::PermissionDenied), BrokerError::Fenced { .. }));
        assert!(matches!(error(Code::NotFound), BrokerError::NotFound { .. }));
        assert!(matches!(error(Code::AlreadyExists), BrokerError::Exists { .. }));
        assert!(matches!(error(Code::InvalidArgument), BrokerError::Invalid { .. }));
        assert!(matches!(error(Code::FailedPrecondition), BrokerError::Precondition { .. }));
        assert!(matches!(error(Code::Internal), BrokerError::Refused { .. }));
        assert_eq!(error(Code::Unavailable).to_string(), "SetCordon at b:9095: words");

        let lost = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let lost = Status::from_error(Box::new(lost));
        let error = refused("b:9095", "SetCordon", &lost);
        assert!(matches!(error, BrokerError::Unavailable { .. }), "{error:?}");
    }

    #[test]
    fn a_broker_that_is_no_controller_names_the_one_that_is() {
        for (named, expected) in [("2", Some(2)), ("-1", None), ("?", None)] {
            let mut trailers = MetadataMap::new();
            trailers.insert(CONTROLLER, named.parse().unwrap());
            let status = Status::with_metadata(Code::FailedPrecondition, "no", trailers);
            let error = refused("b:9095", "ReassignPartitions", &status);
            let BrokerError::NotController { controller, .. } = error else { panic!("{error:?}") };
            assert_eq!(controller, expected);
        }
    }
}
