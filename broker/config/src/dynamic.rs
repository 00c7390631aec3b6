//! Which layer a value comes from: per-broker dynamic, cluster default dynamic, static, default.
//!
//! A key may have synonyms (`log.retention.ms`, `.minutes`, `.hours`); within one layer the finer
//! unit wins, and a higher layer wins over any unit below it. Source: Kafka 3.9 `ConfigHelper` and
//! `DynamicBrokerConfig.brokerConfigSynonyms`.

use std::collections::BTreeMap;

use crate::{
    error::ConfigError,
    key::{self, Key, Kind, Scope},
};

/// The layer a value comes from. The numbers are those of `DescribeConfigs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum Source {
    /// An override of one topic.
    DynamicTopic = 1,
    /// Set on one broker while it ran.
    DynamicBroker = 2,
    /// Set for every broker while they ran.
    DynamicDefaultBroker = 3,
    /// From `server.properties` or the command line.
    StaticBroker = 4,
    /// Nobody set it.
    Default = 5,
}

impl Source {
    /// Returns the number that `DescribeConfigs` uses.
    pub const fn code(self) -> i8 {
        self as i8
    }
}

/// One key's value in one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// The key as spelt in that layer.
    pub name: &'static str,
    /// Its value; `None` where it is null or sensitive.
    pub value: Option<String>,
    /// The layer.
    pub source: Source,
}

/// One key as `DescribeConfigs` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The table's row: type, documentation, scope.
    pub key: &'static Key,
    /// The value in force; `None` where it is null or sensitive.
    pub value: Option<String>,
    /// Where the value in force comes from.
    pub source: Source,
    /// Every layer that sets the key or a synonym, the winner first.
    pub synonyms: Vec<Synonym>,
}

impl Entry {
    /// Tells whether no request can change the key.
    pub fn is_read_only(&self) -> bool {
        self.key.scope == Scope::ReadOnly
    }

    /// Tells whether the value must never be shown.
    pub fn is_sensitive(&self) -> bool {
        self.key.kind == Kind::Password
    }

    /// Tells whether nobody set the key.
    pub fn is_default(&self) -> bool {
        self.source == Source::Default
    }
}

/// The layers of a broker's configuration above the defaults.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layers {
    /// Dynamic values of this broker (`/config/brokers/<id>`).
    pub dynamic_broker: BTreeMap<String, String>,
    /// Dynamic values of every broker (`/config/brokers/<default>`).
    pub dynamic_default: BTreeMap<String, String>,
    /// `server.properties`, then `--set`.
    pub static_broker: BTreeMap<String, String>,
}

impl Layers {
    /// Checks a dynamic change before it is stored.
    ///
    /// # Errors
    /// [`ConfigError::ReadOnly`] where the key needs a restart, or cannot be set for all brokers;
    /// otherwise as for a static value.
    pub fn check_dynamic(
        name: &str,
        value: &str,
        for_all_brokers: bool,
    ) -> Result<(), ConfigError> {
        let key = key::broker(name)?;
        let allowed = match key.scope {
            Scope::ClusterWide => true,
            Scope::PerBroker => !for_all_brokers,
            Scope::ReadOnly | Scope::Topic => false,
        };
        if !allowed {
            return Err(ConfigError::ReadOnly { key: name.to_owned() });
        }
        key.accept(value)
    }

    /// Lists what is set for `names` and their defaults, the winner first.
    fn synonyms(&self, names: &[&'static str]) -> Vec<Synonym> {
        let layers = [
            (&self.dynamic_broker, Source::DynamicBroker),
            (&self.dynamic_default, Source::DynamicDefaultBroker),
            (&self.static_broker, Source::StaticBroker),
        ];
        let mut found = Vec::new();
        for (layer, source) in layers {
            for name in names {
                if let Some(value) = layer.get(*name) {
                    found.push(Synonym { name, value: Some(value.clone()), source });
                }
            }
        }
        for name in names {
            if let Some(value) = key::default_text(name, self.is_in_cluster()) {
                found.push(Synonym { name, value: Some(value), source: Source::Default });
            }
        }
        found
    }

    /// Tells whether there are other brokers, as far as the file says.
    fn is_in_cluster(&self) -> bool {
        self.static_broker.get("zookeeper.connect").is_some_and(|text| !text.trim().is_empty())
    }

    /// Returns the text in force for a broker key, synonyms converted to the key's unit.
    pub(crate) fn text(&self, name: &'static str) -> Option<String> {
        let winner = self.synonyms(&synonym_names(name)).into_iter().next()?;
        winner.value.map(|value| convert(winner.name, &value))
    }

    /// Describes a broker key.
    pub fn entry(&self, key: &'static Key) -> Entry {
        let synonyms = self.synonyms(&synonym_names(key.name));
        let source = synonyms.first().map_or(Source::Default, |winner| winner.source);
        // A coarser synonym explains the source, yet the key's own value stays null, as in Kafka.
        let value = synonyms
            .iter()
            .find(|synonym| synonym.name == key.name)
            .and_then(|synonym| synonym.value.clone());
        hide(Entry { key, value, source, synonyms })
    }
}

/// Describes a topic key.
pub(crate) fn topic_entry(
    layers: &Layers,
    overrides: &BTreeMap<String, String>,
    key: &'static Key,
) -> Entry {
    let mut synonyms: Vec<Synonym> = overrides
        .get(key.name)
        .map(|value| Synonym {
            name: key.name,
            value: Some(value.clone()),
            source: Source::DynamicTopic,
        })
        .into_iter()
        .collect();
    let (value, source) = match (synonyms.first(), key.synonym) {
        (Some(own), _) => (own.value.clone(), Source::DynamicTopic),
        (None, Some(broker)) => {
            let inherited = layers.synonyms(&synonym_names(broker));
            let source = inherited.first().map_or(Source::Default, |winner| winner.source);
            (self::inherited(layers, key), source)
        }
        (None, None) => (key::default_text(key.name, false), Source::Default),
    };
    if let Some(broker) = key.synonym {
        synonyms.extend(layers.synonyms(&synonym_names(broker)));
    }
    hide(Entry { key, value, source, synonyms })
}

/// Returns what a topic without an override gets for `key`.
pub(crate) fn inherited(layers: &Layers, key: &'static Key) -> Option<String> {
    match key.synonym {
        Some(broker) => layers.text(broker),
        None => key::default_text(key.name, false),
    }
}

/// Returns what a key of either table has when nobody sets it, coarser units converted.
pub(crate) fn default_text(name: &'static str) -> Option<String> {
    Layers::default().text(name).or_else(|| key::default_text(name, false))
}

fn hide(mut entry: Entry) -> Entry {
    if entry.is_sensitive() {
        entry.value = None;
        for synonym in &mut entry.synonyms {
            synonym.value = None;
        }
    }
    entry
}

/// Returns the spellings of one setting, the winner first.
fn synonym_names(name: &'static str) -> Vec<&'static str> {
    match name {
        "log.roll.ms" | "log.roll.hours" => vec!["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => {
            vec!["log.roll.jitter.ms", "log.roll.jitter.hours"]
        }
        "log.flush.interval.ms" => {
            vec!["log.flush.interval.ms", "log.flush.scheduler.interval.ms"]
        }
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            vec!["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        }
        name => vec![name],
    }
}

/// Turns minutes and hours into milliseconds; any negative retention is "for ever".
fn convert(name: &str, value: &str) -> String {
    let unit_ms: i64 = match name {
        "log.retention.minutes" => 60_000,
        "log.retention.hours" | "log.roll.hours" | "log.roll.jitter.hours" => 3_600_000,
        _ => 1,
    };
    match value.trim().parse::<i64>() {
        Ok(number)
            if number < 0
                && name.starts_with("log.retention.")
                && name != "log.retention.bytes"
                && name != "log.retention.check.interval.ms" =>
        {
            "-1".to_owned()
        }
        Ok(number) if unit_ms > 1 => number.saturating_mul(unit_ms).to_string(),
        _ => value.to_owned(),
    }
}
