//! What a client asks: verb, resource, name, parameters, body.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::http::request::Parts;
use serde_json::Value;

use super::kind::{Kind, Kinds};
use super::refusal::Refusal;
use super::selector::Selector;
use super::watch::Scope;

/// A request that was understood.
#[derive(Debug)]
pub(crate) struct Request {
    /// As RBAC has it: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub(crate) verb: &'static str,
    pub(crate) kind: Arc<Kind>,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) content_type: String,
    pub(crate) metadata_only: bool,
    pub(crate) body: Value,
}

impl Request {
    /// Reads the head and the body of a request.
    pub(crate) fn read(kinds: &Kinds, head: &Parts, body: &[u8]) -> Result<Self, Refusal> {
        let path: Vec<&str> = head.uri.path().split('/').filter(|part| !part.is_empty()).collect();
        let (group, rest) = match path.split_first() {
            Some((&"api", rest)) => ("", rest),
            Some((&"apis", [group, rest @ ..])) => (*group, rest),
            _ => return Err(Refusal::no_such_resource()),
        };
        let Some((version, rest)) = rest.split_first() else {
            return Err(Refusal::no_such_resource());
        };
        let (namespace, rest) = match rest {
            ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            _ => ("", rest),
        };
        let plural = rest.first().copied().unwrap_or_default();
        let kind = kinds.at(group, version, plural).ok_or_else(Refusal::no_such_resource)?;
        let query = parameters(head.uri.query().unwrap_or_default());
        let name = rest.get(1).copied().unwrap_or_default().to_owned();
        let verb = verb(head.method.as_str(), &name, &query)?;
        let header = |name: &str| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        Ok(Self {
            verb,
            kind,
            namespace: namespace.to_owned(),
            name,
            subresource: rest.get(2).copied().unwrap_or_default().to_owned(),
            query,
            content_type: header("content-type"),
            metadata_only: header("accept").contains("as=PartialObjectMetadata"),
            body: read_body(body)?,
        })
    }

    /// Returns a parameter; empty where it is not given.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// Returns who writes; a client without a name of its own is `unknown`.
    pub(crate) fn manager(&self) -> &str {
        let manager = self.parameter("fieldManager");
        if manager.is_empty() { "unknown" } else { manager }
    }

    /// Whether nothing is to be stored; a deletion says so in its body.
    pub(crate) fn is_dry_run(&self) -> bool {
        let in_body = self.body["dryRun"][0] == "All" && self.verb.starts_with("delete");
        self.parameter("dryRun") == "All" || in_body
    }

    /// Returns what a list or a watch is about.
    pub(crate) fn scope(&self) -> Result<Scope, Refusal> {
        let (labels, fields) = (self.parameter("labelSelector"), self.parameter("fieldSelector"));
        Ok(Scope {
            resource: self.kind.resource(),
            api_version: self.kind.api_version(),
            kind: self.kind.kind.clone(),
            namespace: self.namespace.clone(),
            selector: Selector::parse(&self.kind, labels, fields)?,
            metadata_only: self.metadata_only,
        })
    }
}

fn verb(
    method: &str,
    name: &str,
    query: &BTreeMap<String, String>,
) -> Result<&'static str, Refusal> {
    let watches = query.get("watch").is_some_and(|watch| ["1", "true"].contains(&watch.as_str()));
    match (method, name.is_empty()) {
        ("GET", _) if watches => Ok("watch"),
        ("GET", true) => Ok("list"),
        ("GET", false) => Ok("get"),
        ("POST", _) => Ok("create"),
        ("PUT", false) => Ok("update"),
        ("PATCH", false) => Ok("patch"),
        ("DELETE", false) => Ok("delete"),
        ("DELETE", true) => Ok("deletecollection"),
        _ => Err(Refusal::not_allowed(method)),
    }
}

fn read_body(body: &[u8]) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(body).map_err(|error| Refusal::bad_request(error.to_string()))
}

/// Reads the parameters of a query.
pub(crate) fn parameters(query: &str) -> BTreeMap<String, String> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name), decode(value))
    };
    query.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// Undoes the encoding of a query.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                bytes.push(code);
                rest = &after[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
