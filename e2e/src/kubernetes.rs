//! A real Kubernetes of one to three nodes on this machine, for tests that need no less.
//!
//! etcd, the API server, the controller manager, the scheduler and CoreDNS run on a host of their own, the
//! hub; on each node run containerd, a kubelet and kube-proxy. A host is a set of namespaces ([`cell`]): the
//! machine itself gets one port on loopback, that of the API server ([`relay`]), and nothing else, so that two
//! clusters may run at once. `cargo ci kubernetes` builds the programs, once; a cluster then starts in
//! seconds. Root is needed, and control groups of the first version.
//!
//! What a test may count on:
//! * nodes `node-1` to `node-3`, each in a zone of its own (`topology.kubernetes.io/zone`);
//! * the images [`images::TOOLS`], with kcat and a shell, and what [`Kubernetes::import`] adds; there is no
//!   registry, so a pod must not ask for one (`imagePullPolicy: IfNotPresent` or `Never`);
//! * a default storage class whose volumes every node reaches, as if they came over a network;
//! * names of services and pods, restricted pod security, RBAC, webhooks, eviction, all as they are;
//! * components that are killed and hosts that go away, by calls ([`Component`], `faults`);
//! * an end of everything with the value, and with its program when that is killed ([`leftover`]).
//!
//! What is absent: enforcement of network policies, load balancers, a second API server, and etcd that
//! survives a power cut. A volume takes any size, grows when a test says so ([`Kubernetes::grow_claims`]), and
//! everybody may write to it, whatever `fsGroup` says.
//!
//! Reading path: [`layout`] (addresses and directories), [`cell`], [`control_plane`] and [`node`] (what is
//! started with what), [`part`] (a component that is kept up), `client` (kubectl, waiting), `faults`.
//!
//! Logs are `target/e2e/logs/kubernetes-NAME-COMPONENT.log`.

pub mod cell;
mod client;
mod control_groups;
mod control_plane;
mod faults;
pub mod images;
pub mod layout;
pub mod leftover;
pub mod node;
pub mod part;
mod pki;
pub mod relay;
mod volumes;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::deadline::{self, Stopwatch};
use crate::logs;
use crate::tools::kubernetes::Programs;
use cell::Cell;
use leftover::Claim;
use node::Node;
use part::Part;
use relay::Relay;

pub use part::Component;

/// The most nodes that a cluster has here.
pub const MOST_NODES: u8 = 3;

/// How long the control plane may take to serve, and then the nodes to be ready.
const START_SECONDS: u64 = 120;

/// How often components that ended are looked for.
const CARE: Duration = Duration::from_millis(100);

/// A cluster; dropping it ends everything in it.
#[derive(Debug)]
pub struct Kubernetes {
    nodes: Vec<Node>,
    hub: Arc<Cell>,
    parts: Arc<Vec<Part>>,
    programs: Programs,
    api: Option<Relay>,
    closing: Arc<AtomicBool>,
    care: Option<JoinHandle<()>>,
    claim: Claim,
}

impl Kubernetes {
    /// Starts a cluster and waits until its nodes are ready; `name` names its logs.
    pub fn start(name: &str, nodes: u8) -> Result<Self> {
        ensure!((1..=MOST_NODES).contains(&nodes), "a cluster has 1 to {MOST_NODES} nodes");
        Self::start_any(name, nodes)
    }

    /// Starts a cluster without nodes: no pod ever runs in it, and everything else is as it is elsewhere.
    pub fn start_without_nodes(name: &str) -> Result<Self> {
        Self::start_any(name, 0)
    }

    fn start_any(name: &str, nodes: u8) -> Result<Self> {
        let time = Stopwatch::start();
        let cluster = Self::prepare(name, nodes)?;
        cluster.boot().with_context(|| format!("start the Kubernetes of {name}"))?;
        println!("kubernetes: {nodes} nodes are ready after {:.1} s", time.elapsed().as_secs_f64());
        Ok(cluster)
    }

    /// Everything that a cluster is, before any of it runs.
    fn prepare(name: &str, nodes: u8) -> Result<Self> {
        let programs = Programs::find()?;
        leftover::sweep()?;
        let prefix = format!("kubernetes-{name}");
        logs::forget(&prefix)?;
        let log = move |part: &str| -> PathBuf { logs::file(&format!("{prefix}-{part}")) };
        let claim = leftover::claim()?;
        let places = &claim.places;
        let new_cell = |host: &str| -> Result<Cell> {
            let path = places.host(host);
            fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
            Ok(Cell::new(host, places, &programs.pause, log(host)))
        };
        fs::create_dir_all(places.volumes()).context("create the directory of volumes")?;
        let hub = Arc::new(new_cell(control_plane::NAME)?);
        let api = Relay::open(&hub, layout::API)?;
        pki::make(places, nodes, &api.address().to_string())?;
        let mut parts = control_plane::parts(&hub, places, &programs, &log)?;
        let mut all = Vec::new();
        for number in 1..=nodes {
            let node = Node::new(number, nodes, new_cell(&layout::node_name(number))?, places);
            parts.extend(node.parts(places, &programs, &log)?);
            all.push(node);
        }
        let parts = Arc::new(parts);
        let closing = Arc::new(AtomicBool::new(false));
        let cluster =
            Self { nodes: all, hub, parts, programs, api: Some(api), closing, care: None, claim };
        Ok(cluster.cared_for())
    }

    /// Has a thread start again whatever ends by itself.
    fn cared_for(mut self) -> Self {
        let (parts, closing) = (Arc::clone(&self.parts), Arc::clone(&self.closing));
        let volumes = self.claim.places.volumes();
        self.care = Some(thread::spawn(move || {
            while !closing.load(Ordering::SeqCst) {
                for part in parts.iter() {
                    // What cannot be started now is tried again.
                    let _ = part.keep_up();
                }
                volumes::open(&volumes);
                deadline::pass(CARE);
            }
        }));
        self
    }

    fn boot(&self) -> Result<()> {
        self.hub.open()?;
        control_plane::furnish(&self.hub, self.nodes.len() as u8)?;
        for component in [Component::Etcd, Component::ApiServer] {
            self.part(component)?.release()?;
        }
        thread::scope(|scope| {
            // Nodes are made ready while the API server starts.
            let booting: Vec<_> = self
                .numbers()
                .map(|number| scope.spawn(move || self.boot_runtime(number)))
                .collect();
            let served = self.boot_control_plane();
            println!("kubernetes: the control plane serves, the nodes follow");
            for runtime in booting {
                runtime.join().map_err(|_| anyhow!("the start of a node panicked"))??;
            }
            served
        })?;
        for number in self.numbers() {
            self.boot_node(number)?;
        }
        self.wait_for_nodes()
    }

    fn boot_control_plane(&self) -> Result<()> {
        self.wait_until_it_serves()?;
        for component in [Component::ControllerManager, Component::Scheduler, Component::Dns] {
            self.part(component)?.release()?;
        }
        self.apply(volumes::STORAGE_CLASS).map(drop)
    }

    /// The host of a node, its containerd, and the images that every node has.
    fn boot_runtime(&self, number: u8) -> Result<()> {
        let node = self.node(number)?;
        node.open(&self.hub)?;
        let containerd = self.part(Component::Containerd(number))?;
        containerd.release()?;
        let what = format!("containerd on {}", node.cell().name);
        self.wait_on(containerd.component, &what, || node.asks_runtime().map(Some))?;
        for image in images::make(self.claim.places.root(), number, &self.programs)? {
            node.import(&image)?;
        }
        Ok(())
    }

    fn boot_node(&self, number: u8) -> Result<()> {
        for component in [Component::Kubelet(number), Component::KubeProxy(number)] {
            self.part(component)?.release()?;
        }
        Ok(())
    }

    /// The numbers of its nodes, from one.
    pub fn numbers(&self) -> impl Iterator<Item = u8> + use<> {
        1..=self.nodes.len() as u8
    }

    fn node(&self, number: u8) -> Result<&Node> {
        let index = usize::from(number).checked_sub(1);
        index.and_then(|index| self.nodes.get(index)).with_context(|| format!("no node {number}"))
    }

    fn part(&self, component: Component) -> Result<&Part> {
        let part = self.parts.iter().find(|part| part.component == component);
        part.with_context(|| format!("no {component} in this cluster"))
    }

    /// What leads an administrator to the API server, from this machine.
    pub fn kubeconfig(&self) -> PathBuf {
        self.claim.places.kubeconfig(pki::ADMIN)
    }

    /// Helm, kubectl and the others, as they were built.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Gives an archive of images to every node.
    pub fn import(&self, archive: &Path) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.import(archive))
    }

    /// Ends everything, and says so where something is left.
    pub fn end(mut self) -> Result<()> {
        let time = Stopwatch::start();
        self.close()?;
        println!("kubernetes: ended after {:.1} s", time.elapsed().as_secs_f64());
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let Some(care) = self.care.take() else { return Ok(()) };
        self.closing.store(true, Ordering::SeqCst);
        let _ = care.join();
        drop(self.api.take());
        for cell in self.nodes.iter().map(Node::cell).chain([&self.hub]) {
            cell.close();
        }
        for part in self.parts.iter() {
            part.kill();
        }
        leftover::remove(&self.claim.places)
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        // Whoever wants to know calls `end`; the next start removes what could not be.
        let _ = self.close();
    }
}
