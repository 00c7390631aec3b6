//! The files that one broker reads: each has its own copy of what all have in common, for it changes when that broker
//! restarts, and not before.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::meta_of_broker;
use crate::cluster::validate::Valid;

/// The file that all brokers have.
pub const COMMON_FILE: &str = "broker.properties";

/// The file of one broker, `$(BROKER_ID)` in the arguments of its container.
pub fn own_file(broker: &str) -> String {
    format!("broker-{broker}.properties")
}

/// Makes the files of one broker; `None` while it does not know yet where it is found: its pod waits for them.
pub fn config_map(valid: &Valid, broker: i32) -> Option<ConfigMap> {
    let own = valid.broker_files.get(&broker)?.clone()?;
    let data = BTreeMap::from([
        (COMMON_FILE.to_owned(), valid.file.clone()),
        (own_file(&broker.to_string()), own),
    ]);
    let metadata = meta_of_broker(valid, broker);
    Some(ConfigMap { metadata, data: Some(data), ..ConfigMap::default() })
}
