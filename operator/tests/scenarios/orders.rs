//! What scenarios do with the cluster `orders`, and see of it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::stage::{Stage, condition};
use super::support::fake::Fake;

/// Has a field of the spec have a value.
pub(crate) fn edit(fake: &Fake, field: &str, value: impl Into<Value>) {
    fake.edit("clusters", "default", "orders", &format!("/spec/{field}"), value).unwrap();
}

/// What is said of it; nothing where it is gone.
pub(crate) fn status(fake: &Fake) -> Value {
    fake.get("clusters", "default", "orders").unwrap_or_default()["status"].clone()
}

/// The status of one of its conditions.
pub(crate) fn is(fake: &Fake, name: &str) -> String {
    condition(fake, "clusters", "orders", name)
}

/// It is ready, and nothing is under way or wrong.
pub(crate) fn is_whole(fake: &Fake) {
    let all = ["Ready", "Progressing", "Degraded", "Paused"].map(|name| is(fake, name));
    assert_eq!(all, ["True", "False", "False", "False"], "{:#}", status(fake));
}

/// How often each broker was started.
pub(crate) fn starts(stage: &Stage) -> Vec<u32> {
    stage.model().starts().into_iter().map(|(_, count)| count).collect()
}

/// How many replicas each broker holds.
pub(crate) fn held(stage: &Stage) -> BTreeMap<i32, usize> {
    let mut held = BTreeMap::new();
    stage.model().with(|state| {
        for (_, _, partition) in state.tree.partitions() {
            for id in &partition.replicas {
                *held.entry(*id).or_default() += 1;
            }
        }
    });
    held
}
