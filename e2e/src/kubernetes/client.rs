//! What a test asks of the API server: kubectl as a person would call it, and waiting with an end.

use std::io::{Read, Write};
use std::net::SocketAddrV4;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use super::relay::Relay;
use super::{Component, Kubernetes, START_SECONDS};
use crate::deadline::Deadline;

/// How long a call may take that waits for nothing.
const CALL_SECONDS: u64 = 60;

/// A component that ends so often while a cluster starts has something that it will not get.
const MOST_ENDS: u32 = 10;

impl Kubernetes {
    /// kubectl as an administrator, without arguments; for what goes on beside a test.
    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new(self.programs.of_node("kubectl"));
        self.lead(&mut command);
        command
    }

    /// Helm as an administrator, without arguments.
    pub fn helm_command(&self) -> Command {
        let mut command = Command::new(&self.programs.helm);
        self.lead(&mut command);
        command
    }

    /// Leads a command to this cluster, and has it keep what it keeps in the cluster's directory.
    fn lead(&self, command: &mut Command) {
        let home = self.claim.places.root().join("home");
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", &home);
    }

    /// Calls kubectl and returns what it printed on its standard output.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_within(CALL_SECONDS, arguments, "")
    }

    /// The same for a call that may take `seconds` and reads `input`.
    pub fn kubectl_within(&self, seconds: u64, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = self.kubectl_command();
        call(command.args(arguments), input, Deadline::seconds(seconds))
            .with_context(|| format!("kubectl {}", arguments.join(" ")))
    }

    /// Applies manifests on the server's side.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        self.kubectl_within(CALL_SECONDS, &["apply", "--server-side", "-f", "-"], manifests)
    }

    /// Reads an object, or a list of them: `get(&["pod", "a", "-n", "b"])`.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let said = self.kubectl(&[&["get", "-o", "json"], arguments].concat())?;
        serde_json::from_str(&said).context("parse what kubectl printed")
    }

    /// Runs a command in a pod and returns what it printed.
    pub fn exec(&self, namespace: &str, pod: &str, command: &[&str]) -> Result<String> {
        self.kubectl(&[&["exec", "-n", namespace, pod, "--"], command].concat())
    }

    /// What the containers of a pod have printed.
    pub fn logs(&self, namespace: &str, pod: &str) -> Result<String> {
        self.kubectl(&["logs", "-n", namespace, pod, "--all-containers"])
    }

    /// A program that runs out here, with the network that all nodes and pods are reached from.
    pub fn beside(&self, program: &str) -> Result<Command> {
        self.hub.with_its_network(program)
    }

    /// A port of this machine that leads to a pod or a node, for as long as it is kept.
    pub fn forward(&self, to: SocketAddrV4) -> Result<Relay> {
        Relay::open(&self.hub, to)
    }

    /// The same from a node, where the addresses of services and the ports of nodes lead somewhere too.
    pub fn forward_from(&self, node: u8, to: SocketAddrV4) -> Result<Relay> {
        Relay::open(self.node(node)?.cell(), to)
    }

    /// Calls `look` until it finds something. What fails is tried again: an API server may be down.
    ///
    /// When `seconds` have passed, the error names `what` and how the last look failed.
    pub fn wait<T>(
        &self,
        what: &str,
        seconds: u64,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        wait_unless(what, seconds, || Ok(()), &mut look)
    }

    /// Waits, in the start of a cluster, for what a component does; the error has its last words.
    pub(super) fn wait_on<T>(
        &self,
        component: Component,
        what: &str,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let part = self.part(component)?;
        let hopeless = || {
            ensure!(part.ends() < MOST_ENDS, "{component} does not stay up: no {what}");
            Ok(())
        };
        let found = wait_unless(what, START_SECONDS, hopeless, &mut look);
        found.map_err(|error| part.complain(&error))
    }

    /// Whether a node is ready, as the API server has it.
    pub fn is_ready(&self, node: &str) -> Result<bool> {
        Ok(condition(&self.get(&["node", node])?, "Ready"))
    }

    /// Whether a pod is ready.
    pub fn pod_is_ready(&self, namespace: &str, pod: &str) -> Result<bool> {
        Ok(condition(&self.get(&["pod", "-n", namespace, pod])?, "Ready"))
    }

    /// Waits until the API server answers that it is ready.
    pub(super) fn wait_until_it_serves(&self) -> Result<()> {
        let etcd = self.part(Component::Etcd)?;
        let served = self.wait_on(Component::ApiServer, "the API server", || {
            Ok((self.kubectl(&["get", "--raw=/readyz"])? == "ok").then_some(()))
        });
        served.map_err(|error| etcd.complain(&error))
    }

    /// Waits until every node is ready, and pods can be made.
    pub(super) fn wait_for_nodes(&self) -> Result<()> {
        for number in self.numbers() {
            let node = super::layout::node_name(number);
            self.wait_on(Component::Kubelet(number), &format!("{node} to be ready"), || {
                Ok(self.is_ready(&node)?.then_some(()))
            })?;
        }
        // No pod is admitted before it is there.
        self.wait_on(Component::ControllerManager, "the default service account", || {
            self.get(&["serviceaccount", "default", "-n", "default"]).map(|_| Some(()))
        })
    }
}

/// [`Kubernetes::wait`] that ends at once when `hopeless` says that there is nothing to wait for.
fn wait_unless<T>(
    what: &str,
    seconds: u64,
    hopeless: impl Fn() -> Result<()>,
    look: &mut impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let mut last = String::new();
    let found = Deadline::seconds(seconds).poll(what, || {
        hopeless()?;
        match look() {
            Ok(found) => Ok(found),
            Err(error) => {
                last = format!(", since {error:#}");
                Ok(None)
            }
        }
    });
    found.map_err(|error| anyhow!("{error} (at most {seconds} s){last}"))
}

/// Whether a condition of an object's status holds.
fn condition(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == kind && condition["status"] == "True")
}

/// Runs a command to its end; fails with what it complained of.
fn call(command: &mut Command, input: &str, deadline: Deadline) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start it")?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (status, said, complaint) = thread::scope(|scope| {
        // One that reads no input is no failure of its own.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        let said = scope.spawn(move || read(stdout));
        let complaint = scope.spawn(move || read(stderr));
        let status = end(&mut child, deadline);
        (status, said.join().unwrap_or_default(), complaint.join().unwrap_or_default())
    });
    if !status.as_ref().is_ok_and(ExitStatus::success) {
        let ended = status.map_or_else(|error| format!("{error:#}"), |status| status.to_string());
        bail!("{ended}: {} {}", complaint.trim(), said.trim());
    }
    Ok(said)
}

fn end(child: &mut Child, deadline: Deadline) -> Result<ExitStatus> {
    let status = deadline.poll("its end", || Ok(child.try_wait()?));
    if status.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    status
}

fn read(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What was read until then is told.
        let _ = stream.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_call_returns_what_was_printed_and_fails_with_what_was_complained_of() -> Result<()> {
        let deadline = Deadline::seconds(30);
        assert_eq!(call(&mut sh("cat; echo aside >&2"), "said", deadline)?, "said");
        let error = call(&mut sh("echo no >&2; exit 3"), "", deadline).err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("exit status: 3") && error.contains("no"), "{error}");
        Ok(())
    }

    #[test]
    fn a_call_that_does_not_end_is_ended() {
        let deadline = Deadline::seconds(0);
        let error = call(&mut sh("exec tail -f /dev/null"), "", deadline).err();
        assert!(error.is_some_and(|error| error.to_string().contains("in vain")));
    }
}
