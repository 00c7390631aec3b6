//! Reads what a decision is made of: what there is in Kubernetes from caches, the rest from brokers.
//!
//! Brokers whose pods run are asked all at once, each who it is and how; one of them what it knows of the cluster.

use std::collections::BTreeMap;

use broker_admin::v1::DescribeClusterResponse;
use futures_util::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use super::FINALIZER;
use super::context::Context;
use super::facts::{Facts, Heard, Live, Object};
use super::objects::Objects;
use super::upkeep;
use crate::admin::client::{Broker, BrokerError};
use crate::admin::pool::Brokers;
use crate::admin::schema::Schema;
use crate::crd::cluster::Cluster;
use crate::error::Error;
use crate::names::{Names, broker};

/// Whoever is deleted waits in this way for all that it owns.
const EMPTIED: &str = "foregroundDeletion";

/// Reads.
pub(super) async fn observe(context: &Context, cluster: &Cluster) -> Facts {
    let object = object(cluster);
    let live = context.live(&object.names);
    // An end depends on nobody's answer.
    let is_ending = cluster.is_going();
    let brokers = context.pool.brokers(cluster);
    let heard = if is_ending {
        BTreeMap::new()
    } else {
        heard(context, &object.names, &brokers, &live).await
    };
    let (said, schema) = match said(context, &object.names, &brokers, &heard).await {
        Ok((said, schema)) => (Ok(said), schema),
        // Settings are what they were, whoever answers.
        Err(why) => (Err(why), context.last_schema(&object.names)),
    };
    Facts {
        object,
        images: context.images.clone(),
        home: context.session.ground.home.clone(),
        live,
        heard,
        said,
        schema,
        upkeep: None,
        now: context.session.ground.clock.wall().as_second(),
    }
}

/// Reads what is about members, volumes and places; also returned is what could not be read of brokers and topics, which
/// stands in the way of nothing else.
///
/// # Errors
/// As the API server answers.
pub(super) async fn upkeep(
    context: &Context,
    cluster: &Cluster,
    facts: &Facts,
) -> Result<(upkeep::Read, Option<Error>), Error> {
    let (client, names) = (&context.session.ground.client, &facts.object.names);
    let objects = Objects::of(client, &facts.live, names, &facts.object.spec).await?;
    let brokers = context.pool.brokers(cluster);
    Ok(upkeep::read(client, &brokers, names, cluster, objects, &facts.said).await)
}

fn object(cluster: &Cluster) -> Object {
    let has = |name: &str| cluster.finalizers().iter().any(|one| one == name);
    Object {
        names: Names {
            cluster: cluster.name_any(),
            namespace: cluster.namespace().unwrap_or_default(),
        },
        uid: cluster.uid().unwrap_or_default(),
        generation: cluster.metadata.generation.unwrap_or_default(),
        is_deleted: cluster.metadata.deletion_timestamp.is_some(),
        is_emptied: has(EMPTIED),
        has_finalizer: has(FINALIZER),
        spec: cluster.spec.clone(),
        status: cluster.status.clone().unwrap_or_default(),
    }
}

async fn heard(
    context: &Context,
    names: &Names,
    brokers: &Brokers,
    live: &Live,
) -> BTreeMap<i32, Heard> {
    let ids = live.pods.values().filter_map(|pod| running(pod));
    let asked = ids.map(async |id| {
        let mut broker = brokers.broker(id).ok()?;
        let identity = broker.identity().await.ok()?;
        // Whoever tells who it is, and not how, is there all the same.
        let told = broker.health().await;
        let is_silent = told.is_err();
        let health = told.ok().flatten().map(|(health, told)| {
            context.pulse.keep((names.clone(), id), &identity.process_id, &health, told);
            health
        });
        Some((id, Heard { identity, health, is_silent }))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// The broker of a pod that has a process.
fn running(pod: &Pod) -> Option<i32> {
    let phase = pod.status.as_ref()?.phase.as_deref()?;
    broker(pod).filter(|_| phase == "Running")
}

async fn said(
    context: &Context,
    names: &Names,
    brokers: &Brokers,
    heard: &BTreeMap<i32, Heard>,
) -> Result<(DescribeClusterResponse, Schema), String> {
    let mut why = "no broker answers".to_owned();
    let registered = heard.iter().filter(|(_, heard)| heard.identity.broker_epoch >= 0);
    for (id, heard) in registered {
        let Ok(broker) = brokers.broker(*id) else { continue };
        match ask(context, names, broker, &heard.identity.version).await {
            Ok(said) => return Ok(said),
            Err(BrokerError::Lacks { call, .. }) => {
                why = format!("the brokers are too old: they lack {call}");
            }
            Err(_) => {}
        }
    }
    Err(why)
}

async fn ask(
    context: &Context,
    names: &Names,
    mut broker: Broker,
    version: &str,
) -> Result<(DescribeClusterResponse, Schema), BrokerError> {
    let cluster = broker.cluster().await?;
    if let Some(schema) = context.schema(names, version) {
        return Ok((cluster, schema));
    }
    let schema = broker.schema().await?;
    context.learned(names, version, &schema);
    Ok((cluster, schema))
}
