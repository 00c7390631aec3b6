//! Topics as they stand in the coordination tree, told one after the other.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker_admin::v1::{PartitionDescription, TopicDescription};
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::config::Config;
use broker_zookeeper::node::partition_state::PartitionState;
use broker_zookeeper::node::topic::Topic;
use broker_zookeeper::path;
use tokio::sync::mpsc;
use tonic::Status;
use tracing::warn;

use super::{tree, unavailable};
use crate::context::Context;
use crate::replica::partition_state::Role;

/// Topics that are read by one request.
const TOGETHER: usize = 100;

/// Tells the topics with these names, or all if there is none, until all are told or nobody listens.
pub(super) async fn tell(
    context: Arc<Context>,
    names: Vec<String>,
    told: mpsc::Sender<Result<TopicDescription, Status>>,
) {
    let describing = describe(&context, names, &told);
    let ended = tokio::select! {
        biased;
        () = told.closed() => return,
        ended = describing => ended,
    };
    if let Err(error) = ended {
        // Who has gone needs no answer.
        let _ = told.send(Err(unavailable(error))).await;
    }
}

async fn describe(
    context: &Context,
    names: Vec<String>,
    told: &mpsc::Sender<Result<TopicDescription, Status>>,
) -> Result<(), TreeError> {
    let store = &**context.admin.store();
    tree::freshen(store).await?;
    let is_named = !names.is_empty();
    let names = if is_named { names } else { tree::children(store, path::TOPICS).await? };
    let names: BTreeSet<_> = names.into_iter().filter(|name| !name.contains('/')).collect();
    let marked = tree::children(store, path::DELETE_TOPICS).await?;
    let marked: BTreeSet<_> = marked.into_iter().collect();
    let names: Vec<_> = names.into_iter().collect();
    for names in names.chunks(TOGETHER) {
        let topics: Vec<_> = names.iter().map(|name| path::topic(name)).collect();
        let configs: Vec<_> = names.iter().map(|name| path::topic_config(name)).collect();
        let read = tree::nodes(store, &topics).await?;
        let settings = tree::nodes(store, &configs).await?;
        for (at, (topic, config)) in read.into_iter().zip(settings).enumerate() {
            let Some((data, _)) = topic else { continue };
            let understood = Topic::decode(&topics[at], &data).and_then(|topic| {
                let config = config.map(|(data, _)| Config::decode(&configs[at], &data));
                Ok((topic, config.transpose()?))
            });
            let (topic, config) = match understood {
                Ok(understood) => understood,
                // It is there: who asks for it must not take it for missing.
                Err(error) if is_named => return Err(error.into()),
                Err(error) => {
                    warn!(topic = names[at], %error, "the topic is left out of what is told");
                    continue;
                }
            };
            let mut description = described(context, &names[at], topic).await?;
            if let Some(config) = config {
                description.configuration = config.config.into_iter().collect();
                description.configuration_author = config.author.unwrap_or_default();
            }
            description.deleting = marked.contains(&names[at]);
            if told.send(Ok(description)).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn described(
    context: &Context,
    name: &str,
    topic: Topic,
) -> Result<TopicDescription, TreeError> {
    let count = topic.partitions.keys().next_back().map_or(0, |last| last + 1);
    let paths: Vec<_> = (0..count).map(|number| path::partition_state(name, number)).collect();
    let states = tree::nodes(&**context.admin.store(), &paths).await?;
    let mut partitions = Vec::with_capacity(paths.len());
    for ((number, path), state) in (0..count).zip(&paths).zip(states) {
        let state = state.and_then(|(data, _)| {
            PartitionState::decode(path, &data).inspect_err(|error| warn!(%error)).ok()
        });
        let of = |of: &std::collections::BTreeMap<i32, Vec<i32>>| {
            of.get(&number).cloned().unwrap_or_default()
        };
        partitions.push(PartitionDescription {
            replicas: of(&topic.partitions),
            adding: of(&topic.adding_replicas),
            removing: of(&topic.removing_replicas),
            leader: state.as_ref().map_or(-1, |state| state.leader),
            in_sync: state.map(|state| state.isr).unwrap_or_default(),
            size: size(context, name, number),
        });
    }
    let (name, topic_id) = (name.to_owned(), topic.topic_id.unwrap_or_default());
    Ok(TopicDescription { name, topic_id, partitions, ..TopicDescription::default() })
}

/// Bytes of a log that this broker leads.
fn size(context: &Context, topic: &str, number: i32) -> Option<u64> {
    let partition = context.replicas.partition(topic, number)?;
    let offsets = partition.offsets();
    (offsets.role == Role::Leader).then_some(offsets.size_in_bytes)
}
