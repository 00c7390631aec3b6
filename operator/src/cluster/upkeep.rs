//! The part of a look at a cluster that is about which brokers there are, what lies on them, their volumes and places:
//! reads, has it decided, carries it out. Whoever looks writes the status in between, for what is noted there is what
//! the next look goes on with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker_admin::v1::DescribeClusterResponse;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use super::members::act::Act;
use super::members::{self, Said, read};
use super::objects::{Objects, managed};
use super::settings::Outside;
use super::volumes::Claim;
use super::{place, volumes};
use crate::admin::client::BrokerError;
use crate::admin::pool::Brokers;
use crate::admin::trouble;
use crate::crd::cluster::status::ClusterStatus;
use crate::crd::cluster::{Cluster, ClusterSpec, RebalanceMode};
use crate::crd::topic::Topic;
use crate::error::Error;
use crate::event::Tale;
use crate::names::{Names, broker_ids, listeners};

mod told;

/// What was read and decided.
#[derive(Debug, Clone, Default)]
pub struct Upkeep {
    /// What there is.
    pub objects: Arc<Objects>,
    /// Brokers that are to be built, whether they are to stay or not.
    pub present: Vec<i32>,
    /// Brokers that are being emptied.
    pub emptied: BTreeSet<i32>,
    /// Where brokers are found at listeners that are found from outside.
    pub outside: BTreeMap<i32, BTreeMap<String, Outside>>,
    /// Where clients begin.
    pub bootstrap: Option<String>,
    /// Racks of brokers, where the spec names a label.
    pub racks: BTreeMap<i32, String>,
    /// What follows for members.
    pub members: members::Decision,
    /// What follows for volumes.
    pub volumes: volumes::Decision,
    /// What pods are told of their places, by broker.
    pub places: BTreeMap<i32, String>,
    /// Brokers that are to be restarted, whatever their revision is: what their pods were told holds no more, or a claim
    /// of theirs is to be made again.
    pub restarts: BTreeSet<i32>,
    /// Nodes without the label that names racks.
    pub unlabelled: BTreeSet<String>,
}

/// What was read of a cluster for what is decided here.
#[derive(Debug, Clone)]
pub struct Read {
    names: Names,
    spec: ClusterSpec,
    objects: Arc<Objects>,
    /// But for whether something may be begun.
    facts: members::Facts,
    /// Partitions of which each broker alone has all, where that was asked for.
    alone: Option<BTreeMap<i32, Vec<String>>>,
}

/// Reads. `objects` were read for this look, `said` is what brokers say of the cluster. What brokers, or who lists topics,
/// answer that they should not is as if nobody answered; it is returned, too.
pub async fn read(
    client: &Client,
    brokers: &Brokers,
    names: &Names,
    cluster: &Cluster,
    objects: Objects,
    said: &Result<DescribeClusterResponse, String>,
) -> (Read, Option<Error>) {
    let (spec, before) = (&cluster.spec, cluster.status.clone().unwrap_or_default());
    let (wanted, own) = (broker_ids(spec.brokers, &spec.removed), objects.own());
    let leaving = members::leaving(&wanted, &own, &before.drains);
    let is_broken = |claim| {
        let claim = Claim::of(claim);
        claim.is_lost || claim.is_going
    };
    let is_all = before.plan.is_some() || objects.claims.values().any(is_broken);
    let is_spread = spec.rebalance.mode == RebalanceMode::Automatic;
    let question = read::Question { wanted: &wanted, leaving: &leaving, is_all, is_spread };
    let asked = match said {
        Ok(said) => ask(client, brokers, names, said, question).await,
        Err(why) => Ok((Err(why.clone()), Vec::new())),
    };
    let ((said, topics), failed) = match asked {
        Ok(asked) => (asked, None),
        Err(error) => ((Err(error.to_string()), Vec::new()), Some(error)),
    };
    let facts = members::Facts {
        has_zookeeper: spec.zookeeper.is_some(),
        racks: objects.racks(spec),
        assigned: read::assigned(&topics),
        may_move: Ok(()),
        rebalance: spec.rebalance.clone(),
        on_delete: spec.storage.on_delete,
        drains: before.drains,
        plan: before.plan,
        said,
        wanted,
        own,
    };
    let alone = facts.said.as_ref().ok().filter(|_| is_all).map(|said| read::alone(&said.layout));
    let (names, spec, objects) = (names.clone(), spec.clone(), Arc::new(objects));
    (Read { names, spec, objects, facts, alone }, failed)
}

/// Asks brokers, and where something may move, which topics somebody else decides about.
async fn ask(
    client: &Client,
    brokers: &Brokers,
    names: &Names,
    cluster: &DescribeClusterResponse,
    question: read::Question<'_>,
) -> Result<(Result<Said, String>, Vec<Topic>), Error> {
    let Names { cluster: name, namespace } = names;
    let mut said = match read::said(brokers, cluster, question).await {
        Ok(said) => said,
        Err(BrokerError::Lacks { call, .. }) => {
            let words = format!("the brokers are too old: they lack {call}");
            return Ok((Err(words), Vec::new()));
        }
        Err(error) if error.is_silence() => {
            return Ok((Err("no broker answers".to_owned()), Vec::new()));
        }
        Err(error) => {
            let what = format!("brokers of Cluster {namespace}/{name}");
            return Err(trouble::of("ask", &what, error));
        }
    };
    if said.layout.topics.is_empty() {
        return Ok((Ok(said), Vec::new()));
    }
    let api: Api<Topic> = Api::namespaced(client.clone(), namespace);
    let of_cluster = ListParams::default().fields(&format!("spec.cluster={name}"));
    let topics = api.list(&of_cluster).await.map_err(|error| {
        Error::of_api("list", format!("topics of Cluster {namespace}/{name}"), error)
    })?;
    read::fix(&mut said.layout, &topics.items);
    Ok((Ok(said), topics.items))
}

/// Decides. `may_move`: why nothing may be begun just now, if so. Pure; a plan for many partitions takes its time.
pub fn decide(read: &Read, may_move: Result<(), String>) -> Upkeep {
    let Read { names, spec, objects, alone, .. } = read;
    let facts = members::Facts { may_move, ..read.facts.clone() };
    let members = members::decide(&facts);
    let leaving = members::leaving(&facts.wanted, &facts.own, &facts.drains);
    let present = members::present(&facts.wanted, &facts.own, facts.has_zookeeper);
    let is_emptied = |id: &i32| !members.refused.contains_key(id);
    let emptied: BTreeSet<i32> = leaving.into_iter().filter(is_emptied).collect();
    let kept: Vec<i32> = present.iter().copied().filter(|id| !emptied.contains(id)).collect();
    let disks = objects.disks(names, &spec.storage.volumes, &kept, alone.as_ref());
    let mut volumes = volumes::decide(names, &spec.storage.volumes, &disks, &objects.classes);
    if let Some(managed) = managed(spec) {
        let (servers, classes) = (objects.servers(), &objects.classes);
        volumes::decide_servers(names, &managed.volume, &servers, classes, &mut volumes);
    }
    let mut upkeep = Upkeep {
        outside: objects.outside(names, &listeners(&spec.listeners), &present),
        bootstrap: objects.bootstrap(names, &listeners(&spec.listeners)),
        restarts: volumes.restarts.clone(),
        racks: facts.racks,
        places: BTreeMap::new(),
        unlabelled: BTreeSet::new(),
        objects: Arc::clone(objects),
        present,
        emptied,
        members,
        volumes,
    };
    upkeep.place(names, spec);
    upkeep
}

/// Decides, on a thread of its own: whoever renews the Lease is not held up.
pub async fn decided(read: &Arc<Read>, may_move: Result<(), String>) -> Upkeep {
    let read = Arc::clone(read);
    match tokio::task::spawn_blocking(move || decide(&read, may_move)).await {
        Ok(upkeep) => upkeep,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

impl Upkeep {
    /// Says what pods are told, and which of them were told something else.
    fn place(&mut self, names: &Names, spec: &ClusterSpec) {
        if !place::is_told(spec) {
            return;
        }
        let listeners = listeners(&spec.listeners);
        for id in &self.present {
            let Some(pod) = self.objects.pods.get(id) else { continue };
            let (Some(node), None) = (self.objects.node(*id), &pod.metadata.deletion_timestamp)
            else {
                continue;
            };
            if spec.rack.as_ref().is_some_and(|rack| place::rack(node, &rack.node_label).is_none())
            {
                self.unlabelled.insert(node.name_any());
            }
            let nowhere = BTreeMap::new();
            let found = self.outside.get(id).unwrap_or(&nowhere);
            let Some(text) = place::text(names, *id, spec, &listeners, found, node) else {
                continue;
            };
            match pod.annotations().get(place::ANNOTATION) {
                None => drop(self.places.insert(*id, text)),
                Some(told) if *told != text => drop(self.restarts.insert(*id).then_some(())),
                Some(_) => {}
            }
        }
    }

    /// Notes what is decided: before anything is done.
    pub fn note(&self, status: &mut ClusterStatus) {
        status.drains.clone_from(&self.members.drains);
        status.plan.clone_from(&self.members.plan);
        status.volumes.clone_from(&self.volumes.states);
        status.bootstrap.clone_from(&self.bootstrap);
    }

    /// Notes what is over, once everything is done.
    pub fn note_after(&self, status: &mut ClusterStatus) {
        status.drains = self.members.drains_after();
    }

    /// Whether a broker is restarted for what its pod is.
    pub fn is_rolled(&self, broker: i32, is_outdated: bool) -> bool {
        let serves = self.objects.pods.get(&broker).is_some_and(super::objects::serves);
        members::is_rolled(self.emptied.contains(&broker), is_outdated, serves)
    }

    /// Whether something is done, or goes on that nobody tells of.
    pub fn goes_on(&self) -> bool {
        self.members.goes_on || !self.volumes.steps.is_empty() || !self.places.is_empty()
    }

    /// What is told of it, `before` being what the status said.
    pub fn tales(&self, before: &ClusterStatus) -> Vec<Tale> {
        told::tales(self, before)
    }

    /// Carries everything out. Returns whether anything was to be done.
    ///
    /// # Errors
    /// Of the first step that did not work; what comes after it was not tried.
    pub(super) async fn carry_out(&self, act: &Act<'_>) -> Result<bool, Error> {
        for (id, text) in &self.places {
            if let Some(pod) = self.objects.pods.get(id) {
                act.tell_place(pod, text).await?;
            }
        }
        for step in &self.volumes.steps {
            act.volume(step).await?;
        }
        for step in &self.members.steps {
            act.member(step).await?;
        }
        let is_idle = self.places.is_empty()
            && self.volumes.steps.is_empty()
            && self.members.steps.is_empty();
        Ok(!is_idle)
    }
}
