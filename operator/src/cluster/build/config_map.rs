//! The files that brokers read.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::meta;
use crate::cluster::names::Component;
use crate::cluster::validate::Valid;

/// The file of all brokers.
pub const COMMON_FILE: &str = "broker.properties";

/// The file of one broker, `$(BROKER_ID)` in the arguments of its container.
pub fn own_file(broker: &str) -> String {
    format!("broker-{broker}.properties")
}

/// Makes the files. That of a broker which does not know yet where it is found is left out: its pod waits for it.
pub fn config_map(valid: &Valid) -> ConfigMap {
    let own = valid.broker_files.iter().filter_map(|(id, text)| {
        let text = text.clone()?;
        Some((own_file(&id.to_string()), text))
    });
    let mut data: BTreeMap<String, String> = own.collect();
    data.insert(COMMON_FILE.to_owned(), valid.file.clone());
    ConfigMap {
        metadata: meta(valid, valid.names.config(), Component::Broker),
        data: Some(data),
        ..ConfigMap::default()
    }
}
