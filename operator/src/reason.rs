//! Every reason that conditions and events give: one word each, never another for the same thing.
//!
//! The README's table has the same words; a test compares.

/// A reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Something did not work that is tried again.
    Retrying,
    /// Somebody else is to do something first.
    Waiting,
    /// What the object says cannot be.
    InvalidSpec,
    /// Somebody else changed the same thing.
    Conflict,
    /// The operator itself is wrong.
    InternalError,
    /// The object cannot be read.
    Unreadable,
}

/// How an event is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Weight {
    /// Something happened.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Weight {
    /// The event's `type`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Retrying,
        Self::Waiting,
        Self::InvalidSpec,
        Self::Conflict,
        Self::InternalError,
        Self::Unreadable,
    ];

    /// The word.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Retrying => "Retrying",
            Self::Waiting => "Waiting",
            Self::InvalidSpec => "InvalidSpec",
            Self::Conflict => "Conflict",
            Self::InternalError => "InternalError",
            Self::Unreadable => "Unreadable",
        }
    }

    /// How an event of it is shown; `None` where there are no such events.
    pub const fn event(self) -> Option<Weight> {
        match self {
            Self::Waiting | Self::Conflict => None,
            Self::Retrying | Self::InvalidSpec | Self::InternalError | Self::Unreadable => {
                Some(Weight::Warning)
            }
        }
    }

    /// Whether conditions give it.
    pub const fn is_of_conditions(self) -> bool {
        match self {
            Self::Retrying
            | Self::Waiting
            | Self::InvalidSpec
            | Self::Conflict
            | Self::InternalError => true,
            Self::Unreadable => false,
        }
    }
}
