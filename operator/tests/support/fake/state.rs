//! Create, update, apply and delete, as the server does them: system metadata, generation, owners of fields,
//! finalizers, conflicts. Whoever writes (a client, or the simulated rest of a cluster) comes through here.
//!
//! Synchronous and alone: one call is one transaction.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::admit::{admit, finalizers, grows};
use super::clock::Clock;
use super::deletion::Deletion;
use super::json::{copy, items, number, put, take, text};
use super::kind::{Kind, Kinds};
use super::owners::{self, Writer};
use super::refusal::Refusal;
use super::schema::{nulls, undeclared};
use super::store::{Key, Store};
use super::watch::Watches;
use super::world::World;

/// Everything behind the server.
pub(crate) struct State {
    pub(crate) kinds: Kinds,
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) watches: Watches,
    pub(crate) world: World,
    /// Counts what was given an id.
    pub(crate) ids: u64,
}

/// Who writes, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who<'a> {
    pub(crate) manager: &'a str,
    /// Empty, or the subresource: `status`, `scale`.
    pub(crate) subresource: &'a str,
    /// Whether nothing is stored.
    pub(crate) dry_run: bool,
}

impl<'a> Who<'a> {
    pub(crate) fn whole(manager: &'a str) -> Self {
        Self { manager, subresource: "", dry_run: false }
    }

    pub(crate) fn status(manager: &'a str) -> Self {
        Self { manager, subresource: "status", dry_run: false }
    }
}

impl State {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            kinds: Kinds::builtin(),
            store: Store::default(),
            clock,
            watches: Watches::default(),
            world: World::default(),
            ids: 0,
        }
    }

    /// Returns the kind of a resource that the server has.
    pub(crate) fn kind(&self, resource: &str) -> Arc<Kind> {
        self.kinds.get(resource).unwrap_or_else(|| panic!("no resource {resource}"))
    }

    fn next_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Creates `object`; returns it as stored.
    pub(crate) fn create(
        &mut self,
        kind: &Kind,
        namespace: &str,
        mut object: Value,
        who: Who<'_>,
    ) -> Result<Arc<Value>, Refusal> {
        if !text(&object, "/metadata/resourceVersion").is_empty() {
            return Err(Refusal::created_with_version());
        }
        take(&mut object, "/metadata/managedFields");
        let key = self.admit_new(kind, namespace, &mut object)?;
        let now = self.clock.now();
        let writer = Writer { manager: who.manager, subresource: who.subresource, now: &now };
        owners::update(kind, &skeleton(&object), &mut object, writer);
        initial(kind, &mut object);
        Ok(self.commit(key, object, who))
    }

    /// Makes what is new in an object that is about to be created; returns its key.
    fn admit_new(
        &mut self,
        kind: &Kind,
        namespace: &str,
        object: &mut Value,
    ) -> Result<Key, Refusal> {
        if text(object, "/kind") != kind.kind || text(object, "/apiVersion") != kind.api_version() {
            let message = format!(
                "{} {} in the body, {} {} in the path",
                object["apiVersion"],
                object["kind"],
                kind.api_version(),
                kind.kind
            );
            return Err(Refusal::bad_request(message));
        }
        let prefix = text(object, "/metadata/generateName").to_owned();
        if text(object, "/metadata/name").is_empty() && !prefix.is_empty() {
            let id = self.next_id();
            put(object, "/metadata/name", format!("{prefix}{id:05x}"));
        }
        let name = text(object, "/metadata/name").to_owned();
        if name.is_empty() {
            let why = "Required value: name or generateName is required".to_owned();
            let wrong = ("metadata.name".to_owned(), why);
            return Err(Refusal::invalid(kind, "", &[wrong]));
        }
        if kind.namespaced {
            self.admit_to_namespace(kind, namespace, &name, object)?;
        }
        let key = Key::of(kind, object);
        if self.store.get(&key).is_some() {
            return Err(Refusal::already_exists(kind, &name));
        }
        for field in
            ["uid", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"]
        {
            take(object, &format!("/metadata/{field}"));
        }
        if kind.has_status {
            take(object, "/status");
        }
        admit(kind, object, None)?;
        let id = self.next_id();
        put(object, "/metadata/uid", format!("00000000-0000-4000-8000-{id:012x}"));
        put(object, "/metadata/creationTimestamp", self.clock.now());
        if kind.has_generation {
            put(object, "/metadata/generation", 1);
        }
        Ok(key)
    }

    fn admit_to_namespace(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        object: &mut Value,
    ) -> Result<(), Refusal> {
        let own = text(object, "/metadata/namespace");
        if !own.is_empty() && own != namespace {
            let message = "the namespace of the provided object does not match the namespace sent \
                           on the request";
            return Err(Refusal::bad_request(message));
        }
        let key = Key::new("namespaces", "", namespace);
        let Some(found) = self.store.get(&key) else {
            return Err(Refusal::not_found(&self.kind("namespaces"), namespace));
        };
        if found.pointer("/metadata/deletionTimestamp").is_some() {
            return Err(Refusal::terminating(kind, name, namespace));
        }
        put(object, "/metadata/namespace", namespace);
        Ok(())
    }

    /// Changes the object at `key` to what `change` makes of it; the version in it must be the stored one, or missing.
    pub(crate) fn update(
        &mut self,
        key: &Key,
        who: Who<'_>,
        change: impl FnOnce(&mut Value) -> Result<(), Refusal>,
    ) -> Result<Arc<Value>, Refusal> {
        let kind = self.kind(&key.resource);
        let Some(before) = self.store.get_shared(key).cloned() else {
            return Err(Refusal::not_found(&kind, &key.name));
        };
        let mut after = (*before).clone();
        change(&mut after)?;
        if after == *before {
            return Ok(before);
        }
        let now = self.clock.now();
        let writer = Writer { manager: who.manager, subresource: who.subresource, now: &now };
        self.settle_update(&kind, &before, &mut after, who)?;
        owners::update(&kind, &before, &mut after, writer);
        Ok(self.commit_update(key, &before, after, who))
    }

    /// Applies `config` to the object at `key`; returns it, and whether it was made.
    pub(crate) fn apply(
        &mut self,
        key: &Key,
        config: &Value,
        who: Who<'_>,
        force: bool,
    ) -> Result<(Arc<Value>, bool), Refusal> {
        let kind = self.kind(&key.resource);
        let mut config = config.clone();
        if !items(&config, "/metadata/managedFields").is_empty() {
            return Err(Refusal::bad_request("metadata.managedFields must be nil"));
        }
        if kind.schema.is_none() {
            super::json::drop_nulls(&mut config);
        }
        if let Some(schema) = &kind.schema {
            admit_applied(&kind, &key.name, &config, schema)?;
        }
        keep_part(&kind, &mut config, who.subresource);
        let now = self.clock.now();
        let writer = Writer { manager: who.manager, subresource: who.subresource, now: &now };
        let Some(before) = self.store.get_shared(key).cloned() else {
            if !who.subresource.is_empty() {
                return Err(Refusal::not_found(&kind, &key.name));
            }
            if !text(&config, "/metadata/uid").is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {}, and no existing object was \
                     found",
                    text(&config, "/metadata/uid")
                );
                return Err(Refusal::conflict(&kind, &key.name, &why));
            }
            put(&mut config, "/metadata/name", key.name.clone());
            let mut made = owners::apply(&kind, &skeleton(&config), &config, writer, force)?;
            let key = self.admit_new(&kind, &key.namespace, &mut made)?;
            initial(&kind, &mut made);
            return Ok((self.commit(key, made, who), true));
        };
        let version = text(&config, "/metadata/resourceVersion").to_owned();
        let mut after = owners::apply(&kind, &before, &config, writer, force)?;
        if !version.is_empty() {
            put(&mut after, "/metadata/resourceVersion", version);
        }
        if let Some(uid) = config.pointer("/metadata/uid") {
            put(&mut after, "/metadata/uid", uid.clone());
        }
        let owned = after.clone();
        self.settle_update(&kind, &before, &mut after, who)?;
        copy(&mut after, &owned, "/metadata/managedFields");
        Ok((self.commit_update(key, &before, after, who), false))
    }

    /// Makes of `after`, as it was sent, what may be stored instead of `before`.
    fn settle_update(
        &self,
        kind: &Kind,
        before: &Value,
        after: &mut Value,
        who: Who<'_>,
    ) -> Result<(), Refusal> {
        let name = text(before, "/metadata/name");
        if text(after, "/metadata/name") != name {
            let message = format!(
                "the name of the object ({}) does not match the name on the URL ({name})",
                text(after, "/metadata/name")
            );
            return Err(Refusal::bad_request(message));
        }
        let uid = text(after, "/metadata/uid");
        if !uid.is_empty() && uid != text(before, "/metadata/uid") {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                text(before, "/metadata/uid")
            );
            return Err(Refusal::conflict(kind, name, &why));
        }
        let version = text(after, "/metadata/resourceVersion");
        if version.is_empty() && kind.needs_version {
            return Err(Refusal::no_version(kind, name));
        }
        if !version.is_empty() && version != text(before, "/metadata/resourceVersion") {
            return Err(Refusal::modified(kind, name));
        }
        if who.subresource == "status" {
            keep_all_but_status(kind, before, after);
        } else if kind.has_status {
            copy(after, before, "/status");
        }
        for field in SYSTEM {
            copy(after, before, &format!("/metadata/{field}"));
        }
        admit(kind, after, Some(before))?;
        self.admit_growth(kind, before, after)?;
        refuse_late_finalizers(kind, before, after)?;
        if kind.has_generation && spec_of(before) != spec_of(after) {
            let generation = number(before, "/metadata/generation").unwrap_or(0);
            put(after, "/metadata/generation", generation + 1);
        }
        Ok(())
    }

    /// A claim grows where its class says that it may, and never shrinks.
    fn admit_growth(&self, kind: &Kind, before: &Value, after: &Value) -> Result<(), Refusal> {
        if kind.kind != "PersistentVolumeClaim" {
            return Ok(());
        }
        let name = text(after, "/metadata/name");
        let class =
            Key::new("storageclasses.storage.k8s.io", "", text(after, "/spec/storageClassName"));
        let allowed =
            self.store.get(&class).is_some_and(|class| class["allowVolumeExpansion"] == true);
        let is_bound = text(before, "/status/phase") == "Bound";
        match grows(before, after) {
            Some(true) if !is_bound => {
                let why = "Forbidden: spec is immutable after creation except resources.requests \
                           and volumeAttributesClassName for bound claims";
                let wrong = ("spec".to_owned(), why.to_owned());
                Err(Refusal::invalid(kind, name, &[wrong]))
            }
            Some(true) if !allowed => {
                let why = "only dynamically provisioned pvc can be resized and the storageclass \
                           that provisions the pvc must support resize";
                Err(Refusal::forbidden(kind, name, why))
            }
            Some(_) => Ok(()),
            None => {
                let why = "Forbidden: field can not be less than status.capacity".to_owned();
                let field = "spec.resources.requests.storage".to_owned();
                Err(Refusal::invalid(kind, name, &[(field, why)]))
            }
        }
    }

    /// Deletes the object at `key`; returns it where it stays for now.
    pub(crate) fn delete(
        &mut self,
        key: &Key,
        how: &Deletion,
        dry_run: bool,
    ) -> Result<Option<Arc<Value>>, Refusal> {
        let kind = self.kind(&key.resource);
        let Some(before) = self.store.get_shared(key).cloned() else {
            return Err(Refusal::not_found(&kind, &key.name));
        };
        how.admit(&kind, &before)?;
        let (mut after, grace) = how.mark(&kind, &before);
        let stays = grace > 0 || !finalizers(&after).is_empty() || kind.kind == "Namespace";
        if !stays {
            if !dry_run {
                self.store.remove(key);
            }
            return Ok(None);
        }
        let seconds = Duration::from_secs(grace);
        if before.pointer("/metadata/deletionTimestamp").is_none() {
            put(&mut after, "/metadata/deletionTimestamp", self.clock.after(seconds));
            put(&mut after, "/metadata/deletionGracePeriodSeconds", grace);
            if let Some(generation) = number(&after, "/metadata/generation") {
                put(&mut after, "/metadata/generation", generation + 1);
            }
        } else if grace
            < number(&before, "/metadata/deletionGracePeriodSeconds").unwrap_or(0) as u64
        {
            put(&mut after, "/metadata/deletionTimestamp", self.clock.after(seconds));
            put(&mut after, "/metadata/deletionGracePeriodSeconds", grace);
        }
        let who = Who { manager: "", subresource: "", dry_run };
        Ok(Some(self.commit_update(key, &before, after, who)))
    }

    /// Stores what an update made of `before`, unless nothing changed; the last finalizer of a deleted object takes it
    /// away.
    fn commit_update(
        &mut self,
        key: &Key,
        before: &Arc<Value>,
        after: Value,
        who: Who<'_>,
    ) -> Arc<Value> {
        let is_deleted = after.pointer("/metadata/deletionTimestamp").is_some();
        let grace = number(&after, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
        let is_last = is_deleted && grace == 0 && finalizers(&after).is_empty();
        if is_last && !finalizers(before).is_empty() {
            if !who.dry_run {
                self.store.remove(key);
            }
            return Arc::new(after);
        }
        if **before == after { Arc::clone(before) } else { self.commit(key.clone(), after, who) }
    }

    fn commit(&mut self, key: Key, object: Value, who: Who<'_>) -> Arc<Value> {
        if who.dry_run {
            return Arc::new(object);
        }
        if key.resource == "customresourcedefinitions.apiextensions.k8s.io" {
            self.kinds.define(&object);
        }
        self.store.put(key, object)
    }
}

/// Metadata that no request changes.
const SYSTEM: [&str; 8] = [
    "uid",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "resourceVersion",
    "namespace",
    "managedFields",
];

/// Refuses a `config` with fields that the schema does not know, or with nulls where it wants values.
fn admit_applied(kind: &Kind, name: &str, config: &Value, schema: &Value) -> Result<(), Refusal> {
    if let Some(path) = undeclared(config, schema, "") {
        return Err(Refusal::not_in_schema(kind, config, &path));
    }
    let mut wrong = Vec::new();
    nulls(config, schema, "", &mut wrong);
    if wrong.is_empty() { Ok(()) } else { Err(Refusal::invalid(kind, name, &wrong)) }
}

/// Returns what an object is before anything was said of it.
fn skeleton(object: &Value) -> Value {
    json!({ "apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": {
        "name": object["metadata"]["name"],
    } })
}

/// Takes from `after` what a write of the status does not change; of a built-in kind it changes the metadata too.
fn keep_all_but_status(kind: &Kind, before: &Value, after: &mut Value) {
    let sent = after.clone();
    *after = before.clone();
    copy(after, &sent, "/status");
    if kind.schema.is_none() {
        copy(after, &sent, "/metadata");
    }
}

/// Leaves in an applied `config` what the subresource writes.
fn keep_part(kind: &Kind, config: &mut Value, subresource: &str) {
    let is_status = subresource == "status";
    let is_root = |name: &str| ["apiVersion", "kind", "metadata", "status"].contains(&name);
    if let Some(map) = config.as_object_mut().filter(|_| is_status) {
        map.retain(|name, _| is_root(name));
    } else if kind.has_status {
        take(config, "/status");
    }
}

/// What the server writes into a new object.
fn initial(kind: &Kind, object: &mut Value) {
    match kind.kind.as_str() {
        "Pod" => put(object, "/status", json!({ "phase": "Pending", "qosClass": "Burstable" })),
        "PersistentVolumeClaim" => {
            put(object, "/status", json!({ "phase": "Pending" }));
            let mut kept = finalizers(object);
            kept.push("kubernetes.io/pvc-protection".to_owned());
            put(object, "/metadata/finalizers", kept);
        }
        "StatefulSet" => {
            put(object, "/status", json!({ "replicas": 0, "availableReplicas": 0 }));
        }
        "Service" => put(object, "/status", json!({ "loadBalancer": {} })),
        "PodDisruptionBudget" => {
            let none = json!({
                "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
            });
            put(object, "/status", none);
        }
        "Namespace" => {
            put(object, "/spec/finalizers", json!(["kubernetes"]));
            put(object, "/status", json!({ "phase": "Active" }));
        }
        "CustomResourceDefinition" => {
            let now = object["metadata"]["creationTimestamp"].clone();
            let condition = |name: &str, reason: &str| {
                json!({
                    "type": name,
                    "status": "True",
                    "reason": reason,
                    "lastTransitionTime": now,
                })
            };
            let conditions = [
                condition("NamesAccepted", "NoConflicts"),
                condition("Established", "InitialNamesAccepted"),
            ];
            put(object, "/status/conditions", json!(conditions));
            copy_names(object);
        }
        _ => {}
    }
}

/// Says in a definition's status under which names it is served.
fn copy_names(definition: &mut Value) {
    let names = definition["spec"]["names"].clone();
    put(definition, "/status/acceptedNames", names);
    let versions = items(definition, "/spec/versions").iter();
    let stored = versions.filter(|version| version["storage"] == true);
    let stored: Vec<Value> = stored.map(|version| version["name"].clone()).collect();
    put(definition, "/status/storedVersions", stored);
}

/// Returns the part whose changes count as a generation.
fn spec_of(object: &Value) -> Value {
    let mut spec = object.clone();
    take(&mut spec, "/metadata");
    take(&mut spec, "/status");
    spec
}

fn refuse_late_finalizers(kind: &Kind, before: &Value, after: &Value) -> Result<(), Refusal> {
    if before.pointer("/metadata/deletionTimestamp").is_none() {
        return Ok(());
    }
    let known = finalizers(before);
    let new: Vec<String> =
        finalizers(after).into_iter().filter(|name| !known.contains(name)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let new: Vec<String> = new.iter().map(|name| format!("\"{name}\"")).collect();
    let why = format!(
        "Forbidden: no new finalizers can be added if the object is being deleted, found new \
         finalizers []string{{{}}}",
        new.join(", ")
    );
    let wrong = ("metadata.finalizers".to_owned(), why);
    Err(Refusal::invalid(kind, text(after, "/metadata/name"), &[wrong]))
}
