//! The volumes of a cluster: directories of this machine, which every node reaches.
//!
//! They have no bounds, so that growing one is a matter of words. Those are a driver's to say, and there is
//! none: the host-path driver of CSI is in no registry that we reach. A test has [`Kubernetes::grow_claims`]
//! say them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::Kubernetes;

/// The default class. Its provisioner is that of the controller manager, which makes a directory a volume.
pub(super) const STORAGE_CLASS: &str = r#"
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: standard
  annotations:
    storageclass.kubernetes.io/is-default-class: "true"
provisioner: kubernetes.io/host-path
reclaimPolicy: Delete
volumeBindingMode: Immediate
allowVolumeExpansion: true
"#;

/// What a directory has that was opened.
const OPEN: u32 = 0o1777;

/// Opens to everybody the volumes that are still as they were made: only root could write to them, and
/// pods are not root.
pub(super) fn open(volumes: &Path) {
    let Ok(entries) = fs::read_dir(volumes) else { return };
    for entry in entries.flatten() {
        let Ok(known) = entry.metadata() else { continue };
        if known.is_dir() && known.permissions().mode() & OPEN != OPEN {
            // One that was deleted meanwhile needs nothing.
            let _ = fs::set_permissions(entry.path(), Permissions::from_mode(OPEN));
        }
    }
}

impl Kubernetes {
    /// Does for the claims of a namespace what a storage driver does that is asked for more: the volume and
    /// then the claim's status get the size that is asked for. Returns how many have grown.
    pub fn grow_claims(&self, namespace: &str) -> Result<usize> {
        let claims = self.get(&["pvc", "-n", namespace])?;
        let mut grown = 0;
        for claim in claims["items"].as_array().context("a list of claims")? {
            let asked = &claim["spec"]["resources"]["requests"]["storage"];
            let name = claim["metadata"]["name"].as_str().context("the name of a claim")?;
            let volume = claim["spec"]["volumeName"].as_str();
            let Some(volume) = volume.filter(|_| claim["status"]["capacity"]["storage"] != *asked)
            else {
                continue;
            };
            let patch = json!({ "spec": { "capacity": { "storage": asked } } }).to_string();
            self.kubectl(&["patch", "pv", volume, "--type=merge", "-p", &patch])?;
            let patch = json!({ "status": { "capacity": { "storage": asked } } }).to_string();
            let claim = ["patch", "pvc", name, "-n", namespace, "--subresource=status"];
            self.kubectl(&[&claim[..], &["--type=merge", "-p", &patch]].concat())?;
            grown += 1;
        }
        Ok(grown)
    }
}
