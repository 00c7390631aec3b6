//! Why a reconcile did not come to its end, by what can be done about it.
//!
//! Each class has one reason, one way to try again and one way to tell. The text of an error is the same on every pass
//! for the same cause: what differs from try to try (addresses, versions, an API server's words) is its `source`, which
//! only the log has, so that a status that tells of an error does not trigger itself.

use std::time::Duration;

use crate::lease::Deposed;
use crate::reason::Reason;

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// It may work next time.
    Transient,
    /// Somebody else must do something first.
    Waiting,
    /// Only an edit of the object helps.
    InvalidSpec,
    /// Somebody else was faster: look again.
    Conflict,
    /// Nobody thought of this.
    Bug,
}

/// When an object is looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// After this time, or when it changes.
    After(Duration),
    /// After a time that grows with each failure in a row, or when it changes.
    BackOff,
}

/// What is waited for tells of itself, mostly; where it does not, this is how often it is looked at.
const WAIT: Duration = Duration::from_secs(30);

impl Class {
    /// Every class.
    pub const ALL: [Self; 5] =
        [Self::Transient, Self::Waiting, Self::InvalidSpec, Self::Conflict, Self::Bug];

    /// The label in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Waiting => "waiting",
            Self::InvalidSpec => "invalid_spec",
            Self::Conflict => "conflict",
            Self::Bug => "bug",
        }
    }

    /// When the object is looked at again.
    pub const fn again(self) -> Again {
        match self {
            Self::Transient | Self::Conflict | Self::Bug => Again::BackOff,
            // What there is goes on, and is looked after.
            Self::Waiting | Self::InvalidSpec => Again::After(WAIT),
        }
    }

    /// Whether an event tells of it after as many failures in a row. What passes by itself is not told at once.
    pub const fn is_told(self, failures: u32) -> bool {
        match self {
            Self::Transient => failures >= 3,
            Self::Waiting | Self::Conflict => false,
            Self::InvalidSpec | Self::Bug => true,
        }
    }
}

/// What lies below an error; for the log alone.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Returns `error` with all that lies below it, in one line for the log. What an error has said of those below it is not
/// said again.
pub fn chain(error: &dyn std::error::Error) -> String {
    let below = std::iter::successors(error.source(), |error| error.source());
    below.fold(error.to_string(), |line, error| {
        let words = error.to_string();
        if line.contains(&words) { line } else { format!("{line}: {words}") }
    })
}

/// Why a reconcile did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation did not work that may next time.
    #[error("{doing} {what} did not work; it is tried again")]
    Transient {
        /// The operation: "write".
        doing: &'static str,
        /// The object: "`StatefulSet` default/kafka".
        what: String,
        /// What came back.
        source: Source,
    },
    /// Somebody else must do something first.
    #[error("{on}")]
    Waiting {
        /// Which wait it is.
        reason: Reason,
        /// What is waited for, in words without numbers that change by themselves.
        on: String,
    },
    /// Only an edit of the object helps.
    #[error("{message}")]
    InvalidSpec {
        /// The field, what is wrong with it, and what to write instead.
        message: String,
    },
    /// Somebody else changed the same object at the same time.
    #[error("{what} was changed by somebody else meanwhile; it is looked at again")]
    Conflict {
        /// The object.
        what: String,
    },
    /// Nothing can be made any more where it should be.
    #[error("{what} is not made: its namespace is being deleted")]
    NamespaceGoes {
        /// The object.
        what: String,
    },
    /// The operator is wrong.
    #[error("{doing} {what} cannot be right; the operator's log says more")]
    Bug {
        /// The operation.
        doing: &'static str,
        /// The object.
        what: String,
        /// What came back.
        source: Source,
    },
    /// This operator does not lead any more: nothing is told, the next leader goes on.
    #[error(transparent)]
    Deposed(#[from] Deposed),
}

impl Error {
    /// Returns the class; `None` where another operator leads.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Transient { .. } => Some(Class::Transient),
            Self::Waiting { .. } | Self::NamespaceGoes { .. } => Some(Class::Waiting),
            Self::InvalidSpec { .. } => Some(Class::InvalidSpec),
            Self::Conflict { .. } => Some(Class::Conflict),
            Self::Bug { .. } => Some(Class::Bug),
            Self::Deposed(_) => None,
        }
    }

    /// Returns what conditions and events give as the reason; `None` where another operator leads.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Transient { .. } => Some(Reason::Retrying),
            Self::Waiting { reason, .. } => Some(*reason),
            Self::NamespaceGoes { .. } => Some(Reason::Waiting),
            Self::InvalidSpec { .. } => Some(Reason::InvalidSpec),
            Self::Conflict { .. } => Some(Reason::Conflict),
            Self::Bug { .. } => Some(Reason::InternalError),
            Self::Deposed(_) => None,
        }
    }

    /// Says that a watch of objects of `kind` has told nothing yet: nothing is decided without them.
    pub fn unknown(kind: &str) -> Self {
        Self::Transient {
            doing: "watch",
            what: format!("every {kind}"),
            source: "nothing is told yet: the log says why".into(),
        }
    }

    /// Says what an answer of the API server means, for an operation on an object.
    ///
    /// What it holds for invalid was built here, so it is a bug; what it forbids may be granted later.
    pub fn of_api(doing: &'static str, what: String, source: kube::Error) -> Self {
        let code = if let kube::Error::Api(status) = &source { status.code } else { 0 };
        match code {
            _ if is_of_a_namespace_that_goes(&source) => Self::NamespaceGoes { what },
            409 => Self::Conflict { what },
            400 | 405 | 406 | 415 | 422 => Self::Bug { doing, what, source: source.into() },
            _ => Self::Transient { doing, what, source: source.into() },
        }
    }

    /// Says what an error means for an object that is made of what a spec says: what the API server finds wrong with it
    /// (422) is in the parts that are handed on as they stand, such as resources, and its words name the field.
    #[must_use]
    pub fn of_made(self) -> Self {
        let Self::Bug { what, source, .. } = &self else { return self };
        match source.downcast_ref() {
            Some(kube::Error::Api(status)) if status.code == 422 => {
                let words = status.message.trim();
                Self::InvalidSpec {
                    message: format!("{what} cannot be made of this spec: {words}"),
                }
            }
            Some(_) | None => self,
        }
    }
}

/// Whether nothing can be made any more where it should be: the API server says that as it says what is forbidden.
pub fn is_of_a_namespace_that_goes(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    if status.code != 403 {
        return false;
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn answer(code: u16) -> Error {
        let status = Status { code, message: format!("at {code}"), ..Status::default() };
        let what = "Service default/kafka".to_owned();
        Error::of_api("write", what, kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        #[derive(Debug, thiserror::Error)]
        #[error("{words}")]
        struct Layer {
            words: &'static str,
            source: Option<Box<Layer>>,
        }
        let layer = |words, source: Option<Layer>| Layer { words, source: source.map(Box::new) };
        let lowest = layer("no such file", None);
        let middle = layer("cannot read a: no such file", Some(lowest));
        let error = layer("nothing is configured", Some(middle));
        assert_eq!(chain(&error), "nothing is configured: cannot read a: no such file");
    }

    /// A row is (code of the answer, class).
    #[test]
    fn an_answer_of_the_server_has_one_class() {
        let cases = [
            (409, Class::Conflict),
            (422, Class::Bug),
            (403, Class::Transient),
            (404, Class::Transient),
            (429, Class::Transient),
            (500, Class::Transient),
        ];
        for (code, class) in cases {
            assert_eq!(answer(code).class(), Some(class), "{code}");
        }
    }

    /// What is handed on as it stands is the user's; what else the server refuses is ours.
    #[test]
    fn what_the_server_finds_wrong_is_told_in_its_words() {
        let made = answer(422).of_made();
        assert_eq!(made.class(), Some(Class::InvalidSpec));
        let words = "Service default/kafka cannot be made of this spec: at 422";
        assert_eq!(made.to_string(), words);
        assert_eq!(answer(400).of_made().class(), Some(Class::Bug));
        assert_eq!(answer(503).of_made().class(), Some(Class::Transient));
    }

    /// The words of the server differ from try to try; ours do not.
    #[test]
    fn the_text_is_the_same_for_the_same_cause() {
        assert_eq!(answer(500).to_string(), answer(503).to_string());
        assert_eq!(
            answer(500).to_string(),
            "write Service default/kafka did not work; it is tried again"
        );
    }

    /// What only an edit heals is not hurried, and what heals itself is not told at once.
    #[test]
    fn each_class_is_tried_and_told_in_its_own_way() {
        assert_eq!(Class::InvalidSpec.again(), Again::After(WAIT));
        assert_eq!(Class::Transient.again(), Again::BackOff);
        assert!(!Class::Transient.is_told(2) && Class::Transient.is_told(3));
        assert!(Class::InvalidSpec.is_told(1) && !Class::Waiting.is_told(100));
    }
}
