//! Where everything of a cluster is: its addresses, its directories and its names. Decides nothing else.
//!
//! ```text
//! hub     10.200.0.254   control plane, DNS at 10.200.0.53, and the bridge between the nodes
//! node-N  10.200.0.N     pods in 10.244.N.0/24, zone-N
//! services               10.96.0.0/16
//! ```
//!
//! Every cluster has the same addresses: none of them is seen outside its namespaces.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

/// The host of the control plane.
pub const HUB: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 254);
/// Where names are looked up, on the same host.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 200, 0, 53);
/// What services have their addresses from.
pub const SERVICES: &str = "10.96.0.0/16";
/// The first of these, which is the API server's own.
pub const FIRST_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// What pods have their addresses from.
pub const PODS: &str = "10.244.0.0/16";
/// The API server, for whoever is inside.
pub const API: SocketAddrV4 = SocketAddrV4::new(HUB, 6443);

/// The address of a node.
pub fn node_address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 200, 0, number)
}

/// Where the pods of a node have their addresses from.
pub fn pods_of(number: u8) -> String {
    format!("10.244.{number}.0/24")
}

/// The name of a node, which is its host name too.
pub fn node_name(number: u8) -> String {
    format!("node-{number}")
}

/// The zone that a node is labelled with.
pub fn zone(number: u8) -> String {
    format!("zone-{number}")
}

/// The directories of one cluster.
#[derive(Debug, Clone)]
pub struct Places {
    root: PathBuf,
    id: String,
}

impl Places {
    /// Those of the cluster `id`, under the directory of all clusters.
    pub fn new(all: &Path, id: &str) -> Self {
        Self { root: all.join(id), id: id.to_owned() }
    }

    /// What holds all the rest.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The name of its control groups, from the root of each hierarchy.
    pub fn control_group(&self) -> String {
        format!("ottla-e2e-{}", self.id)
    }

    /// A key or a certificate.
    pub fn key(&self, file: &str) -> PathBuf {
        self.root.join("pki").join(file)
    }

    /// What `user` reaches the API server by.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.root.join("pki").join(format!("{user}.kubeconfig"))
    }

    /// What a host keeps.
    pub fn host(&self, name: &str) -> PathBuf {
        self.root.join("hosts").join(name)
    }

    /// The data of all volumes, which every node sees as if it came over a network.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_node_has_an_address_of_the_hub_and_no_two_have_the_same_pods() {
        for number in 1..=super::super::MOST_NODES {
            let address = node_address(number);
            assert!(address != HUB && address != DNS, "{address}");
            for other in 1..number {
                assert_ne!(pods_of(number), pods_of(other));
            }
        }
    }

    #[test]
    fn everything_of_a_cluster_is_in_its_directory() {
        let all = Path::new("/clusters");
        let places = Places::new(all, "7-1");
        for path in
            [places.key("ca.crt"), places.kubeconfig("admin"), places.host("hub"), places.volumes()]
        {
            assert!(path.starts_with("/clusters/7-1"), "{}", path.display());
        }
        assert_ne!(places.control_group(), Places::new(all, "7-2").control_group());
    }
}
