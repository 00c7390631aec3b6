//! The object of one look as it was last written: what is decided next, and every write of it, goes by that, and no
//! other look begins with an older one.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::apply::{Applied, Pass};
use crate::crd::condition::{Condition, harm};
use crate::error::Error;
use crate::event::Tale;
use crate::latest::Latest;
use crate::reason::Reason;

/// An object that something is done about.
#[derive(Debug)]
pub struct Held<'a, K> {
    pass: &'a Pass,
    latest: &'a Mutex<Latest<K>>,
    object: Arc<K>,
    has_written: bool,
}

impl<'a, K> Held<'a, K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + Serialize + DeserializeOwned,
{
    /// Takes what is known of the object of which a cache has `cached`; `latest` is told what becomes of it.
    pub fn new(pass: &'a Pass, latest: &'a Mutex<Latest<K>>, cached: Arc<K>) -> Self {
        let object = latest.lock().of(cached);
        Self { pass, latest, object, has_written: false }
    }

    /// The object.
    pub fn object(&self) -> &K {
        &self.object
    }

    /// The look.
    pub fn pass(&self) -> &'a Pass {
        self.pass
    }

    /// Whether the object was written.
    pub fn has_written(&self) -> bool {
        self.has_written
    }

    /// Has the object wait for this controller before it goes.
    ///
    /// # Errors
    /// As [`Pass::finalizers`].
    pub async fn hold(&mut self, finalizer: &str) -> Result<(), Error> {
        let applied = self.pass.finalizers(&*self.object, &[finalizer]).await?;
        self.wrote(applied);
        Ok(())
    }

    /// Lets go of the object.
    ///
    /// # Errors
    /// As [`Pass::release`].
    pub async fn release(&self, finalizer: &str) -> Result<(), Error> {
        self.pass.release(&*self.object, finalizer).await
    }

    /// Has the status say `status`; returns whether that was news.
    ///
    /// # Errors
    /// As [`Pass::status`].
    pub async fn say(&mut self, status: &impl Serialize) -> Result<bool, Error> {
        let applied = self.pass.status(&*self.object, status).await?;
        Ok(self.wrote(applied))
    }

    /// Tells an event of the object.
    pub async fn tell(&self, reason: Reason, note: String) {
        self.pass.tell(Tale { reason, note }).await;
    }

    /// Tells what has come to be wrong, where that is worth an event, but for reasons that are told elsewhere.
    pub async fn tell_of_harm(&self, before: &[Condition], now: &[Condition], told: &[Reason]) {
        let (old, new) = (harm(before), harm(now));
        let Some((reason, words)) = new.filter(|_| old != new) else { return };
        let reason = Reason::of(reason).filter(|reason| !told.contains(reason));
        if let Some(reason) = reason.filter(|reason| reason.event().is_some()) {
            self.tell(reason, words.to_owned()).await;
        }
    }

    fn wrote(&mut self, applied: Applied<K>) -> bool {
        let Applied::Written(written) = applied else { return false };
        let written = Arc::new(*written);
        self.latest.lock().wrote(Some(&self.object), &written);
        self.object = written;
        self.has_written = true;
        true
    }
}
