//! From a request to its answer.

use std::sync::Arc;

use serde_json::{Value, json};

use super::deletion::Deletion;
use super::eviction::evict;
use super::json::{copy, merge_patch, number, put, text};
use super::refusal::Refusal;
use super::request::Request;
use super::selector::Selector;
use super::state::{State, Who};
use super::store::Key;
use super::watch::{Scope, list, metadata_of};

/// What is answered.
pub(crate) enum Answer {
    /// A code and a body.
    Object(u16, Arc<Value>),
    /// A stream of events.
    Watch(Box<Scope>),
}

/// Does what `request` asks.
pub(crate) fn serve(state: &mut State, request: &Request) -> Result<Answer, Refusal> {
    let key = Key::new(&request.kind.resource(), &request.namespace, &request.name);
    let answer = match request.verb {
        "watch" => Answer::Watch(Box::new(request.scope()?)),
        "list" => {
            let listed = list(&request.kind, &request.scope()?, &state.store);
            Answer::Object(200, Arc::new(listed))
        }
        "get" => Answer::Object(200, get(state, &key, request)?),
        "create" if request.subresource == "eviction" => {
            evict(state, &key, &request.body)?;
            let done = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
            });
            Answer::Object(201, Arc::new(done))
        }
        "create" if request.name.is_empty() => {
            let (kind, body) = (request.kind.clone(), request.body.clone());
            Answer::Object(201, state.create(&kind, &request.namespace, body, who(request))?)
        }
        "update" | "patch" => write(state, &key, request)?,
        "delete" => Answer::Object(200, delete(state, &key, request)?),
        "deletecollection" => Answer::Object(200, Arc::new(delete_all(state, request)?)),
        verb => return Err(Refusal::not_allowed(verb)),
    };
    let shows_less = request.metadata_only && request.verb != "list";
    Ok(match answer {
        Answer::Object(code, object) if shows_less => {
            Answer::Object(code, Arc::new(metadata_of(&object)))
        }
        Answer::Object(..) | Answer::Watch(_) => answer,
    })
}

fn who(request: &Request) -> Who<'_> {
    Who {
        manager: request.manager(),
        subresource: &request.subresource,
        dry_run: request.is_dry_run(),
    }
}

fn admit_subresource(request: &Request) -> Result<(), Refusal> {
    let kind = &request.kind;
    match request.subresource.as_str() {
        "" => Ok(()),
        "status" if kind.has_status => Ok(()),
        "scale" if kind.scale.is_some() => Ok(()),
        _ => Err(Refusal::no_such_resource()),
    }
}

fn get(state: &State, key: &Key, request: &Request) -> Result<Arc<Value>, Refusal> {
    admit_subresource(request)?;
    let found = state.store.get_shared(key).cloned();
    let object = found.ok_or_else(|| Refusal::not_found(&request.kind, &key.name))?;
    let is_scale = request.subresource == "scale";
    Ok(if is_scale { Arc::new(scale_of(request, &object)) } else { object })
}

fn write(state: &mut State, key: &Key, request: &Request) -> Result<Answer, Refusal> {
    admit_subresource(request)?;
    let is_apply = request.verb == "patch" && request.content_type.contains("apply-patch");
    if request.subresource == "scale" {
        return scale(state, key, request);
    }
    admit_media_type(request)?;
    let who = who(request);
    if is_apply {
        if request.parameter("fieldManager").is_empty() {
            return Err(Refusal::no_manager());
        }
        let force = request.parameter("force") == "true";
        let (object, is_new) = state.apply(key, &request.body, who, force)?;
        return Ok(Answer::Object(if is_new { 201 } else { 200 }, object));
    }
    let object = state.update(key, who, |object| change(request, object))?;
    Ok(Answer::Object(200, object))
}

const PATCHES: [&str; 3] =
    ["application/merge-patch+json", "application/json-patch+json", "application/apply-patch+yaml"];

/// Refuses a patch of another form, and an object with another name than that in the path.
fn admit_media_type(request: &Request) -> Result<(), Refusal> {
    let media_type = request.content_type.split(';').next().unwrap_or_default();
    if request.verb == "patch" && !PATCHES.contains(&media_type) {
        return Err(Refusal::unsupported_patch(media_type));
    }
    let sent = text(&request.body, "/metadata/name");
    if request.verb == "update" && sent != request.name {
        let path = &request.name;
        return Err(Refusal::bad_request(format!(
            "the name of the object ({sent}) does not match the name on the URL ({path})"
        )));
    }
    Ok(())
}

/// Changes `object` as the body of an update or a patch says.
fn change(request: &Request, object: &mut Value) -> Result<(), Refusal> {
    if request.verb == "update" {
        *object = request.body.clone();
        return Ok(());
    }
    match request.content_type.split(';').next().unwrap_or_default() {
        "application/merge-patch+json" => merge_patch(object, &request.body),
        "application/json-patch+json" => super::json_patch::change(object, &request.body)?,
        other => return Err(Refusal::unsupported_patch(other)),
    }
    Ok(())
}

/// Shows an object as its `Scale`.
fn scale_of(request: &Request, object: &Value) -> Value {
    let paths = request.kind.scale.as_ref().unwrap();
    let mut scale = json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {},
        "spec": {},
        "status": { "replicas": number(object, &paths.status_replicas).unwrap_or(0) },
    });
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        copy(&mut scale, object, &format!("/metadata/{field}"));
    }
    if let Some(replicas) = number(object, &paths.replicas).filter(|replicas| *replicas != 0) {
        put(&mut scale, "/spec/replicas", replicas);
    }
    if let Some(selector) = &paths.selector {
        put(&mut scale, "/status/selector", text(object, selector));
    } else {
        let labels = super::json::pairs(object, "/spec/selector/matchLabels");
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !labels.is_empty() {
            put(&mut scale, "/status/selector", labels.join(","));
        }
    }
    scale
}

fn scale(state: &mut State, key: &Key, request: &Request) -> Result<Answer, Refusal> {
    let who = who(request);
    let pointer = request.kind.scale.as_ref().unwrap().replicas.clone();
    let object = state.update(key, who, |object| {
        let mut scale = scale_of(request, object);
        if request.content_type.contains("apply-patch") {
            merge_patch(&mut scale, &request.body);
        } else {
            change(request, &mut scale)?;
        }
        let version = text(&scale, "/metadata/resourceVersion");
        if !version.is_empty() {
            put(object, "/metadata/resourceVersion", version);
        }
        put(object, &pointer, number(&scale, "/spec/replicas").unwrap_or(0));
        Ok(())
    })?;
    Ok(Answer::Object(200, Arc::new(scale_of(request, &object))))
}

/// Kinds whose deletion is answered with the object even where it is gone.
const RETURNS_OBJECT: [&str; 5] =
    ["Pod", "Service", "ServiceAccount", "PersistentVolume", "PersistentVolumeClaim"];

fn delete(state: &mut State, key: &Key, request: &Request) -> Result<Arc<Value>, Refusal> {
    let before = state.store.get_shared(key).cloned();
    let how = Deletion::read(&request.body)?;
    let left = state.delete(key, &how, request.is_dry_run())?;
    let before = before.unwrap();
    let kind = &request.kind;
    Ok(match left {
        Some(object) => object,
        None if RETURNS_OBJECT.contains(&kind.kind.as_str()) => before,
        None => Arc::new(json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {
                "name": key.name,
                "group": kind.group,
                "kind": kind.plural,
                "uid": text(&before, "/metadata/uid"),
            },
        })),
    })
}

fn delete_all(state: &mut State, request: &Request) -> Result<Value, Refusal> {
    let scope = request.scope()?;
    let how = Deletion::read(&request.body)?;
    let listed = list(&request.kind, &scope, &state.store);
    let selector: &Selector = &scope.selector;
    let keys: Vec<Key> = state
        .store
        .list(&scope.resource, &scope.namespace)
        .filter(|(_, object)| selector.matches(object))
        .map(|(key, _)| key.clone())
        .collect();
    for key in keys {
        state.delete(&key, &how, request.is_dry_run())?;
    }
    Ok(listed)
}
