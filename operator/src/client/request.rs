//! What a request asks for, in words that are few: its labels. Pure.

use hyper::{Method, StatusCode, Uri};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// As RBAC has it.
    pub(super) verb: &'static str,
    /// The kind of the objects; `other` for those that are not listed here.
    pub(super) kind: &'static str,
}

/// Resources as they stand in addresses, and the kind of their objects.
const KINDS: [(&str, &str); 18] = [
    ("clusters", "Cluster"),
    ("configmaps", "ConfigMap"),
    ("customresourcedefinitions", "CustomResourceDefinition"),
    ("endpointslices", "EndpointSlice"),
    ("events", "Event"),
    ("leases", "Lease"),
    ("namespaces", "Namespace"),
    ("networkpolicies", "NetworkPolicy"),
    ("nodes", "Node"),
    ("persistentvolumeclaims", "PersistentVolumeClaim"),
    ("poddisruptionbudgets", "PodDisruptionBudget"),
    ("pods", "Pod"),
    ("secrets", "Secret"),
    ("serviceaccounts", "ServiceAccount"),
    ("services", "Service"),
    ("statefulsets", "StatefulSet"),
    ("storageclasses", "StorageClass"),
    ("topics", "Topic"),
];

impl Asked {
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        let mut parts = uri.path().split('/').filter(|part| !part.is_empty());
        // `api/v1` or `apis/group/version` come first.
        let skipped = if parts.next() == Some("api") { 1 } else { 2 };
        let mut parts = parts.skip(skipped).peekable();
        let first = parts.next();
        let in_namespace = first == Some("namespaces");
        let (resource, name) = match (in_namespace, parts.next(), parts.next()) {
            (true, Some(_), Some(resource)) => (Some(resource), parts.next()),
            (_, name, _) => (first, name),
        };
        let Some(resource) = resource else {
            return Self { verb: "get", kind: "discovery" };
        };
        let kind = KINDS.iter().find(|(plural, _)| *plural == resource);
        let kind = kind.map_or("other", |(_, kind)| *kind);
        let is_watch = uri.query().is_some_and(|query| query.contains("watch=true"));
        let verb = match *method {
            Method::GET if is_watch => "watch",
            Method::GET if name.is_none() => "list",
            Method::GET => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if name.is_none() => "deletecollection",
            Method::DELETE => "delete",
            _ => "other",
        };
        Self { verb, kind }
    }
}

/// How a request ended; `None` is without an answer.
pub(super) fn outcome(code: Option<StatusCode>) -> &'static str {
    match code.map(|code| code.as_u16()) {
        None => "no_answer",
        Some(200..=399) => "ok",
        Some(401 | 403) => "denied",
        Some(404) => "not_found",
        Some(409) => "conflict",
        Some(410) => "gone",
        Some(422) => "invalid",
        Some(429) => "throttled",
        Some(400..=499) => "refused",
        Some(_) => "server_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_counted_by_verb_and_kind() {
        let cases = [
            ("GET", "/apis/ottla.dev/v1alpha1/namespaces/a/topics/orders", "get", "Topic"),
            ("GET", "/apis/ottla.dev/v1alpha1/topics?limit=500", "list", "Topic"),
            ("GET", "/apis/ottla.dev/v1alpha1/topics?&watch=true&timeout=1", "watch", "Topic"),
            ("GET", "/apis/ottla.dev/v1alpha1/namespaces/a/topics", "list", "Topic"),
            ("PATCH", "/apis/ottla.dev/v1alpha1/namespaces/a/topics/x/status?", "patch", "Topic"),
            ("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/x", "update", "Lease"),
            ("POST", "/api/v1/namespaces/a/services?", "create", "Service"),
            ("DELETE", "/api/v1/namespaces/a/pods/x", "delete", "Pod"),
            ("GET", "/api/v1/namespaces/a", "get", "Namespace"),
            ("GET", "/api/v1/nodes/n", "get", "Node"),
            ("GET", "/apis/ottla.dev/v1alpha1", "get", "discovery"),
            ("GET", "/apis/example.com/v1/namespaces/a/things/x", "get", "other"),
        ];
        for (method, uri, verb, kind) in cases {
            let asked = Asked::of(&method.parse().unwrap(), &uri.parse().unwrap());
            assert_eq!(asked, Asked { verb, kind }, "{method} {uri}");
        }
        assert_eq!((outcome(None), outcome(Some(StatusCode::CREATED))), ("no_answer", "ok"));
    }
}
