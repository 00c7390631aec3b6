//! What brokers say of their settings (`DescribeSettings`).

use std::collections::BTreeMap;

/// What a change of a setting takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A restart.
    Restart,
    /// Nothing; it is set for each broker.
    PerBroker,
    /// Nothing; it is set for all.
    Cluster,
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// What a change of it takes.
    pub change: Change,
    /// Whether its value is told to nobody.
    pub is_password: bool,
}

/// What they say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Schema {
    /// None was asked, or none has answered yet.
    #[default]
    Unknown,
    /// They are too old to tell: every change takes a restart.
    Untold,
    /// What each setting is, by name.
    Told(BTreeMap<String, Setting>),
}

impl Schema {
    /// What a change of a setting takes; none of one that they do not know, or where they were not asked.
    pub fn change(&self, name: &str) -> Option<Change> {
        match self {
            Self::Unknown => None,
            Self::Untold => Some(Change::Restart),
            Self::Told(all) => all.get(name).map(|setting| setting.change),
        }
    }

    /// Whether they tell of a setting.
    pub fn has(&self, name: &str) -> bool {
        matches!(self, Self::Told(all) if all.contains_key(name))
    }

    /// Whether they tell of settings, and of this one nothing.
    pub fn lacks(&self, name: &str) -> bool {
        matches!(self, Self::Told(all) if !all.contains_key(name))
    }

    /// Whether the value of a setting is told to nobody.
    pub fn is_password(&self, name: &str) -> bool {
        matches!(self, Self::Told(all) if all.get(name).is_some_and(|setting| setting.is_password))
    }
}

impl FromIterator<(String, Setting)> for Schema {
    fn from_iter<I: IntoIterator<Item = (String, Setting)>>(all: I) -> Self {
        Self::Told(all.into_iter().collect())
    }
}

/// Settings whose values are told.
impl<const N: usize> From<[(&str, Change); N]> for Schema {
    fn from(all: [(&str, Change); N]) -> Self {
        let setting = |(name, change): (&str, Change)| {
            (name.to_owned(), Setting { change, is_password: false })
        };
        all.into_iter().map(setting).collect()
    }
}
