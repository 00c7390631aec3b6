//! Kubernetes, etcd, CoreDNS and Helm, each built from its locked Go modules, the program of a pause
//! container, from C, and the definitions of the Prometheus operator's resources, which are files of a module.
//!
//! No registry that we reach has them as binaries. Their modules are under `e2e/kubernetes`, and a change of
//! one builds that one anew. What the compiler keeps between builds is 4 GB that nobody needs again, so it
//! lies in a directory that is removed at the end.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{debian, fingerprint, install as install_dir, installed, step, step_within};
use crate::deadline::Stopwatch;
use crate::workspace;

/// How the names of all these directories begin.
pub(super) const PREFIX: &str = "kubernetes-";

/// Seven minutes on two cores that do nothing else.
const BUILD_SECONDS: u64 = 2_700;

/// The names by which the one file of all programs of Kubernetes is called.
const PROGRAMS: [&str; 7] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];

/// A Go program that is built from a module of ours.
struct Module {
    /// Its directory under `e2e/kubernetes`.
    name: &'static str,
    /// What is built.
    package: &'static str,
    /// The module whose version is its version.
    pin: &'static str,
    /// The file that is made.
    program: &'static str,
    /// Other names for it, by which it is called.
    names: &'static [&'static str],
}

const NODE: Module = Module {
    name: "node",
    package: ".",
    pin: "k8s.io/kubernetes",
    program: "kubernetes",
    names: &PROGRAMS,
};
const DNS: Module = Module {
    name: "dns",
    package: ".",
    pin: "github.com/coredns/coredns",
    program: "coredns",
    names: &[],
};
const HELM: Module = Module {
    name: "helm",
    package: "helm.sh/helm/v3/cmd/helm",
    pin: "helm.sh/helm/v3",
    program: "helm",
    names: &[],
};

/// Where the built programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    node: PathBuf,
    /// CoreDNS.
    pub coredns: PathBuf,
    /// Helm.
    pub helm: PathBuf,
    /// The program that holds namespaces.
    pub pause: PathBuf,
}

impl Programs {
    /// What was installed, or an error that says how to.
    pub fn find() -> Result<Self> {
        Ok(Self {
            node: installed(&NODE.directory()?)?,
            coredns: installed(&DNS.directory()?)?.join(DNS.program),
            helm: helm()?,
            pause: installed(&pause_directory()?)?.join("pause"),
        })
    }

    /// A program of Kubernetes, or etcd, by its name.
    pub fn of_node(&self, name: &str) -> PathBuf {
        self.node.join(name)
    }
}

/// Helm alone, or an error that says how to get it.
pub fn helm() -> Result<PathBuf> {
    Ok(installed(&HELM.directory()?)?.join(HELM.program))
}

impl Module {
    fn sources(&self) -> PathBuf {
        sources().join(self.name)
    }

    fn directory(&self) -> Result<String> {
        let mut parts = Vec::new();
        for name in ["go.mod", "go.sum", "main.go"] {
            let path = self.sources().join(name);
            // A module that only pins a tool has no program of its own.
            if path.exists() {
                parts.push(fs::read(&path).with_context(|| format!("read {}", path.display()))?);
            }
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Ok(format!("{PREFIX}{}-{}", self.name, fingerprint(&parts)))
    }

    /// The version, as `go.mod` pins it.
    fn version(&self) -> Result<String> {
        let path = self.sources().join("go.mod");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        pinned(&text, self.pin)
            .with_context(|| format!("{} pins no version of {}", path.display(), self.pin))
    }

    fn install(&self, cache: &Path) -> Result<PathBuf> {
        let version = self.version()?;
        install_dir(&self.directory()?, |draft| {
            println!("tools: building {} {version}", self.pin);
            let time = Stopwatch::start();
            let mut go = Command::new("go");
            go.current_dir(self.sources()).env("CGO_ENABLED", "0").env("GOCACHE", cache);
            go.args(["build", "-mod=readonly", "-trimpath", "-ldflags", &linker_flags(&version)]);
            go.arg("-o").arg(draft.join(self.program)).arg(self.package);
            step_within(BUILD_SECONDS, &format!("go-{}", self.name), &mut go)?;
            for name in self.names {
                let link = draft.join(name);
                symlink(self.program, &link).with_context(|| format!("link {}", link.display()))?;
            }
            println!("tools: built it in {:.0} s", time.elapsed().as_secs_f64());
            Ok(())
        })
    }
}

fn sources() -> PathBuf {
    workspace::root().join("e2e/kubernetes")
}

/// The version after `module` in the text of a `go.mod`.
fn pinned(text: &str, module: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|&word| word == "require");
        (words.next() == Some(module)).then(|| words.next())?.map(str::to_owned)
    })
}

/// No tables of symbols, and the version that the programs of Kubernetes call their own: without it they
/// take themselves for one that is older than every feature.
fn linker_flags(version: &str) -> String {
    let mut numbers = version.trim_start_matches('v').split('.');
    let mut number = || numbers.next().unwrap_or_default();
    let fields = [
        ("gitVersion", version),
        ("gitMajor", number()),
        ("gitMinor", number()),
        ("gitTreeState", "clean"),
    ];
    let set = |(field, value)| format!(" -X k8s.io/component-base/version.{field}={value}");
    format!("-s -w{}", fields.map(set).concat())
}

/// The module that has the definitions of the Prometheus operator's resources, as it is downloaded.
const MONITORING: &str = "github.com/prometheus-operator/prometheus-operator";

/// Where they are in it.
const MONITORING_FILES: &str = "example/prometheus-operator-crd";

/// Those that the chart has objects of.
const MONITORED: [&str; 3] = ["podmonitors", "prometheusrules", "servicemonitors"];

/// The definitions of the Prometheus operator's resources, or an error that says how to get them.
pub fn monitoring() -> Result<Vec<PathBuf>> {
    let place = installed(&monitoring_module().directory()?)?;
    Ok(MONITORED.iter().map(|name| place.join(format!("{name}.yaml"))).collect())
}

const fn monitoring_module() -> Module {
    Module { name: "monitoring", package: "", pin: MONITORING, program: "", names: &[] }
}

fn install_monitoring() -> Result<PathBuf> {
    let module = monitoring_module();
    install_dir(&module.directory()?, |draft| {
        let mut go = Command::new("go");
        go.current_dir(module.sources()).args(["mod", "download", "-modcacherw", MONITORING]);
        // Its own cache: what is downloaded is then in a known place, and removed with it.
        let cache = draft.join("modules");
        step("go-monitoring", go.env("GOMODCACHE", &cache).env("GOFLAGS", "-mod=readonly"))?;
        let place = format!("{MONITORING}@{}/{MONITORING_FILES}", module.version()?);
        for name in MONITORED {
            let from = cache.join(&place).join(format!("monitoring.coreos.com_{name}.yaml"));
            fs::copy(&from, draft.join(format!("{name}.yaml")))
                .with_context(|| format!("copy {}", from.display()))?;
        }
        fs::remove_dir_all(&cache).with_context(|| format!("remove {}", cache.display()))
    })
}

fn pause_directory() -> Result<String> {
    let source = fs::read(sources().join("pause/pause.c")).context("read pause.c")?;
    Ok(format!("{PREFIX}pause-{}", fingerprint(&[&source])))
}

fn install_pause() -> Result<PathBuf> {
    install_dir(&pause_directory()?, |draft| {
        let mut compiler = Command::new("cc");
        compiler.args(["-static", "-Os", "-Wall", "-Werror", "-o"]).arg(draft.join("pause"));
        step("pause", compiler.arg(sources().join("pause/pause.c")))
    })
}

/// Installs all that is missing, and prints a line for each.
pub fn install() -> Result<()> {
    debian::install(&debian::KUBERNETES)?;
    install_modules(&[("Kubernetes", &NODE), ("CoreDNS", &DNS), ("Helm", &HELM)])?;
    println!("tools: pause in {}", install_pause()?.display());
    println!(
        "tools: definitions of the Prometheus operator in {}",
        install_monitoring()?.display()
    );
    Ok(())
}

/// Installs Helm, which is all that a look at the chart needs.
pub fn install_helm() -> Result<()> {
    debian::install(&debian::HELM)?;
    install_modules(&[("Helm", &HELM)])
}

fn install_modules(modules: &[(&str, &Module)]) -> Result<()> {
    let cache = workspace::tools_dir().join("kubernetes-build.partial");
    let outcome = modules.iter().try_for_each(|(name, module)| {
        println!("tools: {name} {} in {}", module.version()?, module.install(&cache)?.display());
        Ok(())
    });
    if cache.exists() {
        fs::remove_dir_all(&cache).with_context(|| format!("remove {}", cache.display()))?;
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_a_list_and_from_a_line_of_its_own() {
        let list = "require (\n\ta.b/c v1.2.3\n\ta.b/cd v4.5.6 // indirect\n)\n";
        assert_eq!(pinned(list, "a.b/cd").as_deref(), Some("v4.5.6"));
        assert_eq!(pinned("require a.b/c v7.0.0\n", "a.b/c").as_deref(), Some("v7.0.0"));
        assert_eq!(pinned(list, "a.b"), None);
    }

    #[test]
    fn every_module_pins_its_program() -> Result<()> {
        for module in [NODE, DNS, HELM, monitoring_module()] {
            assert!(module.version()?.starts_with('v'), "{}", module.name);
        }
        Ok(())
    }
}
