//! Where a broker's pod is, and what the broker is told of it: its rack, and where clients find it at the ports of its
//! node. Pure.
//!
//! Only who looks at nodes knows, and a pod has no right to. So the operator writes it to an annotation of the pod once
//! the pod has a node; the pod has the annotation as a file, and the broker waits for that (`--await-config`). A pod
//! that was told something else than holds now, for the port of a Service is another one, is restarted.

use std::collections::BTreeMap;

use broker_config::render::render;
use k8s_openapi::api::core::v1::{Node, Service};

use super::settings::{Advertised, Outside, advertised};
use crate::crd::cluster::ClusterSpec;
use crate::crd::cluster::listener::{Listener, ListenerType};
use crate::names::Names;

/// The annotation of a pod that says where it is, as a file of settings.
pub const ANNOTATION: &str = "ottla.dev/place";

/// The last line of the file: a broker takes one without it for half a file.
const END: &str = "# end\n";

/// Which addresses of a node clients are told, the best first: that which is reached from farthest.
const ADDRESSES: [&str; 5] = ["ExternalIP", "ExternalDNS", "InternalIP", "InternalDNS", "Hostname"];

/// Whether pods of these brokers are told where they are.
pub fn is_told(spec: &ClusterSpec) -> bool {
    let by_node = |listener: &Listener| listener.r#type == ListenerType::NodePort;
    spec.rack.is_some() || spec.listeners.iter().any(by_node)
}

/// Where clients find a node.
pub fn host(node: &Node) -> Option<String> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let of_type = |kind: &&str| addresses.iter().find(|address| address.type_ == **kind);
    ADDRESSES.iter().find_map(of_type).map(|address| address.address.clone())
}

/// The rack of a node, by its label.
pub fn rack(node: &Node, label: &str) -> Option<String> {
    node.metadata.labels.as_ref()?.get(label).filter(|rack| !rack.is_empty()).cloned()
}

/// Where a broker is found at a listener from outside, as its own Service says; none while that is not known.
pub fn outside(listener: &Listener, service: &Service) -> Option<Outside> {
    match listener.r#type {
        ListenerType::Internal => None,
        ListenerType::NodePort => {
            let port = service.spec.as_ref()?.ports.as_ref()?.first()?.node_port?;
            Some(Outside { host: None, port })
        }
        ListenerType::LoadBalancer => {
            let balancer = service.status.as_ref()?.load_balancer.as_ref()?;
            let ingress = balancer.ingress.as_ref()?.first()?;
            let host = ingress.hostname.clone().filter(|name| !name.is_empty());
            Some(Outside { host: Some(host.or_else(|| ingress.ip.clone())?), port: listener.port })
        }
    }
}

/// What a pod is told that is on `node`: the annotation's text. None while a port is not known.
pub fn text(
    names: &Names,
    broker: i32,
    spec: &ClusterSpec,
    listeners: &[Listener],
    found: &BTreeMap<String, Outside>,
    node: &Node,
) -> Option<String> {
    let mut told = Vec::new();
    let at_node: BTreeMap<String, Outside> = found
        .iter()
        .map(|(name, outside)| {
            let host = outside.host.clone().or_else(|| host(node));
            (name.clone(), Outside { host, port: outside.port })
        })
        .collect();
    if advertised(names, broker, listeners, found) == Advertised::ByNode {
        let Advertised::Known(all) = advertised(names, broker, listeners, &at_node) else {
            return None;
        };
        told.push(("advertised.listeners", all));
    }
    if let Some(rack) = spec.rack.as_ref().and_then(|of| rack(node, &of.node_label)) {
        told.push(("broker.rack", rack));
    }
    let told = told.iter().map(|(key, value)| (*key, value.as_str()));
    Some(format!("{}{END}", render(told)))
}

/// Where clients begin: the first listener that is found from outside, or else the first. `bootstrap` are the Services
/// of all brokers by listener, `host` is that of a node that a broker is on.
pub fn bootstrap(
    names: &Names,
    listeners: &[Listener],
    bootstrap: &BTreeMap<String, Service>,
    host: Option<&str>,
) -> Option<String> {
    let first = listeners.iter().find(|one| one.r#type != ListenerType::Internal);
    let first = first.or_else(|| listeners.first())?;
    if first.r#type == ListenerType::Internal {
        let (service, namespace) = (names.bootstrap(), &names.namespace);
        return Some(format!("{service}.{namespace}.svc:{}", first.port));
    }
    let found = outside(first, bootstrap.get(&first.name)?)?;
    let host = found.host.as_deref().or(host)?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Some(format!("{host}:{}", found.port))
}

#[cfg(test)]
mod tests {
    use broker_config::raw::Properties;
    use serde_json::json;

    use super::*;
    use crate::names::listeners;

    fn names() -> Names {
        Names { cluster: "orders".to_owned(), namespace: "shop".to_owned() }
    }

    fn node(addresses: &[(&str, &str)], labels: &[(&str, &str)]) -> Node {
        let addresses: Vec<_> =
            addresses.iter().map(|(kind, at)| json!({"type": kind, "address": at})).collect();
        let labels: BTreeMap<_, _> = labels.iter().copied().collect();
        let node = json!({"metadata": {"labels": labels}, "status": {"addresses": addresses}});
        serde_json::from_value(node).unwrap()
    }

    fn spec(given: &serde_json::Value) -> ClusterSpec {
        let mut spec = json!({"brokers": 1, "version": "0.1.0"});
        spec.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    fn service(of: serde_json::Value) -> Service {
        serde_json::from_value(of).unwrap()
    }

    fn zoned() -> ClusterSpec {
        spec(&json!({"rack": {}, "listeners": [
            {"name": "client", "port": 9092},
            {"name": "outside", "port": 9093, "type": "NodePort"},
        ]}))
    }

    fn told(spec: &ClusterSpec, found: &BTreeMap<String, Outside>, node: &Node) -> Option<String> {
        text(&names(), 1, spec, &listeners(&spec.listeners), found, node)
    }

    /// The broker reads what its pod was told: all its listeners, and its rack.
    #[test]
    fn a_broker_is_told_of_its_node() {
        let addresses = [("Hostname", "n1"), ("InternalIP", "10.0.0.7")];
        let node = node(&addresses, &[("topology.kubernetes.io/zone", "z\u{e4} 1")]);
        let found = Outside { host: None, port: 30_001 };
        let found = BTreeMap::from([("outside".to_owned(), found)]);
        let text = told(&zoned(), &found, &node).unwrap();
        assert!(text.ends_with("\n# end\n"), "{text}");
        let read = Properties::parse("place", &text).unwrap();
        assert_eq!(read.get("broker.rack"), Some("z\u{e4} 1"));
        let advertised = read.get("advertised.listeners").unwrap();
        assert!(advertised.ends_with(":9092,OUTSIDE://10.0.0.7:30001"), "{advertised}");
        assert_eq!(told(&zoned(), &BTreeMap::new(), &node), None, "the port is waited for");
    }

    /// A node that says nothing makes a broker without a rack; a spec that asks nothing tells nothing.
    #[test]
    fn what_a_node_does_not_say_is_left_out() {
        let racked = spec(&json!({"rack": {"nodeLabel": "example.com/rack"}}));
        let bare = node(&[], &[]);
        assert_eq!(told(&racked, &BTreeMap::new(), &bare).as_deref(), Some("# end\n"));
        assert!(is_told(&racked) && is_told(&zoned()) && !is_told(&spec(&json!({}))));
    }

    #[test]
    fn the_address_that_is_reached_from_farthest_is_told() {
        let both = [("InternalIP", "10.0.0.7"), ("ExternalIP", "203.0.113.7")];
        assert_eq!(host(&node(&both, &[])).as_deref(), Some("203.0.113.7"));
        assert_eq!(host(&node(&[("Hostname", "n1")], &[])).as_deref(), Some("n1"));
        assert_eq!(host(&node(&[], &[])), None);
    }

    /// A load balancer is waited for, and found by its name before its address.
    #[test]
    fn a_load_balancer_is_found_once_it_is_there() {
        let balanced =
            spec(&json!({"listeners": [{"name": "lb", "port": 9093, "type": "LoadBalancer"}]}));
        let listener = &balanced.listeners[0];
        assert_eq!(outside(listener, &service(json!({}))), None);
        let at = |ingress| {
            let service = service(json!({"status": {"loadBalancer": {"ingress": [ingress]}}}));
            outside(listener, &service).map(|found| (found.host.unwrap(), found.port))
        };
        assert_eq!(at(json!({"ip": "203.0.113.7"})), Some(("203.0.113.7".to_owned(), 9093)));
        let named = json!({"ip": "203.0.113.7", "hostname": "b.example.com"});
        assert_eq!(at(named), Some(("b.example.com".to_owned(), 9093)));
    }

    /// Who asks from outside is told where; without such a listener, the Service inside.
    #[test]
    fn clients_begin_where_they_can() {
        let inside = listeners(&[]);
        let none = BTreeMap::new();
        let at = bootstrap(&names(), &inside, &none, None);
        assert_eq!(at.as_deref(), Some("orders.shop.svc:9092"));
        let ports = service(json!({"spec": {"ports": [{"port": 9093, "nodePort": 30_000}]}}));
        let services = BTreeMap::from([("outside".to_owned(), ports)]);
        let zoned = zoned().listeners;
        assert_eq!(bootstrap(&names(), &zoned, &services, None), None);
        let at = bootstrap(&names(), &zoned, &services, Some("fd00::7"));
        assert_eq!(at.as_deref(), Some("[fd00::7]:30000"));
    }
}
