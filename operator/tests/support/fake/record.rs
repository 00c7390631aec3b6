//! What clients asked, in order, and what they were answered.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::json::digest;

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// When, since the start.
    pub(crate) at: Duration,
    /// The connection that it came over.
    pub(crate) client: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; empty where not understood.
    pub(crate) verb: &'static str,
    /// `statefulsets.apps`.
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) manager: String,
    pub(crate) content_type: String,
    pub(crate) body: Value,
    /// What was answered, or would have been; `None` where the call never arrived.
    pub(crate) code: Option<u16>,
    /// Whether the client did not get the answer.
    pub(crate) is_answer_lost: bool,
    /// Whether anything was stored.
    pub(crate) has_changed: bool,
}

/// The verb of a call to somebody else that asks for a change.
pub(crate) const TELL: &str = "tell";

/// Verbs that ask the server for a change.
pub(crate) const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

impl Call {
    /// Whether it asked for a change, of the server or of somebody else.
    pub(crate) fn is_write(&self) -> bool {
        WRITES.contains(&self.verb) || self.verb == TELL
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, client, verb, target, body, .. } = self;
        write!(formatter, "{:.3} {client}: {verb} {target}", at.as_secs_f64())?;
        if self.is_write() {
            // Two calls with the same digest said the same.
            write!(formatter, " ({:016x})", digest(body))?;
        }
        match self.code {
            Some(code) => write!(formatter, " -> {code}")?,
            None => write!(formatter, " -> refused")?,
        }
        formatter.write_str(if self.is_answer_lost { ", answer lost" } else { "" })?;
        formatter.write_str(if self.has_changed { ", changed" } else { "" })
    }
}
