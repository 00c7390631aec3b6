//! The only writer of Kubernetes objects: server-side apply, nothing where nothing would change, nothing without
//! leadership.
//!
//! A [`Pass`] is one look at one object by its controller; every write of that look goes through it. Each controller has
//! a field manager of its own and applies only the fields that are its own, which is why it may force: a field that
//! somebody else took is taken back, one that nobody here names is left alone. What is there is handed in by who
//! observed it; [`same`] says whether it is as wanted already.
//!
//! A request whose leadership ends while it is under way is dropped. The server may have got it: what was applied is
//! what the next leader finds and mends.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing::info;

use crate::error::Error;
use crate::event::{Recorder, Tale};
use crate::kind::Kind;
use crate::lease::{Deposed, Fence};
use crate::metrics::Metrics;
use crate::reason::Reason;

mod same;

pub use same::is_applied;

/// What controllers write with.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    metrics: Arc<Metrics>,
    events: Recorder,
}

impl Writer {
    /// A writer that counts into `metrics` and tells events by `events`.
    pub fn new(client: Client, metrics: Arc<Metrics>, events: Recorder) -> Self {
        Self { client, metrics, events }
    }
}

impl Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("events", &self.events).finish_non_exhaustive()
    }
}

/// What an object was when it was said to be as it should be: its generation, and a digest of all that was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    generation: i64,
    observed: u64,
}

/// One look at one object. Every write of it goes through here.
#[derive(Debug)]
pub struct Pass {
    writer: Writer,
    kind: Kind,
    about: ObjectReference,
    fence: Fence,
    /// What it was when it was last said to be as it should be.
    converged: Option<Mark>,
    now: Mutex<Mark>,
}

/// What became of an apply.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied<K> {
    /// It was so already; nothing was sent.
    Unchanged,
    /// It is so now.
    Written(Box<K>),
}

impl Pass {
    /// Begins a look at `about`, which was as it should be at `converged`.
    pub fn new(
        writer: Writer,
        kind: Kind,
        (about, generation): (ObjectReference, i64),
        fence: Fence,
        converged: Option<Mark>,
    ) -> Self {
        let now = Mutex::new(Mark { generation, observed: 0 });
        Self { writer, kind, about, fence, converged, now }
    }

    /// The client, for reading.
    pub fn client(&self) -> &Client {
        &self.writer.client
    }

    /// The leadership that this look stands on; its term goes with every call to a broker.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// Takes in a digest of everything that was observed: a write is then no surprise where it differs from that of
    /// the look that found all in order. Without it, only the object's generation counts.
    pub fn observed(&self, digest: u64) {
        self.now.lock().observed = digest;
    }

    /// What the object is now.
    pub fn mark(&self) -> Mark {
        *self.now.lock()
    }

    /// Has `wanted` be there, whose fields are all this controller's; `live` is what is there.
    ///
    /// # Errors
    /// When leadership is lost, or as the server answers. What was written then is not known.
    pub async fn apply<K>(&self, wanted: &K, live: Option<&K>) -> Result<Applied<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let patch = value(wanted, wanted)?;
        self.send(wanted, live, patch, "").await.map_err(Error::of_made)
    }

    /// Sees that no object is there that bears the name of `wanted` and was made for another owner: an apply would take it
    /// over. For what no cache of this controller knows.
    ///
    /// # Errors
    /// Where there is one, in words; or as the server answers.
    pub async fn is_free<K>(&self, wanted: &K) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned,
    {
        let named_so =
            ListParams::default().fields(&format!("metadata.name={}", wanted.name_any()));
        let found = self.guarded(self.api::<K>(wanted).list(&named_so)).await?;
        let found = found.map_err(|error| Error::of_api("look for", named(wanted), error))?;
        let is_ours = |there: &K| {
            let mut owners = wanted.owner_references().iter();
            owners.any(|owner| there.owner_references().iter().any(|own| own.uid == owner.uid))
        };
        if found.items.iter().all(is_ours) {
            return Ok(());
        }
        let on = format!(
            "{} is there, and was not made for this object: delete it, or give this object another name",
            named(wanted)
        );
        Err(Error::Waiting { reason: Reason::Waiting, on })
    }

    /// Has the status of `object` say `status`, whose fields are all this controller's.
    ///
    /// # Errors
    /// As [`Self::apply`]; a conflict where the object is another one by now.
    pub async fn status<K, S>(&self, object: &K, status: &S) -> Result<Applied<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned,
        S: Serialize,
    {
        let mut patch = identity(object);
        patch["status"] = value(object, status)?;
        self.send(object, Some(object), patch, "status").await
    }

    /// As [`Self::status`], where `object` is still the version that it was read as: for what follows from what it said.
    ///
    /// # Errors
    /// As [`Self::status`]; a conflict where anybody has written the object since.
    pub async fn status_of_version<K, S>(&self, object: &K, status: &S) -> Result<Applied<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned,
        S: Serialize,
    {
        let mut patch = identity(object);
        patch["metadata"]["resourceVersion"] = json!(object.resource_version());
        patch["status"] = value(object, status)?;
        self.send(object, Some(object), patch, "status").await
    }

    /// Has `object` have just these finalizers of this controller; those of others stay.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn finalizers<K>(&self, object: &K, ours: &[&str]) -> Result<Applied<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let mut patch = identity(object);
        patch["metadata"]["finalizers"] = json!(ours);
        self.send(object, Some(object), patch, "").await
    }

    /// Takes this controller's finalizer from `object`, whoever else has applied it, too, with a copy of the object.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn release<K>(&self, object: &K, finalizer: &str) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let left = match self.finalizers(object, &[]).await? {
            Applied::Unchanged => object.clone(),
            Applied::Written(written) => *written,
        };
        if !left.finalizers().iter().any(|one| one == finalizer) {
            return Ok(());
        }
        let others: Vec<_> = left.finalizers().iter().filter(|one| *one != finalizer).collect();
        let patch = json!({ "metadata": {
            "finalizers": others, "uid": left.uid(), "resourceVersion": left.resource_version(),
        } });
        let (name, api) = (left.name_any(), self.api::<K>(object));
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(&patch));
        match self.guarded(api.patch(&name, &parameters, &patch)).await? {
            Ok(_) => {
                self.wrote(object, "released");
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(Error::of_api("write", named(object), error)),
        }
    }

    /// Deletes `live`, and no other object of its name, and then what it owns; returns whether there was anything to
    /// delete.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn delete<K>(&self, live: &K) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned,
    {
        self.delete_by(live, DeleteParams::background()).await
    }

    /// Deletes `live` as [`Self::delete`] does, and leaves what it owns: another of its name takes that over.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn delete_alone<K>(&self, live: &K) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned,
    {
        self.delete_by(live, DeleteParams::orphan()).await
    }

    /// Deletes `live` as [`Self::delete`] does, but what it owns first: it is there until that is gone.
    ///
    /// # Errors
    /// As [`Self::status`].
    pub async fn delete_last<K>(&self, live: &K) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned,
    {
        self.delete_by(live, DeleteParams::foreground()).await
    }

    async fn delete_by<K>(&self, live: &K, how: DeleteParams) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned,
    {
        if live.meta().deletion_timestamp.is_some() {
            return Ok(false);
        }
        let preconditions = Preconditions { uid: live.uid(), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..how };
        let name = live.name_any();
        let api = self.api::<K>(live);
        match self.guarded(api.delete(&name, &parameters)).await? {
            Ok(_) => {
                self.wrote(live, "deleted");
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
            Err(error) => Err(Error::of_api("delete", named(live), error)),
        }
    }

    /// Tells an event of the object. It is not written where leadership is lost, and nothing depends on it.
    pub async fn tell(&self, tale: Tale) {
        let told = self.guarded(self.writer.events.tell(&self.about, tale)).await;
        if matches!(told, Ok(true)) {
            self.writer.metrics.wrote(self.kind, "Event", self.is_converged());
        }
    }

    async fn send<K>(
        &self,
        object: &K,
        live: Option<&K>,
        patch: Value,
        subresource: &'static str,
    ) -> Result<Applied<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned,
    {
        let manager = self.kind.manager();
        if let Some(live) = live
            && is_applied(&value(object, live)?, &patch, manager, subresource)
        {
            return Ok(Applied::Unchanged);
        }
        let parameters = PatchParams::apply(manager).force();
        let (name, api, patch) = (object.name_any(), self.api::<K>(object), Patch::Apply(&patch));
        let sent = async {
            match subresource {
                "" => api.patch(&name, &parameters, &patch).await,
                _ => api.patch_subresource(subresource, &name, &parameters, &patch).await,
            }
        };
        match self.guarded(sent).await? {
            Ok(written) => {
                self.wrote(object, if subresource.is_empty() { "applied" } else { subresource });
                Ok(Applied::Written(Box::new(written)))
            }
            Err(error) => Err(Error::of_api("write", named(object), error)),
        }
    }

    /// Runs `request` for as long as this operator leads.
    async fn guarded<T>(&self, request: impl Future<Output = T>) -> Result<T, Error> {
        self.fence.check()?;
        tokio::select! {
            biased;
            answer = request => Ok(answer),
            () = self.fence.lost() => Err(Deposed { term: self.fence.term() }.into()),
        }
    }

    fn wrote<K: Resource<DynamicType = ()>>(&self, object: &K, what: &str) {
        let is_converged = self.is_converged();
        self.writer.metrics.wrote(self.kind, &K::kind(&()), is_converged);
        info!(object = named(object), what, is_converged, "written");
    }

    /// Whether nothing differs from when it was said to be as it should be.
    fn is_converged(&self) -> bool {
        self.converged == Some(self.mark())
    }

    fn api<K>(&self, object: &K) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.writer.client.clone(), &object.namespace().unwrap_or_default())
    }
}

/// Returns `part` of `object` as JSON.
fn value<K: Resource<DynamicType = ()>>(object: &K, part: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(part).map_err(|error| Error::Bug {
        doing: "write as JSON",
        what: named(object),
        source: error.into(),
    })
}

/// Which object it is: this one, and not another that has its name by now.
fn identity<K: Resource<DynamicType = ()>>(object: &K) -> Value {
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {
            "name": object.name_any(), "namespace": object.namespace(), "uid": object.uid(),
        },
    })
}

/// An object in words.
pub fn named<K: Resource<DynamicType = ()>>(object: &K) -> String {
    let namespace = object.namespace().unwrap_or_default();
    format!("{} {namespace}/{}", K::kind(&()), object.name_any())
}

#[cfg(test)]
mod tests;
