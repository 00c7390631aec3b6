//! Reads what a decision is made of: the object and its elders from caches, its topic from a broker.
//!
//! One look asks a broker for the one topic; what all brokers hold is asked for once in a few seconds for all looks.
//! Whether a topic could be is asked only where something is to be done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_admin::v1::{CheckTopicRequest, ReplicaList, TopicDescription};
use futures_util::future::try_join_all;
use kube::{Api, ResourceExt as _};

use super::context::{Context, View, cluster_of};
use super::decide::{self, Decision, decide};
use super::facts::{Cluster as Place, Existing, Facts, Here, Object};
use super::{FINALIZER, id};
use crate::admin::client::BrokerError;
use crate::admin::pool::Brokers;
use crate::admin::trouble;
use crate::crd::cluster::Cluster;
use crate::crd::topic::Topic;
use crate::error::Error;
use crate::key::key;
use crate::names::broker_ids;

/// What was read.
pub(super) struct Observed {
    pub(super) facts: Facts,
    /// Who is asked, where somebody answers.
    pub(super) brokers: Option<Brokers>,
    /// The cluster's object.
    pub(super) cluster: Option<Cluster>,
    pub(super) view: Arc<View>,
}

/// Reads, and decides.
///
/// # Errors
/// Where nobody answers who did a moment ago.
pub(super) async fn consider(
    context: &Context,
    topic: &Topic,
) -> Result<(Observed, Decision), Error> {
    let mut observed = observe(context, topic).await?;
    let decision = decide(&observed.facts);
    if !needs_check(&observed.facts, &decision) {
        return Ok((observed, decision));
    }
    let Some(brokers) = &observed.brokers else { return Ok((observed, decision)) };
    let request = request(&observed.facts);
    let asked = brokers.any(|mut broker| {
        let request = request.clone();
        async move { broker.problems(request).await }
    });
    let problems = asked.await.map_err(|error| trouble::of("check", &named(topic), error))?;
    // Others may have placed replicas meanwhile. From here to the note of what is placed nobody else gets to run.
    let load = observed.view.placing.lock().load(&key(topic));
    if let Place::Here(here) = &mut observed.facts.cluster {
        (here.problems, here.load) = (problems, load);
    }
    let decision = decide(&observed.facts);
    Ok((observed, decision))
}

async fn observe(context: &Context, topic: &Topic) -> Result<Observed, Error> {
    let object = object(context, topic);
    let was_there = object.status.partitions.is_some();
    let before = object.status.topic_id.clone().filter(|_| was_there);
    let fresh_id = id::of(&topic.uid().unwrap_or_default(), before.as_deref());
    let cluster_key = cluster_of(topic);
    let view = context.view(&cluster_key);
    let observed = |object, place, brokers, cluster| Observed {
        facts: Facts { object, cluster: place, fresh_id: fresh_id.clone() },
        brokers,
        cluster,
        view: Arc::clone(&view),
    };
    let cluster = match cluster(context, topic).await? {
        None => return Ok(observed(object, Place::Gone, None, None)),
        Some(Err(error)) => {
            let why = format!("the Cluster cannot be read: {error}");
            return Ok(observed(object, Place::Away(why), None, None));
        }
        Some(Ok(cluster)) => cluster,
    };
    let words = || format!("no broker of Cluster {} answers", cluster_key.1);
    if view.contact.lock().is_away() {
        return Ok(observed(object, Place::Away(words()), None, Some(cluster)));
    }
    let brokers = context.pool.brokers(&cluster);
    let clock = context.session.ground.clock;
    match here(context, &view, &brokers, &object, &cluster).await {
        Ok(here) => {
            let place = Place::Here(Box::new(here));
            Ok(observed(object, place, Some(brokers), Some(cluster)))
        }
        Err(error) if error.is_silence() => {
            let mut contact = view.contact.lock();
            contact.failed(clock.now());
            if contact.is_away() {
                return Ok(observed(object, Place::Away(words()), None, Some(cluster.clone())));
            }
            Err(trouble::of("ask for", &named(topic), error))
        }
        Err(BrokerError::Lacks { call, .. }) => {
            let why =
                format!("the brokers are too old: they lack {call}; upgrade the Cluster first");
            Ok(observed(object, Place::Away(why), None, Some(cluster)))
        }
        Err(error) => Err(trouble::of("ask for", &named(topic), error)),
    }
}

fn object(context: &Context, topic: &Topic) -> Object {
    Object {
        name: topic.name_any(),
        generation: topic.metadata.generation.unwrap_or_default(),
        is_deleted: topic.metadata.deletion_timestamp.is_some(),
        has_finalizer: topic.finalizers().iter().any(|one| one == FINALIZER),
        spec: topic.spec.clone(),
        status: topic.status.clone().unwrap_or_default(),
        elder: context.index.lock().elder(topic),
    }
}

/// Returns the cluster of a topic; `None` where it is gone, or going.
///
/// # Errors
/// Where that matters most, and the API server does not answer.
async fn cluster(
    context: &Context,
    topic: &Topic,
) -> Result<Option<Result<Cluster, String>>, Error> {
    let key = cluster_of(topic);
    match context.cluster(&key) {
        Some(Ok(cluster)) if cluster.is_going() => Ok(None),
        Some(found) => Ok(Some(found)),
        None if topic.metadata.deletion_timestamp.is_none() => Ok(None),
        None => {
            // An object is not let go of for a cache that is behind.
            let api: Api<Cluster> = Api::namespaced(context.session.ground.client.clone(), &key.0);
            let what = || format!("Cluster {}/{}", key.0, key.1);
            let found = api.get_opt(&key.1).await;
            let found = found.map_err(|error| Error::of_api("read", what(), error))?;
            Ok(found.filter(|cluster| !cluster.is_going()).map(Ok))
        }
    }
}

async fn here(
    context: &Context,
    view: &View,
    brokers: &Brokers,
    object: &Object,
    cluster: &Cluster,
) -> Result<Here, BrokerError> {
    let name = decide::name(object).to_owned();
    let asked = brokers.any(|mut broker| {
        let name = name.clone();
        async move { broker.topics(&[&name]).await }
    });
    let described = asked.await?.into_iter().next();
    view.contact.lock().heard(context.session.ground.clock.now());
    refresh(context, view, brokers).await?;
    let bytes_left = match &described {
        Some(topic) => bytes_left(brokers, topic).await?,
        None => None,
    };
    let mut topic = described.map(existing);
    let tombstones = cluster.status.iter().flat_map(|status| &status.tombstones);
    for tombstone in tombstones {
        if let Some(topic) =
            topic.as_mut().filter(|topic| topic.id.as_ref() == Some(&tombstone.topic_id))
        {
            topic.is_going = true;
        }
    }
    let placing = view.placing.lock();
    Ok(Here {
        is_paused: cluster.spec.paused,
        brokers: placing.brokers(),
        away: placing.away(&broker_ids(cluster.spec.brokers, &cluster.spec.removed)),
        load: placing.load(&(cluster.namespace().unwrap_or_default(), object.name.clone())),
        topic,
        problems: Vec::new(),
        throttle: cluster.spec.rebalance.throttle.clone(),
        bytes_left,
    })
}

/// Has brokers asked what they hold, where that was long ago.
async fn refresh(context: &Context, view: &View, brokers: &Brokers) -> Result<(), BrokerError> {
    let clock = context.session.ground.clock;
    if view.placing.lock().is_fresh(clock.now()) {
        return Ok(());
    }
    let _turn = view.asking.lock().await;
    let now = clock.now();
    if view.placing.lock().is_fresh(now) {
        return Ok(());
    }
    let answer = brokers.any(|mut broker| async move { broker.cluster().await }).await?;
    view.placing.lock().said(now, &answer);
    Ok(())
}

/// What is still to be copied, by those who lead what moves; `None` where nothing moves, or one of them cannot say.
async fn bytes_left(
    brokers: &Brokers,
    topic: &TopicDescription,
) -> Result<Option<u64>, BrokerError> {
    let moving = topic.partitions.iter().filter(|one| !one.adding.is_empty() && one.leader >= 0);
    let leaders: BTreeSet<i32> = moving.map(|one| one.leader).collect();
    if leaders.is_empty() {
        return Ok(None);
    }
    let each = leaders.into_iter().map(|id| async move {
        let mut broker = brokers.broker(id)?;
        match broker.bytes_left(None, &topic.name).await {
            Err(error) if error.is_silence() => Ok(None),
            answer => answer,
        }
    });
    let each = try_join_all(each).await?;
    Ok(each.into_iter().sum())
}

fn existing(topic: TopicDescription) -> Existing {
    let changing = |which: fn(&broker_admin::v1::PartitionDescription) -> &Vec<i32>| {
        let partitions = topic.partitions.iter().enumerate();
        let changing = partitions.filter(|(_, one)| !which(one).is_empty());
        changing.map(|(number, one)| (number, which(one).clone())).collect::<BTreeMap<_, _>>()
    };
    let (adding, removing) = (changing(|one| &one.adding), changing(|one| &one.removing));
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let leaders = topic.partitions.iter().enumerate();
    let leaderless = leaders.filter(|(_, one)| one.leader < 0).map(|(number, _)| number).collect();
    Existing {
        leaderless,
        id: text(topic.topic_id),
        partitions: topic.partitions.into_iter().map(|one| one.replicas).collect(),
        adding,
        removing,
        config: topic.configuration.into_iter().collect(),
        config_author: text(topic.configuration_author),
        is_going: topic.deleting,
    }
}

/// Whether brokers are asked if the topic could be so: where something is to be done, or cannot be.
fn needs_check(facts: &Facts, decision: &Decision) -> bool {
    let is_living = !facts.object.is_deleted && facts.object.has_finalizer;
    is_living && facts.object.elder.is_none() && decision.plan.is_some()
}

fn request(facts: &Facts) -> CheckTopicRequest {
    let (object, spec) = (&facts.object, &facts.object.spec);
    let topic = match &facts.cluster {
        Place::Here(here) => here.topic.as_ref(),
        Place::Gone | Place::Away(_) => None,
    };
    // What is there already may be more than is wanted, or where nothing is placed any more: that is not in the way.
    let there = topic.map_or(0, |topic| topic.partitions.len());
    let is_more = there > usize::try_from(spec.partitions).unwrap_or_default();
    let is_placed = |chosen: &Vec<Vec<i32>>| topic.is_some_and(|topic| topic.targets() == *chosen);
    let chosen = spec.assignment.clone().filter(|chosen| !is_placed(chosen));
    let assignment = chosen.into_iter().flatten().map(|brokers| ReplicaList { brokers });
    CheckTopicRequest {
        name: decide::name(object).to_owned(),
        partitions: if is_more { 0 } else { spec.partitions },
        replication_factor: spec.replicas,
        configuration: spec.config.clone().into_iter().collect(),
        assignment: assignment.collect(),
    }
}

/// A topic's object in words.
pub(super) fn named(topic: &Topic) -> String {
    crate::apply::named(topic)
}
