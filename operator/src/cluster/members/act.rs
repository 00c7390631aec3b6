//! Carries out what was decided about members and volumes, one step after the other. Each can be made again.

use broker_admin::v1::{Fence, Move as Asked};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, Pod, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;

use super::Step;
use crate::admin::client::BrokerError;
use crate::admin::pool::Brokers;
use crate::admin::trouble;
use crate::cluster::layout::Move;
use crate::cluster::objects::Objects;
use crate::cluster::owned::Owned;
use crate::cluster::write::{Hand, Owns};
use crate::cluster::{place, volumes};
use crate::error::Error;
use crate::names::{Names, broker};

/// What steps are carried out with.
pub(in crate::cluster) struct Act<'a> {
    /// Whoever writes.
    pub(in crate::cluster) hand: Hand<'a>,
    /// What there is of all clusters.
    pub(in crate::cluster) owned: &'a Owned,
    /// The brokers.
    pub(in crate::cluster) brokers: &'a Brokers,
    /// What goes with every change that brokers make.
    pub(in crate::cluster) fence: Fence,
    /// What things are called.
    pub(in crate::cluster) names: &'a Names,
    /// What there is of this one.
    pub(in crate::cluster) objects: &'a Objects,
    /// How many bytes each broker may copy in a second; none where the spec has no bound, and nothing moves.
    pub(in crate::cluster) throttle: Option<u64>,
}

impl Act<'_> {
    /// Carries out a step about members.
    ///
    /// # Errors
    /// As the broker or the API server answers.
    pub(in crate::cluster) async fn member(&self, step: &Step) -> Result<(), Error> {
        match step {
            Step::Cordon { broker, is_cordoned } => {
                let (id, is_cordoned) = (*broker, *is_cordoned);
                let asked = self.brokers.any(|mut broker| {
                    let fence = self.fence.clone();
                    async move { broker.cordon(fence, id, is_cordoned).await }
                });
                self.done("cordon", &format!("broker {id}"), asked.await.map(drop))
            }
            Step::Move { moves } => self.reassign(moves).await,
            Step::ClearThrottles => {
                let asked = self.brokers.any(|mut broker| {
                    let fence = self.fence.clone();
                    async move { broker.clear_throttles(fence).await }
                });
                self.done("clear", "throttles", asked.await.map(drop))
            }
            Step::Delete { broker } => self.delete(*broker).await,
            Step::DeleteClaims { broker: id } => {
                let own = self.objects.claims.values().filter(|claim| broker(*claim) == Some(*id));
                for claim in own {
                    self.hand.delete(&self.owned.claims, claim, Owns::Follows).await?;
                }
                Ok(())
            }
            Step::Forget { broker } => {
                let id = *broker;
                // Leave that it had for a restart it never came back from would be in the way of all others.
                let released = self.brokers.controller(|mut broker| {
                    let fence = self.fence.clone();
                    async move { broker.release(fence, id).await }
                });
                self.done("take leave back from", &format!("broker {id}"), released.await)?;
                let asked = self.brokers.any(|mut broker| {
                    let fence = self.fence.clone();
                    async move { broker.forget_broker(fence, id).await }
                });
                self.done("forget", &format!("broker {id}"), asked.await)
            }
        }
    }

    /// Carries out a step about volumes.
    ///
    /// # Errors
    /// As the API server answers.
    pub(in crate::cluster) async fn volume(&self, step: &volumes::Step) -> Result<(), Error> {
        match step {
            volumes::Step::Grow { claim, size } => {
                let Objects { claims, ensemble_claims, .. } = self.objects;
                let live = claims.get(claim).or_else(|| ensemble_claims.get(claim));
                let Some(live) = live else { return Ok(()) };
                self.hand.put(&self.owned.claims, &larger(live, size), Some(live)).await.map(drop)
            }
            volumes::Step::ReplaceSet { set } => {
                let mut sets = self.objects.sets.values().chain(&self.objects.ensemble);
                let Some(live) = sets.find(|live| live.name_any() == *set) else { return Ok(()) };
                self.hand.delete(&self.owned.sets, live, Owns::Stays).await.map(drop)
            }
            volumes::Step::DeleteClaim { claim } => {
                let Some(live) = self.objects.claims.get(claim) else { return Ok(()) };
                self.hand.delete(&self.owned.claims, live, Owns::Follows).await.map(drop)
            }
        }
    }

    /// Tells a pod where it is.
    ///
    /// # Errors
    /// As the API server answers.
    pub(in crate::cluster) async fn tell_place(&self, pod: &Pod, text: &str) -> Result<(), Error> {
        let mut metadata = ObjectMeta { uid: pod.uid(), ..named(pod) };
        metadata.annotations = Some([(place::ANNOTATION.to_owned(), text.to_owned())].into());
        let told = Pod { metadata, ..Pod::default() };
        self.hand.put(&self.owned.pods, &told, Some(pod)).await.map(drop)
    }

    async fn reassign(&self, moves: &[Move]) -> Result<(), Error> {
        let asked: Vec<Asked> = moves.iter().map(asked).collect();
        let throttle = self.throttle.ok_or_else(|| Error::InvalidSpec {
            message: "spec.rebalance.throttle is no bound: nothing moves".to_owned(),
        })?;
        let fence = &self.fence;
        let answer = self.brokers.controller(|mut broker| {
            let asked = asked.clone();
            async move { broker.reassign(fence, &asked, throttle).await }
        });
        self.done("move", &format!("{} partitions", moves.len()), answer.await)
    }

    /// Deletes a broker's set; where that is gone and its pod is not, the pod.
    async fn delete(&self, id: i32) -> Result<(), Error> {
        if let Some(set) = self.objects.sets.get(&id) {
            return self.hand.delete(&self.owned.sets, set, Owns::Leads).await.map(drop);
        }
        match self.objects.pods.get(&id) {
            Some(pod) => self.hand.delete(&self.owned.pods, pod, Owns::Follows).await.map(drop),
            None => Ok(()),
        }
    }

    fn done(
        &self,
        doing: &'static str,
        what: &str,
        asked: Result<(), BrokerError>,
    ) -> Result<(), Error> {
        let Names { cluster, namespace } = self.names;
        let what = || format!("{what} of Cluster {namespace}/{cluster}");
        asked.map_err(|error| trouble::of(doing, &what(), error))
    }
}

fn asked(one: &Move) -> Asked {
    Asked {
        topic: one.topic.clone(),
        topic_id: one.topic_id.clone(),
        partition: i32::try_from(one.partition).unwrap_or(i32::MAX),
        replicas: one.to.clone(),
    }
}

fn named(object: &impl kube::Resource) -> ObjectMeta {
    let (name, namespace) = (object.meta().name.clone(), object.meta().namespace.clone());
    ObjectMeta { name, namespace, ..ObjectMeta::default() }
}

fn larger(live: &PersistentVolumeClaim, size: &str) -> PersistentVolumeClaim {
    let requests = Some([("storage".to_owned(), Quantity(size.to_owned()))].into());
    PersistentVolumeClaim {
        metadata: named(live),
        spec: Some(PersistentVolumeClaimSpec {
            resources: Some(VolumeResourceRequirements { requests, limits: None }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
