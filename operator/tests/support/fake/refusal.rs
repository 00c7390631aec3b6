//! What the server answers when it does not do what it was asked: a `Status` with code and reason.
//!
//! Source: apimachinery `api/errors`; the words are near the server's, for they end up in statuses and logs.

use serde_json::{Value, json};

use super::kind::Kind;

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// Kind, name and causes of the refusal.
    pub(crate) details: Value,
}

impl Refusal {
    fn new(code: u16, reason: &'static str, message: String) -> Self {
        Self { code, reason, message, details: json!({}) }
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        self.details = json!({ "group": kind.group, "kind": kind.plural, "name": name });
        self
    }

    fn with_causes(mut self, causes: Vec<Value>) -> Self {
        self.details["causes"] = Value::Array(causes);
        self
    }

    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", kind.resource());
        Self::new(404, "NotFound", message).about(kind, name)
    }

    /// No such path: a resource that no definition makes known.
    pub(crate) fn no_such_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(404, "NotFound", message.to_owned())
    }

    pub(crate) fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", kind.resource());
        Self::new(409, "AlreadyExists", message).about(kind, name)
    }

    pub(crate) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.resource());
        Self::new(409, "Conflict", message).about(kind, name)
    }

    /// The object is not what the writer has read.
    pub(crate) fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict(kind, name, why)
    }

    /// Others own fields that an apply without force would change; a pair is (manager, field).
    pub(crate) fn field_conflicts(conflicts: &[(String, String)]) -> Self {
        let cause = |(manager, field): &(String, String)| {
            json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with \"{manager}\""),
                "field": field,
            })
        };
        let count = conflicts.len();
        let (noun, first) = (if count == 1 { "conflict" } else { "conflicts" }, &conflicts[0]);
        let message =
            format!("Apply failed with {count} {noun}: conflict with \"{}\": {}", first.0, first.1);
        let causes = conflicts.iter().map(cause).collect();
        Self::new(409, "Conflict", message).with_causes(causes)
    }

    /// What was sent breaks a rule; a pair is (field, why).
    pub(crate) fn invalid(kind: &Kind, name: &str, errors: &[(String, String)]) -> Self {
        let cause = |(field, why): &(String, String)| json!({ "reason": "FieldValueInvalid", "message": why, "field": field });
        let said: Vec<String> =
            errors.iter().map(|(field, why)| format!("{field}: {why}")).collect();
        let message =
            format!("{}.{} \"{name}\" is invalid: {}", kind.kind, kind.group, said.join(", "));
        let causes = errors.iter().map(cause).collect();
        Self::new(422, "Invalid", message).about(kind, name).with_causes(causes)
    }

    pub(crate) fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("{} \"{name}\" is forbidden: {why}", kind.resource());
        Self::new(403, "Forbidden", message).about(kind, name)
    }

    pub(crate) fn terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let cause = json!({
            "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        });
        Self::forbidden(kind, name, &why).with_causes(vec![cause])
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message.into())
    }

    pub(crate) fn not_allowed(verb: &str) -> Self {
        let message =
            format!("the server does not allow this method on the requested resource: {verb}");
        Self::new(405, "MethodNotAllowed", message)
    }

    pub(crate) fn unsupported_patch(content_type: &str) -> Self {
        let message = format!("the body of the request was in an unknown format: {content_type}");
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// A watch from a revision that is forgotten.
    pub(crate) fn too_old(asked: u64, floor: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({floor})"))
    }

    /// An eviction that a disruption budget does not allow now.
    pub(crate) fn disruption_budget(kind: &Kind, name: &str, why: &str) -> Self {
        let message =
            "Cannot evict pod as it would violate the pod's disruption budget.".to_owned();
        let cause = json!({ "reason": "DisruptionBudget", "message": why });
        Self::new(429, "TooManyRequests", message).about(kind, name).with_causes(vec![cause])
    }

    /// Any code that a test wants to see handled.
    pub(crate) fn planted(code: u16) -> Self {
        let reason = match code {
            401 => "Unauthorized",
            403 => "Forbidden",
            409 => "Conflict",
            429 => "TooManyRequests",
            500 => "InternalError",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "Unknown",
        };
        Self::new(code, reason, "planted by the test".to_owned())
    }

    /// Returns the body of the answer.
    pub(crate) fn status(&self) -> Value {
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        })
    }
}
