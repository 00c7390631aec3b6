//! Tombstones: topics whose objects went while nobody answered, noted at the cluster's object; and their deletion.
//!
//! They are this controller's alone: the list is read from the server, changed, and written only where nobody has changed
//! the object meanwhile. One look at a time changes it.

use kube::{Api, Resource as _};
use serde_json::json;

use super::context::{Context, View};
use crate::admin::pool::Brokers;
use crate::admin::trouble;
use crate::apply::{Applied, Pass, named};
use crate::crd::cluster::Cluster;
use crate::crd::cluster::status::Tombstone;
use crate::error::Error;
use crate::event::Tale;
use crate::key::{Key, key};
use crate::kind::Kind;
use crate::reason::Reason;

/// Notes that a topic is to be deleted, by its name and id; nothing where the cluster is gone.
///
/// # Errors
/// As the API server answers; a conflict where somebody else wrote at the same time.
pub(super) async fn bury(
    context: &Context,
    pass: &Pass,
    cluster: &Key,
    (name, id): (&str, &str),
) -> Result<(), Error> {
    let view = context.view(cluster);
    let _turn = view.burying.lock().await;
    let Some(object) = read(context, cluster).await? else { return Ok(()) };
    let mut all = tombstones(&object);
    if all.iter().any(|one| one.topic_id == id) {
        return Ok(());
    }
    all.push(Tombstone { topic_name: name.to_owned(), topic_id: id.to_owned() });
    write(pass, &object, &all).await
}

/// Has the topics deleted whose tombstones a cluster has, and takes those away.
///
/// # Errors
/// As a broker, or the API server, answers: those that could not be deleted are left for the next time.
pub(super) async fn serve(
    context: &Context,
    view: &View,
    cluster: &Cluster,
    brokers: &Brokers,
) -> Result<(), Error> {
    if tombstones(cluster).is_empty() || cluster.spec.paused || cluster.is_going() {
        return Ok(());
    }
    let _turn = view.burying.lock().await;
    let key = key(cluster);
    let Some(object) = read(context, &key).await? else { return Ok(()) };
    let pass = pass(context, &object);
    let (mut served, mut left, mut failed) = (Vec::new(), Vec::new(), None);
    let mut waiting = tombstones(&object).into_iter();
    for tombstone in waiting.by_ref() {
        let (fence, Tombstone { topic_name, topic_id }) = (context.fence(), &tombstone);
        let deleted = brokers.any(|mut broker| {
            let fence = fence.clone();
            async move { broker.delete_topic(fence, topic_name, topic_id).await }
        });
        match deleted.await {
            Ok(()) => served.push(tombstone),
            Err(error) => {
                left.push(tombstone);
                let is_over = error.is_silence();
                failed = Some(trouble::of("delete topics of", &named(&object), error));
                // Nobody would answer for the others either, and whoever buries one waits meanwhile.
                if is_over {
                    break;
                }
            }
        }
    }
    left.extend(waiting);
    if !served.is_empty() {
        write(&pass, &object, &left).await?;
    }
    for Tombstone { topic_name, topic_id } in served {
        let note = format!(
            "topic {topic_name}, whose id is {topic_id}, is deleted: its object went while no broker answered"
        );
        pass.tell(Tale { reason: Reason::TopicDeleted, note }).await;
    }
    failed.map_or(Ok(()), Err)
}

/// A look at the cluster's object, by this controller.
fn pass(context: &Context, object: &Cluster) -> Pass {
    let session = &context.session;
    let about = (object.object_ref(&()), object.metadata.generation.unwrap_or_default());
    Pass::new(session.ground.writer.clone(), Kind::Topic, about, session.fence.clone(), None)
}

async fn read(context: &Context, (namespace, name): &Key) -> Result<Option<Cluster>, Error> {
    let api: Api<Cluster> = Api::namespaced(context.session.ground.client.clone(), namespace);
    let read = api.get_opt(name).await;
    read.map_err(|error| Error::of_api("read", format!("Cluster {namespace}/{name}"), error))
}

async fn write(pass: &Pass, object: &Cluster, all: &[Tombstone]) -> Result<(), Error> {
    match pass.status_of_version(object, &json!({ "tombstones": all })).await? {
        Applied::Unchanged | Applied::Written(_) => Ok(()),
    }
}

fn tombstones(cluster: &Cluster) -> Vec<Tombstone> {
    cluster.status.as_ref().map(|status| status.tombstones.clone()).unwrap_or_default()
}
