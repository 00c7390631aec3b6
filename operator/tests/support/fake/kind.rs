//! The resources that the server knows: a fixed table, and whatever a definition adds.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::json::{items, text};

/// One resource.
#[derive(Debug)]
#[allow(clippy::struct_field_names, reason = "a kind has a kind: Kubernetes says so")]
#[allow(clippy::struct_excessive_bools, reason = "a row of a table")]
pub(crate) struct Kind {
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
    /// Whether the status is written through `status` alone.
    pub(crate) has_status: bool,
    /// Whether `metadata.generation` counts the changes of the spec.
    pub(crate) has_generation: bool,
    pub(crate) scale: Option<Scale>,
    /// The OpenAPI schema of a custom resource.
    pub(crate) schema: Option<Value>,
    /// Paths that a field selector may name besides name and namespace: `.spec.nodeName`.
    pub(crate) selectable: Vec<String>,
    /// Whether an update must say which version it has read.
    pub(crate) needs_version: bool,
}

/// Where `scale` reads and writes, as JSON pointers.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    pub(crate) replicas: String,
    pub(crate) status_replicas: String,
    pub(crate) selector: Option<String>,
}

impl Kind {
    /// Returns `statefulsets.apps`, or `pods` in the core group.
    pub(crate) fn resource(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!("{}{dot}{}", self.plural, self.group)
    }

    /// Returns `apps/v1`, or `v1` in the core group.
    pub(crate) fn api_version(&self) -> String {
        let slash = if self.group.is_empty() { "" } else { "/" };
        format!("{}{slash}{}", self.group, self.version)
    }
}

/// (group, version, plural, kind, flags): `n` namespaced, `s` status, `g` generation, `c` scale, `v` needs a version.
const BUILTIN: [(&str, &str, &str, &str, &str); 24] = [
    ("", "v1", "pods", "Pod", "nsg"),
    ("", "v1", "services", "Service", "ns"),
    ("", "v1", "configmaps", "ConfigMap", "n"),
    ("", "v1", "secrets", "Secret", "n"),
    ("", "v1", "serviceaccounts", "ServiceAccount", "n"),
    ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "ns"),
    ("", "v1", "persistentvolumes", "PersistentVolume", "s"),
    ("", "v1", "events", "Event", "n"),
    ("", "v1", "namespaces", "Namespace", "s"),
    ("", "v1", "nodes", "Node", "s"),
    ("apps", "v1", "statefulsets", "StatefulSet", "nsgc"),
    ("apps", "v1", "deployments", "Deployment", "nsgc"),
    ("apps", "v1", "controllerrevisions", "ControllerRevision", "n"),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "nsgv"),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "ng"),
    ("rbac.authorization.k8s.io", "v1", "roles", "Role", "n"),
    ("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", "n"),
    ("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", ""),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", ""),
    ("coordination.k8s.io", "v1", "leases", "Lease", "nv"),
    ("events.k8s.io", "v1", "events", "Event", "n"),
    ("storage.k8s.io", "v1", "storageclasses", "StorageClass", ""),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", "n"),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", "sgv"),
];

/// Every resource by what [`Kind::resource`] returns.
#[derive(Clone, Debug)]
pub(crate) struct Kinds {
    known: BTreeMap<String, Arc<Kind>>,
}

impl Kinds {
    /// Returns the resources of a server without definitions.
    pub(crate) fn builtin() -> Self {
        let mut kinds = Self { known: BTreeMap::new() };
        for (group, version, plural, kind, flags) in BUILTIN {
            let scale = flags.contains('c').then(|| Scale {
                replicas: "/spec/replicas".to_owned(),
                status_replicas: "/status/replicas".to_owned(),
                selector: None,
            });
            let selectable: &[&str] = match plural {
                "pods" => &[".spec.nodeName", ".status.phase", ".spec.serviceAccountName"],
                "events" => &[".involvedObject.name", ".involvedObject.uid", ".reason", ".type"],
                _ => &[],
            };
            kinds.add(Kind {
                group: group.to_owned(),
                version: version.to_owned(),
                plural: plural.to_owned(),
                kind: kind.to_owned(),
                namespaced: flags.contains('n'),
                has_status: flags.contains('s'),
                has_generation: flags.contains('g'),
                scale,
                schema: None,
                selectable: selectable.iter().map(|&path| path.to_owned()).collect(),
                needs_version: flags.contains('v'),
            });
        }
        kinds
    }

    /// Serves what `definition` (a `CustomResourceDefinition`) defines: its stored version.
    pub(crate) fn define(&mut self, definition: &Value) {
        let is_stored = |version: &&Value| version["storage"] == true;
        let version = items(definition, "/spec/versions").iter().find(is_stored).unwrap();
        let pointer = |path: &Value| path.as_str().map(|path| path.replace('.', "/"));
        let scale = version.pointer("/subresources/scale").map(|scale| Scale {
            replicas: pointer(&scale["specReplicasPath"]).unwrap(),
            status_replicas: pointer(&scale["statusReplicasPath"]).unwrap(),
            selector: pointer(&scale["labelSelectorPath"]),
        });
        let selectable = items(version, "/selectableFields").iter();
        self.add(Kind {
            group: text(definition, "/spec/group").to_owned(),
            version: text(version, "/name").to_owned(),
            plural: text(definition, "/spec/names/plural").to_owned(),
            kind: text(definition, "/spec/names/kind").to_owned(),
            namespaced: text(definition, "/spec/scope") == "Namespaced",
            has_status: version.pointer("/subresources/status").is_some(),
            has_generation: true,
            scale,
            schema: version.pointer("/schema/openAPIV3Schema").cloned(),
            selectable: selectable.map(|field| text(field, "/jsonPath").to_owned()).collect(),
            needs_version: true,
        });
    }

    fn add(&mut self, kind: Kind) {
        self.known.insert(kind.resource(), Arc::new(kind));
    }

    /// Returns the resource by its full name.
    pub(crate) fn get(&self, resource: &str) -> Option<Arc<Kind>> {
        self.known.get(resource).cloned()
    }

    /// Returns the resource at a path's group, version and plural.
    pub(crate) fn at(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        let fits = |kind: &&Arc<Kind>| {
            kind.group == group && kind.version == version && kind.plural == plural
        };
        self.known.values().find(fits).cloned()
    }

    /// Returns the resource of an object.
    pub(crate) fn of(&self, object: &Value) -> Option<Arc<Kind>> {
        let (api_version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
        let fits = |known: &&Arc<Kind>| known.kind == kind && known.api_version() == api_version;
        self.known.values().find(fits).cloned()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.known.values()
    }
}
