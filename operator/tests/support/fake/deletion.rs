//! How an object is asked to go: grace, propagation, preconditions.
//!
//! Source: apimachinery `DeleteOptions`, and `rest.BeforeDelete` of the API server.

use serde_json::Value;

use super::admit::finalizers;
use super::json::{number, put, take, text};
use super::kind::Kind;
use super::refusal::Refusal;

/// What becomes of dependents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They go after the owner.
    #[default]
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

impl Propagation {
    fn finalizer(self) -> Option<&'static str> {
        match self {
            Self::Background => None,
            Self::Foreground => Some("foregroundDeletion"),
            Self::Orphan => Some("orphan"),
        }
    }
}

/// `DeleteOptions`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deletion {
    pub(crate) grace: Option<u64>,
    pub(crate) propagation: Propagation,
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
}

impl Deletion {
    /// Deletes at once whatever has no finalizer.
    pub(crate) fn now() -> Self {
        Self { grace: Some(0), ..Self::default() }
    }

    /// Reads the body of a request.
    pub(crate) fn read(body: &Value) -> Result<Self, Refusal> {
        let owned = |pointer: &str| {
            let text = body.pointer(pointer).and_then(Value::as_str);
            text.map(str::to_owned)
        };
        let propagation = match text(body, "/propagationPolicy") {
            "" | "Background" => Propagation::Background,
            "Foreground" => Propagation::Foreground,
            "Orphan" => Propagation::Orphan,
            other => {
                return Err(Refusal::bad_request(format!("invalid propagationPolicy: {other}")));
            }
        };
        Ok(Self {
            grace: body["gracePeriodSeconds"].as_u64(),
            propagation,
            uid: owned("/preconditions/uid"),
            version: owned("/preconditions/resourceVersion"),
        })
    }

    /// Holds the preconditions against the object.
    pub(super) fn admit(&self, kind: &Kind, object: &Value) -> Result<(), Refusal> {
        let name = text(object, "/metadata/name");
        let rules = [
            ("UID", &self.uid, "uid", "deleted and then recreated"),
            ("ResourceVersion", &self.version, "resourceVersion", "modified"),
        ];
        for (word, wanted, field, what) in rules {
            let found = text(object, &format!("/metadata/{field}"));
            if let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != found) {
                let why = format!(
                    "the {word} in the precondition ({wanted}) does not match the {word} in record \
                     ({found}). The object might have been {what}"
                );
                return Err(Refusal::precondition(kind, name, &why));
            }
        }
        Ok(())
    }

    /// Returns `object` with the finalizers of the propagation, and the seconds of grace that it has.
    pub(super) fn mark(&self, kind: &Kind, object: &Value) -> (Value, u64) {
        let mut after = object.clone();
        let was_deleted = object.pointer("/metadata/deletionTimestamp").is_some();
        let mut kept = finalizers(object);
        if !was_deleted {
            kept.retain(|name| !["foregroundDeletion", "orphan"].contains(&name.as_str()));
            kept.extend(self.propagation.finalizer().map(str::to_owned));
        }
        if kept.is_empty() {
            take(&mut after, "/metadata/finalizers");
        } else {
            put(&mut after, "/metadata/finalizers", kept);
        }
        if kind.kind == "Namespace" {
            put(&mut after, "/status/phase", "Terminating");
        }
        (after, self.grace_of(kind, object))
    }

    /// Only a pod that runs somewhere has time to end.
    fn grace_of(&self, kind: &Kind, object: &Value) -> u64 {
        let has_ended = ["Succeeded", "Failed"].contains(&text(object, "/status/phase"));
        if kind.kind != "Pod" || text(object, "/spec/nodeName").is_empty() || has_ended {
            return 0;
        }
        let own = number(object, "/metadata/deletionGracePeriodSeconds").map(|own| own as u64);
        let default = number(object, "/spec/terminationGracePeriodSeconds").unwrap_or(30) as u64;
        let asked = self.grace.unwrap_or(default);
        // A second deletion only shortens.
        own.map_or(asked, |own| own.min(asked))
    }
}
