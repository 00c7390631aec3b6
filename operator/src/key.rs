//! What an object is called: unlike its uid, another one may have it later.

use kube::{Resource, ResourceExt as _};

/// The name of an object: its namespace and its own.
pub type Key = (String, String);

/// Returns the name of `object`.
pub fn key(object: &impl Resource) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}
