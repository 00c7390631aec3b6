//! How brokers are found: each by its own name, any of them by the cluster's, and both from outside.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::meta;
use crate::cluster::validate::Valid;
use crate::crd::cluster::listener::{Listener, ListenerType};
use crate::names::{ADMIN_PORT, Component, METRICS_PORT, REPLICATION_PORT};

/// Makes every Service of the brokers.
pub fn services(valid: &Valid) -> Vec<Service> {
    let inside = |listener: &&Listener| listener.r#type == ListenerType::Internal;
    let mut all = vec![headless(valid)];
    if valid.listeners.iter().any(|listener| inside(&listener)) {
        all.push(bootstrap(valid));
    }
    for listener in valid.listeners.iter().filter(|listener| !inside(listener)) {
        all.push(outside(valid, listener, None));
        all.extend(valid.broker_ids.iter().map(|id| outside(valid, listener, Some(*id))));
    }
    all
}

/// Names each broker's pod, also one that is not ready: brokers copy from each other before they serve.
fn headless(valid: &Valid) -> Service {
    let own = [("replication", REPLICATION_PORT), ("admin", ADMIN_PORT), ("metrics", METRICS_PORT)];
    let own = own.into_iter().map(|(name, number)| port(name, number));
    let listeners = valid.listeners.iter().map(|listener| port(&listener.name, listener.port));
    Service {
        metadata: meta(valid, valid.names.brokers(), Component::Broker),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(valid.names.selector(Component::Broker)),
            ports: Some(own.chain(listeners).collect()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn bootstrap(valid: &Valid) -> Service {
    let inside =
        valid.listeners.iter().filter(|listener| listener.r#type == ListenerType::Internal);
    Service {
        metadata: meta(valid, valid.names.bootstrap(), Component::Broker),
        spec: Some(ServiceSpec {
            selector: Some(valid.names.selector(Component::Broker)),
            ports: Some(inside.map(|listener| port(&listener.name, listener.port)).collect()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The Service of a listener that is found from outside: of all brokers, or of one.
fn outside(valid: &Valid, listener: &Listener, broker: Option<i32>) -> Service {
    let name = broker.map_or_else(
        || valid.names.outside(&listener.name),
        |broker| valid.names.outside_of(&listener.name, broker),
    );
    let selector = broker.map_or_else(
        || valid.names.selector(Component::Broker),
        |broker| valid.names.broker_selector(broker),
    );
    let mut metadata = meta(valid, name, Component::Broker);
    metadata.annotations = (!listener.annotations.is_empty()).then(|| listener.annotations.clone());
    let mut one = port(&listener.name, listener.port);
    one.node_port = listener.node_port.filter(|_| broker.is_none());
    let r#type = match listener.r#type {
        ListenerType::Internal => "ClusterIP",
        ListenerType::NodePort => "NodePort",
        ListenerType::LoadBalancer => "LoadBalancer",
    };
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(r#type.to_owned()),
            selector: Some(selector),
            ports: Some(vec![one]),
            // Of one broker: a client that is sent there is to come there, whatever is ready.
            publish_not_ready_addresses: broker.map(|_| true),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        target_port: Some(IntOrString::Int(number)),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}
