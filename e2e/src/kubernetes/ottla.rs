//! Ottla in a Kubernetes: its images, its operator, and what a test asks of both.
//!
//! Reading path: [`builds`] (two releases of the binaries), [`install`] (what is put into the cluster), [`observe`]
//! (pods, conditions, metrics, memory), [`history`] (all pods that there were), [`load`] (a load in a pod),
//! [`monitoring`] (what a Prometheus finds), [`telling`] (what is left of a test that failed).
//!
//! Every wait prints what the object says when that changes, so that a run can be followed, and its error has it.

pub mod builds;
pub mod history;
mod install;
pub mod load;
mod monitoring;
pub mod observe;
mod telling;

use std::path::Path;
use std::thread;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use super::Kubernetes;
use super::images::TOOLS;
use crate::deadline::Stopwatch;
use crate::image::{Image, ottla, zookeeper};
use crate::workspace;
use builds::Build;
use telling::Following;

pub use install::Operator;

/// The image of a load.
pub const LOAD: &str = "localhost/load:1";

/// A Kubernetes with Ottla's images, and soon its operator.
#[derive(Debug)]
pub struct Ottla {
    /// What it runs in.
    pub kubernetes: Kubernetes,
    name: String,
    /// Ends before what it follows does.
    _following: Following,
}

impl Ottla {
    /// Starts a Kubernetes and gives it the images: those of the `builds`, a ZooKeeper, and `load`, the binary of
    /// that name.
    pub fn start(name: &str, nodes: u8, builds: &[Build], load: &Path) -> Result<Self> {
        let kubernetes = thread::scope(|scope| {
            let images = scope.spawn(|| archives(name, builds, load));
            let kubernetes = Kubernetes::start(name, nodes)?;
            let archives = images.join().map_err(|_| anyhow!("making images panicked"))??;
            let time = Stopwatch::start();
            for archive in &archives {
                kubernetes.import(archive)?;
                std::fs::remove_file(archive).context("remove an archive")?;
            }
            println!("images are imported after {:.1} s", time.elapsed().as_secs_f64());
            Ok::<_, anyhow::Error>(kubernetes)
        })?;
        let following = Following::begin(&kubernetes, name);
        Ok(Self { kubernetes, name: name.to_owned(), _following: following })
    }

    /// Ends everything, and says so where something is left.
    pub fn end(self) -> Result<()> {
        let Self { kubernetes, _following: following, .. } = self;
        drop(following);
        kubernetes.end()
    }

    /// A namespace that allows no more than restricted pods.
    pub fn namespace(&self, name: &str) -> Result<()> {
        let manifest = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    \
             pod-security.kubernetes.io/enforce: restricted\n"
        );
        self.kubernetes.apply(&manifest).map(drop)
    }

    /// A pod with a shell and kcat, which waits to be told what to do.
    pub fn tools(&self, namespace: &str) -> Result<()> {
        self.kubernetes.apply(&pod(namespace, "tools", TOOLS, &[]).to_string())?;
        self.kubernetes.wait("the pod with tools", 60, || {
            Ok(self.kubernetes.pod_is_ready(namespace, "tools")?.then_some(()))
        })
    }

    /// Runs a shell script in that pod.
    pub fn sh(&self, namespace: &str, script: &str) -> Result<String> {
        self.kubernetes.exec(namespace, "tools", &["sh", "-c", script])
    }
}

/// Writes every image; the caller removes the archives.
fn archives(name: &str, builds: &[Build], load: &Path) -> Result<Vec<std::path::PathBuf>> {
    let directory = workspace::output_dir().join("images");
    std::fs::create_dir_all(&directory).context("create the directory of images")?;
    let mut archives = Vec::new();
    let mut place = |what: &str| {
        let path = directory.join(format!("{name}-{what}.tar"));
        archives.push(path.clone());
        path
    };
    for build in builds {
        let parts = ottla::Parts {
            broker: build.broker.clone(),
            operator: Some(build.operator.clone()),
            name: build.image(),
        };
        ottla::write_any(&parts, &place(&build.version), 0)?;
    }
    zookeeper::image()?.write(&place("zookeeper"))?;
    let mut image = Image::new(LOAD, &["/bin/load"]);
    image.files.base();
    image.files.program("/bin/load", load)?;
    image.write(&place("load"))?;
    Ok(archives)
}

/// A pod of one container that is admitted under restricted security.
pub(crate) fn pod(namespace: &str, name: &str, image: &str, arguments: &[String]) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": name } },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": name,
                "image": image,
                "imagePullPolicy": "Never",
                "args": arguments,
                "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }],
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] },
                },
            }],
            "volumes": [{ "name": "tmp", "emptyDir": {} }],
        },
    })
}
