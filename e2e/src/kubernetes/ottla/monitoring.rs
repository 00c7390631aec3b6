//! A real Prometheus in the network of the cluster, which goes by the annotations of pods, as the chart's page has it.
//!
//! Debian's Prometheus is built without the discovery of Kubernetes. What that would find is written here: every
//! pod that runs, with the labels that its discovery gives (`__meta_kubernetes_*`); what is made of them is the page's.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};

use super::Ottla;
use crate::prometheus::{Prometheus, SCRAPES};
use crate::workspace;

/// The page that tells a user how to scrape.
const PAGE: &str = "charts/ottla/README.md";

/// What the page has pods found by.
const DISCOVERY: &str = "kubernetes_sd_configs: [{role: pod}]";

impl Ottla {
    /// Waits until a Prometheus that goes by the page has data for every expression.
    pub fn have_data(&self, expressions: Vec<String>) -> Result<()> {
        let directory = tempfile::tempdir().context("make a directory")?;
        let pods = directory.path().join("pods.json");
        self.write_pods(&pods)?;
        let page = workspace::root().join(PAGE);
        let page = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        let configuration = configuration(&page, &pods)?;
        let command = self.kubernetes.beside("prometheus")?;
        let mut relay = None;
        let reach = |address: String| {
            let SocketAddr::V4(address) = address.parse().context("its address")? else {
                bail!("{address} is not of IPv4");
            };
            let opened = relay.insert(self.kubernetes.forward(address)?);
            Ok(opened.address().to_string())
        };
        let prometheus =
            Prometheus::run(&self.name, command, directory.path(), &configuration, reach)?;
        prometheus.wait_for_data(expressions, || self.write_pods(&pods))
    }

    /// Writes what the discovery of Kubernetes finds of the pods that run.
    fn write_pods(&self, file: &Path) -> Result<()> {
        let pods = self.kubernetes.get(&["pods", "--all-namespaces"])?;
        let all = pods["items"].as_array().context("a list of pods")?;
        let found: Vec<Value> = all.iter().filter_map(discovered).collect();
        // It reads the file when it is another one.
        let draft = file.with_extension("draft");
        fs::write(&draft, Value::from(found).to_string()).context("write what runs")?;
        fs::rename(&draft, file).context("write what runs")
    }
}

/// A pod as the discovery of Kubernetes tells of it; none while it has no address.
fn discovered(pod: &Value) -> Option<Value> {
    let address = pod["status"]["podIP"].as_str()?;
    let metadata = &pod["metadata"];
    let mut labels = Map::new();
    let mut told = |name: String, value: &Value| labels.insert(name, value.clone());
    told("__meta_kubernetes_namespace".to_owned(), &metadata["namespace"]);
    told("__meta_kubernetes_pod_name".to_owned(), &metadata["name"]);
    told("__meta_kubernetes_pod_ip".to_owned(), &json!(address));
    for (kind, plural) in [("label", "labels"), ("annotation", "annotations")] {
        for (name, value) in metadata[plural].as_object().into_iter().flatten() {
            let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            told(format!("__meta_kubernetes_pod_{kind}_{name}"), value);
        }
    }
    Some(json!({ "targets": [address], "labels": labels }))
}

/// What the page says to scrape by, every second, with `pods` in the place of the discovery.
fn configuration(page: &str, pods: &Path) -> Result<String> {
    let block = page.split("```yaml\n").find(|block| block.starts_with("scrape_configs:"));
    let block = block.and_then(|block| block.split("```").next());
    let block = block.ok_or_else(|| anyhow!("{PAGE} has no block that begins scrape_configs"))?;
    let found = format!("file_sd_configs: [{{files: ['{}']}}]", pods.display());
    if !block.contains(DISCOVERY) {
        bail!("{PAGE} finds pods by something else than {DISCOVERY}");
    }
    Ok(format!("{SCRAPES}{}", block.replace(DISCOVERY, &found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_told_as_kubernetes_discovery_does() {
        let pod = json!({
            "metadata": {
                "name": "orders-0-0",
                "namespace": "shop",
                "labels": { "ottla.dev/broker": "0" },
                "annotations": { "prometheus.io/port": "9404" },
            },
            "status": { "podIP": "10.0.0.1" },
        });
        let expected = json!({
            "targets": ["10.0.0.1"],
            "labels": {
                "__meta_kubernetes_namespace": "shop",
                "__meta_kubernetes_pod_name": "orders-0-0",
                "__meta_kubernetes_pod_ip": "10.0.0.1",
                "__meta_kubernetes_pod_label_ottla_dev_broker": "0",
                "__meta_kubernetes_pod_annotation_prometheus_io_port": "9404",
            },
        });
        assert_eq!(discovered(&pod), Some(expected));
        assert_eq!(discovered(&json!({ "status": {} })), None);
    }
}
