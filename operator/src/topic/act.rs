//! Carries out steps, one after the other. Each can be made again: brokers know an earlier one by the topic's id.

use std::collections::{BTreeMap, BTreeSet};

use broker_admin::v1::{
    ConfigureTopicRequest, CreateTopicRequest, GrowTopicRequest, Move, ReplicaList,
};

use super::bury::bury;
use super::context::{Context, cluster_of};
use super::decide::{self, Decision, Drift, Step};
use super::facts::Cluster;
use super::observe::{Observed, named};
use super::{FINALIZER, status};
use crate::admin::client::BrokerError;
use crate::admin::pool::Brokers;
use crate::admin::trouble;
use crate::assignment::Assignment;
use crate::crd::topic::{DeletionPolicy, Topic, TopicStatus};
use crate::error::Error;
use crate::held::Held;
use crate::key::key;
use crate::reason::Reason;

/// One object that something is done about.
pub(super) struct Act<'a, 'h> {
    pub(super) context: &'a Context,
    pub(super) observed: &'a Observed,
    pub(super) decision: &'a Decision,
    pub(super) held: Held<'h, Topic>,
}

impl Act<'_, '_> {
    /// Carries out every step of the decision; returns whether the object is let go of.
    ///
    /// # Errors
    /// Of the first step that did not work; what comes after it was not tried.
    pub(super) async fn all(&mut self) -> Result<bool, Error> {
        let decision = self.decision;
        if let Some(placed) = decision.steps.iter().find_map(placed) {
            let placing = &self.observed.view.placing;
            placing.lock().begin(key(self.held.object()), placed.clone());
            let done = self.steps(&decision.steps).await;
            let now = self.context.session.ground.clock.now();
            let mut placing = placing.lock();
            placing.end(&key(self.held.object()), done.is_ok().then_some(now));
            if matches!(done, Err(Error::Conflict { .. })) {
                placing.doubt();
            }
            return done;
        }
        self.steps(&decision.steps).await
    }

    /// Has the status say what a decision says.
    ///
    /// # Errors
    /// As the API server answers.
    pub(super) async fn say(&mut self, status: &TopicStatus) -> Result<(), Error> {
        let before = self.held.object().status.clone().unwrap_or_default();
        if self.held.say(status).await? {
            self.held.tell_of_harm(&before.conditions, &status.conditions, &[]).await;
        }
        Ok(())
    }

    async fn steps(&mut self, steps: &[Step]) -> Result<bool, Error> {
        for step in steps {
            if self.step(step).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn step(&mut self, step: &Step) -> Result<bool, Error> {
        match step {
            Step::Hold => self.held.hold(FINALIZER).await?,
            Step::Name { id } => self.name(id).await?,
            Step::Adopt { id } => {
                self.name(id).await?;
                self.held
                    .tell(Reason::TopicAdopted, format!("{} is taken over", self.title(id)))
                    .await;
            }
            Step::Create { id, assignment, config } => self.create(id, assignment, config).await?,
            Step::Grow { id, from, new } => self.grow(id, *from, new).await?,
            Step::Reassign { id, moves } => self.reassign(id, moves).await?,
            Step::Unthrottle => self.unthrottle().await?,
            Step::Configure { id, set, reset, drift_of } => {
                self.configure(id, set, reset).await?;
                self.tell_of_settings(set, reset, drift_of.as_ref()).await;
            }
            Step::Delete { id } => self.delete(id).await?,
            Step::Bury { id } => {
                let name = decide::name(&self.observed.facts.object);
                let cluster = cluster_of(self.held.object());
                bury(self.context, self.held.pass(), &cluster, (name, id)).await?;
                let note =
                    format!("no broker answers: {} is deleted once one does", self.title(id));
                self.held.tell(Reason::DeletionDeferred, note).await;
            }
            Step::LetGo => {
                self.tell_of_end().await;
                self.held.release(FINALIZER).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Says which id the topic has from now on, and what is being done.
    async fn name(&mut self, id: &str) -> Result<(), Error> {
        let now = self.context.session.ground.clock.wall();
        let said = status::status(&self.observed.facts, self.decision, now);
        self.say(&status::named(said, id)).await
    }

    async fn create(
        &mut self,
        id: &str,
        assignment: &Assignment,
        config: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let request = CreateTopicRequest {
            fence: Some(self.context.fence()),
            name: decide::name(&self.observed.facts.object).to_owned(),
            topic_id: id.to_owned(),
            assignment: lists(assignment),
            configuration: config.clone().into_iter().collect(),
        };
        let made = self.brokers()?.any(|mut broker| {
            let request = request.clone();
            async move { broker.create_topic(request).await }
        });
        self.done("create", made.await)?;
        let replicas = assignment.first().map_or(0, Vec::len);
        let note = format!(
            "{} is made, with {} partitions of {replicas} replicas",
            self.title(id),
            assignment.len()
        );
        self.held.tell(Reason::TopicCreated, note).await;
        Ok(())
    }

    async fn grow(&mut self, id: &str, from: usize, new: &Assignment) -> Result<(), Error> {
        let request = GrowTopicRequest {
            fence: Some(self.context.fence()),
            name: decide::name(&self.observed.facts.object).to_owned(),
            topic_id: id.to_owned(),
            from: from as i32,
            assignment: lists(new),
        };
        let grown = self.brokers()?.any(|mut broker| {
            let request = request.clone();
            async move { broker.grow_topic(request).await }
        });
        self.done("add partitions to", grown.await)?;
        let note = format!("{} partitions are added to the {from} that there were", new.len());
        self.held.tell(Reason::PartitionsAdded, note).await;
        Ok(())
    }

    async fn reassign(&mut self, id: &str, moves: &BTreeMap<usize, Vec<i32>>) -> Result<(), Error> {
        // Whoever comes after this operator takes the throttles away.
        let now = self.context.session.ground.clock.wall();
        self.say(&status::status(&self.observed.facts, self.decision, now)).await?;
        let name = decide::name(&self.observed.facts.object);
        let moves = moves.iter().map(|(partition, replicas)| Move {
            topic: name.to_owned(),
            topic_id: id.to_owned(),
            partition: *partition as i32,
            replicas: replicas.clone(),
        });
        let moves: Vec<Move> = moves.collect();
        let rebalance = self.observed.cluster.as_ref().map(|cluster| &cluster.spec.rebalance);
        let bound = rebalance.and_then(|one| Some((one.throttle()?, one.throttle.as_str())));
        let (bytes, throttle) = bound.ok_or_else(|| Error::Waiting {
            reason: Reason::Waiting,
            on: "spec.rebalance.throttle of the Cluster is no bound: nothing moves".to_owned(),
        })?;
        let fence = self.context.fence();
        let asked = self.brokers()?.controller(|mut broker| {
            let (fence, moves) = (fence.clone(), moves.clone());
            async move { broker.reassign(&fence, &moves, bytes).await }
        });
        self.done("move replicas of", asked.await)?;
        let count = moves.len();
        let note = format!("replicas of {count} partitions begin to move, at {throttle} a second");
        self.held.tell(Reason::ReplicasMoving, note).await;
        Ok(())
    }

    async fn unthrottle(&mut self) -> Result<(), Error> {
        let fence = self.context.fence();
        let cleared = self.brokers()?.any(|mut broker| {
            let fence = fence.clone();
            async move { broker.clear_throttles(fence).await }
        });
        self.done("take throttles from", cleared.await)?;
        // From here on nothing says that there may be some.
        let now = self.context.session.ground.clock.wall();
        self.say(&status::status(&self.observed.facts, self.decision, now)).await?;
        self.held.tell(Reason::ReplicasMoved, "replicas are where they should be".to_owned()).await;
        Ok(())
    }

    async fn configure(
        &mut self,
        id: &str,
        set: &BTreeMap<String, String>,
        reset: &BTreeSet<String>,
    ) -> Result<(), Error> {
        let request = ConfigureTopicRequest {
            fence: Some(self.context.fence()),
            name: decide::name(&self.observed.facts.object).to_owned(),
            topic_id: id.to_owned(),
            set: set.clone().into_iter().collect(),
            reset: reset.iter().cloned().collect(),
        };
        let configured = self.brokers()?.any(|mut broker| {
            let request = request.clone();
            async move { broker.configure_topic(request).await }
        });
        self.done("configure", configured.await)
    }

    async fn delete(&mut self, id: &str) -> Result<(), Error> {
        let name = decide::name(&self.observed.facts.object);
        let fence = self.context.fence();
        let deleted = self.brokers()?.any(|mut broker| {
            let fence = fence.clone();
            async move { broker.delete_topic(fence, name, id).await }
        });
        match deleted.await {
            // It is for whoever sets the brokers up to allow it, or for whoever deletes to say that it stays.
            Err(BrokerError::Precondition { words, .. }) => {
                Err(Error::Waiting { reason: Reason::Waiting, on: words })
            }
            deleted => self.done("delete", deleted),
        }
    }

    /// Says why a broker that is answered by an error is no success.
    fn done<T>(&self, doing: &'static str, answer: Result<T, BrokerError>) -> Result<(), Error> {
        answer.map(drop).map_err(|error| trouble::of(doing, &named(self.held.object()), error))
    }

    fn brokers(&self) -> Result<&Brokers, Error> {
        self.observed.brokers.as_ref().ok_or_else(|| Error::Waiting {
            reason: Reason::Waiting,
            on: "no broker answers".to_owned(),
        })
    }

    fn title(&self, id: &str) -> String {
        format!("topic {}, whose id is {id},", decide::name(&self.observed.facts.object))
    }

    async fn tell_of_settings(
        &self,
        set: &BTreeMap<String, String>,
        reset: &BTreeSet<String>,
        drift_of: Option<&Drift>,
    ) {
        let set = set.iter().map(|(key, value)| format!("{key} is {value}"));
        let reset = reset.iter().map(|key| format!("{key} is the brokers' value"));
        let now = set.chain(reset).collect::<Vec<_>>().join(", ");
        let Some(drift) = drift_of else { return self.held.tell(Reason::Configured, now).await };
        let author = drift.author.as_deref().unwrap_or("somebody that brokers do not know");
        self.held
            .tell(Reason::DriftReverted, format!("{author} had changed settings: {now} again"))
            .await;
    }

    async fn tell_of_end(&self) {
        let object = &self.observed.facts.object;
        let Some(id) = object.status.topic_id.as_deref() else { return };
        let is_deleted = self.decision.steps.iter().any(|step| matches!(step, Step::Delete { .. }));
        let was_there = match &self.observed.facts.cluster {
            Cluster::Here(here) => here.of(id).is_some(),
            Cluster::Gone | Cluster::Away(_) => false,
        };
        if is_deleted && was_there {
            self.held.tell(Reason::TopicDeleted, format!("{} is deleted", self.title(id))).await;
        } else if object.spec.deletion_policy == DeletionPolicy::Retain {
            self.held.tell(Reason::TopicRetained, format!("{} stays", self.title(id))).await;
        }
    }
}

/// Replicas that a step places.
fn placed(step: &Step) -> Option<&Assignment> {
    match step {
        Step::Create { assignment: placed, .. } | Step::Grow { new: placed, .. } => Some(placed),
        Step::Hold
        | Step::Name { .. }
        | Step::Adopt { .. }
        | Step::Reassign { .. }
        | Step::Unthrottle
        | Step::Configure { .. }
        | Step::Delete { .. }
        | Step::Bury { .. }
        | Step::LetGo => None,
    }
}

fn lists(assignment: &Assignment) -> Vec<ReplicaList> {
    assignment.iter().map(|brokers| ReplicaList { brokers: brokers.clone() }).collect()
}
