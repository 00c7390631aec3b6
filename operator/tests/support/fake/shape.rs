//! How a list or a map is merged: as one value, or element by element; from a table, or from a custom resource's schema.
//!
//! Source: the `x-kubernetes-list-type`, `-list-map-keys` and `-map-type` of the OpenAPI of Kubernetes 1.34.

use serde_json::{Map, Value};

use super::fields::Step;
use super::json::text;
use super::kind::Kind;

/// How the elements of a list are told apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum List {
    /// They are not: the list is one value.
    Atomic,
    /// By their value.
    Set,
    /// By some of their fields.
    Keyed(Vec<String>),
}

impl List {
    /// The step to `element`; `None` where the list is one value.
    pub(crate) fn step(&self, element: &Value) -> Option<Step> {
        match self {
            Self::Atomic => None,
            Self::Set => Some(Step::Element(element.to_string())),
            Self::Keyed(keys) => {
                let key = |name: &String| {
                    let default = if name == "protocol" { "TCP".into() } else { Value::Null };
                    (name.clone(), element.get(name).cloned().unwrap_or(default))
                };
                let present = |(_, value): &(String, Value)| !value.is_null();
                Some(Step::key(keys.iter().map(key).filter(present).collect::<Map<_, _>>()))
            }
        }
    }
}

/// A place in the objects of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Shape<'a> {
    kind: &'a Kind,
    /// The fields from the root on; the steps into lists are left out.
    names: Vec<String>,
    schema: Option<&'a Value>,
}

impl<'a> Shape<'a> {
    /// The root of the objects of `kind`.
    pub(crate) fn root(kind: &'a Kind) -> Self {
        Self { kind, names: Vec::new(), schema: kind.schema.as_ref() }
    }

    /// The field `name` of the map here.
    pub(crate) fn field(&self, name: &str) -> Self {
        let mut names = self.names.clone();
        names.push(name.to_owned());
        let schema = self.schema.and_then(|schema| {
            let declared = schema.get("properties").and_then(|properties| properties.get(name));
            declared.or_else(|| schema.get("additionalProperties"))
        });
        Self { kind: self.kind, names, schema }
    }

    /// The elements of the list here.
    pub(crate) fn element(&self) -> Self {
        let schema = self.schema.and_then(|schema| schema.get("items"));
        Self { kind: self.kind, names: self.names.clone(), schema }
    }

    /// Whether the table tells, and not a schema.
    fn is_builtin(&self) -> bool {
        self.kind.schema.is_none() || self.names.first().is_some_and(|name| name == "metadata")
    }

    fn name(&self, from_the_end: usize) -> &str {
        let at = self.names.len().checked_sub(from_the_end + 1);
        at.map_or("", |at| self.names[at].as_str())
    }

    /// How the list here is merged.
    pub(crate) fn list(&self) -> List {
        if self.is_builtin() {
            return self.builtin_list();
        }
        let schema = self.schema.unwrap_or(&Value::Null);
        match text(schema, "/x-kubernetes-list-type") {
            "set" => List::Set,
            "map" => {
                let keys = super::json::items(schema, "/x-kubernetes-list-map-keys").iter();
                List::Keyed(keys.filter_map(Value::as_str).map(str::to_owned).collect())
            }
            _ => List::Atomic,
        }
    }

    fn builtin_list(&self) -> List {
        let keyed = |keys: &[&str]| List::Keyed(keys.iter().map(|&key| key.to_owned()).collect());
        let is_account = self.kind.kind == "ServiceAccount";
        let is_top = self.names.len() == 2;
        match self.name(0) {
            "finalizers" if self.name(1) == "metadata" => List::Set,
            "podCIDRs" => List::Set,
            "ownerReferences" => keyed(&["uid"]),
            "conditions" if self.name(1) == "status" => keyed(&["type"]),
            "addresses" if is_top && self.kind.kind == "Node" => keyed(&["type"]),
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "volumes"
            | "env"
            | "schedulingGates"
            | "resourceClaims" => keyed(&["name"]),
            "imagePullSecrets" if !is_account => keyed(&["name"]),
            "secrets" if is_account => keyed(&["name"]),
            "volumeMounts" => keyed(&["mountPath"]),
            "volumeDevices" => keyed(&["devicePath"]),
            "hostAliases" | "podIPs" => keyed(&["ip"]),
            "topologySpreadConstraints" => keyed(&["topologyKey", "whenUnsatisfiable"]),
            "ports" if self.name(1).to_lowercase().ends_with("containers") => {
                keyed(&["containerPort", "protocol"])
            }
            "ports" if is_top && self.kind.kind == "Service" => keyed(&["port", "protocol"]),
            _ => List::Atomic,
        }
    }

    /// Whether the map here is one value.
    pub(crate) fn is_atomic_map(&self) -> bool {
        if !self.is_builtin() {
            return self
                .schema
                .is_some_and(|schema| text(schema, "/x-kubernetes-map-type") == "atomic");
        }
        let atomic = [
            "selector",
            "labelSelector",
            "namespaceSelector",
            "podSelector",
            "nodeSelector",
            "configMapKeyRef",
            "secretKeyRef",
            "fieldRef",
            "resourceFieldRef",
            "claimRef",
            "dataSource",
            "dataSourceRef",
            "roleRef",
            "involvedObject",
            "regarding",
            "ownerReferences",
            "imagePullSecrets",
        ];
        let is_node_affinity = self.name(1) == "nodeAffinity";
        atomic.contains(&self.name(0))
            || (is_node_affinity && self.name(0).starts_with("requiredDuring"))
    }
}
