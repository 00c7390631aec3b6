//! What the API server and the processes say of brokers, topics and the operator.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Ottla;
use crate::deadline::Stopwatch;
use crate::scrape;

/// A pod, as much of it as tests ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Which pod of that name.
    pub uid: String,
    /// How often its containers were started again.
    pub restarts: u64,
    /// Whether it serves.
    pub ready: bool,
    /// Whether it is on its way out.
    pub leaving: bool,
    /// Where it runs.
    pub node: String,
    /// Where it is reached.
    pub address: Option<Ipv4Addr>,
    /// What it runs.
    pub image: String,
}

/// A condition of an object, for the generation that is asked for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Whether it holds: True, False or Unknown.
    pub status: String,
    /// Why, for machines.
    pub reason: String,
    /// Why, for people.
    pub message: String,
    /// Whether it is about the spec as it stands.
    pub is_current: bool,
}

impl Ottla {
    /// The pods that the labels select, by name.
    pub fn pods(&self, namespace: &str, labels: &str) -> Result<Vec<Pod>> {
        let list = self.kubernetes.get(&["pods", "-n", namespace, "-l", labels])?;
        let items = list["items"].as_array().context("a list of pods")?;
        let mut pods: Vec<Pod> = items.iter().map(read_pod).collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(pods)
    }

    /// The pods of a cluster's brokers.
    pub fn brokers(&self, namespace: &str, cluster: &str) -> Result<Vec<Pod>> {
        let labels = format!("ottla.dev/cluster={cluster},app.kubernetes.io/component=broker");
        self.pods(namespace, &labels)
    }

    /// A condition of an object; `None` while nobody has said it.
    pub fn condition(
        &self,
        namespace: &str,
        object: &str,
        kind: &str,
    ) -> Result<Option<Condition>> {
        let object = self.kubernetes.get(&[object, "-n", namespace])?;
        Ok(read_condition(&object, kind))
    }

    /// Waits until `look` finds something in an object; prints its conditions when they change.
    pub fn wait_for<T>(
        &self,
        namespace: &str,
        object: &str,
        what: &str,
        seconds: u64,
        mut look: impl FnMut(&Value) -> Result<Option<T>>,
    ) -> Result<T> {
        let (time, mut before) = (Stopwatch::start(), String::new());
        let found = self.kubernetes.wait(&format!("{object}: {what}"), seconds, || {
            let read = self.kubernetes.get(&[object, "-n", namespace])?;
            let said = said_of(&read);
            if said != before {
                println!("  {:5.1} s  {object}: {said}", time.elapsed().as_secs_f64());
                before.clone_from(&said);
            }
            look(&read)
        });
        found.map_err(|error| self.complain(namespace, &error))
    }

    /// Waits until an object is ready as it stands.
    pub fn is_ready(&self, namespace: &str, object: &str, seconds: u64) -> Result<()> {
        self.wait_for(namespace, object, "ready", seconds, |read| {
            let ready = read_condition(read, "Ready");
            Ok(ready.filter(|it| it.is_current && it.status == "True").map(drop))
        })
    }

    /// Waits until an object is ready as it stands, and nothing is under way.
    pub fn is_settled(&self, namespace: &str, object: &str, seconds: u64) -> Result<()> {
        self.wait_for(namespace, object, "settled", seconds, |read| {
            let is = |kind: &str, status: &str| {
                read_condition(read, kind).is_some_and(|it| it.is_current && it.status == status)
            };
            Ok((is("Ready", "True") && is("Progressing", "False")).then_some(()))
        })
    }

    /// Waits until a condition of an object has a reason, and returns its message.
    pub fn has_reason(
        &self,
        namespace: &str,
        object: &str,
        (kind, reason): (&str, &str),
        seconds: u64,
    ) -> Result<String> {
        self.wait_for(namespace, object, &format!("{kind} for {reason}"), seconds, |read| {
            let found = read_condition(read, kind);
            let found = found.filter(|it| it.is_current && it.reason == reason);
            Ok(found.map(|it| it.message))
        })
    }

    /// The events about an object, as `reason: note`.
    pub fn events(&self, namespace: &str, kind: &str, name: &str) -> Result<Vec<String>> {
        let list = self.kubernetes.get(&["events.v1.events.k8s.io", "-n", namespace])?;
        let items = list["items"].as_array().context("a list of events")?;
        let about = items.iter().filter(|event| {
            event["regarding"]["kind"] == kind && event["regarding"]["name"] == name
        });
        let words = |event: &Value| format!("{}: {}", text(&event["reason"]), text(&event["note"]));
        Ok(about.map(words).collect())
    }

    /// A page of a pod over HTTP.
    pub fn page(&self, pod: &Pod, port: u16, path: &str) -> Result<String> {
        let address = pod.address.with_context(|| format!("{} has no address", pod.name))?;
        let relay = self.kubernetes.forward(SocketAddrV4::new(address, port))?;
        scrape::get(&relay.address().to_string(), path)
    }

    /// The sums of a family of the leading operator's metrics, by the labels that are left when `without` is taken out.
    pub fn sums(&self, operator: &super::Operator, family: &str) -> Result<BTreeMap<String, f64>> {
        let pod = self.leader(operator)?;
        let page = self.page(&pod, 8080, "/metrics")?;
        let lines = page.lines().filter(|line| line.starts_with(&format!("{family}{{")));
        lines
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').context("a value")?;
                Ok((name.to_owned(), value.parse().with_context(|| format!("read {line}"))?))
            })
            .collect()
    }

    /// The operator's pod that leads.
    pub fn leader(&self, operator: &super::Operator) -> Result<Pod> {
        for pod in self.pods(&operator.namespace, &operator.labels)? {
            if pod.leaving || !pod.ready {
                continue;
            }
            let page = self.page(&pod, 8080, "/metrics")?;
            if scrape::value(&page, "ottla_operator_leader", &[])? > 0.0 {
                return Ok(pod);
            }
        }
        bail!("no operator leads")
    }
}

/// The most memory that any process of that name has had, and what it has now without files, in KiB.
pub fn memory(program: &str) -> Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("list processes")? {
        let path = entry?.path();
        // One that has ended meanwhile is none.
        let Ok(status) = std::fs::read_to_string(path.join("status")) else { continue };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_end_matches(" kB").trim().parse::<u64>().ok()
        };
        let called = status.lines().next().unwrap_or_default().trim_start_matches("Name:").trim();
        // The kernel keeps fifteen letters.
        if called == program.get(..15).unwrap_or(program) {
            found.extend(field("VmHWM:").zip(field("RssAnon:")));
        }
    }
    ensure!(!found.is_empty(), "no {program} runs");
    Ok(found)
}

fn read_pod(pod: &Value) -> Pod {
    let statuses = pod["status"]["containerStatuses"].as_array();
    let restarts = statuses.into_iter().flatten();
    Pod {
        name: text(&pod["metadata"]["name"]),
        uid: text(&pod["metadata"]["uid"]),
        restarts: restarts.map(|one| one["restartCount"].as_u64().unwrap_or(0)).sum(),
        ready: read_condition(pod, "Ready").is_some_and(|ready| ready.status == "True"),
        leaving: !pod["metadata"]["deletionTimestamp"].is_null(),
        node: text(&pod["spec"]["nodeName"]),
        address: pod["status"]["podIP"].as_str().and_then(|address| address.parse().ok()),
        image: text(&pod["spec"]["containers"][0]["image"]),
    }
}

pub(super) fn read_condition(object: &Value, kind: &str) -> Option<Condition> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    let seen = found.get("observedGeneration").unwrap_or(&object["status"]["observedGeneration"]);
    Some(Condition {
        status: text(&found["status"]),
        reason: text(&found["reason"]),
        message: text(&found["message"]),
        is_current: *seen == object["metadata"]["generation"] || seen.is_null(),
    })
}

/// The conditions of an object in one line.
pub(super) fn said_of(object: &Value) -> String {
    let conditions = object["status"]["conditions"].as_array();
    let words = conditions.into_iter().flatten().map(|one| {
        let (kind, status) = (text(&one["type"]), text(&one["status"]));
        format!("{kind}={status} {} {:?}", text(&one["reason"]), text(&one["message"]))
    });
    words.collect::<Vec<_>>().join("; ")
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
