//! Looks again and again whether enough replicas are in sync: a producer that retries does not show it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{Load, PAUSE};
use crate::deadline;

/// The fewest replicas that each partition has had: one that moves has those that it gets, besides.
type Fewest = BTreeMap<(String, i32), usize>;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Looks until the load is stopped.
pub(super) fn watch(load: &Arc<Load>) {
    let (mut client, mut fewest): (Option<BaseConsumer>, _) = (None, Fewest::new());
    while !load.stopped() {
        if client.is_none() {
            client = load.client().create().ok();
        }
        if client.as_ref().is_none_or(|client| look(load, client, &mut fewest).is_err()) {
            load.history.note("nobody answered who is in sync");
        }
        deadline::pass(PAUSE);
    }
}

fn look(load: &Load, client: &BaseConsumer, fewest: &mut Fewest) -> Result<()> {
    for (name, _) in &load.order.topics {
        let metadata = client.fetch_metadata(Some(name), ANSWER)?;
        for topic in metadata.topics() {
            for partition in topic.partitions() {
                let (id, in_sync) = (partition.id(), partition.isr());
                let replicas = partition.replicas().len();
                let least = fewest.entry((name.clone(), id)).or_insert(replicas);
                *least = replicas.min(*least);
                // A topic of fewer replicas asks for no more than it has.
                let wanted = load.order.min_isr.min(*least);
                if in_sync.len() < wanted {
                    load.figures.thin(&format!("{name}-{id}: {in_sync:?} in sync of {wanted}"));
                }
            }
        }
    }
    Ok(())
}
