//! Writes what belongs to a cluster, and has the caches know at once.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::owned::Cache;
use crate::apply::{Applied, Pass};
use crate::clock::Clock;
use crate::error::Error;

/// What goes with a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owns {
    /// What the object owns goes after it.
    Follows,
    /// What it owns goes before it.
    Leads,
    /// What it owns stays: another of its name takes it over.
    Stays,
}

/// Whoever writes in one look.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hand<'a> {
    pub(super) pass: &'a Pass,
    pub(super) clock: Clock,
}

impl Hand<'_> {
    /// Has `wanted` be there; returns whether anything was written.
    ///
    /// # Errors
    /// As the API server answers.
    pub(super) async fn put<K>(
        &self,
        cache: &Cache<K>,
        wanted: &K,
        live: Option<&K>,
    ) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        match self.pass.apply(wanted, live).await? {
            Applied::Unchanged => Ok(false),
            Applied::Written(written) => {
                cache.wrote(live, *written);
                Ok(true)
            }
        }
    }

    /// Deletes `live`; returns whether it was there, and not going yet.
    ///
    /// # Errors
    /// As the API server answers.
    pub(super) async fn delete<K>(
        &self,
        cache: &Cache<K>,
        live: &K,
        owns: Owns,
    ) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let is_asked = match owns {
            Owns::Follows => self.pass.delete(live).await?,
            Owns::Leads => self.pass.delete_last(live).await?,
            Owns::Stays => self.pass.delete_alone(live).await?,
        };
        if is_asked {
            cache.removed(live, self.clock.wall());
        }
        Ok(is_asked)
    }
}
