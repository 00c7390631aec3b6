//! Every pod that there was, those too that were gone before anybody looked: whether a broker was restarted once or
//! twice is nowhere else to be seen.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};

use super::Ottla;
use super::observe::Pod;
use crate::logs;

/// How long the API server may take to tell of a pod that is there already.
const SECONDS: u64 = 30;

/// Watches the pods of a cluster's brokers until it is dropped.
#[derive(Debug)]
pub struct History {
    watching: Child,
    told: PathBuf,
}

impl Ottla {
    /// Begins with the pods that there are.
    pub fn history(&self, namespace: &str, cluster: &str) -> Result<History> {
        let told = logs::file(&format!("kubernetes-{}-pods-of-{cluster}", self.name));
        let file = File::create(&told).with_context(|| told.display().to_string())?;
        let labels = format!("ottla.dev/cluster={cluster},app.kubernetes.io/component=broker");
        let form = "jsonpath={.metadata.name} {.metadata.uid}{\"\\n\"}";
        let mut kubectl = self.kubernetes.kubectl_command();
        kubectl.args(["get", "pods", "-n", namespace, "-l", &labels, "--watch", "-o", form]);
        let watching = kubectl.stdout(file).stderr(Stdio::inherit()).spawn();
        Ok(History { watching: watching.context("watch pods")?, told })
    }

    /// How often each broker came back in another pod since `before`, by the names of pods.
    pub fn restarts_since(
        &self,
        history: &mut History,
        before: &BTreeMap<String, Pod>,
        now: &BTreeMap<String, Pod>,
    ) -> Result<BTreeMap<String, usize>> {
        self.kubernetes.wait("the watch of pods to tell of all", SECONDS, || {
            let ended = history.watching.try_wait().context("ask for the watch of pods")?;
            ensure!(ended.is_none(), "the watch of pods has ended: {ended:?}");
            let told = history.told()?;
            let is_told = |pod: &Pod| told.get(&pod.name).is_some_and(|all| all.contains(&pod.uid));
            Ok(now.values().all(is_told).then_some(()))
        })?;
        let told = history.told()?;
        let since = |(name, pod): (&String, &Pod)| {
            let all = told.get(name).cloned().unwrap_or_default();
            let place = all.iter().position(|uid| *uid == pod.uid);
            let place = place.with_context(|| format!("nobody told of {pod:?}"))?;
            Ok((name.clone(), all.len() - place - 1))
        };
        before.iter().map(since).collect()
    }
}

impl History {
    /// The unique ids of the pods of each name, in the order in which they came.
    fn told(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let text = fs::read_to_string(&self.told).context("read what the watch of pods told")?;
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        // The last line may be half a line.
        let whole = text.rsplit_once('\n').map(|(whole, _)| whole).unwrap_or_default();
        for (name, uid) in whole.lines().filter_map(|line| line.split_once(' ')) {
            let of_name = all.entry(name.to_owned()).or_default();
            if !of_name.iter().any(|known| known == uid) {
                of_name.push(uid.to_owned());
            }
        }
        Ok(all)
    }
}

impl Drop for History {
    fn drop(&mut self) {
        let _ = self.watching.kill();
        let _ = self.watching.wait();
    }
}
