//! A real Prometheus in a pod, which finds brokers and operator by their annotations, as the chart's page has it.

use std::fs;
use std::net::SocketAddrV4;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use super::Ottla;
use crate::image::Image;
use crate::kubernetes::relay::Relay;
use crate::prometheus::{Prometheus, SCRAPES};
use crate::workspace;

/// Where it runs.
const NAMESPACE: &str = "monitoring";

/// Its image.
const IMAGE: &str = "localhost/prometheus:1";

/// The name of everything that is its own.
const NAME: &str = "prometheus";

/// The port that it answers on.
const PORT: u16 = 9090;

/// The page that tells a user how to scrape.
const PAGE: &str = "charts/ottla/README.md";

/// A Prometheus in a pod, and the way there.
#[derive(Debug)]
pub struct Monitoring {
    /// What it is asked by.
    pub prometheus: Prometheus,
    _relay: Relay,
}

impl Ottla {
    /// Starts one, with the rights that a Prometheus of one's own has: it lists pods.
    pub fn monitoring(&self) -> Result<Monitoring> {
        let directory = workspace::output_dir().join("images");
        let archive = directory.join(format!("{}-prometheus.tar", self.name));
        image()?.write(&archive)?;
        self.kubernetes.import(&archive)?;
        fs::remove_file(&archive).context("remove an archive")?;
        self.namespace(NAMESPACE)?;
        self.kubernetes.apply(&account())?;
        let page = workspace::root().join(PAGE);
        let page = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        self.kubernetes.apply(&pod(&configuration(&page)?).to_string())?;
        let pod = self.kubernetes.wait("Prometheus to run", 60, || {
            let pods = self.pods(NAMESPACE, &format!("app={NAME}"))?;
            Ok(pods.into_iter().find(|pod| pod.ready))
        })?;
        let address = pod.address.context("Prometheus has no address")?;
        let relay = self.kubernetes.forward(SocketAddrV4::new(address, PORT))?;
        Ok(Monitoring { prometheus: Prometheus::at(relay.address().to_string()), _relay: relay })
    }
}

fn image() -> Result<Image> {
    let mut image = Image::new(IMAGE, &["/bin/prometheus"]);
    image.files.base();
    image.files.program("/bin/prometheus", Path::new("/usr/bin/prometheus"))?;
    Ok(image)
}

/// What the page says to scrape by, every second.
fn configuration(page: &str) -> Result<String> {
    let block = page.split("```yaml\n").find(|block| block.starts_with("scrape_configs:"));
    let block = block.and_then(|block| block.split("```").next());
    let block = block.ok_or_else(|| anyhow!("{PAGE} has no block that begins scrape_configs"))?;
    Ok(format!("{SCRAPES}{block}"))
}

fn account() -> String {
    let metadata = json!({ "name": NAME, "namespace": NAMESPACE });
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": NAME },
        "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"] }],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": NAME },
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME,
        },
        "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE }],
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [account, role, binding] }).to_string()
}

fn pod(configuration: &str) -> Value {
    let arguments = [
        "--config.file=/etc/prometheus/prometheus.yml".to_owned(),
        "--storage.tsdb.path=/tmp/tsdb".to_owned(),
        format!("--web.listen-address=0.0.0.0:{PORT}"),
    ];
    let metadata = json!({ "name": NAME, "namespace": NAMESPACE });
    let files = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": { "prometheus.yml": configuration },
    });
    let mut pod = super::pod(NAMESPACE, NAME, IMAGE, &arguments);
    let spec = &mut pod["spec"];
    spec["serviceAccountName"] = json!(NAME);
    spec["automountServiceAccountToken"] = json!(true);
    spec["volumes"] = json!([
        { "name": "tmp", "emptyDir": {} },
        { "name": "config", "configMap": { "name": NAME } },
    ]);
    let container = &mut spec["containers"][0];
    container["volumeMounts"] = json!([
        { "name": "tmp", "mountPath": "/tmp" },
        { "name": "config", "mountPath": "/etc/prometheus" },
    ]);
    container["readinessProbe"] =
        json!({ "httpGet": { "path": "/-/ready", "port": PORT }, "periodSeconds": 1 });
    json!({ "apiVersion": "v1", "kind": "List", "items": [files, pod] })
}
