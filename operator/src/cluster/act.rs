//! Carries out a decision: its steps one after the other, then what restarts need. Each can be made again.

use std::sync::Arc;

use broker_admin::v1::ConfigureBrokersRequest;
use kube::{Resource, ResourceExt as _};

use super::FINALIZER;
use super::context::Context;
use super::decide::{Decision, Rolling, Step};
use super::dynamic::Difference;
use super::facts::{Facts, Live};
use super::members;
use super::owned::Cache;
use super::roll::{self, Answer, Next};
use super::seen;
use super::status;
use super::wanted::{Doomed, Wanted};
use super::write::{Hand, Owns};
use crate::admin::Verdict;
use crate::admin::client::{BrokerError, fence};
use crate::admin::trouble;
use crate::apply::named;
use crate::crd::cluster::Cluster;
use crate::crd::cluster::status::ClusterStatus;
use crate::error::Error;
use crate::held::Held;
use crate::reason::Reason;

/// How often one look goes on with restarts: leave, what is led, the pod.
const ROUNDS: usize = 4;

/// Why leave is refused while another broker has it.
const HELD: &str = "held";

/// One object that something is done about.
pub(super) struct Act<'a> {
    pub(super) context: &'a Context,
    pub(super) facts: &'a Facts,
    pub(super) decision: &'a Decision,
    pub(super) held: Held<'a, Cluster>,
    /// Whether anything but the object was written.
    pub(super) has_changed: bool,
    /// Why members or volumes could not be kept up: restarts go on all the same.
    pub(super) left: Option<Error>,
}

impl Act<'_> {
    /// Carries out every step; returns whether the object is let go of.
    ///
    /// # Errors
    /// Of the first step that did not work; what comes after it was not tried.
    pub(super) async fn all(&mut self) -> Result<bool, Error> {
        for step in &self.decision.steps {
            match step {
                Step::Hold => self.held.hold(FINALIZER).await?,
                Step::Note => self.say(None).await?,
                Step::Configure(broker, difference) => {
                    self.configure(*broker, difference).await?;
                }
                Step::Apply(wanted) => self.apply(wanted, &self.facts.live).await?,
                Step::Remove(doomed) => self.remove(doomed).await?,
                Step::Tell(reason, note) => self.held.tell(*reason, note.clone()).await,
                Step::KeepUp => match self.keep_up().await {
                    // Who does not lead any more does nothing else.
                    Err(error) if error.class().is_some() => self.left = Some(error),
                    kept => kept?,
                },
                Step::LetGo => {
                    self.held.release(FINALIZER).await?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Does what restarts need now; returns what they wait for.
    ///
    /// # Errors
    /// As the API server answers, and brokers that have taken leave back.
    pub(super) async fn roll(&mut self) -> Result<Option<Next>, Error> {
        let Some(rolling) = &self.decision.roll else { return Ok(None) };
        let (mut facts, mut has_given_back) = (rolling.facts.clone(), false);
        for _ in 0..ROUNDS {
            let next = roll::next(&facts);
            match &next {
                Next::Done | Next::Wait(_) => return Ok(Some(next)),
                Next::Acquire { broker, broker_epoch, accepts } => {
                    self.begin(&next).await?;
                    let asked = (*broker, *broker_epoch, *accepts);
                    let verdict = self.acquire(rolling, asked).await?;
                    if let Verdict::Refused { label, .. } = &verdict {
                        self.context.session.ground.metrics.permit_refused(label);
                        if *label == HELD && !has_given_back {
                            has_given_back = true;
                            if self.give_back().await? {
                                continue;
                            }
                        }
                    }
                    facts.said = Some(Answer { broker: *broker, verdict });
                }
                Next::Drain { broker } => {
                    let still_led = Some(self.drain(*broker).await?);
                    let verdict = Verdict::Granted { still_led };
                    facts.said = Some(Answer { broker: *broker, verdict });
                }
                Next::Delete { broker, uid } => {
                    self.restart(rolling, *broker, uid).await?;
                    return Ok(Some(next));
                }
            }
        }
        Ok(None)
    }

    /// Whether anything was written or changed.
    pub(super) fn has_written(&self) -> bool {
        self.has_changed || self.held.has_written()
    }

    /// Has the status say what is decided, and what comes of restarts.
    ///
    /// # Errors
    /// As the API server answers.
    pub(super) async fn say(&mut self, next: Option<&Next>) -> Result<(), Error> {
        let now = self.context.session.ground.clock.wall();
        let before = self.held.object().status.clone().unwrap_or_default();
        let said = status::status(self.facts, self.decision, next, &before, now);
        if self.held.say(&said).await? {
            self.tell_of_changes(&before, &said).await;
        }
        Ok(())
    }

    /// Has the status say why something could not be done.
    ///
    /// # Errors
    /// As the API server answers.
    pub(super) async fn trouble(&mut self, error: &Error) -> Result<(), Error> {
        let now = self.context.session.ground.clock.wall();
        let before = self.held.object().status.clone().unwrap_or_default();
        if let Some(said) = status::trouble(self.facts, self.decision, error, &before, now) {
            self.held.say(&said).await?;
        }
        Ok(())
    }

    /// Says that a roll begins, or goes on with another broker, before anything is done to one.
    async fn begin(&mut self, next: &Next) -> Result<(), Error> {
        let before = self.held.object().status.clone().unwrap_or_default().roll;
        let now = status::roll(self.facts, self.decision, Some(next), before.as_ref());
        let who = |roll: &Option<crate::crd::cluster::status::Roll>| {
            roll.as_ref().map(|roll| (roll.id.clone(), roll.current))
        };
        if who(&before) == who(&now) { Ok(()) } else { self.say(Some(next)).await }
    }

    async fn keep_up(&mut self) -> Result<(), Error> {
        let Some(upkeep) = &self.facts.upkeep else { return Ok(()) };
        let brokers = self.context.pool.brokers(self.held.object());
        let names = &self.facts.object.names;
        for tale in upkeep.tales(&self.facts.object.status) {
            self.held.pass().tell(tale).await;
        }
        let throttle = self.held.object().spec.rebalance.throttle();
        let act = members::act::Act {
            hand: self.hand(),
            owned: &self.context.owned,
            brokers: &brokers,
            fence: fence(self.held.pass().fence()),
            names,
            objects: &upkeep.objects,
            throttle,
        };
        self.has_changed |= upkeep.carry_out(&act).await?;
        Ok(())
    }

    async fn acquire(
        &self,
        rolling: &Rolling,
        (id, epoch, accepts): (i32, Option<i64>, crate::admin::Accepts),
    ) -> Result<Verdict, Error> {
        let brokers = self.context.pool.brokers(self.held.object());
        let asked = brokers.controller(|mut broker| {
            let fence = fence(self.held.pass().fence());
            async move { broker.acquire(fence, id, epoch, &rolling.id, accepts).await }
        });
        match asked.await {
            Ok(verdict) => Ok(verdict),
            Err(error @ BrokerError::Fenced { .. }) => {
                Err(trouble::of("restart brokers of", &named(self.held.object()), error))
            }
            // Nothing can fall, and who is corrected is to start.
            Err(error) if error.is_silence() && seen::nobody_is_up(&self.decision.seen) => {
                Ok(Verdict::Granted { still_led: Some(0) })
            }
            Err(_) => Ok(Verdict::Refused {
                message: "the controller of the brokers does not answer".to_owned(),
                partitions: Vec::new(),
                is_for_ever: false,
                label: "unreachable",
                holder: None,
            }),
        }
    }

    /// Gives back the leave of brokers that are taken away and are not there: nobody else gets any while they hold it.
    /// Returns whether there are such.
    async fn give_back(&self) -> Result<bool, Error> {
        let Some(upkeep) = &self.facts.upkeep else { return Ok(false) };
        let gone = self.decision.seen.iter().filter(|one| one.broker_epoch.is_none());
        let gone: Vec<i32> =
            gone.map(|one| one.id).filter(|id| upkeep.emptied.contains(id)).collect();
        let brokers = self.context.pool.brokers(self.held.object());
        for id in &gone {
            let asked = brokers.controller(|mut broker| {
                let fence = fence(self.held.pass().fence());
                async move { broker.release(fence, *id).await }
            });
            let what = named(self.held.object());
            asked
                .await
                .map_err(|error| trouble::of("take leave back from brokers of", &what, error))?;
        }
        Ok(!gone.is_empty())
    }

    async fn drain(&self, id: i32) -> Result<u32, Error> {
        let brokers = self.context.pool.brokers(self.held.object());
        let asked = brokers.controller(|mut broker| {
            let fence = fence(self.held.pass().fence());
            async move { broker.drain(fence, id).await }
        });
        asked.await.map_err(|error| {
            trouble::of("hand over what is led in", &named(self.held.object()), error)
        })
    }

    /// Has a broker be what it should, files first, and deletes its pod, which comes back so.
    async fn restart(&mut self, rolling: &Rolling, broker: i32, uid: &str) -> Result<(), Error> {
        let names = &self.facts.object.names;
        let pod = self.facts.live.pods.get(&names.pod(broker));
        let Some(pod) = pod.filter(|pod| pod.metadata.uid.as_deref() == Some(uid)) else {
            return Ok(());
        };
        if let Some(made) = rolling.in_turn.get(&broker) {
            // This look may have written both already, but for what waits for this turn.
            let live = self.context.live(names);
            for wanted in made.clone().objects() {
                self.apply(&wanted, &live).await?;
            }
        }
        self.held.tell(Reason::BrokerRestarted, format!("broker {broker} is restarted")).await;
        self.delete(&self.context.owned.pods, &**pod).await
    }

    async fn configure(
        &mut self,
        broker: Option<i32>,
        difference: &Difference,
    ) -> Result<(), Error> {
        let request = ConfigureBrokersRequest {
            fence: Some(fence(self.held.pass().fence())),
            broker_id: broker,
            set: difference.set.clone().into_iter().collect(),
            reset: difference.reset.clone(),
        };
        let brokers = self.context.pool.brokers(self.held.object());
        let asked = brokers.any(|mut broker| {
            let request = request.clone();
            async move { broker.configure_brokers(request).await }
        });
        match asked.await {
            // An upgrade may be what the spec asks for besides: it is not held up.
            Err(BrokerError::Lacks { .. }) => return Ok(()),
            asked => {
                asked
                    .map_err(|error| trouble::of("configure", &named(self.held.object()), error))?;
            }
        }
        self.has_changed = true;
        let names = difference.names().join(", ");
        let whose = broker.map_or_else(|| "all brokers".to_owned(), |id| format!("broker {id}"));
        self.held
            .tell(Reason::Configured, format!("settings of {whose} are changed: {names}"))
            .await;
        Ok(())
    }

    async fn apply(&mut self, wanted: &Wanted, live: &Live) -> Result<(), Error> {
        let owned = &self.context.owned;
        match wanted {
            Wanted::Account(one) => {
                self.put(&owned.accounts, one, live.accounts.get(&one.name_any())).await
            }
            Wanted::Policy(one) => {
                self.put(&owned.policies, one, live.policies.get(&one.name_any())).await
            }
            Wanted::ConfigMap(one) => {
                self.put(&owned.config_maps, one, live.config_maps.get(&one.name_any())).await
            }
            Wanted::Service(one) => {
                self.put(&owned.services, &**one, live.services.get(&one.name_any())).await
            }
            Wanted::Budget(one) => {
                self.put(&owned.budgets, one, live.budgets.get(&one.name_any())).await
            }
            Wanted::Set(one) => self.put(&owned.sets, &**one, live.sets.get(&one.name_any())).await,
        }
    }

    async fn put<K>(
        &mut self,
        cache: &Cache<K>,
        wanted: &K,
        live: Option<&Arc<K>>,
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
        K: Send + Sync + 'static,
    {
        let live = live.map(|live| &**live);
        // What is going is made anew once it is gone.
        if live.is_some_and(|live| live.meta().deletion_timestamp.is_some()) {
            return Ok(());
        }
        if live.is_none() {
            self.held.pass().is_free(wanted).await?;
        }
        self.has_changed |= self.hand().put(cache, wanted, live).await?;
        Ok(())
    }

    async fn remove(&mut self, doomed: &Doomed) -> Result<(), Error> {
        let (owned, live) = (&self.context.owned, &self.facts.live);
        match doomed {
            Doomed::Service(name) => match live.services.get(name) {
                Some(one) => self.delete(&owned.services, &**one).await,
                None => Ok(()),
            },
            Doomed::ConfigMap(name) => match live.config_maps.get(name) {
                Some(one) => self.delete(&owned.config_maps, &**one).await,
                None => Ok(()),
            },
            Doomed::Set(name) => match live.sets.get(name) {
                Some(one) => self.delete(&owned.sets, &**one).await,
                None => Ok(()),
            },
            Doomed::Claim(name) => match live.claims.get(name) {
                Some(one) => self.delete(&owned.claims, &**one).await,
                None => Ok(()),
            },
        }
    }

    async fn delete<K>(&mut self, cache: &Cache<K>, live: &K) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        self.has_changed |= self.hand().delete(cache, live, Owns::Follows).await?;
        Ok(())
    }

    fn hand(&self) -> Hand<'_> {
        Hand { pass: self.held.pass(), clock: self.context.session.ground.clock }
    }

    /// Tells of rolls that begin and end, and of what has come to be wrong.
    async fn tell_of_changes(&self, before: &ClusterStatus, now: &ClusterStatus) {
        let metrics = &self.context.session.ground.metrics;
        match (&before.roll, &now.roll) {
            (Some(old), Some(new)) if old.id != new.id => {
                metrics.rolled("superseded");
                let note =
                    "the spec has changed: brokers are restarted for that instead".to_owned();
                self.held.tell(Reason::RollStarted, note).await;
            }
            (None, Some(_)) => {
                let note = "brokers are restarted, one after the other".to_owned();
                self.held.tell(Reason::RollStarted, note).await;
            }
            (Some(_), None) => {
                metrics.rolled("finished");
                let note = "all brokers are what they should be, and serve".to_owned();
                self.held.tell(Reason::RollFinished, note).await;
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        // What others tell of already.
        let told = [
            Reason::InvalidSpec,
            Reason::VolumeLost,
            Reason::VolumeNotGrowing,
            Reason::BrokerStays,
        ];
        self.held.tell_of_harm(&before.conditions, &now.conditions, &told).await;
    }
}
