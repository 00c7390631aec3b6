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
                "message": format!("conflict with {manager}"),
                "field": field,
            })
        };
        let causes = conflicts.iter().map(cause).collect();
        let said = if let [(manager, field)] = conflicts {
            format!("1 conflict: conflict with {manager}: {field}")
        } else {
            let mut lines = Vec::new();
            let mut last = None;
            for (manager, field) in conflicts {
                if last != Some(manager) {
                    lines.push(format!("conflicts with {manager}:"));
                    last = Some(manager);
                }
                lines.push(format!("- {field}"));
            }
            format!("{} conflicts: {}", conflicts.len(), lines.join("\n"))
        };
        let message = format!("Apply failed with {said}");
        Self::new(409, "Conflict", message).with_causes(causes)
    }

    /// What was sent breaks a rule; a pair is (field, why).
    pub(crate) fn invalid(kind: &Kind, name: &str, errors: &[(String, String)]) -> Self {
        let dot = if kind.group.is_empty() { "" } else { "." };
        let subject = format!("{}{dot}{} \"{name}\"", kind.kind, kind.group);
        let mut refusal = Self::broken_rule(&subject, errors);
        refusal.details["kind"] = kind.kind.clone().into();
        refusal.details["group"] = kind.group.clone().into();
        refusal.details["name"] = name.into();
        refusal
    }

    /// An update of a kind that takes none without the version that was read.
    pub(crate) fn no_version(kind: &Kind, name: &str) -> Self {
        let why = "Invalid value: 0: must be specified for an update".to_owned();
        let subject = format!("{} \"{name}\"", kind.resource());
        let wrong = ("metadata.resourceVersion".to_owned(), why);
        let causes = Self::broken_rule(&subject, &[wrong]);
        let details = causes.details["causes"].clone();
        let mut refusal = Self::new(422, "Invalid", causes.message).about(kind, name);
        refusal.details["causes"] = details;
        refusal
    }

    /// An apply that does not say who applies.
    pub(crate) fn no_manager() -> Self {
        let why = "Required value: is required for apply patch".to_owned();
        let mut refusal =
            Self::broken_rule("PatchOptions.meta.k8s.io \"\"", &[("fieldManager".to_owned(), why)]);
        refusal.details["group"] = "meta.k8s.io".into();
        refusal.details["kind"] = "PatchOptions".into();
        refusal
    }

    fn broken_rule(subject: &str, errors: &[(String, String)]) -> Self {
        let cause = |(field, why): &(String, String)| {
            let reason = match why.split_once(['v', ':']).map(|(word, _)| word.trim()) {
                Some("Forbidden") => "FieldValueForbidden",
                Some("Required") => "FieldValueRequired",
                Some("Unsupported") => "FieldValueNotSupported",
                _ => "FieldValueInvalid",
            };
            json!({ "reason": reason, "message": why, "field": field })
        };
        let said: Vec<String> =
            errors.iter().map(|(field, why)| format!("{field}: {why}")).collect();
        let said = said.join(", ");
        let said = if errors.len() > 1 { format!("[{said}]") } else { said };
        let message = format!("{subject} is invalid: {said}");
        Self::new(422, "Invalid", message).with_causes(errors.iter().map(cause).collect())
    }

    /// A deletion that is meant for another object than the one that is there.
    pub(crate) fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.kind);
        let mut refusal = Self::new(409, "Conflict", message).about(kind, name);
        refusal.details["kind"] = kind.kind.clone().into();
        refusal
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

    /// An apply of a field that the schema does not know; an internal error, says the server.
    pub(crate) fn not_in_schema(kind: &Kind, config: &Value, path: &str) -> Self {
        let name = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).unwrap_or("");
        let message = format!(
            "failed to create typed patch object ({}/{}; {}, Kind={}): {path}: field not declared in \
             schema",
            name("/metadata/namespace"),
            name("/metadata/name"),
            kind.api_version(),
            kind.kind
        );
        Self::new(500, "", message)
    }

    pub(crate) fn created_with_version() -> Self {
        let message = "resourceVersion should not be set on objects to be created".to_owned();
        Self::new(500, "", message)
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
    pub(crate) fn disruption_budget(why: &str) -> Self {
        let message =
            "Cannot evict pod as it would violate the pod's disruption budget.".to_owned();
        let cause = json!({ "reason": "DisruptionBudget", "message": why });
        Self::new(429, "TooManyRequests", message).with_causes(vec![cause])
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
        let mut details = self.details.clone();
        let is_said = |_: &String, said: &mut Value| *said != "";
        details.as_object_mut().unwrap().retain(is_said);
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": details,
            "code": self.code,
        })
    }
}
