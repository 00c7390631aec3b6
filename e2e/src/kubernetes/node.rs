//! A node: its link to the hub, its container runtime, and what its components are started with.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::cell::{self, Cell};
use super::control_groups;
use super::control_plane::Logs;
use super::images::PAUSE;
use super::layout::{self, Places};
use super::part::{Component, Part};
use crate::tools::kubernetes::Programs;

/// Where containerd listens; each node has a `/run` of its own.
const SOCKET: &str = "/run/containerd/containerd.sock";

/// A node and its host.
#[derive(Debug)]
pub struct Node {
    number: u8,
    cell: Arc<Cell>,
    nodes: u8,
    control_group: String,
}

impl Node {
    /// Node `number` of `nodes`, whose host is not up yet.
    pub fn new(number: u8, nodes: u8, cell: Cell, places: &Places) -> Self {
        Self { number, cell: Arc::new(cell), nodes, control_group: places.control_group() }
    }

    /// Its host.
    pub fn cell(&self) -> &Arc<Cell> {
        &self.cell
    }

    /// Brings its host up and links it to the hub's.
    pub fn open(&self, hub: &Cell) -> Result<()> {
        control_groups::make(&self.control_group, &self.cell.name)?;
        self.cell.open()?;
        let name = &self.cell.name;
        let first = self.cell.first_process()?.to_string();
        // The kernel may still be taking the link of an earlier life apart.
        let _ = cell::run(hub.with_its_network("ip")?.args(["link", "del", name]));
        let mut link = hub.with_its_network("ip")?;
        link.args(["link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", &first]);
        cell::run(&mut link)?;
        self.switch(hub, "up")?;
        cell::run(hub.with_its_network("ip")?.args(["link", "set", name, "master", "nodes"]))?;
        self.cell.run(&self.furnish()).with_context(|| format!("link {name} to the hub"))
    }

    /// Pulls its cable (`down`), or plugs it in (`up`).
    pub fn switch(&self, hub: &Cell, state: &str) -> Result<()> {
        let mut ip = hub.with_its_network("ip")?;
        cell::run(ip.args(["link", "set", &self.cell.name, state])).map(drop)
    }

    fn furnish(&self) -> String {
        let bridged = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        let filters = "for link in all default; do \
                       echo 0 >/proc/sys/net/ipv4/conf/$link/rp_filter; done";
        let mut lines = vec![
            format!("ip addr add {}/24 dev eth0", layout::node_address(self.number)),
            "ip link set eth0 up".to_owned(),
            format!("ip route add default via {}", layout::HUB),
            "echo 1 >/proc/sys/net/ipv4/ip_forward".to_owned(),
            filters.to_owned(),
            format!("[ ! -e {bridged} ] || echo 1 >{bridged}"),
        ];
        for other in (1..=self.nodes).filter(|&other| other != self.number) {
            let (pods, node) = (layout::pods_of(other), layout::node_address(other));
            lines.push(format!("ip route add {pods} via {node}"));
        }
        lines.join("\n")
    }

    /// What runs there, and the settings that it reads.
    pub fn parts(&self, places: &Places, programs: &Programs, log: &Logs) -> Result<Vec<Part>> {
        let host = places.host(&self.cell.name);
        let network = host.join("network");
        fs::create_dir_all(&network).with_context(|| format!("create {}", network.display()))?;
        let write = |name: &str, text: String| {
            let path = host.join(name);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
            Ok::<_, anyhow::Error>(path.display().to_string())
        };
        write("network/pods.conflist", self.pod_network())?;
        write("resolv.conf", format!("nameserver {}\n", layout::DNS))?;
        let runtime = write("containerd.toml", runtime(&host))?;
        let kubelet = write("kubelet.yaml", self.kubelet(places, &host))?;
        let proxy = write("proxy.yaml", self.proxy(places))?;
        let part = |component, program, arguments| {
            Part::new(component, &self.cell, program, arguments, log(&component.to_string()))
        };
        let number = self.number;
        let runtime = vec!["--config".to_owned(), runtime];
        let kubelet = vec![
            format!("--config={kubelet}"),
            format!("--kubeconfig={}", places.kubeconfig(&self.cell.name).display()),
            format!("--hostname-override={}", self.cell.name),
            format!("--node-ip={}", layout::node_address(number)),
            format!("--node-labels=topology.kubernetes.io/zone={}", layout::zone(number)),
        ];
        let proxy = vec![format!("--config={proxy}")];
        Ok(vec![
            part(Component::Containerd(number), "containerd".into(), runtime),
            part(Component::Kubelet(number), programs.of_node("kubelet"), kubelet),
            part(Component::KubeProxy(number), programs.of_node("kube-proxy"), proxy),
        ])
    }

    /// Asks containerd whether it is there.
    pub fn asks_runtime(&self) -> Result<()> {
        cell::run(self.runtime_client()?.arg("version")).map(drop)
    }

    /// Gives an archive of images to containerd.
    pub fn import(&self, archive: &Path) -> Result<()> {
        let file = File::open(archive).with_context(|| format!("open {}", archive.display()))?;
        let mut command = self.runtime_client()?;
        // By its input: the file may lie where a node has something else.
        command.args(["--namespace", "k8s.io", "images", "import", "-"]).stdin(file);
        cell::run(&mut command)
            .map(drop)
            .with_context(|| format!("import {} on {}", archive.display(), self.cell.name))
    }

    fn runtime_client(&self) -> Result<std::process::Command> {
        let mut command = self.cell.command("ctr")?;
        command.args(["--address", SOCKET]);
        Ok(command)
    }

    /// A bridge for the pods of the node; the ways to the others are routes.
    fn pod_network(&self) -> String {
        let plugins = serde_json::json!([
            {
                "type": "bridge",
                "bridge": "pods",
                "isGateway": true,
                "hairpinMode": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/pods",
                    "ranges": [[{ "subnet": layout::pods_of(self.number) }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ]);
        serde_json::json!({ "cniVersion": "0.4.0", "name": "pods", "plugins": plugins }).to_string()
    }

    fn kubelet(&self, places: &Places, host: &Path) -> String {
        let name = &self.cell.name;
        let key = |file: String| places.key(&file).display().to_string();
        serde_json::json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": true },
                "x509": { "clientCAFile": key("ca.crt".to_owned()) },
            },
            "authorization": { "mode": "Webhook" },
            "tlsCertFile": key(format!("{name}-server.crt")),
            "tlsPrivateKeyFile": key(format!("{name}-server.key")),
            "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}/{name}", self.control_group),
            "failSwapOn": false,
            "clusterDNS": [layout::DNS],
            "clusterDomain": "cluster.local",
            "resolvConf": host.join("resolv.conf"),
            "volumePluginDir": "/var/lib/kubelet/volumeplugins",
            // The disk is the machine's: how full it is says nothing of the node.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "0%",
                "nodefs.inodesFree": "0%",
                "imagefs.available": "0%",
            },
            // Four words are lost before a node that is alive is taken for dead.
            "nodeLeaseDurationSeconds": 12,
            "nodeStatusUpdateFrequency": "3s",
            "enableProfilingHandler": false,
        })
        .to_string()
    }

    fn proxy(&self, places: &Places) -> String {
        serde_json::json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "iptables",
            "clientConnection": { "kubeconfig": places.kubeconfig("proxy") },
            "clusterCIDR": layout::PODS,
            "hostnameOverride": self.cell.name,
            // Settings of the whole machine, which a network of its own may not change.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpEstablishedTimeout": "0s",
                "tcpCloseWaitTimeout": "0s",
            },
        })
        .to_string()
    }
}

/// The settings of containerd on a node that keeps its things in `host`.
fn runtime(host: &Path) -> String {
    let host = host.display();
    format!(
        r#"version = 2
root = "{host}/containerd"
state = "/run/containerd"
disabled_plugins = [
    "io.containerd.internal.v1.opt",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
# Not every machine lets a process be spared when memory is short.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{host}/network"

[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"#
    )
}
