//! What is made for a cluster is called what it is called here, and listens where it says here. Pure.

use std::collections::{BTreeMap, BTreeSet};

use kube::Resource;

use crate::crd::cluster::listener::{Advertised, Listener, ListenerType};

/// The port that brokers copy from each other by.
pub const REPLICATION_PORT: i32 = 9091;
/// The port of the listener `client`, where the spec names none.
pub const CLIENT_PORT: i32 = 9092;
/// The port that the operator asks brokers by.
pub const ADMIN_PORT: i32 = 9095;
/// The port of metrics and probes.
pub const METRICS_PORT: i32 = 9404;
/// The port of ZooKeeper's clients.
pub const ZOOKEEPER_PORT: i32 = 2181;

/// The label that names the cluster of whatever is made for one.
pub const CLUSTER_LABEL: &str = "ottla.dev/cluster";
/// The label that names the broker of a pod, and of what is made for one broker.
pub const BROKER_LABEL: &str = "ottla.dev/broker";

/// The broker that an object is of, by its label.
pub fn broker<K: Resource>(object: &K) -> Option<i32> {
    object.meta().labels.as_ref()?.get(BROKER_LABEL)?.parse().ok()
}
/// The annotation of a pod that says what it is: another text for whatever needs a restart.
pub const REVISION_ANNOTATION: &str = "ottla.dev/revision";

/// A part of what is made for a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// Brokers.
    Broker,
    /// Servers of the ensemble that is managed for them.
    ZooKeeper,
}

impl Component {
    /// Its name in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::ZooKeeper => "zookeeper",
        }
    }
}

/// The names of what is made for one cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Names {
    /// The name of the `Cluster`.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
}

impl Names {
    /// What selects the pods of a component; they are the same for ever.
    pub fn selector(&self, component: Component) -> BTreeMap<String, String> {
        labels([
            (CLUSTER_LABEL, &self.cluster),
            ("app.kubernetes.io/component", component.as_str()),
        ])
    }

    /// The labels of what is made for a component.
    pub fn labels(&self, component: Component) -> BTreeMap<String, String> {
        let mut all = self.selector(component);
        all.extend(labels([
            ("app.kubernetes.io/name", "ottla"),
            ("app.kubernetes.io/instance", &self.cluster),
            ("app.kubernetes.io/managed-by", "ottla-operator"),
        ]));
        all
    }

    /// What selects the pod of a broker.
    pub fn broker_selector(&self, broker: i32) -> BTreeMap<String, String> {
        let mut all = self.selector(Component::Broker);
        all.insert(BROKER_LABEL.to_owned(), broker.to_string());
        all
    }

    /// The Service that names each broker's pod, ready or not.
    pub fn brokers(&self) -> String {
        format!("{}-brokers", self.cluster)
    }

    /// The StatefulSet of a broker, and the ConfigMap of its files.
    pub fn broker(&self, broker: i32) -> String {
        format!("{}-{broker}", self.cluster)
    }

    /// The pod of a broker.
    pub fn pod(&self, broker: i32) -> String {
        format!("{}-0", self.broker(broker))
    }

    /// Where a broker is found inside of the Kubernetes cluster.
    pub fn host(&self, broker: i32) -> String {
        format!("{}.{}.{}.svc", self.pod(broker), self.brokers(), self.namespace)
    }

    /// The claim of a broker's volume, as a StatefulSet calls it.
    pub fn claim(&self, volume: &str, broker: i32) -> String {
        format!("{volume}-{}", self.pod(broker))
    }

    /// The Service by which clients inside of the Kubernetes cluster begin.
    pub fn bootstrap(&self) -> String {
        self.cluster.clone()
    }

    /// The Service by which clients of a listener begin that is found from outside.
    pub fn outside(&self, listener: &str) -> String {
        format!("{}-{listener}", self.cluster)
    }

    /// The Service of one broker at such a listener.
    pub fn outside_of(&self, listener: &str, broker: i32) -> String {
        format!("{}-{listener}-{broker}", self.cluster)
    }

    /// The StatefulSet, Service and ConfigMap of the managed ensemble.
    pub fn zookeeper(&self) -> String {
        format!("{}-zookeeper", self.cluster)
    }

    /// The claim of the volume of one of its servers, as a StatefulSet calls it.
    pub fn server_claim(&self, volume: &str, server: i32) -> String {
        format!("{volume}-{}-{server}", self.zookeeper())
    }

    /// What brokers connect to: the managed ensemble, and this cluster's part of its tree.
    pub fn zookeeper_connect(&self, servers: i32) -> String {
        let service = self.zookeeper();
        let namespace = &self.namespace;
        let server =
            |number| format!("{service}-{number}.{service}.{namespace}.svc:{ZOOKEEPER_PORT}");
        let servers = (0..servers).map(server).collect::<Vec<_>>().join(",");
        format!("{servers}/{}", self.cluster)
    }
}

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The ids of so many brokers: the lowest numbers that are not `removed`.
pub fn broker_ids(brokers: i32, removed: &[i32]) -> Vec<i32> {
    let removed: BTreeSet<i32> = removed.iter().copied().collect();
    let count = usize::try_from(brokers).unwrap_or_default();
    (0..).filter(|id| !removed.contains(id)).take(count).collect()
}

/// The listeners of a spec; without any, one for clients inside of the Kubernetes cluster.
pub fn listeners(listeners: &[Listener]) -> Vec<Listener> {
    if !listeners.is_empty() {
        return listeners.to_vec();
    }
    vec![Listener {
        name: "client".to_owned(),
        port: CLIENT_PORT,
        r#type: ListenerType::Internal,
        node_port: None,
        advertised: Vec::<Advertised>::new(),
        annotations: BTreeMap::new(),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names { cluster: "orders".to_owned(), namespace: "shop".to_owned() }
    }

    /// Ids are those of the spec alone, whatever was there before.
    #[test]
    fn ids_follow_from_the_spec() {
        assert_eq!(broker_ids(3, &[]), [0, 1, 2]);
        assert_eq!(broker_ids(3, &[1]), [0, 2, 3]);
        assert_eq!(broker_ids(2, &[1]), [0, 2]);
        assert_eq!(broker_ids(2, &[5, 0, 0]), [1, 2]);
    }

    #[test]
    fn brokers_and_servers_are_found_by_name() {
        assert_eq!(names().host(2), "orders-2-0.orders-brokers.shop.svc");
        assert_eq!(names().claim("data", 2), "data-orders-2-0");
        let connect = "orders-zookeeper-0.orders-zookeeper.shop.svc:2181,\
                       orders-zookeeper-1.orders-zookeeper.shop.svc:2181/orders";
        assert_eq!(names().zookeeper_connect(2), connect);
    }

    /// The longest names that the schema allows are names of Services.
    #[test]
    fn no_name_is_too_long() {
        let names = Names { cluster: "c".repeat(40), namespace: "n".repeat(63) };
        let longest = names.outside_of(&"l".repeat(15), 10_000);
        assert!(longest.len() <= 63, "{longest}");
        // A pod's revision label has the StatefulSet's name and eleven characters.
        assert!(names.broker(10_000).len() + 11 <= 63);
        assert!(names.zookeeper().len() + 11 <= 63);
    }

    /// Selectors of a Kubernetes object can never change: what is selected by is in the labels.
    #[test]
    fn what_is_selected_is_labelled() {
        for component in [Component::Broker, Component::ZooKeeper] {
            let labels = names().labels(component);
            assert!(names().selector(component).iter().all(|(key, value)| labels[key] == *value));
        }
        assert_eq!(names().broker_selector(1)[BROKER_LABEL], "1");
    }
}
