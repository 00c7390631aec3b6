//! Hosts as network namespaces around one router, and cuts between them.
//!
//! A host has the address `10.77.N.2`, the router `10.77.N.1` on the link to it; the harness stays in
//! the namespace it began in, which is a host like the others. All that passes between two hosts
//! passes through the router, so that a rule of its policy routing drops it without a word: neither
//! side learns that the other is gone, as when a cable is pulled. A rule holds for one direction.
//!
//! A host may have a decoy: another host of its address, on which nothing runs. Who is led there finds that the
//! port refuses.
//!
//! What is absent: delay and loss, for which the kernels that we run on have no queueing disciplines.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

/// The namespace that forwards.
const ROUTER: &str = "router";

/// The first priority of our rules: after the kernel's table of local addresses, before the others.
const FIRST_PRIORITY: u32 = 1_000;

/// The first number of our tables: the kernel has three of its own at the end of the first 256.
const FIRST_DECOY_TABLE: u32 = 1_000;

/// A machine of the cluster, as far as the network knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its namespace.
    pub name: String,
    /// Its only address.
    pub address: Ipv4Addr,
}

/// The router and the number of hosts so far.
#[derive(Debug)]
pub struct Network {
    /// The address of the harness itself.
    pub harness: Ipv4Addr,
    hosts: u8,
    next_priority: AtomicU32,
}

/// What was changed about who reaches whom, until [`Network::mend`].
#[derive(Debug)]
pub struct Cut {
    priorities: Vec<u32>,
}

impl Network {
    /// Makes the router and the harness's own link to it; call once, inside [`super::enter`].
    pub fn new() -> Result<Self> {
        run(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]))?;
        run(Command::new("ip").args(["netns", "add", ROUTER]))?;
        run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        // A decoy answers by an address that is reached by another link.
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward; \
                       for link in all default; do \
                       echo 0 > /proc/sys/net/ipv4/conf/$link/rp_filter; done";
        run(inside(ROUTER).args(["sh", "-c", forward]))?;
        batch(ROUTER, &["link set lo up".to_owned()])?;
        let next_priority = AtomicU32::new(FIRST_PRIORITY);
        let mut network = Self { harness: Ipv4Addr::LOCALHOST, hosts: 0, next_priority };
        let (number, address) = network.next();
        network.harness = address;
        // The harness has no name of its own: the link's other end moves to the router instead.
        let link = format!("link add harness type veth peer name link{number} netns {ROUTER}");
        let addresses = [
            link,
            format!("addr add {address}/30 dev harness"),
            "link set harness up".to_owned(),
            format!("route add default via 10.77.{number}.1"),
        ];
        // The route needs the router's end up.
        feed(Command::new("ip").args(["-batch", "-"]), &addresses[..3])?;
        router_end(number)?;
        feed(Command::new("ip").args(["-batch", "-"]), &addresses[3..])?;
        Ok(network)
    }

    fn next(&mut self) -> (u8, Ipv4Addr) {
        self.hosts += 1;
        (self.hosts, Ipv4Addr::new(10, 77, self.hosts, 2))
    }

    /// Adds a host.
    pub fn add(&mut self, name: &str) -> Result<Host> {
        let (number, address) = self.next();
        run(Command::new("ip").args(["netns", "add", name]))?;
        let link = format!("link add eth0 type veth peer name link{number} netns {ROUTER}");
        let up = format!("addr add {address}/30 dev eth0");
        batch(name, &["link set lo up".to_owned(), link, up, "link set eth0 up".to_owned()])?;
        router_end(number)?;
        let host = Host { name: name.to_owned(), address };
        plug_in(&host)?;
        Ok(host)
    }

    /// Adds the decoy of a host.
    pub fn add_decoy(&mut self, host: &Host) -> Result<()> {
        let decoy = self.add(&format!("{}-decoy", host.name))?;
        batch(&decoy.name, &[format!("addr add {}/32 dev lo", host.address)])?;
        let table = decoy_table(host.address);
        batch(ROUTER, &[format!("route add default via {} table {table}", decoy.address)])
    }

    /// Has `port` of `to` refuse what comes from any of `from`, until [`Network::mend`]; `to` has a decoy.
    pub fn refuse(&self, from: &[Ipv4Addr], (to, port): (Ipv4Addr, u16)) -> Result<Cut> {
        let table = decoy_table(to);
        self.rule(
            from.iter()
                .map(|from| format!("from {from} to {to} ipproto tcp dport {port} lookup {table}")),
        )
    }

    /// Lets nothing pass from the first of each pair to the second.
    pub fn cut(&self, directions: &[(Ipv4Addr, Ipv4Addr)]) -> Result<Cut> {
        self.rule(directions.iter().map(|(from, to)| format!("from {from} to {to} blackhole")))
    }

    /// Adds rules of the router.
    fn rule(&self, rules: impl Iterator<Item = String>) -> Result<Cut> {
        let mut lines = Vec::new();
        let mut priorities = Vec::new();
        for rule in rules {
            let priority = self.next_priority.fetch_add(1, Ordering::Relaxed);
            lines.push(format!("rule add pref {priority} {rule}"));
            priorities.push(priority);
        }
        batch(ROUTER, &lines)?;
        Ok(Cut { priorities })
    }

    /// Takes a cut back.
    pub fn mend(&self, cut: &Cut) -> Result<()> {
        let rules = cut.priorities.iter().map(|priority| format!("rule del pref {priority}"));
        batch(ROUTER, &rules.collect::<Vec<_>>())
    }
}

impl Host {
    /// The command as it runs on this host: same program, arguments, environment and directory.
    pub fn command(&self, command: &Command) -> Command {
        let mut wrapped = inside(&self.name);
        wrapped.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            wrapped.current_dir(directory);
        }
        wrapped
    }
}

/// Takes the way out of a host away: whoever connects from there hears so at once, and others hear nothing.
pub fn unplug(host: &Host) -> Result<()> {
    batch(&host.name, &["route del default".to_owned()])
}

/// Gives a host its way out.
pub fn plug_in(host: &Host) -> Result<()> {
    let [_, _, number, _] = host.address.octets();
    batch(&host.name, &[format!("route add default via 10.77.{number}.1")])
}

/// Both directions between `one` and each of `others`.
pub fn both_ways(one: Ipv4Addr, others: &[Ipv4Addr]) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    others.iter().flat_map(|&other| [(one, other), (other, one)]).collect()
}

/// A file system in memory of its own size at `place`, so that it can be full.
pub fn mount_memory(place: &std::path::Path, megabytes: u32) -> Result<()> {
    fs::create_dir_all(place).with_context(|| format!("create {}", place.display()))?;
    let size = format!("size={megabytes}m");
    run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(place))
}

/// Gives such a file system another size, in bytes; it must hold what is there.
pub fn resize_memory(place: &std::path::Path, bytes: u64) -> Result<()> {
    let size = format!("remount,size={bytes}");
    run(Command::new("mount").args(["-o", &size]).arg(place))
}

/// The router's table that leads to the decoy of a host.
fn decoy_table(host: Ipv4Addr) -> u32 {
    FIRST_DECOY_TABLE + u32::from(host.octets()[2])
}

fn router_end(number: u8) -> Result<()> {
    batch(
        ROUTER,
        &[
            format!("addr add 10.77.{number}.1/30 dev link{number}"),
            format!("link set link{number} up"),
        ],
    )
}

/// `nsenter` executes the command in its own place: the process id is the command's.
fn inside(namespace: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{namespace}")).arg("--");
    command
}

fn batch(namespace: &str, lines: &[String]) -> Result<()> {
    feed(Command::new("ip").args(["-n", namespace, "-batch", "-"]), lines)
}

fn feed(command: &mut Command, lines: &[String]) -> Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines.join("\n").as_bytes()).context("write to ip")?;
    }
    judge(command, &child.wait_with_output().context("wait for ip")?)
        .with_context(|| lines.join("; "))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    judge(command, &output)
}

fn judge(command: &Command, output: &std::process::Output) -> Result<()> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {}", output.status, said.trim());
    }
    Ok(())
}
