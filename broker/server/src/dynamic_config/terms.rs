//! Who changes settings and on what condition, and whether they may be as they are wanted.

use std::collections::BTreeMap;

use broker_config::dynamic::Layers;
use broker_config::error::ConfigError;
use broker_config::topic::TopicConfig;
use broker_zookeeper::store::Op;

use super::{DynamicConfig, Entity};

/// Who changes settings, and what must hold when they are written.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// Who it is, in words; kept beside the settings of topics.
    pub author: Option<String>,
    /// Conditions: nothing is written once one of them fails.
    pub conditions: Vec<Op>,
}

impl Terms {
    /// Of somebody who sets no condition.
    pub fn of(author: String) -> Self {
        Self { author: Some(author), conditions: Vec::new() }
    }
}

impl DynamicConfig {
    /// Checks all settings that an entity is to have.
    ///
    /// # Errors
    /// The first one that cannot be, or that needs a restart.
    pub fn check(
        &self,
        entity: &Entity,
        settings: &BTreeMap<String, String>,
    ) -> Result<(), ConfigError> {
        let for_all = match entity {
            Entity::Topic(_) => {
                return TopicConfig::resolve(&self.config.load(), settings).map(drop);
            }
            Entity::Broker(_) => false,
            Entity::AllBrokers => true,
        };
        settings.iter().try_for_each(|(key, value)| Layers::check_dynamic(key, value, for_all))
    }
}
