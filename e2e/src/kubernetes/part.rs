//! One component on one host: started again whenever it ends, unless it is held down.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, fs};

use anyhow::{Result, anyhow};

use super::cell::Cell;
use super::layout;
use crate::process::Process;

/// What a cluster is made of. A number is that of a node, from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// Where the API server keeps everything.
    Etcd,
    /// What everybody talks to.
    ApiServer,
    /// What makes pods of sets, and volumes of claims.
    ControllerManager,
    /// What chooses a node for a pod.
    Scheduler,
    /// CoreDNS.
    Dns,
    /// What runs the containers of a node.
    Containerd(u8),
    /// What a node does for the API server.
    Kubelet(u8),
    /// What leads the addresses of services to pods.
    KubeProxy(u8),
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, node) = match self {
            Self::Etcd => ("etcd", None),
            Self::ApiServer => ("kube-apiserver", None),
            Self::ControllerManager => ("kube-controller-manager", None),
            Self::Scheduler => ("kube-scheduler", None),
            Self::Dns => ("coredns", None),
            Self::Containerd(node) => ("containerd", Some(node)),
            Self::Kubelet(node) => ("kubelet", Some(node)),
            Self::KubeProxy(node) => ("kube-proxy", Some(node)),
        };
        match node {
            None => f.write_str(name),
            Some(&node) => write!(f, "{name}-{}", layout::node_name(node)),
        }
    }
}

/// A component, and its process if it runs.
#[derive(Debug)]
pub struct Part {
    /// Which it is.
    pub component: Component,
    cell: Arc<Cell>,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    process: Mutex<Option<Process>>,
    wanted: AtomicBool,
    ends: AtomicU32,
}

impl Part {
    /// A component that nobody wants to run yet.
    pub fn new(
        component: Component,
        cell: &Arc<Cell>,
        program: PathBuf,
        arguments: Vec<String>,
        log: PathBuf,
    ) -> Self {
        Self {
            component,
            cell: Arc::clone(cell),
            program,
            arguments,
            log,
            process: Mutex::default(),
            wanted: AtomicBool::new(false),
            ends: AtomicU32::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets it run, from now on.
    pub fn release(&self) -> Result<()> {
        self.wanted.store(true, Ordering::SeqCst);
        self.keep_up()
    }

    /// Ends it at once, if it runs, and lets it not run until [`Part::release`].
    pub fn hold(&self) {
        self.wanted.store(false, Ordering::SeqCst);
        self.kill();
    }

    /// Ends it at once, if it runs; soon it is started again.
    pub fn kill(&self) {
        // Dropped, a process is killed with all that it started in its group.
        drop(self.lock().take());
    }

    /// Starts it where it should run and does not.
    pub fn keep_up(&self) -> Result<()> {
        let mut process = self.lock();
        if let Some(running) = process.as_mut() {
            if !running.has_ended()? {
                return Ok(());
            }
            self.ends.fetch_add(1, Ordering::SeqCst);
            *process = None;
        }
        if self.wanted.load(Ordering::SeqCst) && self.cell.is_open() {
            let mut command = self.cell.command(&self.program)?;
            command.args(&self.arguments);
            *process = Some(Process::spawn(&self.component.to_string(), &mut command, &self.log)?);
        }
        Ok(())
    }

    /// How often it ended by itself, or with its host.
    pub fn ends(&self) -> u32 {
        self.ends.load(Ordering::SeqCst)
    }

    /// `error` with the last of what the component wrote.
    pub fn complain(&self, error: &anyhow::Error) -> anyhow::Error {
        const TAIL: usize = 15;
        let written = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = written.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n    ");
        let (name, ends, log) = (self.component, self.ends(), self.log.display());
        anyhow!("{error:#}\n  {name}, which ended {ends} times by itself; log: {log}\n    {tail}")
    }
}
