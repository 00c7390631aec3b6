//! A load in a pod: see `crate::load`.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::observe::Pod;
use super::{LOAD, Ottla, pod};
use crate::deadline::Stopwatch;
use crate::scrape;

/// The port that a load answers on.
const PORT: u16 = 8080;

/// How long a load may take until something is acknowledged.
const FIRST_SECONDS: u64 = 120;

/// A load that runs.
#[derive(Debug)]
pub struct Load<'a> {
    ottla: &'a Ottla,
    namespace: String,
    name: String,
}

impl<'a> Load<'a> {
    /// Starts a load of `arguments`, which the program `load` explains, and waits until something is acknowledged.
    pub fn start(ottla: &'a Ottla, namespace: &str, name: &str, words: &str) -> Result<Self> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        ottla.kubernetes.apply(&pod(namespace, name, LOAD, &words).to_string())?;
        let load = Self { ottla, namespace: namespace.to_owned(), name: name.to_owned() };
        ottla
            .kubernetes
            .wait(&format!("{name} to have a record acknowledged"), FIRST_SECONDS, || {
                let state = load.state()?;
                Ok((state["acknowledged"].as_u64() > Some(0)).then_some(()))
            })
            .map_err(|error| ottla.complain(namespace, &error))?;
        Ok(load)
    }

    fn pod(&self) -> Result<Pod> {
        let pods = self.ottla.pods(&self.namespace, &format!("app={}", self.name))?;
        pods.into_iter().next().with_context(|| format!("there is no pod {}", self.name))
    }

    fn ask(&self, path: &str) -> Result<Value> {
        let pod = self.pod()?;
        ensure!(pod.restarts == 0, "{} was started again", pod.name);
        let page = self.ottla.page(&pod, PORT, path)?;
        serde_json::from_str(&page).with_context(|| format!("read {path} of {}", self.name))
    }

    /// What it has seen so far.
    pub fn state(&self) -> Result<Value> {
        self.ask("/state")
    }

    /// Prints the longest waits since the last part, sees that no rule is broken, and begins another part.
    pub fn part(&self, what: &str) -> Result<Value> {
        let state = self.state()?;
        println!("  {}: {what}: {}", self.name, told(&state));
        self.judge(&state)?;
        self.ask("/part")?;
        Ok(state)
    }

    /// Ends it, and fails unless every acknowledged record was read and no rule was broken.
    pub fn finish(self) -> Result<Value> {
        let time = Stopwatch::start();
        let pod = self.pod()?;
        let address = pod.address.context("the load has no address")?;
        let relay = self.ottla.kubernetes.forward(std::net::SocketAddrV4::new(address, PORT))?;
        let address = relay.address().to_string();
        // The answer takes as long as the last reading does, and one that came too late is asked for again.
        let page = self
            .ottla
            .kubernetes
            .wait("the verdict of the load", 300, || scrape::get(&address, "/finish").map(Some))?;
        let verdict: Value = serde_json::from_str(&page).context("read a verdict")?;
        println!(
            "  {}: {} ({:.1} s to read it all again)",
            self.name,
            told(&verdict),
            time.elapsed().as_secs_f64()
        );
        self.judge(&verdict)?;
        ensure!(verdict["error"].is_null(), "{}: {verdict}", self.name);
        ensure!(
            verdict["acknowledged"] == verdict["verified"],
            "{}: not all that was acknowledged was read: {verdict}",
            self.name
        );
        self.ottla.kubernetes.kubectl(&["delete", "pod", "-n", &self.namespace, &self.name])?;
        Ok(verdict)
    }

    fn judge(&self, state: &Value) -> Result<()> {
        let is_clean = state["failed"] == 0
            && state["thin"] == 0
            && state["violations"].as_array().is_some_and(Vec::is_empty);
        if is_clean {
            return Ok(());
        }
        let error = anyhow::anyhow!("{} saw what must not be: {state:#}", self.name);
        Err(self.ottla.complain(&self.namespace, &error))
    }
}

fn told(state: &Value) -> String {
    let topics = state["topics"].as_object();
    let topics = topics.into_iter().flatten().map(|(name, topic)| {
        format!("{name} waited {} ms at most, at {} s", topic["longest_ms"], topic["at_s"])
    });
    let topics = topics.collect::<Vec<_>>().join(", ");
    format!(
        "{} acknowledged, {} failed, {} times below the minimum; {topics}",
        state["acknowledged"], state["failed"], state["thin"]
    )
}
