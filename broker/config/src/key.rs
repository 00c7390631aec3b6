//! The one table of configuration keys: every key of Kafka 3.9's ZooKeeper mode, and ours.
//!
//! Names, types, defaults, ranges and scopes are Kafka 3.9's unless a row says `kafka_default`; only
//! `listeners`, `advertised.listeners`, `listener.security.protocol.map` and `num.network.threads` may
//! change at run time there, and need a restart here. Documentation is ours. A row's [`Status`] states what setting the key does here.

mod group;
mod kraft;
mod log;
mod network;
mod own;
mod quota;
mod remote;
mod replication;
mod security;
mod topic_rows;
mod zookeeper;

use std::{collections::HashMap, sync::LazyLock};

use crate::{
    error::ConfigError,
    listener::{self, Listener},
    release::Release,
    suggest,
    value::{Value, items},
};

/// The type of a value. The numbers are those of `DescribeConfigs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Kind {
    /// `true` or `false`.
    Boolean = 1,
    /// Any text.
    String = 2,
    /// 32 bits, signed.
    Int = 3,
    /// 16 bits, signed.
    Short = 4,
    /// 64 bits, signed.
    Long = 5,
    /// A decimal fraction.
    Double = 6,
    /// Items separated by commas.
    List = 7,
    /// The name of a Java class.
    Class = 8,
    /// Text that is never shown.
    Password = 9,
}

/// Which values of a kind are accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// All.
    Any,
    /// No less than this.
    AtLeast(i64),
    /// Both ends included.
    Between(i64, i64),
    /// Both ends included, or -1.
    BetweenOrMinusOne(i64, i64),
    /// Both ends included, of a [`Kind::Double`].
    Fraction(f64, f64),
    /// One of these; each item of a [`Kind::List`].
    OneOf(&'static [&'static str]),
    /// Not empty.
    NotEmpty,
    /// Listener addresses.
    Listeners,
    /// `host:port`, or empty.
    Address,
    /// Pairs `address:count`.
    AddressCounts,
    /// `*`, or pairs `partition:broker`.
    ThrottledReplicas,
    /// A release of Kafka, such as `3.9` or `3.9-IV0`.
    Release,
}

impl Limit {
    /// Tells whether a whole number lies in the range; limits of other kinds admit all.
    fn admits(self, number: i64) -> bool {
        match self {
            Self::AtLeast(least) => number >= least,
            Self::Between(least, most) => (least..=most).contains(&number),
            Self::BetweenOrMinusOne(least, most) => {
                number == -1 || (least..=most).contains(&number)
            }
            Self::Any
            | Self::Fraction(..)
            | Self::OneOf(_)
            | Self::NotEmpty
            | Self::Listeners
            | Self::Address
            | Self::AddressCounts
            | Self::ThrottledReplicas
            | Self::Release => true,
        }
    }
}

/// Who may set a key, and whether the change waits for a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `server.properties` only; a change needs a restart.
    ReadOnly,
    /// At run time, for one broker.
    PerBroker,
    /// At run time, for one broker or for all.
    ClusterWide,
    /// At run time, for one topic.
    Topic,
}

/// What setting the key does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// What it says.
    Honoured,
    /// Refused unless the value is the default: this release does not serve it. Why, and what to do.
    NotServedYet(&'static str),
    /// Refused unless the value is the default: Ottla will not serve it. Why, and what to do.
    NeverServed(&'static str),
    /// Accepted, and nothing changes. Why.
    NoEffect(&'static str),
}

/// One configuration key.
#[derive(Debug, PartialEq)]
pub struct Key {
    /// The name, as in Kafka.
    pub name: &'static str,
    /// The type of the value.
    pub kind: Kind,
    /// The value when nobody sets the key; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// The value when nobody sets the key of a broker that has `zookeeper.connect`, where it differs.
    pub cluster_default: Option<&'static str>,
    /// Kafka's default in words, where ours differs.
    pub kafka_default: Option<&'static str>,
    /// Which values are accepted.
    pub limit: Limit,
    /// Who may set it, and when.
    pub scope: Scope,
    /// What setting it does here.
    pub status: Status,
    /// Of a topic key: the broker key that gives the value for topics without an override.
    pub synonym: Option<&'static str>,
    /// What it means, in a line.
    pub doc: &'static str,
}

impl Key {
    const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            default: None,
            cluster_default: None,
            kafka_default: None,
            limit: Limit::Any,
            scope: Scope::ReadOnly,
            status: Status::Honoured,
            synonym: None,
            doc,
        }
    }
    const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }
    const fn cluster_default(mut self, default: &'static str) -> Self {
        self.cluster_default = Some(default);
        self
    }
    const fn kafka_default(mut self, words: &'static str) -> Self {
        self.kafka_default = Some(words);
        self
    }
    const fn limit(mut self, limit: Limit) -> Self {
        self.limit = limit;
        self
    }
    const fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }
    const fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }
    const fn synonym(mut self, broker_key: &'static str) -> Self {
        self.synonym = Some(broker_key);
        self
    }

    /// Tells whether a change takes effect only after a restart.
    pub fn needs_restart(&self) -> bool {
        self.scope == Scope::ReadOnly
    }

    /// Returns the unit of a number, as the name's last word tells it.
    pub fn unit(&self) -> Option<&'static str> {
        if !matches!(self.kind, Kind::Int | Kind::Short | Kind::Long | Kind::Double) {
            return None;
        }
        ["ms", "bytes", "seconds", "secs", "minutes", "hours", "percentage"]
            .into_iter()
            .find(|unit| self.name.rsplit('.').take(2).any(|word| word == *unit))
    }

    /// Checks a value: type, range, and whether it is served.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] or [`ConfigError::NotServed`].
    pub fn accept(&self, value: &str) -> Result<(), ConfigError> {
        let value = value.trim();
        if self.default.is_some_and(|default| is_same(self.kind, default, value))
            || (self.default.is_none() && value.is_empty())
        {
            return Ok(());
        }
        if let Status::NotServedYet(reason) | Status::NeverServed(reason) = self.status {
            return Err(ConfigError::NotServed { key: self.name.to_owned(), reason, place: None });
        }
        if self.is_valid(value) {
            return Ok(());
        }
        let masked = self.kind == Kind::Password;
        Err(ConfigError::Invalid {
            key: self.name.to_owned(),
            value: if masked { "[hidden]" } else { value }.to_owned(),
            expected: self.expectation(),
            place: None,
        })
    }

    /// Says in words what is accepted.
    pub fn expectation(&self) -> String {
        let kind = match self.kind {
            Kind::Boolean => "true or false",
            Kind::Int => "a whole number of 32 bits",
            Kind::Short => "a whole number of 16 bits",
            Kind::Long => "a whole number of 64 bits",
            Kind::Double => "a number",
            Kind::List => "a list separated by commas",
            Kind::String | Kind::Password => "text",
            Kind::Class => "a class name",
        };
        match self.limit {
            Limit::Any => kind.to_owned(),
            Limit::AtLeast(least) => format!("{kind}, at least {least}"),
            Limit::Between(least, most) => format!("{kind}, {least} to {most}"),
            Limit::BetweenOrMinusOne(least, most) => {
                format!("{kind}, {least} to {most}, or -1")
            }
            Limit::Fraction(least, most) => format!("{kind}, {least} to {most}"),
            Limit::OneOf(values) if self.kind == Kind::List => {
                format!("a list of {}", values.join(", "))
            }
            Limit::OneOf(values) => format!("one of {}", values.join(", ")),
            Limit::NotEmpty => format!("{kind}, not empty"),
            Limit::Listeners => "NAME://host:port, separated by commas".to_owned(),
            Limit::Address => "host:port, or empty".to_owned(),
            Limit::AddressCounts => "IP addresses address:count, separated by commas".to_owned(),
            Limit::ThrottledReplicas => {
                "`*` or pairs partition:broker, separated by commas".to_owned()
            }
            Limit::Release => "a release of Kafka up to 3.9, such as 3.9 or 3.9-IV0".to_owned(),
        }
    }

    fn is_valid(&self, value: &str) -> bool {
        let whole = |least: i64, most: i64| {
            value
                .parse::<i64>()
                .is_ok_and(|number| (least..=most).contains(&number) && self.limit.admits(number))
        };
        match self.kind {
            Kind::Boolean => {
                value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
            }
            Kind::Short => whole(i16::MIN.into(), i16::MAX.into()),
            Kind::Int => whole(i32::MIN.into(), i32::MAX.into()),
            Kind::Long => whole(i64::MIN, i64::MAX),
            Kind::Double => value.parse::<f64>().is_ok_and(|number| {
                if let Limit::Fraction(least, most) = self.limit {
                    (least..=most).contains(&number)
                } else {
                    !number.is_nan()
                }
            }),
            Kind::String | Kind::List | Kind::Class | Kind::Password => self.is_valid_text(value),
        }
    }

    fn is_valid_text(&self, value: &str) -> bool {
        match self.limit {
            Limit::OneOf(allowed) if self.kind == Kind::List => {
                items(value).all(|item| allowed.contains(&item))
            }
            Limit::OneOf(allowed) => allowed.contains(&value),
            Limit::NotEmpty => !value.is_empty(),
            Limit::Listeners => <Vec<Listener> as Value>::parse(Some(value)).is_some(),
            Limit::Address => value.is_empty() || listener::host_and_port(value).is_some(),
            Limit::AddressCounts => {
                items(value).all(|item| listener::address_count(item).is_some())
            }
            Limit::ThrottledReplicas => value == "*" || items(value).all(is_replica),
            Limit::Release => Release::parse(value).is_some(),
            Limit::Any
            | Limit::AtLeast(_)
            | Limit::Between(..)
            | Limit::BetweenOrMinusOne(..)
            | Limit::Fraction(..) => true,
        }
    }
}

fn is_same(kind: Kind, default: &str, value: &str) -> bool {
    default == value || (kind == Kind::Boolean && default.eq_ignore_ascii_case(value))
}

fn is_replica(text: &str) -> bool {
    text.split_once(':').is_some_and(|(partition, broker)| {
        partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
    })
}

type Index = LazyLock<HashMap<&'static str, &'static Key>>;

// A broker resolves thousands of topics at start, each of forty keys.
static BROKER_INDEX: Index = LazyLock::new(|| broker_keys().map(|key| (key.name, key)).collect());
static TOPIC_INDEX: Index = LazyLock::new(|| topic_keys().map(|key| (key.name, key)).collect());

/// Yields every broker key, Kafka's and ours.
pub fn broker_keys() -> impl Iterator<Item = &'static Key> {
    [
        network::KEYS,
        log::KEYS,
        replication::KEYS,
        group::KEYS,
        quota::KEYS,
        security::KEYS,
        remote::KEYS,
        kraft::KEYS,
        zookeeper::KEYS,
        own::BROKER,
    ]
    .into_iter()
    .flatten()
}

/// Yields every topic key, Kafka's and ours.
pub fn topic_keys() -> impl Iterator<Item = &'static Key> {
    topic_rows::KEYS.iter().chain(own::TOPIC)
}

/// Finds a broker key by its whole name.
pub fn find(name: &str) -> Option<&'static Key> {
    BROKER_INDEX.get(name).copied()
}

/// Finds a topic key by its name.
pub fn find_topic(name: &str) -> Option<&'static Key> {
    TOPIC_INDEX.get(name).copied()
}

/// Finds a broker key; a prefix such as `listener.name.<listener>.` is looked through.
///
/// # Errors
/// [`ConfigError::Unknown`] with the nearest known key.
pub fn broker(name: &str) -> Result<&'static Key, ConfigError> {
    find(name).or_else(|| find_prefixed(name)).ok_or_else(|| ConfigError::Unknown {
        key: name.to_owned(),
        nearest: suggest::nearest(name, broker_keys().map(|key| key.name)),
        place: None,
    })
}

/// Finds a topic key.
///
/// # Errors
/// [`ConfigError::Unknown`] with the nearest known key.
pub fn topic(name: &str) -> Result<&'static Key, ConfigError> {
    find_topic(name).ok_or_else(|| ConfigError::Unknown {
        key: name.to_owned(),
        nearest: suggest::nearest(name, topic_keys().map(|key| key.name)),
        place: None,
    })
}

/// Returns the default of a broker or topic key as text, of a broker with or without ZooKeeper.
pub(crate) fn default_text(name: &str, in_cluster: bool) -> Option<String> {
    let key = find(name).or_else(|| find_topic(name))?;
    let default = key.cluster_default.filter(|_| in_cluster).or(key.default);
    default.map(str::to_owned)
}

/// Keys that carry a listener's or mechanism's name, or a plug-in's own settings, in front.
fn find_prefixed(name: &str) -> Option<&'static Key> {
    for (prefix, stands_for) in [
        ("rlmm.config.", "remote.log.metadata.manager.impl.prefix"),
        ("rsm.config.", "remote.log.storage.manager.impl.prefix"),
    ] {
        if name.starts_with(prefix) {
            return own::PLUGIN.iter().find(|key| key.name == stands_for);
        }
    }
    let rest = name.strip_prefix("listener.name.")?.split_once('.')?.1;
    find(rest).or_else(|| find(rest.split_once('.')?.1))
}

#[cfg(test)]
mod tests;
