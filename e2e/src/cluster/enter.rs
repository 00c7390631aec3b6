//! The way into namespaces of our own: user, network, mounts and processes.
//!
//! The process is replaced by `unshare`, which starts it once more as the first process of the new
//! namespaces. Whatever ends `unshare` ends that process, and with it everything in there: no broker
//! outlives its run, however the run ends.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

const NAMESPACES: [&str; 8] = [
    "--user",
    "--map-root-user",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child=KILL",
    "--mount-proc",
];

/// Replaces this process by one with `arguments` in new namespaces; returns only to say why not.
pub fn enter(arguments: &[OsString]) -> Result<()> {
    let probe = "mount -t tmpfs tmpfs /run && ip netns add probe && ip -n probe rule list";
    let output = Command::new("unshare")
        .args(NAMESPACES)
        .args(["sh", "-c", probe])
        .output()
        .context("run unshare, of Debian's package util-linux")?;
    if !output.status.success() {
        bail!(
            "this machine gives no network namespaces, which the hosts of a cluster are made of. \
             They need user namespaces (sysctl user.max_user_namespaces, and \
             kernel.unprivileged_userns_clone where it exists), the kernel's veth and policy \
             routing, and `ip` of the package iproute2: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let program = std::env::current_exe().context("find the program itself")?;
    let error = Command::new("unshare").args(NAMESPACES).arg(program).args(arguments).exec();
    Err(anyhow!(error).context("become unshare"))
}
