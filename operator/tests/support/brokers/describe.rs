//! What brokers tell of themselves and of the tree.

use std::collections::{BTreeMap, BTreeSet};

use broker_admin::v1::{
    BrokerDescription, Change, DescribeClusterResponse, DescribeSettingsResponse, Health, Identity,
    PartitionDescription, Phase, Setting, TopicDescription,
};
use broker_config::key::{self, Key, Scope};
use serde_json::{Value, json};

use super::process::Process;
use super::state::State;
use super::tree::{Partition, Topic};

/// What a release speaks, unless a test says otherwise.
const PROTOCOLS: [&str; 2] = ["3.8", "3.9"];

/// Settings of a broker that a throttle of moves is.
const RATES: [&str; 2] =
    ["leader.replication.throttled.rate", "follower.replication.throttled.rate"];

impl State {
    pub(crate) fn cluster_id(&self) -> String {
        format!("{:A<22}", self.name)
    }

    pub(crate) fn identity(&self, process: &Process) -> Identity {
        let speaks = self.protocols.get(&process.version).cloned();
        let speaks = speaks.unwrap_or_else(|| PROTOCOLS.map(str::to_owned).to_vec());
        let newest = speaks.last().cloned().unwrap_or_default();
        let settings: Vec<String> =
            process.settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let controller = self.tree.controller.filter(|controller| self.is_up(controller.broker));
        Identity {
            broker_id: process.broker,
            cluster_id: self.cluster_id(),
            broker_epoch: process.epoch.unwrap_or(-1),
            process_id: format!("{:016x}", process.id),
            version: process.version.clone(),
            inter_broker_protocol: process.protocol(&newest),
            static_settings: process.settings.clone().into_iter().collect(),
            instance: process.uid.clone(),
            controller_id: controller.map_or(-1, |controller| controller.broker),
            configuration_digest: operator::digest::of(settings.concat().bytes()),
            inter_broker_protocols: speaks,
        }
    }

    pub(crate) fn health(&self, broker: i32) -> Health {
        let Some(process) = self.processes.get(&broker) else { return Health::default() };
        let (phase, reason) = match (process.stopping, process.epoch) {
            (Some(_), _) => (Phase::Stopping, "it stops"),
            (None, None) => (Phase::RecoveringLogs, "logs are loaded"),
            (None, Some(_)) => (Phase::Running, ""),
        };
        let mut health = Health {
            phase: phase.into(),
            reason: reason.to_owned(),
            registered: process.epoch.is_some(),
            replicas: self.tree.replicas_of(broker) as u64,
            ..Health::default()
        };
        for topic in self.tree.topics.values() {
            let least = self.min_isr(topic);
            for one in topic.partitions.iter().filter(|one| one.leader == Some(broker)) {
                health.leaders += 1;
                health.under_replicated += u64::from(one.isr.len() < one.replicas.len());
                let required = least.min(one.replicas.len());
                health.under_min_isr += u64::from(one.isr.len() < required);
            }
        }
        health
    }

    pub(crate) fn describe_cluster(&self) -> DescribeClusterResponse {
        let registered = self.processes.values().filter(|process| process.epoch.is_some());
        let mut ids: BTreeSet<i32> = registered.map(|process| process.broker).collect();
        ids.extend(self.tree.partitions().flat_map(|(_, _, one)| &one.replicas));
        ids.extend(self.tree.broker_settings.keys());
        ids.extend(&self.tree.cordoned);
        let controller = self.tree.controller.filter(|controller| self.is_up(controller.broker));
        DescribeClusterResponse {
            cluster_id: self.cluster_id(),
            controller_id: controller.map_or(-1, |controller| controller.broker),
            brokers: ids.into_iter().map(|id| self.describe_broker(id)).collect(),
            dynamic_settings: self.tree.settings.clone().into_iter().collect(),
            has_move_throttles: !self.tree.broker_throttles.is_empty()
                || !self.tree.topic_throttles.is_empty(),
        }
    }

    fn describe_broker(&self, broker: i32) -> BrokerDescription {
        let process = self.processes.get(&broker).filter(|process| process.epoch.is_some());
        let rack = process.and_then(|process| process.settings.get("broker.rack"));
        let leads = |one: &Partition| one.replicas.first() == Some(&broker);
        let mut own = self.tree.broker_settings.get(&broker).cloned().unwrap_or_default();
        if let Some(rate) = self.tree.broker_throttles.get(&broker) {
            own.extend(RATES.map(|name| (name.to_owned(), rate.to_string())));
        }
        BrokerDescription {
            broker_id: broker,
            broker_epoch: process.and_then(|process| process.epoch).unwrap_or(-1),
            rack: rack.cloned().unwrap_or_default(),
            cordoned: self.tree.cordoned.contains(&broker),
            replicas: self.tree.replicas_of(broker) as u64,
            preferred_leaders: self.tree.partitions().filter(|(_, _, one)| leads(one)).count()
                as u64,
            dynamic_settings: own.into_iter().collect(),
        }
    }

    /// Those of `names` that are there; all, if there is none. As `broker` tells them.
    pub(crate) fn describe_topics(&self, names: &[String], broker: i32) -> Vec<TopicDescription> {
        let all = &self.tree.topics;
        if names.is_empty() {
            return all.iter().map(|(name, topic)| describe(name, topic, broker)).collect();
        }
        let found = names.iter().filter_map(|name| Some((name, all.get(name)?)));
        found.map(|(name, topic)| describe(name, topic, broker)).collect()
    }

    /// All that the cluster has come to, in an order that is the same in every run.
    pub(crate) fn snapshot(&self) -> Value {
        let replicas = |topic: &Topic| -> Vec<Value> {
            let said = |one: &Partition| {
                json!({
                    "replicas": one.replicas, "adding": one.adding, "removing": one.removing,
                    "isr": one.isr, "leader": one.leader,
                })
            };
            topic.partitions.iter().map(said).collect()
        };
        let topics: BTreeMap<&String, Value> = self
            .tree
            .topics
            .iter()
            .map(|(name, topic)| {
                let value = json!({
                    "id": topic.id, "partitions": replicas(topic), "settings": topic.settings,
                    "deleting": topic.deleting.is_some(),
                });
                (name, value)
            })
            .collect();
        let brokers: BTreeMap<i32, Value> = self
            .processes
            .values()
            .map(|one| {
                let value = json!({
                    "version": one.version, "settings": one.settings, "up": one.is_up(),
                });
                (one.broker, value)
            })
            .collect();
        json!({
            "topics": topics,
            "brokers": brokers,
            "settings": self.tree.settings,
            "brokerSettings": self.tree.broker_settings,
            "cordoned": self.tree.cordoned,
            "throttles": [self.tree.topic_throttles, self.tree.broker_throttles],
        })
    }
}

fn describe(name: &str, topic: &Topic, broker: i32) -> TopicDescription {
    let partition = |one: &Partition| PartitionDescription {
        replicas: one.replicas.clone(),
        adding: one.adding.clone(),
        removing: one.removing.clone(),
        in_sync: one.isr.clone(),
        leader: one.leader.unwrap_or(-1),
        size: (one.leader == Some(broker)).then_some(one.size),
    };
    TopicDescription {
        name: name.to_owned(),
        topic_id: topic.id.clone(),
        partitions: topic.partitions.iter().map(partition).collect(),
        configuration: topic.settings.clone().into_iter().collect(),
        configuration_author: topic.author.clone(),
        deleting: topic.deleting.is_some(),
    }
}

/// Every setting that the model's brokers know: those of the table.
pub(crate) fn settings() -> DescribeSettingsResponse {
    let setting = |key: &Key| Setting {
        name: key.name.to_owned(),
        accepts: key.expectation(),
        default: key.default.map(str::to_owned),
        change: match key.scope {
            Scope::ReadOnly => Change::Restart,
            Scope::PerBroker => Change::DynamicPerBroker,
            Scope::ClusterWide => Change::DynamicCluster,
            Scope::Topic => Change::DynamicTopic,
        }
        .into(),
        since: "0.1.0".to_owned(),
        ..<Setting as Default>::default()
    };
    DescribeSettingsResponse {
        broker: key::broker_keys().map(setting).collect(),
        topic: key::topic_keys().map(setting).collect(),
    }
}
