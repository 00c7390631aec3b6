//! A host of the cluster: namespaces of its own, held by one process that does nothing else.
//!
//! Whatever runs on the host is started by the harness in those namespaces. When the holder ends, and it
//! ends with the harness however that ends, the kernel kills all that is left in its process namespace and
//! takes its mounts and its network apart.
//!
//! What is private to a host: `/run`, `/tmp`, `/var/lib`, `/var/log`, and the system-wide settings that a
//! kubelet writes, which it finds to be plain files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};

use super::layout::Places;
use crate::deadline::Deadline;
use crate::process::Process;
use crate::workspace;

/// Settings of the whole machine that a kubelet would change; a host's stay its own.
const SHIELDED: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// What of the checkout a host sees below its own `/tmp`, if that is where it lies.
const KEPT: &str = "/run/kept";

/// How long namespaces may take to be there.
const OPEN_SECONDS: u64 = 20;

/// One host.
#[derive(Debug)]
pub struct Cell {
    /// Its host name.
    pub name: String,
    places: Places,
    pause: PathBuf,
    log: PathBuf,
    holder: Mutex<Option<Holder>>,
}

#[derive(Debug)]
struct Holder {
    _process: Process,
    /// The first process in there, by its id out here.
    first: u32,
}

impl Cell {
    /// A host that is not there yet.
    pub fn new(name: &str, places: &Places, pause: &Path, log: PathBuf) -> Self {
        let pause = pause.to_owned();
        let holder = Mutex::default();
        Self { name: name.to_owned(), places: places.clone(), pause, log, holder }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Holder>> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the namespaces and what is private in them. What the host kept of an earlier life is there.
    pub fn open(&self) -> Result<()> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--net", "--uts", "--ipc", "--fork"]);
        command.args(["--kill-child=KILL", "--mount-proc"]).arg(&self.pause);
        let mut process = Process::spawn(&self.name, &mut command, &self.log)?;
        let what = format!("the namespaces of {}, which need root", self.name);
        let first = Deadline::seconds(OPEN_SECONDS).poll(&what, || {
            ensure!(!process.has_ended()?, "got none of {what}");
            Ok(child_called(process.id(), "pause"))
        });
        let first = first.map_err(|error| {
            // What it said last is read by then.
            let _ = process.wait(Deadline::seconds(1));
            process.complain(&error.to_string())
        })?;
        super::leftover::note(&self.places, &self.name, first)?;
        *self.lock() = Some(Holder { _process: process, first });
        let host = self.places.host(&self.name);
        for directory in ["lib/kubelet", "log/pods"] {
            let path = host.join(directory);
            fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        }
        self.run(&self.furnish(&host)).with_context(|| format!("furnish {}", self.name))
    }

    /// The script that makes a host's own places.
    fn furnish(&self, host: &Path) -> String {
        let root = workspace::root().display();
        let host = host.display();
        let (name, volumes) = (&self.name, self.places.volumes());
        let volumes = volumes.display();
        let mut lines = vec![
            format!("hostname {name}"),
            "ip link set lo up".to_owned(),
            "mount -t tmpfs tmpfs /run".to_owned(),
            format!("mkdir /run/lock {KEPT}"),
            format!("mount --rbind '{root}' {KEPT}"),
            "mount -t tmpfs tmpfs /tmp".to_owned(),
            format!("mkdir -p '{root}' /tmp/hostpath_pv"),
            format!("mount --rbind {KEPT} '{root}'"),
            format!("mount --bind '{volumes}' /tmp/hostpath_pv"),
            format!("mount --bind '{host}/lib' /var/lib"),
            format!("mount --bind '{host}/log' /var/log"),
        ];
        for setting in SHIELDED {
            let copy = format!("/run/{}", setting.replace('/', "-"));
            let original = format!("/proc/sys/{setting}");
            let shield = format!("cat {original} >{copy}; mount --bind {copy} {original}");
            lines.push(format!("[ ! -e {original} ] || {{ {shield}; }}"));
        }
        // Mounts of one program on the host are seen by the others, and by no other host.
        lines.push("mount --make-rshared /".to_owned());
        lines.join("\n")
    }

    /// Ends everything that runs there, at once.
    pub fn close(&self) {
        // Dropped, its process kills the holder.
        drop(self.lock().take());
    }

    /// The first process there by its id out here; an error while the host is down.
    pub fn first_process(&self) -> Result<u32> {
        match self.lock().as_ref() {
            Some(holder) => Ok(holder.first),
            None => bail!("{} is down", self.name),
        }
    }

    /// Whether the host is up.
    pub fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// `program` as it is started on the host.
    pub fn command(&self, program: impl AsRef<Path>) -> Result<Command> {
        self.enter(&["--mount", "--uts", "--ipc", "--net", "--pid"], program.as_ref())
    }

    /// `program` as it is started out here with the network of the host.
    pub fn with_its_network(&self, program: &str) -> Result<Command> {
        self.enter(&["--net"], Path::new(program))
    }

    fn enter(&self, namespaces: &[&str], program: &Path) -> Result<Command> {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.first_process()?.to_string()).args(namespaces);
        command.arg("--").arg(program);
        Ok(command)
    }

    /// Runs a shell script on the host; the first command that fails ends it.
    pub fn run(&self, script: &str) -> Result<()> {
        let mut command = self.command("sh")?;
        run(command.args(["-e", "-c", script])).map(drop)
    }
}

/// Runs a short command to its end and returns what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The child of a process, once it has become the program of that name.
fn child_called(parent: u32, name: &str) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let child: u32 = children.split_whitespace().next()?.parse().ok()?;
    let called = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
    (called.trim() == name).then_some(child)
}
