//! The settings of brokers: which need a restart and are in a file, and which do not and are in the tree. Pure.
//!
//! What the spec of the cluster decides by itself, such as listeners, no user sets. What brokers say of their settings
//! (`DescribeSettings`) is asked before the table that came with this operator: a broker may know more.

use std::collections::BTreeMap;

use broker_config::key::{self, Scope};
use broker_config::render::render;

use crate::admin::schema::{Change, Schema};
use crate::crd::cluster::listener::{Listener, ListenerType};
use crate::names::{ADMIN_PORT, METRICS_PORT, Names, REPLICATION_PORT};

/// The settings of a spec, by where they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// For the brokers' file.
    pub file: BTreeMap<String, String>,
    /// For the node of each broker in the tree.
    pub per_broker: BTreeMap<String, String>,
    /// For the node of all brokers in the tree.
    pub cluster: BTreeMap<String, String>,
}

/// Sorts settings; of one that nobody knows a broker says so when it reads the file.
pub fn sort(config: &BTreeMap<String, String>, schema: &Schema) -> Settings {
    let mut sorted = Settings::default();
    for (name, value) in config {
        let change = schema.change(name).unwrap_or_else(|| of_table(name));
        let place = match change {
            Change::Restart => &mut sorted.file,
            Change::PerBroker => &mut sorted.per_broker,
            Change::Cluster => &mut sorted.cluster,
        };
        place.insert(name.clone(), value.clone());
    }
    sorted
}

fn of_table(name: &str) -> Change {
    match key::broker(name).map(|key| key.scope) {
        Ok(Scope::ClusterWide) => Change::Cluster,
        Ok(Scope::PerBroker) => Change::PerBroker,
        Ok(Scope::ReadOnly | Scope::Topic) | Err(_) => Change::Restart,
    }
}

/// What the spec decides about all brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Common<'a> {
    /// Where clients find them.
    pub listeners: &'a [Listener],
    /// What they agree by; none of one broker alone.
    pub zookeeper_connect: Option<&'a str>,
    /// Where each volume is mounted.
    pub log_dirs: &'a [String],
    /// What they speak among themselves; none for what their release speaks.
    pub protocol_version: Option<&'a str>,
}

/// Writes the file of all brokers: what the spec decides wins over what users set.
pub fn file(common: &Common<'_>, users: &BTreeMap<String, String>) -> String {
    let mut all = users.clone();
    let mut set = |key: &str, value: String| {
        all.insert(key.to_owned(), value);
    };
    let names: Vec<String> = listener_names(common.listeners).collect();
    let ports = common.listeners.iter().map(|listener| listener.port);
    let bound = names.iter().zip(std::iter::once(REPLICATION_PORT).chain(ports));
    let bound = bound.map(|(name, port)| format!("{name}://0.0.0.0:{port}"));
    set("listeners", bound.collect::<Vec<_>>().join(","));
    let protocols = names.iter().map(|name| format!("{name}:PLAINTEXT"));
    set("listener.security.protocol.map", protocols.collect::<Vec<_>>().join(","));
    set("inter.broker.listener.name", REPLICATION.to_owned());
    set("admin.listener", format!("0.0.0.0:{ADMIN_PORT}"));
    set("metrics.listener", format!("0.0.0.0:{METRICS_PORT}"));
    set("log.dirs", common.log_dirs.join(","));
    if let Some(connect) = common.zookeeper_connect {
        set("zookeeper.connect", connect.to_owned());
        let patience = users.get(ZOOKEEPER_PATIENCE.0).map_or(ZOOKEEPER_PATIENCE.1, String::as_str);
        set(ZOOKEEPER_PATIENCE.0, patience.to_owned());
    }
    if let Some(version) = common.protocol_version {
        set("inter.broker.protocol.version", version.to_owned());
    }
    render(all.iter().map(|(key, value)| (key.as_str(), value.as_str())))
}

/// How long a broker waits at its start for an ensemble that may be starting, too, unless a user says otherwise: whoever
/// gives up is started again after a while that doubles.
const ZOOKEEPER_PATIENCE: (&str, &str) = ("zookeeper.connection.timeout.ms", "600000");

/// The listener that brokers copy from each other by.
const REPLICATION: &str = "REPLICATION";

/// The names of listeners in settings: that of the brokers among themselves first.
fn listener_names(listeners: &[Listener]) -> impl Iterator<Item = String> {
    let own = std::iter::once(REPLICATION.to_owned());
    own.chain(listeners.iter().map(|listener| listener.name.to_uppercase()))
}

/// Where a broker is found at a listener that is found from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// A name or an address; none where it is that of the node, and the node is not known.
    pub host: Option<String>,
    /// The port.
    pub port: i32,
}

/// What a broker tells clients of where it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertised {
    /// This.
    Known(String),
    /// Only its node's address is missing.
    ByNode,
    /// Nobody knows yet.
    Unknown,
}

/// Says where a broker is found at each listener. `outside` is where it is found at each that is found from outside.
pub fn advertised(
    names: &Names,
    broker: i32,
    listeners: &[Listener],
    outside: &BTreeMap<String, Outside>,
) -> Advertised {
    let own = names.host(broker);
    let mut all = vec![format!("{REPLICATION}://{own}:{REPLICATION_PORT}")];
    let mut is_by_node = false;
    for listener in listeners {
        let is_inside = listener.r#type == ListenerType::Internal;
        let inside = is_inside.then(|| Outside { host: Some(own.clone()), port: listener.port });
        let found = inside.as_ref().or_else(|| outside.get(&listener.name));
        let chosen = listener.advertised.iter().find(|advertised| advertised.broker == broker);
        let host = chosen.map(|chosen| chosen.host.clone());
        let host = host.or_else(|| found.and_then(|found| found.host.clone()));
        let port = chosen.and_then(|chosen| chosen.port).or_else(|| found.map(|found| found.port));
        match (host, port) {
            (Some(host), Some(port)) => {
                // An address of IPv6 has colons of its own.
                let host = if host.contains(':') { format!("[{host}]") } else { host };
                all.push(format!("{}://{host}:{port}", listener.name.to_uppercase()));
            }
            _ if listener.r#type == ListenerType::NodePort => is_by_node = true,
            _ => return Advertised::Unknown,
        }
    }
    if is_by_node { Advertised::ByNode } else { Advertised::Known(all.join(",")) }
}

/// Writes the file of one broker: what it tells others of itself, but for what only its pod's node says (`place`). None
/// while the rest is not known, and the broker does not start before it is.
pub fn broker_file(
    names: &Names,
    broker: i32,
    listeners: &[Listener],
    outside: &BTreeMap<String, Outside>,
) -> Option<String> {
    let id = broker.to_string();
    match advertised(names, broker, listeners, outside) {
        Advertised::Known(all) => {
            Some(render([("broker.id", id.as_str()), ("advertised.listeners", all.as_str())]))
        }
        Advertised::ByNode => Some(render([("broker.id", id.as_str())])),
        Advertised::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use broker_config::broker::BrokerConfig;
    use broker_config::raw::Properties;

    use super::*;
    use crate::crd::cluster::listener::Advertised as Chosen;

    fn config(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn listener(name: &str, port: i32, r#type: ListenerType) -> Listener {
        let (node_port, advertised, annotations) = (None, Vec::new(), BTreeMap::new());
        Listener { name: name.to_owned(), port, r#type, node_port, advertised, annotations }
    }

    /// What needs no restart is not in the file; what brokers say wins over what this operator knows.
    #[test]
    fn what_is_dynamic_is_not_in_the_file() {
        let all =
            config(&[("num.partitions", "3"), ("log.cleaner.threads", "2"), ("new.key", "1")]);
        let sorted = sort(&all, &Schema::Unknown);
        assert_eq!(sorted.file, config(&[("num.partitions", "3"), ("new.key", "1")]));
        assert_eq!(sorted.cluster, config(&[("log.cleaner.threads", "2")]));
        // Of brokers that do not tell, every change takes a restart.
        assert_eq!(sort(&all, &Schema::Untold).file, all);
        let schema = Schema::from([("new.key", Change::PerBroker)]);
        assert_eq!(sort(&all, &schema).per_broker, config(&[("new.key", "1")]));
    }

    /// A broker reads the two files and is what the spec says, whatever users set.
    #[test]
    fn a_broker_understands_its_files() {
        let names = Names { cluster: "orders".to_owned(), namespace: "shop".to_owned() };
        let mut outside = listener("outside", 9093, ListenerType::NodePort);
        outside.advertised =
            vec![Chosen { broker: 2, host: "b2.example.com".to_owned(), port: Some(443) }];
        let listeners = [listener("client", 9092, ListenerType::Internal), outside];
        let log_dirs = ["/data/a".to_owned(), "/data/b".to_owned()];
        let common = Common {
            listeners: &listeners,
            zookeeper_connect: Some("zk:2181/orders"),
            log_dirs: &log_dirs,
            protocol_version: Some("3.9"),
        };
        let users = config(&[("num.partitions", "3"), ("log.dirs", "/tmp")]);
        let read = |broker, outside: &BTreeMap<String, Outside>| {
            let own = broker_file(&names, broker, &listeners, outside)?;
            let mut properties = Properties::parse("common", &file(&common, &users)).unwrap();
            properties.extend(Properties::parse("own", &own).unwrap());
            Some(BrokerConfig::from_properties(&properties).unwrap())
        };
        let broker = read(2, &BTreeMap::new()).unwrap();
        assert_eq!((broker.id(), broker.num_partitions), (2, 3));
        assert_eq!(broker.zookeeper_connection_timeout_ms, Some(600_000));
        let dirs: Vec<_> = broker.log_dirs.iter().map(|dir| dir.display().to_string()).collect();
        assert_eq!(dirs, log_dirs);
        let advertised: Vec<_> =
            broker.advertised_listeners.iter().map(ToString::to_string).collect();
        let expected = [
            "REPLICATION://orders-2-0.orders-brokers.shop.svc:9091",
            "CLIENT://orders-2-0.orders-brokers.shop.svc:9092",
            "OUTSIDE://b2.example.com:443",
        ];
        assert_eq!(advertised, expected);
        assert_eq!(broker.admin_address(), Some(("0.0.0.0", 9095)));

        // Where only its node knows, its pod is told (`place`).
        let untold = broker_file(&names, 1, &listeners, &BTreeMap::new()).unwrap();
        assert!(!untold.contains("advertised"), "{untold}");
        let found = Outside { host: Some("fd00::7".to_owned()), port: 30_001 };
        let broker = read(1, &BTreeMap::from([("outside".to_owned(), found)])).unwrap();
        assert_eq!(broker.advertised_listeners[2].to_string(), "OUTSIDE://[fd00::7]:30001");
    }
}
