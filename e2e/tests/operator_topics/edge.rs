//! A cluster that is all that the first one is not: with a ZooKeeper of the user's own, found at ports of the nodes,
//! spread over zones, protected, paused, and told what to speak.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use e2e::image::zookeeper;
use e2e::kubernetes::layout::node_address;
use e2e::kubernetes::ottla::builds;

use super::Scene;

const NAMESPACE: &str = "edge";
const OBJECT: &str = "cluster/far";
const SECONDS: u64 = 240;

/// A ZooKeeper as users have it, and its name.
const ZOOKEEPER: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: { name: zoo, namespace: edge }
data:
  zoo.cfg: |
    dataDir=/tmp
    clientPort=2181
    admin.enableServer=false
---
apiVersion: v1
kind: Service
metadata: { name: zoo, namespace: edge }
spec: { selector: { app: zoo }, ports: [{ port: 2181 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: zoo, namespace: edge, labels: { app: zoo } }
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext: { runAsNonRoot: true, seccompProfile: { type: RuntimeDefault } }
  containers:
  - name: zoo
    image: IMAGE
    imagePullPolicy: Never
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] } }
    volumeMounts:
    - { name: settings, mountPath: /conf }
    - { name: tmp, mountPath: /tmp }
  volumes:
  - { name: settings, configMap: { name: zoo } }
  - { name: tmp, emptyDir: {} }
";

const TOPIC: &str = "\
apiVersion: ottla.dev/v1alpha1
kind: Topic
metadata: { name: events, namespace: edge }
spec: { cluster: far, partitions: 3, replicas: 3 }
";

/// Applies the cluster with these lines besides.
fn spec(scene: &Scene, lines: &str) -> Result<()> {
    let lines = lines.replace('\n', "\n  ");
    let manifest = format!(
        "apiVersion: ottla.dev/v1alpha1\nkind: Cluster\nmetadata: {{ name: far, namespace: {NAMESPACE} }}\nspec:\n  \
         version: {}\n  brokers: 3\n  zookeeper: {{ connect: \"zoo:2181/far\" }}\n  \
         storage: {{ volumes: [{{ size: 1Gi }}] }}\n  rack: {{ nodeLabel: topology.kubernetes.io/zone }}\n  \
         listeners:\n  - {{ name: inside, port: 9092 }}\n  - {{ name: outside, port: 9094, type: NodePort }}\n  \
         {lines}\n",
        builds::THIS
    );
    scene.ottla.kubernetes.apply(&manifest).map(drop)
}

fn settled(scene: &Scene) -> Result<()> {
    scene.ottla.is_settled(NAMESPACE, OBJECT, SECONDS)
}

fn field(scene: &Scene, path: &str) -> Result<String> {
    let path = format!("jsonpath={{{path}}}");
    scene.ottla.kubernetes.kubectl(&["get", OBJECT, "-n", NAMESPACE, "-o", &path])
}

/// The unique ids of the brokers' pods.
fn pods(scene: &Scene) -> Result<BTreeSet<String>> {
    let pods = scene.ottla.brokers(NAMESPACE, "far")?;
    ensure!(pods.iter().all(|pod| pod.restarts == 0), "{pods:?}");
    Ok(pods.into_iter().map(|pod| pod.uid).collect())
}

/// Every broker has a zone of its own and a port of its node, and clients that know one port find all of them.
pub(crate) fn a_cluster_of_another_shape(scene: &Scene) -> Result<()> {
    scene.ottla.namespace(NAMESPACE)?;
    scene.ottla.kubernetes.apply(&ZOOKEEPER.replace("IMAGE", &zookeeper::name()))?;
    scene.ottla.tools(NAMESPACE)?;
    spec(scene, "protocolVersion: \"3.8\"\ndeletionProtection: true")?;
    scene.ottla.kubernetes.apply(TOPIC)?;
    scene.ottla.is_ready(NAMESPACE, "topic/events", SECONDS)?;
    settled(scene)?;
    let racks = field(scene, ".status.members[*].rack")?;
    let racks: BTreeSet<&str> = racks.split_whitespace().collect();
    ensure!(racks.len() == 3, "racks: {racks:?}");
    let spoken = field(scene, ".status.protocolVersion")?;
    ensure!(spoken.starts_with("3.8"), "they speak {spoken}");
    let produce = format!("echo far | kcat -b {} -P -t events -p 1 -X acks=all", outside(scene)?);
    scene.ottla.sh(NAMESPACE, &produce)?;
    is_read(scene)
}

/// Where a client outside finds one of the brokers: the address of a node, and the broker's port there.
fn outside(scene: &Scene) -> Result<String> {
    let services = scene.ottla.kubernetes.get(&["services", "-n", NAMESPACE])?;
    let services = services["items"].as_array().context("a list of services")?;
    let port = services.iter().find_map(|one| {
        let name = one["metadata"]["name"].as_str()?;
        if name == "far-outside-0" { one["spec"]["ports"][0]["nodePort"].as_u64() } else { None }
    });
    Ok(format!("{}:{}", node_address(1), port.context("broker 0 has no port of its node")?))
}

/// Reads the one record, by addresses of nodes alone.
fn is_read(scene: &Scene) -> Result<()> {
    let bootstrap = outside(scene)?;
    let listed = scene.ottla.sh(NAMESPACE, &format!("kcat -b {bootstrap} -L"))?;
    for node in scene.ottla.kubernetes.numbers() {
        let at = format!(" at {}:", node_address(node));
        ensure!(listed.contains(&at), "no broker{at}\n{listed}");
    }
    let read = format!("kcat -b {bootstrap} -C -t events -p 1 -o beginning -e -q");
    let read = scene.ottla.sh(NAMESPACE, &read)?;
    ensure!(read.trim() == "far", "read {read:?}");
    Ok(())
}

/// Each broker is restarted once for it, and the record is where it was.
pub(crate) fn what_brokers_speak_is_raised(scene: &Scene) -> Result<()> {
    let before = pods(scene)?;
    spec(scene, "deletionProtection: true")?;
    scene.ottla.wait_for(NAMESPACE, OBJECT, "another protocol", SECONDS, |object| {
        let spoken = object["status"]["protocolVersion"].as_str().unwrap_or_default();
        Ok((!spoken.starts_with("3.8")).then_some(()))
    })?;
    settled(scene)?;
    ensure!(pods(scene)?.is_disjoint(&before), "somebody speaks what was spoken before");
    is_read(scene)
}

/// What changes meanwhile is done afterwards.
pub(crate) fn nothing_changes_while_it_is_paused(scene: &Scene) -> Result<()> {
    let before = pods(scene)?;
    let lines = "deletionProtection: true\nconfig: { num.partitions: \"2\" }";
    spec(scene, &format!("{lines}\npaused: true"))?;
    let is_paused = ("Paused", "Paused");
    scene.ottla.has_reason(NAMESPACE, OBJECT, is_paused, SECONDS)?;
    ensure!(pods(scene)? == before, "brokers were restarted");
    is_read(scene)?;
    spec(scene, lines)?;
    scene.ottla.wait_for(NAMESPACE, OBJECT, "a roll", SECONDS, |_| {
        Ok(pods(scene)?.is_disjoint(&before).then_some(()))
    })?;
    settled(scene)?;
    is_read(scene)
}

/// It is not deleted, in whichever way that is asked for.
pub(crate) fn what_is_protected_stays(scene: &Scene) -> Result<()> {
    let before = pods(scene)?;
    for cascade in ["background", "foreground", "orphan"] {
        let cascade = format!("--cascade={cascade}");
        let delete = ["delete", OBJECT, "-n", NAMESPACE, &cascade, "--wait=false"];
        match scene.ottla.kubernetes.kubectl(&delete) {
            Ok(said) => bail!("it was deleted: {said}"),
            Err(error) => {
                let words = format!("{error:#}");
                ensure!(words.contains("deletionProtection"), "{words}");
            }
        }
    }
    ensure!(pods(scene)? == before, "brokers were restarted");
    settled(scene)
}

/// With brokers that serve, topics, and protection: all of it goes, and nobody is waited for.
pub(crate) fn its_namespace_is_gone(scene: &Scene) -> Result<()> {
    let delete = ["delete", "namespace", NAMESPACE, "--timeout=120s"];
    scene.ottla.kubernetes.kubectl_within(150, &delete, "").map(drop)
}

/// A release of the chart that brings a cluster with topics.
pub(crate) fn one_release_is_a_working_cluster(scene: &Scene) -> Result<()> {
    let namespace = &scene.operator.namespace;
    let values = [
        "cluster.enabled=true".to_owned(),
        format!("cluster.spec.version={}", builds::THIS),
        "cluster.spec.storage.volumes[0].size=1Gi".to_owned(),
        "cluster.topics[0].name=first".to_owned(),
        "cluster.topics[0].spec.replicas=3".to_owned(),
    ];
    let this = builds::this()?;
    scene.ottla.install_with(&this, 1, &values)?;
    scene.ottla.is_ready(namespace, "topic/first", SECONDS)?;
    scene.ottla.tools(namespace)?;
    let produce = "echo one | kcat -b ottla:9092 -P -t first -p 0 -X acks=all";
    scene.ottla.sh(namespace, produce)?;
    let read =
        scene.ottla.sh(namespace, "kcat -b ottla:9092 -C -t first -p 0 -o beginning -e -q")?;
    ensure!(read.trim() == "one", "read {read:?}");
    Ok(())
}
