//! The hub: the bridge that the nodes hang on, and what the components of the control plane are started with.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::cell::Cell;
use super::layout::{self, Places};
use super::part::{Component, Part};
use crate::tools::kubernetes::Programs;

/// The name of the host.
pub(super) const NAME: &str = "hub";

/// A node that says nothing for so long is not ready.
const GRACE: &str = "12s";

/// Makes the bridge and the ways to the pods.
pub(super) fn furnish(cell: &Cell, nodes: u8) -> Result<()> {
    let (hub, dns) = (layout::HUB, layout::DNS);
    let mut lines = vec![
        "ip link add nodes type bridge".to_owned(),
        format!("ip addr add {hub}/24 dev nodes"),
        format!("ip addr add {dns}/24 dev nodes"),
        "ip link set nodes up".to_owned(),
        "ip route add default dev nodes".to_owned(),
        "echo 1 >/proc/sys/net/ipv4/ip_forward".to_owned(),
    ];
    for number in 1..=nodes {
        let (pods, node) = (layout::pods_of(number), layout::node_address(number));
        lines.push(format!("ip route add {pods} via {node}"));
    }
    cell.run(&lines.join("\n"))
}

/// Everything that runs on the hub, in the order in which one waits for the other.
pub(super) fn parts(
    cell: &Arc<Cell>,
    places: &Places,
    programs: &Programs,
    log: &Logs,
) -> Result<Vec<Part>> {
    let names = places.host(NAME).join("Corefile");
    let text = corefile(&places.kubeconfig("dns"));
    fs::write(&names, text).with_context(|| format!("write {}", names.display()))?;
    let part = |component: Component, arguments: Vec<String>| {
        let program = if component == Component::Dns {
            programs.coredns.clone()
        } else {
            programs.of_node(&component.to_string())
        };
        Part::new(component, cell, program, arguments, log(&component.to_string()))
    };
    Ok(vec![
        part(Component::Etcd, etcd(places)),
        part(Component::ApiServer, api_server(places)),
        part(Component::ControllerManager, controller_manager(places)),
        part(Component::Scheduler, scheduler(places)),
        part(Component::Dns, vec!["-conf".to_owned(), names.display().to_string()]),
    ])
}

/// Where a component writes what it prints, by its name.
pub(super) type Logs = dyn Fn(&str) -> std::path::PathBuf;

fn flags(flags: &[(&str, String)]) -> Vec<String> {
    flags.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

fn etcd(places: &Places) -> Vec<String> {
    let clients = "http://127.0.0.1:2379".to_owned();
    let peers = "http://127.0.0.1:2380".to_owned();
    flags(&[
        ("data-dir", places.host(NAME).join("etcd").display().to_string()),
        ("listen-client-urls", clients.clone()),
        ("advertise-client-urls", clients),
        ("listen-peer-urls", peers.clone()),
        ("initial-advertise-peer-urls", peers.clone()),
        ("initial-cluster", format!("default={peers}")),
        // No test cuts the power, and a disk that others write to may take a second for it.
        ("unsafe-no-fsync", "true".to_owned()),
    ])
}

fn api_server(places: &Places) -> Vec<String> {
    let key = |file: &str| places.key(file).display().to_string();
    flags(&[
        ("etcd-servers", "http://127.0.0.1:2379".to_owned()),
        ("advertise-address", layout::HUB.to_string()),
        ("bind-address", "0.0.0.0".to_owned()),
        ("secure-port", layout::API.port().to_string()),
        ("service-cluster-ip-range", layout::SERVICES.to_owned()),
        ("tls-cert-file", key("apiserver.crt")),
        ("tls-private-key-file", key("apiserver.key")),
        ("client-ca-file", key("ca.crt")),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("anonymous-auth", "false".to_owned()),
        // An operator that names owners needs a right for it, which not every server asks for.
        (
            "enable-admission-plugins",
            "NodeRestriction,OwnerReferencesPermissionEnforcement".to_owned(),
        ),
        ("allow-privileged", "true".to_owned()),
        // The hub has no proxy for the addresses of services: webhooks are called at their pods.
        ("enable-aggregator-routing", "true".to_owned()),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".to_owned()),
        ("service-account-key-file", key("accounts.crt")),
        ("service-account-signing-key-file", key("accounts.key")),
        ("kubelet-client-certificate", key("admin.crt")),
        ("kubelet-client-key", key("admin.key")),
        ("kubelet-certificate-authority", key("ca.crt")),
        ("kubelet-preferred-address-types", "InternalIP".to_owned()),
        ("profiling", "false".to_owned()),
    ])
}

fn controller_manager(places: &Places) -> Vec<String> {
    let key = |file: &str| places.key(file).display().to_string();
    let mut flags_of_user = user_flags(places, "controller-manager");
    flags_of_user.extend(flags(&[
        ("service-account-private-key-file", key("accounts.key")),
        ("root-ca-file", key("ca.crt")),
        ("cluster-signing-cert-file", key("ca.crt")),
        ("cluster-signing-key-file", key("ca.key")),
        ("use-service-account-credentials", "true".to_owned()),
        // Tests wait for its work: it is not to wait for its own bounds.
        ("kube-api-qps", "300".to_owned()),
        ("kube-api-burst", "600".to_owned()),
        ("enable-hostpath-provisioner", "true".to_owned()),
        ("flex-volume-plugin-dir", "/run/flexvolume".to_owned()),
        ("node-monitor-period", "1s".to_owned()),
        ("node-monitor-grace-period", GRACE.to_owned()),
    ]));
    flags_of_user
}

fn scheduler(places: &Places) -> Vec<String> {
    user_flags(places, "scheduler")
}

/// What the two have in common that are alone in what they do.
fn user_flags(places: &Places, user: &str) -> Vec<String> {
    let kubeconfig = places.kubeconfig(user).display().to_string();
    flags(&[
        ("kubeconfig", kubeconfig.clone()),
        ("authentication-kubeconfig", kubeconfig.clone()),
        ("authorization-kubeconfig", kubeconfig),
        ("leader-elect", "false".to_owned()),
        ("profiling", "false".to_owned()),
    ])
}

/// The names of services and of pods behind headless ones; there is no world outside to ask.
fn corefile(kubeconfig: &Path) -> String {
    format!(
        ".:53 {{\n  bind {}\n  errors\n  kubernetes cluster.local in-addr.arpa {{\n    \
         kubeconfig {} e2e\n    pods insecure\n    ttl 1\n  }}\n  cache 1\n}}\n",
        layout::DNS,
        kubeconfig.display(),
    )
}
