//! The commands that come from the system: checked by name, installed through apt where it exists.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use super::step;

/// A command and the Debian package that brings it.
#[derive(Debug)]
pub struct Needed {
    command: &'static str,
    probe: &'static [&'static str],
    package: &'static str,
}

/// Every command that most tests run, with an invocation that succeeds when it is there.
pub const NEEDED: [Needed; 11] = [
    // Pinned: its librdkafka decides which protocol versions the kcat row of the matrix speaks.
    Needed { command: "kcat", probe: &["-V"], package: "kcat=1.7.1-2" },
    Needed { command: "javac", probe: &["-version"], package: "openjdk-17-jdk-headless" },
    Needed { command: "mvn", probe: &["-version"], package: "maven" },
    Needed { command: "node", probe: &["--version"], package: "nodejs" },
    Needed { command: "npm", probe: &["--version"], package: "npm" },
    Needed { command: "python3", probe: &["-c", "import ensurepip"], package: "python3-venv" },
    Needed { command: "go", probe: &["version"], package: "golang-go" },
    // The hosts of the test bed: namespaces, and the routes and rules between them.
    Needed { command: "ip", probe: &["-V"], package: "iproute2" },
    Needed { command: "unshare", probe: &["--version"], package: "util-linux" },
    Needed { command: "strace", probe: &["-V"], package: "strace" },
    // Brings promtool too.
    Needed { command: "prometheus", probe: &["--version"], package: "prometheus" },
];

/// What the nodes of a Kubernetes are made of, and what its images are made from.
pub const KUBERNETES: [Needed; 18] = [
    Needed { command: "containerd", probe: &["--version"], package: "containerd" },
    Needed { command: "runc", probe: &["--version"], package: "runc" },
    Needed { command: "/usr/lib/cni/bridge", probe: &[], package: "containernetworking-plugins" },
    Needed { command: "iptables", probe: &["--version"], package: "iptables" },
    Needed { command: "nft", probe: &["--version"], package: "nftables" },
    Needed { command: "conntrack", probe: &["--version"], package: "conntrack" },
    Needed { command: "ethtool", probe: &["--version"], package: "ethtool" },
    Needed { command: "socat", probe: &["-V"], package: "socat" },
    Needed { command: "ip", probe: &["-V"], package: "iproute2" },
    Needed { command: "kmod", probe: &["--version"], package: "kmod" },
    Needed { command: "openssl", probe: &["version"], package: "openssl" },
    Needed { command: "unshare", probe: &["--version"], package: "util-linux" },
    Needed { command: "kcat", probe: &["-V"], package: "kcat=1.7.1-2" },
    Needed { command: "busybox", probe: &["true"], package: "busybox-static" },
    Needed { command: "strip", probe: &["--version"], package: "binutils" },
    // What the chart says is scraped, and what its dashboards ask.
    Needed { command: "prometheus", probe: &["--version"], package: "prometheus" },
    // The image of ZooKeeper.
    Needed { command: "jlink", probe: &["--version"], package: "openjdk-17-jdk-headless" },
    Needed { command: "mvn", probe: &["-version"], package: "maven" },
];

/// What Helm is built with.
pub const HELM: [Needed; 1] = [Needed { command: "go", probe: &["version"], package: "golang-go" }];

/// Installs what is missing of `all`, or says what to install where there is no apt.
pub fn install(all: &[Needed]) -> Result<()> {
    let missing: Vec<&Needed> = all.iter().filter(|needed| !runs(needed)).collect();
    if missing.is_empty() {
        println!("tools: {} system commands present", all.len());
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|needed| needed.package).collect();
    let apt = Needed { command: "apt-get", probe: &["--version"], package: "apt" };
    if !runs(&apt) {
        bail!(
            "missing commands: {}. This is not a Debian system: install them by your own package \
             manager (Debian calls them {})",
            missing.iter().map(|needed| needed.command).collect::<Vec<_>>().join(", "),
            packages.join(", "),
        );
    }
    step("apt-update", Command::new("apt-get").args(["update", "-qq"]))?;
    let mut apt = Command::new("apt-get");
    apt.args(["install", "-y", "-qq", "--no-install-recommends"]).args(&packages);
    apt.arg("-o").arg("Dpkg::Use-Pty=0");
    step("apt-install", &mut apt)?;
    println!("tools: installed {}", packages.join(", "));
    Ok(())
}

fn runs(needed: &Needed) -> bool {
    let mut command = Command::new(needed.command);
    command.args(needed.probe).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
