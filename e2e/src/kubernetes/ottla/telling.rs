//! What is left of a test that failed: logs of pods and every object, in files, and the last words in the error.

use std::fs;

use anyhow::{Error, Result};

use super::Ottla;
use super::observe::{read_condition, text};
use crate::logs;

/// Kinds that are kept.
const KINDS: &str = "clusters.ottla.dev,topics.ottla.dev,pods,statefulsets,pvc,configmaps,pdb,services,endpointslices";

impl Ottla {
    /// Writes down everything that is known of a namespace and of the operator, and says where.
    pub(crate) fn complain(&self, namespace: &str, error: &Error) -> Error {
        let mut words = format!("{error:#}");
        match self.keep(namespace) {
            Ok(told) => words.push_str(&told),
            Err(other) => words.push_str(&format!(" (and nothing more is known: {other:#})")),
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
            let mut log = String::new();
            for previous in ["--previous=true", "--previous=false"] {
                log += &ask(&["logs", "-n", &of, &name, "--all-containers", previous]);
            }
            fs::write(file(&name), &log)?;
            let ready = read_condition(pod, "Ready").is_some_and(|one| one.status == "True");
            if !ready && of == namespace {
                let state = &pod["status"]["containerStatuses"][0]["state"];
                told += &format!("\n{name} is {}: {state}", text(&pod["status"]["phase"]));
            }
        }
        told += "\nthe last events:\n";
        let lines: Vec<&str> = events.lines().collect();
        told += &lines[lines.len().saturating_sub(12)..].join("\n");
        told += &format!("\nlogs and objects are {}", file("*").display());
        Ok(told)
    }
}
