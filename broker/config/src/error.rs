//! Why a configuration was not accepted, in words that name the key and the place.

use std::{fmt, sync::Arc};

/// Where a pair was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, or what stands for it (`--set`).
    pub file: Arc<str>,
    /// The line of the pair's first character, from 1; 0 where lines mean nothing.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str(&self.file)
        } else {
            write!(f, "{}:{}", self.file, self.line)
        }
    }
}

/// A configuration that cannot be accepted. Nothing is applied when one is returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No key of this name exists, neither Kafka's nor ours.
    #[error("{place}unknown key `{key}`{hint}", place = at(place.as_ref()), hint = hint(*nearest, place.is_some()))]
    Unknown {
        /// The name as it was written.
        key: String,
        /// The known key that was probably meant.
        nearest: Option<&'static str>,
        /// Where it was written, if it came from a file.
        place: Option<Place>,
    },
    /// The value does not have the key's type or lies outside its range.
    #[error("{place}`{key}` is `{value}`, but must be {expected}", place = at(place.as_ref()))]
    Invalid {
        /// The key.
        key: String,
        /// The value as it was written; passwords are masked.
        value: String,
        /// What would be accepted, in words.
        expected: String,
        /// Where it was written, if it came from a file.
        place: Option<Place>,
    },
    /// The key is known, but what it asks for is not served.
    #[error("{place}`{key}` cannot be honoured: {reason}", place = at(place.as_ref()))]
    NotServed {
        /// The key.
        key: String,
        /// Why, and what to do instead.
        reason: &'static str,
        /// Where it was written, if it came from a file.
        place: Option<Place>,
    },
    /// The key cannot be changed while the broker runs.
    #[error("`{key}` is read only: write it to server.properties and restart the broker")]
    ReadOnly {
        /// The key.
        key: String,
    },
    /// Two keys contradict each other.
    #[error("`{key}` and `{other}` do not go together: {reason}")]
    Conflict {
        /// The key that cannot stand.
        key: &'static str,
        /// The key it contradicts.
        other: &'static str,
        /// The rule that is broken.
        reason: String,
    },
    /// A line that is not a property.
    #[error("{place}: {reason}")]
    Syntax {
        /// Where the line is.
        place: Place,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl ConfigError {
    /// Returns the keys that the error blames, the one to change first. Empty if there is no key.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let (key, other) = match self {
            Self::Unknown { key, .. }
            | Self::Invalid { key, .. }
            | Self::NotServed { key, .. }
            | Self::ReadOnly { key } => (Some(key.as_str()), None),
            Self::Conflict { key, other, .. } => (Some(*key), Some(*other)),
            Self::Syntax { .. } => (None, None),
        };
        key.into_iter().chain(other)
    }

    /// Takes the place away: for whoever has written to no file.
    #[must_use]
    pub fn nowhere(mut self) -> Self {
        match &mut self {
            Self::Unknown { place, .. }
            | Self::Invalid { place, .. }
            | Self::NotServed { place, .. } => *place = None,
            Self::ReadOnly { .. } | Self::Conflict { .. } | Self::Syntax { .. } => {}
        }
        self
    }

    /// Adds the place, unless one is known already.
    #[must_use]
    pub fn at(mut self, found: Option<&Place>) -> Self {
        match &mut self {
            Self::Unknown { place, .. }
            | Self::Invalid { place, .. }
            | Self::NotServed { place, .. } => {
                if place.is_none() {
                    *place = found.cloned();
                }
            }
            Self::ReadOnly { .. } | Self::Conflict { .. } | Self::Syntax { .. } => {}
        }
        self
    }
}

fn at(place: Option<&Place>) -> String {
    place.map(|place| format!("{place}: ")).unwrap_or_default()
}

/// Whoever starts a broker has its command line; whoever asks for a setting from afar has not.
fn hint(nearest: Option<&str>, is_started: bool) -> String {
    match nearest {
        Some(name) => format!("; did you mean `{name}`?"),
        None if is_started => "; --describe-config lists all that there are".to_owned(),
        None => String::new(),
    }
}
