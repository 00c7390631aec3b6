//! The way into namespaces of our own: user, network, mounts and processes.
//!
//! A child in there runs the program once more, as the first process of the new namespaces. It dies with
//! the process that made it, and everything in there dies with it: no broker outlives its run, however
//! the run ends.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

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

/// Runs this program with `arguments` in new namespaces and returns whether it ended well.
pub fn enter(arguments: &[OsString]) -> Result<bool> {
    Ok(command(arguments)?.status().context(NO_SETPRIV)?.success())
}

/// The same; returns what it printed, too.
pub fn enter_and_read(arguments: &[OsString]) -> Result<(bool, String)> {
    let output = command(arguments)?.stderr(Stdio::inherit()).output().context(NO_SETPRIV)?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

const NO_SETPRIV: &str = "run setpriv, of Debian's package util-linux";

fn command(arguments: &[OsString]) -> Result<Command> {
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
    // `unshare` blocks the signals that end a program; what is sent to us ends it nevertheless.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare"]).args(NAMESPACES).arg(program).args(arguments);
    Ok(command)
}
