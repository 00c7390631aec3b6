//! What is left of a test that failed: logs of pods and every object, in files, and the last words in the error.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Error, Result};

use super::Ottla;
use super::observe::{read_condition, text};
use crate::kubernetes::Kubernetes;
use crate::{deadline, logs};

/// How often new pods are looked for.
const LOOK: Duration = Duration::from_millis(1500);

/// Whose words are kept.
const FOLLOWED: &str = "app.kubernetes.io/name in (ottla, ottla-operator)";

/// Kinds that are kept.
const KINDS: &str = "clusters.ottla.dev,topics.ottla.dev,pods,statefulsets,pvc,configmaps,pdb,services,endpointslices";

/// Keeps what pods say, those that are deleted, too, until it is dropped: a file for each name.
#[derive(Debug)]
pub(super) struct Following {
    closing: Arc<AtomicBool>,
    following: Option<JoinHandle<()>>,
}

impl Following {
    /// Follows every pod of brokers and operators, from its beginning on.
    pub(super) fn begin(kubernetes: &Kubernetes, name: &str) -> Self {
        let closing = Arc::new(AtomicBool::new(false));
        let (closes, name) = (Arc::clone(&closing), name.to_owned());
        let program = kubernetes.programs().of_node("kubectl");
        let kubeconfig = kubernetes.kubeconfig();
        let following = thread::spawn(move || {
            let kubectl = || {
                let mut command = Command::new(&program);
                command.env("KUBECONFIG", &kubeconfig);
                command
            };
            let mut known: BTreeMap<String, Child> = BTreeMap::new();
            while !closes.load(Ordering::SeqCst) {
                for (namespace, pod, uid) in pods(&mut kubectl()) {
                    if known.contains_key(&uid) {
                        continue;
                    }
                    let log = logs::file(&format!("kubernetes-{name}-{pod}"));
                    let open = || fs::File::options().create(true).append(true).open(&log);
                    let (Ok(out), Ok(err)) = (open(), open()) else { continue };
                    let mut follow = kubectl();
                    follow.args(["logs", "--follow", "-n", &namespace, &pod]);
                    if let Ok(child) = follow.stdout(out).stderr(err).spawn() {
                        known.insert(uid, child);
                    }
                }
                deadline::pass(LOOK);
            }
            for mut child in known.into_values() {
                let _ = child.kill();
                let _ = child.wait();
            }
        });
        Self { closing, following: Some(following) }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        if let Some(following) = self.following.take() {
            let _ = following.join();
        }
    }
}

/// Namespace, name and unique id of the pods that say something; none while nobody answers.
fn pods(kubectl: &mut Command) -> Vec<(String, String, String)> {
    let path = "jsonpath={range .items[?(@.status.phase==\"Running\")]}{.metadata.namespace} \
                {.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
    let said = kubectl.args(["get", "pods", "-A", "-l", FOLLOWED, "-o", path]).output();
    let said = said.map(|said| String::from_utf8_lossy(&said.stdout).into_owned());
    let words = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        words.next().zip(words.next()).zip(words.next()).map(|((a, b), c)| (a, b, c))
    };
    said.unwrap_or_default().lines().filter_map(words).collect()
}

impl Ottla {
    /// Writes down everything that is known of a namespace and of the operator, and says where.
    pub(crate) fn complain(&self, namespace: &str, error: &Error) -> Error {
        let mut words = format!("{error:#}");
        match self.keep(namespace) {
            Ok(told) => words.push_str(&told),
            Err(other) => words = format!("{words} (and nothing more is known: {other:#})"),
        }
        Error::msg(words)
    }

    fn keep(&self, namespace: &str) -> Result<String> {
        let file = |what: &str| logs::file(&format!("kubernetes-{}-{what}", self.name));
        let ask = |words: &[&str]| self.kubernetes.kubectl(words).unwrap_or_default();
        let objects = ask(&["get", KINDS, "-A", "-o", "yaml"]);
        let events = ask(&["get", "events", "-A", "--sort-by=.lastTimestamp"]);
        fs::write(file("objects"), objects)?;
        fs::write(file("events"), &events)?;
        let mut told = String::new();
        let pods = self.kubernetes.get(&["pods", "-A"])?;
        for pod in pods["items"].as_array().into_iter().flatten() {
            let (name, of) = (text(&pod["metadata"]["name"]), text(&pod["metadata"]["namespace"]));
            let ready = read_condition(pod, "Ready").is_some_and(|one| one.status == "True");
            if !ready && of == namespace {
                let state = &pod["status"]["containerStatuses"][0]["state"];
                told = format!("{told}\n{name} is {}: {state}", text(&pod["status"]["phase"]));
            }
        }
        told += "\nthe last events:\n";
        let lines: Vec<&str> = events.lines().collect();
        told += &lines[lines.len().saturating_sub(12)..].join("\n");
        Ok(format!("{told}\nlogs and objects are {}", file("*").display()))
    }
}
