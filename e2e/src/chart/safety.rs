//! What the profile `restricted` of Kubernetes' pod security asks of a pod, and a little more.
//!
//! The real server is asked elsewhere; here it is told at once, and of pods that a test never starts.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{items, word};

/// Fails where a pod's specification is not restricted, names no bounds, or can write to its own files.
pub fn restricted(pod: &Value) -> Result<()> {
    let of_pod = &pod["securityContext"];
    for field in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
        ensure!(pod[field].is_null(), "{field} is set");
    }
    ensure!(of_pod["runAsNonRoot"] == true, "runAsNonRoot is not set");
    ensure!(of_pod["runAsUser"].as_u64().is_some_and(|user| user > 0), "runAsUser is not set");
    ensure!(of_pod["seccompProfile"]["type"] == "RuntimeDefault", "no seccomp profile");
    let allowed = ["configMap", "downwardAPI", "emptyDir", "projected", "persistentVolumeClaim"];
    for volume in items(&pod["volumes"]) {
        ensure!(allowed.iter().any(|kind| !volume[kind].is_null()), "a volume: {volume}");
    }
    let containers = ["containers", "initContainers"].map(|field| items(&pod[field]));
    for container in containers.into_iter().flatten() {
        let own = &container["securityContext"];
        let name = word(&container["name"]);
        ensure!(own["allowPrivilegeEscalation"] == false, "{name} may get more rights");
        ensure!(own["capabilities"] == json!({ "drop": ["ALL"] }), "{name} has capabilities");
        ensure!(own["readOnlyRootFilesystem"] == true, "{name} can write to its image");
        ensure!(own["privileged"].is_null(), "{name} is privileged");
        let resources = &container["resources"];
        ensure!(resources["requests"]["cpu"].is_string(), "{name} asks for no processor");
        ensure!(resources["limits"]["memory"].is_string(), "{name} has no bound of memory");
        for probe in ["livenessProbe", "readinessProbe"] {
            ensure!(!container[probe]["httpGet"].is_null(), "{name} has no {probe}");
        }
        for port in items(&container["ports"]) {
            ensure!(port["hostPort"].is_null(), "{name} has a port of the node");
        }
    }
    Ok(())
}
