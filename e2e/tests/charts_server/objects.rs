//! What Helm renders, sent to the server without being stored.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use e2e::chart::render::{NAMESPACE, Values};
use e2e::deadline::Deadline;
use e2e::kubernetes::Kubernetes;
use serde_json::{Value, json};

/// Runs Helm in the cluster; returns what it printed, or fails with what it complained of.
pub(super) fn helm(cluster: &Kubernetes, arguments: &[&str]) -> Result<String> {
    said(cluster.helm_command().args(arguments)).map(|(printed, _)| printed)
}

/// Runs a command to its end; returns what it printed, and what it complained of.
fn said(command: &mut Command) -> Result<(String, String)> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, complaint) = (text(&output.stdout), text(&output.stderr));
    if !output.status.success() {
        bail!("{command:?}: {complaint}");
    }
    Ok((printed, complaint))
}

/// Every object of every set is valid to the last field, and draws no warning: of pod security, or of age.
pub(super) fn are_taken(cluster: &Kubernetes) -> Result<()> {
    let directory = tempfile::tempdir()?;
    for set in Values::all()? {
        let objects = set.render()?;
        let file = directory.path().join(format!("{}.json", set.name));
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        std::fs::write(&file, list.to_string()).context("write what is rendered")?;
        let mut kubectl = cluster.kubectl_command();
        kubectl.args(["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f"]);
        let (printed, complaint) = said(kubectl.arg(&file)).context(set.name.clone())?;
        ensure!(complaint.is_empty(), "{}: {complaint}", set.name);
        ensure!(printed.lines().count() == objects.len(), "{}: {printed}", set.name);
        for object in objects.iter().filter(|object| object["kind"] == "Deployment") {
            let template = &object["spec"]["template"];
            try_pod(cluster, &template["spec"]).context(set.name.clone())?;
        }
    }
    Ok(())
}

/// Has the server say whether it would make this pod of a release; what the pod refers to need not be there.
fn try_pod(cluster: &Kubernetes, spec: &Value) -> Result<String> {
    let mut spec = spec.clone();
    spec["serviceAccountName"] = "default".into();
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "tried", "namespace": NAMESPACE },
        "spec": spec,
    });
    // The account of a namespace is made a moment after it.
    let made = ["get", "serviceaccount", "default", "--namespace", NAMESPACE];
    Deadline::seconds(60)
        .poll("the default account", || Ok(cluster.kubectl(&made).ok()))
        .context("wait for the account of the namespace")?;
    let create = ["create", "--dry-run=server", "-f", "-"];
    cluster.kubectl_within(60, &create, &pod.to_string())
}

/// The namespace is restricted indeed.
pub(super) fn a_pod_of_root_is_refused(cluster: &Kubernetes) -> Result<()> {
    let spec = json!({ "containers": [{ "name": "any", "image": "localhost/any:1" }] });
    let Err(error) = try_pod(cluster, &spec) else { bail!("a pod of root was taken") };
    ensure!(format!("{error:#}").contains("violates PodSecurity"), "{error:#}");
    Ok(())
}
