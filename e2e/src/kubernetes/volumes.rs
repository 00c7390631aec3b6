//! The volumes of a cluster: directories of this machine, which every node reaches.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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
